package conform

import (
	"testing"

	"countersign/report/verdict"
)

// Probed hands the report what a server made of an event on which implementations are known to differ.
// It judges nothing.
func Probed(t testing.TB, p Probe) {
	t.Helper()
	p.Note = oneLine(p.Note, sentenceLimit)
	value, err := compactJSON(p)
	if err == nil && len(value) > findingLimit {
		p.Event = ""
		value, err = compactJSON(p)
	}
	if err != nil {
		HarnessError(t, "cannot write a probe: %v", err)
	}
	t.Attr(verdict.AttrProbe, value)
}

// The words for what a server made of an event; see package report/verdict.
type (
	Probe   = verdict.Probe
	Oracle  = verdict.Oracle
	Outcome = verdict.Outcome
)

// The outcomes of a probe.
const (
	Accepted  = verdict.Accepted
	Rejected  = verdict.Rejected
	Crashed   = verdict.Crashed
	Undecided = verdict.Undecided
)
