package conform

import (
	"fmt"
	"strings"
	"testing"

	"countersign/report/verdict"
)

// Judge returns the test as seen by the steps that judge one requirement: what would fail the test there
// is a departure from the requirement, which costs what its profile says ([Violation]), and ends the
// test. So the words of package must can judge what a text only recommends. What else the test covers
// and has not judged by then is left open.
func Judge(t testing.TB, id string) testing.TB {
	return judge{t, id}
}

// judge is a test whose failures are departures from a requirement. Everything else passes through.
type judge struct {
	testing.TB
	requirement string
}

func (j judge) Fatal(args ...any) {
	j.Helper()
	j.depart(strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
}

func (j judge) Fatalf(format string, args ...any) {
	j.Helper()
	j.depart(fmt.Sprintf(format, args...))
}

func (j judge) FailNow() {
	j.Helper()
	j.depart("it departs")
}

func (j judge) Error(args ...any)                 { j.Helper(); j.Fatal(args...) }
func (j judge) Errorf(format string, args ...any) { j.Helper(); j.Fatalf(format, args...) }
func (j judge) Fail()                             { j.Helper(); j.FailNow() }

// plain is the test itself, for what is not about the requirement that is being judged.
func plain(t testing.TB) testing.TB {
	if j, ok := t.(judge); ok {
		return j.TB
	}
	return t
}

func (j judge) depart(observed string) {
	j.Helper()
	Violation(j.TB, j.requirement, lookup(j.TB, j.requirement).Says, observed)
	if j.TB.Failed() {
		j.TB.FailNow()
	}
	emit(j.TB, verdict.Finding{Verdict: verdict.Skip, Observed: "the test ended at a departure from " + j.requirement})
	j.TB.SkipNow()
}
