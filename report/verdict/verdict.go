// Package verdict is the vocabulary of outcomes: the closed set of verdicts, the one function that
// rolls several verdicts up into one, and the names under which a test hands them to whoever reads
// `go test -json`. It imports nothing of ours, so that both the tests and the report can speak it.
// What a requirement is, and what breaking one costs (levels and profiles), is in requirements.
package verdict

import (
	"fmt"
	"strings"
)

// Verdict is the outcome of one test, or of one requirement over all the tests that cover it. The
// zero value is not a verdict.
type Verdict string

const (
	// Pass says that the server did what the requirement asks, and that the evidence is complete.
	Pass Verdict = "PASS"
	// Fail says that the server broke a requirement.
	Fail Verdict = "FAIL"
	// Warn says that the server departs from the recommended reading of an ambiguous text.
	Warn Verdict = "WARN"
	// Skip says that the question could not be asked: the server does not offer the capability, or
	// the target cannot do what the test needs.
	Skip Verdict = "SKIP"
	// Inconclusive says that the question was asked and that the evidence is not enough to answer
	// it: a control or a fence failed.
	Inconclusive Verdict = "INCONCLUSIVE"
	// Error says that the harness failed, so that nothing is known about the server.
	Error Verdict = "ERROR"
	// Info says that a behaviour was recorded which no requirement judges.
	Info Verdict = "INFO"
	// XFail says that the server broke a requirement as its maintainers expected it to.
	XFail Verdict = "XFAIL"
	// XPass says that the server met a requirement that its maintainers expected it to break.
	XPass Verdict = "XPASS"
)

// descriptions is ordered from the strongest verdict to the weakest, which is the order in which
// Rollup decides. Each sentence is what a reader of a report is told.
var descriptions = [...]struct {
	verdict  Verdict
	sentence string
}{
	{Fail, "The server broke the requirement."},
	{Error, "The harness failed, so nothing is known about the server."},
	{Inconclusive, "The evidence is not enough: a control or a fence failed."},
	{XPass, "The server met a requirement that it was expected to break."},
	{XFail, "The server broke the requirement, as expected."},
	{Warn, "The server departs from the recommended reading of an ambiguous text."},
	{Skip, "Not judged: the server does not offer it, or the target cannot do what the test needs."},
	{Info, "The behaviour was recorded; no requirement judges it."},
	{Pass, "The server did what the requirement asks."},
}

// All returns every verdict, strongest first: the order in which Rollup decides.
func All() []Verdict {
	all := make([]Verdict, len(descriptions))
	for i, d := range descriptions {
		all[i] = d.verdict
	}
	return all
}

// Sentence returns the one sentence that says what the verdict means, or "" for a value outside
// the closed set.
func (v Verdict) Sentence() string {
	if i := v.rank(); i >= 0 {
		return descriptions[i].sentence
	}
	return ""
}

// Valid reports whether v belongs to the closed set.
func (v Verdict) Valid() bool { return v.rank() >= 0 }

// AsExpected reports whether a run whose verdicts are all like this one is as it should be: it says
// nothing bad about the server (Fail, Inconclusive), nor about the harness (Error), nor about an
// expectation (XPass).
func (v Verdict) AsExpected() bool {
	switch v {
	case Pass, Warn, Skip, Info, XFail:
		return true
	}
	return false
}

// Judged reports whether the question was asked at all. A Skip judges nothing.
func (v Verdict) Judged() bool { return v.Valid() && v != Skip }

// Worse reports whether v decides over other when both are rolled up.
func (v Verdict) Worse(other Verdict) bool {
	a, b := v.rank(), other.rank()
	return a >= 0 && (b < 0 || a < b)
}

// Parse returns the verdict with exactly this spelling, or an error that lists the closed set.
func Parse(s string) (Verdict, error) {
	if v := Verdict(s); v.Valid() {
		return v, nil
	}
	return "", fmt.Errorf("unknown verdict %q: want one of %s", s, list(All()))
}

// MarshalText implements encoding.TextMarshaler (and so JSON); it refuses a value outside the
// closed set, so that no report can carry one.
func (v Verdict) MarshalText() ([]byte, error) {
	if _, err := Parse(string(v)); err != nil {
		return nil, err
	}
	return []byte(v), nil
}

// UnmarshalText implements encoding.TextUnmarshaler (and so JSON); it refuses a value outside the
// closed set.
func (v *Verdict) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*v = parsed
	return nil
}

// Rollup returns the verdict of a whole from the verdicts of its parts. The strongest decides:
//
//	FAIL > ERROR > INCONCLUSIVE > XPASS > XFAIL > WARN > SKIP > INFO > PASS
//
// Three consequences matter. A broken requirement stays broken whatever else went wrong. Nothing
// but PASS rolls up to PASS, so a skipped part is never counted as passed. And the roll-up of
// nothing is INCONCLUSIVE, so an empty run is not a success. A value outside the closed set counts
// as ERROR.
func Rollup(parts ...Verdict) Verdict {
	if len(parts) == 0 {
		return Inconclusive
	}
	strongest := Pass
	for _, part := range parts {
		if !part.Valid() {
			part = Error
		}
		if part.Worse(strongest) {
			strongest = part
		}
	}
	return strongest
}

func (v Verdict) rank() int {
	for i := range descriptions {
		if descriptions[i].verdict == v {
			return i
		}
	}
	return -1
}

func list(values []Verdict) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}
