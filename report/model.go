// Package report turns the output of `go test -json` into verdicts: per test, per requirement, and
// for the run; and it writes them down, as report.json for machines and as text for people. It
// reads test output and never talks to a server.
package report

import (
	"time"

	"countersign/report/verdict"
	"countersign/requirements"
)

// SchemaVersion is the version of report.json. It changes when a reader of the old form would
// misread the new one.
const SchemaVersion = 1

// Run is one run of the suite: what report.json holds.
type Run struct {
	// SchemaVersion is SchemaVersion.
	SchemaVersion int `json:"schema_version"`
	// Suite is the suite that judged.
	Suite Suite `json:"suite"`
	// Target is where the homeservers came from, such as "embedded" or "docker:IMAGE".
	Target string `json:"target"`
	// Strict says that INTEROP requirements were raised to failures.
	Strict bool `json:"strict"`
	// Command is the command line of the run, without the program's name.
	Command []string `json:"command"`
	// Configuration are the environment variables that configured the run, COUNTERSIGN_ and COMPLEMENT_,
	// as far as they were set. What may be a secret is left out.
	Configuration map[string]string `json:"configuration,omitempty"`
	// Selected says that the run was asked for some of the tests only.
	Selected bool `json:"selected,omitempty"`
	// Shard is the part of the tests that ran; nil for all of them.
	Shard *Shard `json:"shard,omitempty"`
	// Expectations are what the maintainers of the server under test said they know; nil without.
	Expectations *Expectations `json:"expectations,omitempty"`
	// Machine is where the suite ran.
	Machine Machine `json:"machine"`
	// Started is when the run began.
	Started time.Time `json:"started"`
	// DurationSeconds is how long it took.
	DurationSeconds float64 `json:"duration_seconds"`
	// Servers are the homeservers under test, by alias.
	Servers []verdict.Fact `json:"servers"`
	// Summary counts the verdicts.
	Summary Summary `json:"summary"`
	// Errors are what kept tests from running at all: a server that did not start, a package that does
	// not compile, an interrupted run. Each is one sentence; on the lines below it may stand more, such
	// as the last lines of a server's log. See [SplitReason].
	Errors []string `json:"errors"`
	// Requirements are the requirements that the run judged, in the catalogue's order.
	Requirements []Requirement `json:"requirements"`
	// NotJudged are the catalogue's other requirements, so that nobody takes a report for more than
	// it is.
	NotJudged []NotJudged `json:"not_judged"`
	// Tests are the tests that ran, in the order of suite and name.
	Tests []Test `json:"tests"`
}

// NotJudged is a requirement that the run says nothing about.
type NotJudged struct {
	ID     string `json:"id"`
	Reason Reason `json:"reason"`
}

// Reason is why a requirement was not judged.
type Reason string

const (
	// Untested requirements have no test yet.
	Untested Reason = "untested"
	// Untestable requirements have no black-box observable.
	Untestable Reason = "untestable"
	// NotRun requirements have tests, which the run did not choose or did not get to.
	NotRun Reason = "not run"
)

// Suite identifies the suite.
type Suite struct {
	// Name is the module's name.
	Name string `json:"name"`
	// Version is the module's version, or "(devel)".
	Version string `json:"version"`
	// Commit is the commit that the suite was built from; empty when unknown. A "+dirty" at its
	// end says that the checkout had changes.
	Commit string `json:"commit,omitempty"`
}

// Shard is one of several parts into which the tests were dealt.
type Shard struct {
	// Index counts from 1 to Count.
	Index int `json:"index"`
	Count int `json:"count"`
}

// Expectations are an expectation file that was applied to a run.
type Expectations struct {
	// File is the file's name.
	File string `json:"file"`
	// Entries is how many known problems the file lists.
	Entries int `json:"entries"`
	// Strict says that an unexpected pass or a stale entry is exit code 5.
	Strict bool `json:"strict,omitempty"`
	// Stale are the entries that no longer fit, one sentence each.
	Stale []string `json:"stale"`
}

// Machine is where the suite ran.
type Machine struct {
	OS   string `json:"os"`
	Arch string `json:"arch"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
}

// Counts counts verdicts.
type Counts struct {
	Pass         int `json:"pass"`
	Fail         int `json:"fail"`
	Warn         int `json:"warn"`
	Skip         int `json:"skip"`
	Inconclusive int `json:"inconclusive"`
	Error        int `json:"error"`
	Info         int `json:"info"`
	XFail        int `json:"xfail,omitempty"`
	XPass        int `json:"xpass,omitempty"`
}

// Summary counts the verdicts of a run: of requirements, and, under "tests", of tests.
type Summary struct {
	Counts
	Tests Counts `json:"tests"`
}

// Requirement is the verdict on one requirement, over all the tests that cover it.
type Requirement struct {
	ID       string               `json:"id"`
	Proposal string               `json:"proposal"`
	Area     string               `json:"area"`
	Level    requirements.Level   `json:"level"`
	Profile  requirements.Profile `json:"profile"`
	// Where is the section of the text.
	Where string `json:"where"`
	// Says is the requirement in the suite's words.
	Says string `json:"says"`
	// Verdict is the roll-up of Tests.
	Verdict verdict.Verdict `json:"verdict"`
	// Expected and Observed are the evidence of the test that decided the verdict; empty for a
	// PASS.
	Expected string `json:"expected,omitempty"`
	Observed string `json:"observed,omitempty"`
	// Tests are the tests that judged it, each with what it says about this requirement.
	Tests []TestVerdict `json:"tests"`
}

// TestVerdict is what one test says about one requirement.
type TestVerdict struct {
	// Test is Test.ID.
	Test    string          `json:"test"`
	Verdict verdict.Verdict `json:"verdict"`
}

// Test is the verdict on one test or subtest that covers requirements.
type Test struct {
	// Suite is the name of the test's package below tests/, such as "msc4243".
	Suite string `json:"suite"`
	// Name is the Go test's name, with its parents: "TestInvite/from_a_member".
	Name string `json:"name"`
	// Verdict is the roll-up of Requirements and of what else the test found.
	Verdict verdict.Verdict `json:"verdict"`
	// Requirements are what the test judged.
	Requirements []RequirementVerdict `json:"requirements"`
	// Expected and Observed are the evidence; empty for a PASS.
	Expected string `json:"expected,omitempty"`
	Observed string `json:"observed,omitempty"`
	// DurationSeconds is how long the test took, waiting for other parallel tests included. Of a
	// repeated test, it is the longest.
	DurationSeconds float64 `json:"duration_seconds"`
	// Repeats counts the verdicts of a test that ran more than once; Verdict is the strongest of
	// them. Nil for a test that ran once.
	Repeats *Counts `json:"repeats,omitempty"`
	// Transcript is the path of a file with what was on the wire, or empty.
	Transcript string `json:"transcript,omitempty"`
	// Probes are what the server made of events on which servers differ.
	Probes []verdict.Probe `json:"probes,omitempty"`
	// Scenario is what the test's transcript shows, of a test that is worth looking at even if nothing
	// went wrong; or empty.
	Scenario string `json:"scenario,omitempty"`
	// Output is the end of what the test printed; empty for a PASS.
	Output string `json:"output,omitempty"`
}

// RequirementVerdict is what one test says about one requirement, with its evidence.
type RequirementVerdict struct {
	ID       string          `json:"id"`
	Verdict  verdict.Verdict `json:"verdict"`
	Expected string          `json:"expected,omitempty"`
	Observed string          `json:"observed,omitempty"`
	// Known is what the server's maintainers say about an XFAIL or an XPASS; nil otherwise.
	Known *Known `json:"known,omitempty"`
}

// Known is a problem that the maintainers of the server under test know of.
type Known struct {
	// Reason is one sentence.
	Reason string `json:"reason"`
	// Link is where the problem is tracked.
	Link string `json:"link"`
}

// Flaky reports whether a repeated test did not always end in the same way.
func (t *Test) Flaky() bool {
	return t.Repeats != nil && t.Repeats.Of(t.Verdict) != t.Repeats.Total()
}

// ID names the test within a run: suite and name, as in "msc4243/TestInvite/from_a_member".
func (t *Test) ID() string { return t.Suite + "/" + t.Name }

// Add counts one verdict. A value outside the closed set counts as an error.
func (c *Counts) Add(v verdict.Verdict) {
	switch v {
	case verdict.Pass:
		c.Pass++
	case verdict.Fail:
		c.Fail++
	case verdict.Warn:
		c.Warn++
	case verdict.Skip:
		c.Skip++
	case verdict.Inconclusive:
		c.Inconclusive++
	case verdict.Info:
		c.Info++
	case verdict.XFail:
		c.XFail++
	case verdict.XPass:
		c.XPass++
	default:
		c.Error++
	}
}

// Of returns the count of one verdict.
func (c *Counts) Of(v verdict.Verdict) int {
	switch v {
	case verdict.Pass:
		return c.Pass
	case verdict.Fail:
		return c.Fail
	case verdict.Warn:
		return c.Warn
	case verdict.Skip:
		return c.Skip
	case verdict.Inconclusive:
		return c.Inconclusive
	case verdict.Error:
		return c.Error
	case verdict.Info:
		return c.Info
	case verdict.XFail:
		return c.XFail
	case verdict.XPass:
		return c.XPass
	}
	return 0
}

// Total is the sum over all verdicts.
func (c *Counts) Total() int {
	total := 0
	for _, v := range verdict.All() {
		total += c.Of(v)
	}
	return total
}

// The exit codes of the command line; see `countersign help exit-codes`.
const (
	ExitAsExpected     = 0
	ExitNonConformance = 1
	ExitHarness        = 2
	ExitUsage          = 3
	ExitNothingRan     = 4
	ExitUnexpectedPass = 5
)

// ExitCode is the exit code that the run deserves. The strongest verdict decides, in the order of
// verdict.Rollup: a broken requirement is 1 whatever else went wrong, then a harness failure is 2,
// then missing evidence is 1. An unexpected pass or a stale expectation is 5, unless the run was
// not strict about expectations. A run that judged nothing is 4.
func (r *Run) ExitCode() int {
	parts := make([]verdict.Verdict, 0, len(r.Requirements)+1)
	for i := range r.Requirements {
		parts = append(parts, r.Requirements[i].Verdict)
	}
	for i := range r.Tests {
		parts = append(parts, r.Tests[i].Verdict)
	}
	if len(r.Errors) > 0 {
		parts = append(parts, verdict.Error)
	}
	judged := false
	for _, part := range parts {
		judged = judged || part.Judged()
	}
	switch {
	case !judged:
		return ExitNothingRan
	case verdict.Rollup(parts...) == verdict.Error:
		return ExitHarness
	case verdict.Rollup(parts...) == verdict.XPass:
		if r.Expectations != nil && !r.Expectations.Strict {
			return ExitAsExpected
		}
		return ExitUnexpectedPass
	case r.Expectations != nil && r.Expectations.Strict && len(r.Expectations.Stale) > 0 && verdict.Rollup(parts...).AsExpected():
		return ExitUnexpectedPass
	case !verdict.Rollup(parts...).AsExpected():
		return ExitNonConformance
	}
	return ExitAsExpected
}
