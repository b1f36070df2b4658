package fakeserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"countersign/matrix"
)

// Bounds of a transcript. A test exchanges tens of requests; one that loops must not eat the
// machine's memory.
const (
	maxExchanges    = 4000
	maxRecordedBody = 1 << 20
	maxRecorded     = 64 << 20
	maxPrintedBody  = 4 << 10
)

// Direction says who asked whom.
type Direction int

// The directions of an [Exchange].
const (
	// Inbound requests were made by another server.
	Inbound Direction = iota
	// Outbound requests were made by this one.
	Outbound
	// Notes are not requests: something that happened to a connection, or a remark of this server.
	Note
)

// String is an arrow as it is printed in transcripts.
func (d Direction) String() string { return [...]string{"<-", "->", "--"}[d] }

// Exchange is one request and its answer, as they were on the wire.
type Exchange struct {
	// Number counts the exchanges of a server, from 1.
	Number int
	// Direction says who asked.
	Direction Direction
	// Operation is what was asked for; empty when no route matched, and in outbound requests.
	Operation Operation
	// Peer is the other server: for an inbound request the origin that it claims, or the address of
	// the connection when it claims none.
	Peer matrix.ServerName
	// Method and URI are the request line.
	Method, URI string
	// RequestBody is the body, of which at most 1 MiB is kept.
	RequestBody []byte
	// Auth is empty when the request's signature is good, "none needed" where none is, and otherwise
	// what is wrong with it. In outbound requests it is empty.
	Auth string
	// Status is the status of the answer; 0 as long as there is none.
	Status int
	// ResponseBody is the body of the answer, of which at most 1 MiB is kept.
	ResponseBody []byte
	// Sent is how much of an answer's body was sent, in bytes; 0 in outbound requests. It may be more
	// than was received: networks buffer.
	Sent int64
	// Err says why there was no complete answer, or is the text of a note.
	Err string
	// Started and Ended are the times of the request and of the end of the answer.
	Started, Ended time.Time
}

// Answered reports whether the exchange has ended, with or without an answer.
func (e Exchange) Answered() bool { return !e.Ended.IsZero() }

// Transcript is the record of what a server was asked and asked for. It is safe for concurrent use.
type Transcript struct {
	name    matrix.ServerName
	started time.Time

	mu        sync.Mutex
	exchanges []Exchange
	dropped   int
	size      int           // of the bodies
	changed   chan struct{} // closed and replaced with every change
}

func newTranscript(name matrix.ServerName) *Transcript {
	return &Transcript{name: name, started: time.Now(), changed: make(chan struct{})}
}

// begin files a request and returns its number.
func (t *Transcript) begin(e Exchange) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.Number = t.dropped + len(t.exchanges) + 1
	e.RequestBody = clip(e.RequestBody)
	t.size += len(e.RequestBody)
	t.exchanges = append(t.exchanges, e)
	t.trim()
	t.broadcast()
	return e.Number
}

// end files the answer.
func (t *Transcript) end(number, status int, body []byte, sent int64, problem string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := number - t.dropped - 1
	if i < 0 {
		return // so many requests ago that it was dropped
	}
	e := &t.exchanges[i]
	e.Status, e.ResponseBody, e.Sent, e.Err, e.Ended = status, clip(body), sent, problem, time.Now()
	t.size += len(e.ResponseBody)
	t.trim()
	t.broadcast()
}

// trim drops the oldest exchanges while there are too many or their bodies too large.
func (t *Transcript) trim() {
	for len(t.exchanges) > 1 && (len(t.exchanges) > maxExchanges || t.size > maxRecorded) {
		t.size -= len(t.exchanges[0].RequestBody) + len(t.exchanges[0].ResponseBody)
		t.exchanges = slices.Delete(t.exchanges, 0, 1)
		t.dropped++
	}
}

func (t *Transcript) note(format string, args ...any) {
	now := time.Now()
	t.begin(Exchange{Direction: Note, Err: fmt.Sprintf(format, args...), Started: now, Ended: now})
}

func (t *Transcript) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broadcast()
}

// broadcast wakes everyone who waits. The caller holds the lock.
func (t *Transcript) broadcast() {
	close(t.changed)
	t.changed = make(chan struct{})
}

func clip(body []byte) []byte {
	return bytes.Clone(body[:min(len(body), maxRecordedBody)])
}

// Matcher chooses exchanges.
type Matcher func(Exchange) bool

// Is matches inbound requests for an operation.
func Is(op Operation) Matcher {
	return func(e Exchange) bool { return e.Direction == Inbound && e.Operation == op }
}

// And matches what both match.
func (m Matcher) And(other Matcher) Matcher {
	return func(e Exchange) bool { return m(e) && other(e) }
}

// Exchanges returns the exchanges that match, oldest first; nil matches all.
func (t *Transcript) Exchanges(match Matcher) []Exchange {
	all, _ := t.snapshot()
	if match == nil {
		return all
	}
	return slices.DeleteFunc(all, func(e Exchange) bool { return !match(e) })
}

// snapshot returns a copy of the exchanges, and a channel that is closed when there is news.
func (t *Transcript) snapshot() ([]Exchange, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.exchanges), t.changed
}

// String prints the whole transcript; see [Transcript.Print].
func (t *Transcript) String() string { return t.Print(nil) }

// Print is the exchanges that match as text for people: one paragraph each, with times since the
// server was started and with bodies as indented JSON, long ones shortened.
func (t *Transcript) Print(match Matcher) string {
	var b strings.Builder
	fmt.Fprintf(&b, "transcript of %s\n", t.name)
	exchanges := t.Exchanges(match)
	if len(exchanges) > 0 && exchanges[0].Number > 1 && match == nil {
		fmt.Fprintf(&b, "(%d earlier exchanges are not kept)\n", exchanges[0].Number-1)
	}
	for _, e := range exchanges {
		fmt.Fprintf(&b, "\n#%d +%.3fs %s ", e.Number, e.Started.Sub(t.started).Seconds(), e.Direction)
		if e.Direction == Note {
			fmt.Fprintf(&b, "%s\n", e.Err)
			continue
		}
		fmt.Fprintf(&b, "%s %s %s", e.Peer, e.Method, e.URI)
		if e.Auth != "" {
			fmt.Fprintf(&b, " [auth: %s]", e.Auth)
		}
		b.WriteByte('\n')
		printBody(&b, "    > ", e.RequestBody)
		switch {
		case e.Status != 0:
			fmt.Fprintf(&b, "    %d after %d ms", e.Status, e.Ended.Sub(e.Started).Milliseconds())
		case e.Answered():
			b.WriteString("    no answer")
		default:
			b.WriteString("    not answered yet")
		}
		if e.Err != "" {
			fmt.Fprintf(&b, ": %s", e.Err)
		}
		b.WriteByte('\n')
		printBody(&b, "    < ", e.ResponseBody)
	}
	return b.String()
}

// printBody prints JSON indented and everything else as it is, one line after the other behind a
// prefix.
func printBody(b *strings.Builder, prefix string, body []byte) {
	if len(body) == 0 {
		return
	}
	text := body
	var indented bytes.Buffer
	if json.Indent(&indented, body, "", "  ") == nil {
		text = indented.Bytes()
	}
	rest := 0
	if len(text) > maxPrintedBody {
		rest = len(text) - maxPrintedBody
		text = text[:maxPrintedBody]
	}
	for line := range strings.SplitSeq(printable(text), "\n") {
		b.WriteString(prefix)
		b.WriteString(line)
		b.WriteByte('\n')
	}
	if rest > 0 {
		fmt.Fprintf(b, "%s... and %d bytes more\n", prefix, rest)
	}
}

// printable replaces what a terminal should not be sent.
func printable(text []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(string(text), string(utf8.RuneError)))
}
