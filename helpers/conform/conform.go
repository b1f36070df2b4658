// Package conform is how a test speaks about conformance: which requirements it covers, what it
// expects, what it saw, and what that amounts to.
//
// Everything is emitted with testing.T.Attr, so that plain `go test -json` carries all that a
// report needs and every standard tool still works. The attributes are named and described in
// report/verdict. A test that passes without saying anything is a PASS for what it covers.
//
//	func TestMessage_SignedByAccountKey(t *testing.T) {
//		conform.Covers(t, "MSC4243-SIG-01", "MSC4243-SIG-02")
//		...
//		if event.SignedBy(serverName) {
//			conform.Violation(t, "MSC4243-SIG-02", "no signature by the server's key", "signatures: "+names)
//		}
//	}
//
// What concerns a whole package is a line of the test binary's output instead of an attribute. When
// the tests cannot run at all, because a homeserver did not start, TestMain prints one line that
// begins with verdict.LineError at the start of a line, whatever it has to add in lines that begin
// with verdict.LineMore, and exits with code 2:
//
//	countersign: error: hs1 did not answer GET /_matrix/client/versions within 30s
//
// Facts about the homeservers (name, version, room versions) are lines that begin with
// verdict.LineFact.
package conform

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"countersign/report/verdict"
	"countersign/requirements"
)

// StrictVariable is the environment variable that raises INTEROP requirements to failures.
const StrictVariable = "COUNTERSIGN_STRICT"

// SelectionVariable is the environment variable by which the command line asks for some
// requirements only: their IDs, separated by commas.
const SelectionVariable = "COUNTERSIGN_REQUIREMENTS"

// Covers says that the test judges these requirements. It is the first line of every test and
// subtest that judges something; a subtest that covers nothing belongs to its parent. An ID that
// is not in the catalogue stops the test with the verdict ERROR.
//
// When a run asks for some requirements only and the test covers none of them, Covers ends it, and
// the report does not mention it. So a test that covers something has no subtests that cover
// something else: they would not be reached.
func Covers(t testing.TB, ids ...string) {
	t.Helper()
	if len(ids) == 0 {
		HarnessError(t, "conform.Covers without a requirement: name at least one")
	}
	for _, id := range ids {
		lookup(t, id)
	}
	if !selected(ids) {
		t.Attr(verdict.AttrUnselected, "1")
		t.Skip("the run asks for other requirements than this test covers")
	}
	for _, id := range ids {
		t.Attr(verdict.AttrCovers, id)
	}
}

// selected reports whether the run asks for any of these requirements.
func selected(ids []string) bool {
	selection := os.Getenv(SelectionVariable)
	if selection == "" {
		return true
	}
	for id := range strings.SplitSeq(selection, ",") {
		if slices.Contains(ids, strings.TrimSpace(id)) {
			return true
		}
	}
	return false
}

// Expect says, in one sentence, what the test expects next. When the test then fails, the report
// shows the sentence beside what was seen. A later Expect replaces it.
func Expect(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Attr(verdict.AttrExpected, oneLine(fmt.Sprintf(format, args...), sentenceLimit))
}

// Observed says, in one sentence, what the test saw. A later Observed replaces it.
func Observed(t testing.TB, format string, args ...any) {
	t.Helper()
	t.Attr(verdict.AttrObserved, oneLine(fmt.Sprintf(format, args...), evidenceLimit))
}

// Violation says that the server departs from a requirement: what it should have done, and what it
// did. It costs what the requirement's profile says: a STRICT requirement fails the test (FAIL); an
// INTEROP one is recorded and the test stays green (WARN), unless COUNTERSIGN_STRICT is 1; an INFO
// one is only recorded (INFO). The test goes on; return when there is nothing left to judge.
//
// The requirement need not be one that the test covers: a sweeper that runs in many tests reports
// what it finds here.
func Violation(t testing.TB, id, expected, observed string) {
	t.Helper()
	t = plain(t)
	requirement := lookup(t, id)
	finding := verdict.Finding{
		Verdict:     ofViolation(requirement.Profile, strict(t)),
		Requirement: id,
		Expected:    expected,
		Observed:    observed,
	}
	emit(t, finding)
	message := fmt.Sprintf("%s %s: %s\n  expected: %s\n  observed: %s", finding.Verdict, id, requirement.Says, expected, observed)
	if finding.Verdict == verdict.Fail {
		t.Error(message)
	} else {
		t.Log(message)
	}
}

// Info records what the server does where nothing is judged. An INFO requirement is answered this
// way; for another one it is a remark beside its verdict.
func Info(t testing.TB, id, observed string) {
	t.Helper()
	lookup(t, id)
	emit(t, verdict.Finding{Verdict: verdict.Info, Requirement: id, Observed: observed})
	t.Logf("INFO %s: %s", id, observed)
}

// Inconclusive ends the test: a control or a fence failed, so the evidence is not enough to judge
// the server. The test is red in plain `go test`, and the verdict is INCONCLUSIVE.
func Inconclusive(t testing.TB, format string, args ...any) {
	t.Helper()
	end(t, verdict.Inconclusive, fmt.Sprintf(format, args...))
}

// HarnessError ends the test: the suite itself failed, so that nothing is known about the server.
// The test is red in plain `go test`, and the verdict is ERROR.
func HarnessError(t testing.TB, format string, args ...any) {
	t.Helper()
	end(t, verdict.Error, fmt.Sprintf(format, args...))
}

// Skip ends the test: the question cannot be asked, because the server does not offer what it is
// about, or because the target cannot do what the test needs. The reason is shown in the report.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	reason := fmt.Sprintf(format, args...)
	emit(t, verdict.Finding{Verdict: verdict.Skip, Observed: reason})
	t.Skip(reason)
}

func end(t testing.TB, v verdict.Verdict, reason string) {
	t.Helper()
	t = plain(t)
	emit(t, verdict.Finding{Verdict: v, Observed: reason})
	t.Fatalf("%s: %s", v, reason)
}

// ofViolation is the verdict on a server that breaks a requirement of this profile. A strict run
// never raises a fingerprint, because a fingerprint has no right answer.
func ofViolation(profile requirements.Profile, strictRun bool) verdict.Verdict {
	switch {
	case profile == requirements.Fingerprint:
		return verdict.Info
	case profile == requirements.Interop && !strictRun:
		return verdict.Warn
	}
	return verdict.Fail
}

func strict(t testing.TB) bool {
	t.Helper()
	value := os.Getenv(StrictVariable)
	if value == "" {
		return false
	}
	on, err := strconv.ParseBool(value)
	if err != nil {
		HarnessError(t, "%s is %q: set it to 1 or 0", StrictVariable, value)
	}
	return on
}

func lookup(t testing.TB, id string) *requirements.Requirement {
	t.Helper()
	catalogue, err := requirements.Default()
	if err != nil {
		HarnessError(t, "the requirement catalogue is broken: %v", err)
	}
	requirement := catalogue.Requirement(id)
	if requirement == nil {
		HarnessError(t, "%q is not a requirement: `countersign list` prints them all", id)
	}
	return requirement
}
