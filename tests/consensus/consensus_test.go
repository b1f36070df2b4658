package consensus

import (
	"fmt"
	"strings"
	"testing"

	"countersign/helpers/conform"
)

// MSC4243, "Impacts on key validity": it is critical that all servers agree on which events have valid
// signatures. The probes are siblings: each follows the same event, and none another probe. Every batch
// begins with an honest event and ends with one whose signature is bad.
func TestProbes(t *testing.T) {
	l := newLab(t, conform.AccountKeyVersion(t))
	queue := batches(probes())
	for len(queue) > 0 {
		batch := queue[0]
		queue = queue[1:]
		found, again := l.try(t, batch)
		queue = append(queue, again...)
		for _, f := range found {
			t.Run(f.probe.id, func(t *testing.T) { report(t, f) })
		}
	}
}

// report judges one finding, and hands it to the report.
func report(t *testing.T, f finding) {
	requirement := f.probe.requirement
	conform.Covers(t, requirement, "CONSENSUS-LIVE-01")
	conform.Probed(t, f.Probe)
	conform.Observed(t, "%s", f)
	switch {
	case f.Outcome == conform.Crashed:
		conform.Violation(t, "CONSENSUS-LIVE-01", "the homeserver goes on answering", f.Note)
		if !f.probe.recorded() {
			conform.Violation(t, requirement, f.expected(), f.String())
		}
	case f.Outcome == conform.Undecided:
		conform.Inconclusive(t, "%s", f)
	case f.probe.recorded():
		conform.Info(t, requirement, fmt.Sprintf("%s: %s", f.probe.id, f.Outcome))
	case f.Outcome != f.probe.expect:
		conform.Violation(t, requirement, f.expected(), f.String())
	}
}

// finding is what came of a probe.
type finding struct {
	conform.Probe
	probe probe
}

func (f finding) expected() string {
	return "the event is " + map[conform.Outcome]string{conform.Accepted: "accepted", conform.Rejected: "rejected"}[f.probe.expect]
}

// String is one sentence, with what each way of looking at it says.
func (f finding) String() string {
	var said []string
	for _, o := range f.Oracles {
		if o.Says != "" {
			said = append(said, o.Name+" says "+string(o.Says))
		}
	}
	text := "the outcome is " + string(f.Outcome)
	if len(said) > 0 {
		text += ": " + strings.Join(said, ", ")
	}
	if f.Note != "" {
		text += "; " + f.Note
	}
	return text
}
