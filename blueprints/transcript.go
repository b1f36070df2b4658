package blueprints

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/helpers/conform"
)

// shownTranscript bounds what a failed test prints of its transcript when there is no folder to
// keep all of it in: the end, since that is where things went wrong.
const shownTranscript = 12 << 10

// Part begins a part of the test that is a subtest of its own: what is on the wire until the subtest
// ends is its transcript. The parts of a scene come one after the other.
func (s *Scene) Part(t testing.TB) {
	t.Helper()
	s.inParts = true
	started := time.Now()
	t.Cleanup(func() { s.record(t, started) })
}

// record hands what was on the wire since a time to the report. Where nobody collects it, a failed
// test prints the end of it.
func (s *Scene) record(t testing.TB, since time.Time) {
	t.Helper()
	if os.Getenv(conform.ArtifactsVariable) != "" {
		conform.WriteTranscript(t, s.transcript(since))
		return
	}
	if !t.Failed() {
		return
	}
	text := s.transcript(since)
	if cut := len(text) - shownTranscript; cut > 0 {
		if line := strings.IndexByte(text[cut:], '\n'); line >= 0 {
			cut += line + 1
		}
		text = fmt.Sprintf("(%d bytes before this; set %s to a folder to keep all)\n%s", cut, conform.ArtifactsVariable, text[cut:])
	}
	t.Logf("%s\n%s", conform.LineWire, text)
}

// transcript is everything that was on the wire since a time, in the order in which it began: first
// one line each, as an overview, and then the clients' exchanges and those of the fake servers as they
// were, each under the name of who tells it.
func (s *Scene) transcript(since time.Time) string {
	type entry struct {
		at      time.Time
		summary string
		text    string
	}
	var entries []entry
	names := s.names()
	for _, response := range s.clients.Exchanges() {
		entries = append(entries, entry{response.Started, names.ofClient(response), "client " + response.String() + "\n"})
	}
	for _, peer := range s.peers {
		record := peer.Transcript()
		exchanges, paragraphs := record.Exchanges(nil), strings.Split(record.String(), "\n\n#")[1:]
		// A fake server that is still open may add to its record meanwhile.
		for i := range min(len(exchanges), len(paragraphs)) {
			entries = append(entries, entry{exchanges[i].Started, names.ofPeer(string(peer.Name()), exchanges[i]),
				fmt.Sprintf("fake server %s #%s\n", peer.Name(), strings.TrimSpace(paragraphs[i]))})
		}
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return e.at.Before(since) })
	if len(entries) == 0 {
		return ""
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return a.at.Compare(b.at) })
	var overview, text strings.Builder
	for _, e := range entries {
		at := e.at.Sub(entries[0].at).Seconds()
		if e.summary != "" {
			fmt.Fprintf(&overview, "+%.3fs  %s\n", at, e.summary)
		}
		fmt.Fprintf(&text, "+%.3fs %s\n", at, e.text)
	}
	return names.String() + overview.String() + "\n" + text.String()
}
