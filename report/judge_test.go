package report

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report/verdict"
)

// Requirements of each profile, taken from the catalogue: MSC4243-SIG-01 and -02 are STRICT,
// MSC4243-KEY-01 is INTEROP, MSC4243-FORGE-59 is INFO.
func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		// requirements and tests are the verdicts wanted, by ID and by name.
		requirements map[string]verdict.Verdict
		tests        map[string]verdict.Verdict
		exit         int
	}{
		"a green test passes what it covers": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\ncovers TestA MSC4243-SIG-02\npass TestA 0.1\nok",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "PASS", "MSC4243-SIG-02": "PASS"},
			tests:        map[string]verdict.Verdict{"TestA": "PASS"},
			exit:         ExitAsExpected,
		},
		"a plain failure breaks a STRICT requirement": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nprint TestA a_test.go:3: no\nfail TestA 0.1\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "FAIL"},
			tests:        map[string]verdict.Verdict{"TestA": "FAIL"},
			exit:         ExitNonConformance,
		},
		"a plain failure is no answer for an INTEROP or an INFO requirement": {
			script:       "run TestA\ncovers TestA MSC4243-KEY-01\ncovers TestA MSC4243-FORGE-59\nfail TestA\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-KEY-01": "INCONCLUSIVE", "MSC4243-FORGE-59": "INCONCLUSIVE"},
			tests:        map[string]verdict.Verdict{"TestA": "INCONCLUSIVE"},
			exit:         ExitNonConformance,
		},
		"a warning stays green": {
			script:       "run TestA\ncovers TestA MSC4243-KEY-01\nfinding TestA {\"verdict\":\"WARN\",\"requirement\":\"MSC4243-KEY-01\"}\npass TestA\nok",
			requirements: map[string]verdict.Verdict{"MSC4243-KEY-01": "WARN"},
			tests:        map[string]verdict.Verdict{"TestA": "WARN"},
			exit:         ExitAsExpected,
		},
		"an INFO requirement is never passed, only recorded": {
			script:       "run TestA\ncovers TestA MSC4243-FORGE-59\npass TestA\nok",
			requirements: map[string]verdict.Verdict{"MSC4243-FORGE-59": "INFO"},
			tests:        map[string]verdict.Verdict{"TestA": "INFO"},
			exit:         ExitAsExpected,
		},
		"a remark does not change a verdict": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nfinding TestA {\"verdict\":\"INFO\",\"requirement\":\"MSC4243-SIG-01\",\"observed\":\"x\"}\npass TestA\nok",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "PASS"},
			tests:        map[string]verdict.Verdict{"TestA": "PASS"},
			exit:         ExitAsExpected,
		},
		"a test that failed for one requirement does not vouch for the others": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\ncovers TestA MSC4243-SIG-02\nfinding TestA {\"verdict\":\"FAIL\",\"requirement\":\"MSC4243-SIG-02\"}\nfail TestA\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "INCONCLUSIVE", "MSC4243-SIG-02": "FAIL"},
			tests:        map[string]verdict.Verdict{"TestA": "FAIL"},
			exit:         ExitNonConformance,
		},
		"a sweeper's finding leaves what the test covers alone": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nfinding TestA {\"verdict\":\"FAIL\",\"requirement\":\"MSC4243-VIS-04\"}\nfail TestA\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "PASS", "MSC4243-VIS-04": "FAIL"},
			tests:        map[string]verdict.Verdict{"TestA": "FAIL"},
			exit:         ExitNonConformance,
		},
		"a sweeper's finding after a plain failure does not excuse it": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nfinding TestA {\"verdict\":\"FAIL\",\"requirement\":\"MSC4243-VIS-04\",\"test_had_failed\":true}\nfail TestA\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "FAIL", "MSC4243-VIS-04": "FAIL"},
			tests:        map[string]verdict.Verdict{"TestA": "FAIL"},
			exit:         ExitNonConformance,
		},
		"inconclusive": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nfinding TestA {\"verdict\":\"INCONCLUSIVE\"}\nfail TestA\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "INCONCLUSIVE"},
			tests:        map[string]verdict.Verdict{"TestA": "INCONCLUSIVE"},
			exit:         ExitNonConformance,
		},
		"a harness error": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nfinding TestA {\"verdict\":\"ERROR\"}\nfail TestA\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "ERROR"},
			tests:        map[string]verdict.Verdict{"TestA": "ERROR"},
			exit:         ExitHarness,
		},
		"a panic is the harness's": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\ncrash TestA panic: nil map\nfail TestA\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "ERROR"},
			tests:        map[string]verdict.Verdict{"TestA": "ERROR"},
			exit:         ExitHarness,
		},
		"a panic whose text is filed under the parent": {
			script:       "run TestA\nrun TestA/x\ncovers TestA/x MSC4243-SIG-01\nrun TestA/y\ncovers TestA/y MSC4243-SIG-02\nrun TestA/z\nfail TestA/x\ncrash TestA panic: nil map\nfail TestA\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "ERROR", "MSC4243-SIG-02": "ERROR"},
			tests:        map[string]verdict.Verdict{"TestA/x": "ERROR", "TestA/y": "ERROR"},
			exit:         ExitHarness,
		},
		"what failed before a crash stays failed": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nprint TestA a_test.go:1: no\nfail TestA\nrun TestB\ncrash TestB panic: nil map\nfail TestB\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "FAIL"},
			tests:        map[string]verdict.Verdict{"TestA": "FAIL"},
			exit:         ExitNonConformance,
		},
		"a data race is the harness's": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nprint TestA testing.go:1712: race detected during execution of test\nfail TestA\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "ERROR"},
			tests:        map[string]verdict.Verdict{"TestA": "ERROR"},
			exit:         ExitHarness,
		},
		"a test that never ended": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nrun TestB\ncovers TestB MSC4243-SIG-02\ncrash TestB panic: other\nfail TestB\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "ERROR", "MSC4243-SIG-02": "ERROR"},
			tests:        map[string]verdict.Verdict{"TestA": "ERROR", "TestB": "ERROR"},
			exit:         ExitHarness,
		},
		"only skips: nothing ran": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nfinding TestA {\"verdict\":\"SKIP\",\"observed\":\"not offered\"}\nskip TestA\nrun TestB\ncovers TestB MSC4243-SIG-02\nprint TestB b_test.go:1: cannot\nskip TestB\nok",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "SKIP", "MSC4243-SIG-02": "SKIP"},
			tests:        map[string]verdict.Verdict{"TestA": "SKIP", "TestB": "SKIP"},
			exit:         ExitNothingRan,
		},
		"a skipped case is not passed by another": {
			script:       "run TestA\nrun TestA/x\ncovers TestA/x MSC4243-SIG-01\npass TestA/x\nrun TestA/y\ncovers TestA/y MSC4243-SIG-01\nskip TestA/y\npass TestA\nok",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "SKIP"},
			tests:        map[string]verdict.Verdict{"TestA/x": "PASS", "TestA/y": "SKIP"},
			exit:         ExitAsExpected,
		},
		"subtests that cover nothing speak for their parent": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nrun TestA/x\nprint TestA/x x_test.go:1: no\nfail TestA/x\nrun TestA/y\npass TestA/y\nfail TestA\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "FAIL"},
			tests:        map[string]verdict.Verdict{"TestA": "FAIL"},
			exit:         ExitNonConformance,
		},
		"a subtest that covers something speaks for itself": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nrun TestA/x\ncovers TestA/x MSC4243-SIG-02\nfail TestA/x\nfail TestA\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "PASS", "MSC4243-SIG-02": "FAIL"},
			tests:        map[string]verdict.Verdict{"TestA": "PASS", "TestA/x": "FAIL"},
			exit:         ExitNonConformance,
		},
		"a parent that may have failed too is no pass": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nprint TestA a_test.go:9: hm\nrun TestA/x\ncovers TestA/x MSC4243-SIG-02\nfail TestA/x\nfail TestA\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "INCONCLUSIVE", "MSC4243-SIG-02": "FAIL"},
			tests:        map[string]verdict.Verdict{"TestA": "INCONCLUSIVE", "TestA/x": "FAIL"},
			exit:         ExitNonConformance,
		},
		"a failure that covers nothing is the harness's": {
			script: "run TestA\nprint TestA a_test.go:1: setup\nfail TestA\nbroken",
			tests:  map[string]verdict.Verdict{"TestA": "ERROR"},
			exit:   ExitHarness,
		},
		"a broken requirement stays broken beside a harness error": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nfail TestA\nrun TestB\ncovers TestB MSC4243-SIG-02\ncrash TestB panic: x\nfail TestB\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "FAIL", "MSC4243-SIG-02": "ERROR"},
			tests:        map[string]verdict.Verdict{"TestA": "FAIL", "TestB": "ERROR"},
			exit:         ExitNonConformance,
		},
		"a requirement that is not in the catalogue": {
			script: "run TestA\ncovers TestA MSC4243-NOPE-01\npass TestA\nok",
			tests:  map[string]verdict.Verdict{"TestA": "ERROR"},
			exit:   ExitHarness,
		},
		"output after a test's end belongs to nobody": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\npass TestA\ncrash TestA panic: Log in goroutine after TestA has completed\nbroken",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "PASS"},
			tests:        map[string]verdict.Verdict{"TestA": "PASS"},
			exit:         ExitHarness,
		},
		"a test that the run did not ask for": {
			script: "run TestA\nunselected TestA 1\nskip TestA\nok",
			exit:   ExitNothingRan,
		},
		"subtests that the run did not ask for say nothing about their parent": {
			script: `
				run TestA
				covers TestA MSC4243-SIG-01
				run TestA/send
				unselected TestA/send 1
				skip TestA/send
				run TestA/backfill
				covers TestA/backfill MSC4243-SIG-01
				pass TestA/backfill
				pass TestA
				run TestB
				covers TestB MSC4243-SIG-02
				run TestB/send
				unselected TestB/send 1
				skip TestB/send
				pass TestB
				run TestC
				covers TestC MSC4243-SIG-03
				run TestC/send
				unselected TestC/send 1
				skip TestC/send
				fail TestC
				broken`,
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "PASS", "MSC4243-SIG-03": "FAIL"},
			tests:        map[string]verdict.Verdict{"TestA": "PASS", "TestA/backfill": "PASS", "TestC": "FAIL"},
			exit:         ExitNonConformance,
		},
		"an empty run": {script: "ok", exit: ExitNothingRan},
		"an unreadable finding": {
			script:       "run TestA\ncovers TestA MSC4243-SIG-01\nfinding TestA {\"verdict\":\"GOOD\"}\npass TestA\nok",
			requirements: map[string]verdict.Verdict{"MSC4243-SIG-01": "ERROR"},
			tests:        map[string]verdict.Verdict{"TestA": "ERROR"},
			exit:         ExitHarness,
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := collect(t, c.script)
			got := map[string]verdict.Verdict{}
			for _, r := range run.Requirements {
				got[r.ID] = r.Verdict
			}
			assert.Equal(t, orEmpty(c.requirements), got, "requirements")
			got = map[string]verdict.Verdict{}
			for _, test := range run.Tests {
				got[test.Name] = test.Verdict
			}
			assert.Equal(t, orEmpty(c.tests), got, "tests")
			assert.Equal(t, c.exit, run.ExitCode(), "exit code")
			_, err := Marshal(run)
			assert.NoError(t, err)
		})
	}
}

// What was on the wire is shown by itself.
func TestCollect_TellsTheFailureWithoutTheWire(t *testing.T) {
	run := collect(t, `
		run TestA
		covers TestA MSC4243-SIG-01
		print TestA a_test.go:1: no such event
		print TestA transcript.go:45: what was on the wire:
		print TestA GET /sync
		fail TestA 0.01
		broken`)
	assert.Equal(t, "no such event", run.Tests[0].Observed)
	assert.Contains(t, run.Tests[0].Output, "GET /sync")
}

// What a test says of a server quotes its own requests.
func TestCollect_KeepsNoSecrets(t *testing.T) {
	run := collect(t, `
		run TestA
		covers TestA MSC4243-SIG-01
		print TestA a_test.go:1: > {"password":"hunter2"}
		finding TestA {"verdict":"INCONCLUSIVE","observed":"> {\"password\":\"hunter2\"} < {\"access_token\":\"hunt\\"}
		fail TestA 0.01
		run TestB
		covers TestB MSC4243-SIG-02
		print TestB b_test.go:1: > {"password":"hunter2"
		fail TestB 0.01
		broken`)
	text, err := Marshal(run)
	require.NoError(t, err)
	assert.NotContains(t, string(text), "hunt")
	assert.Contains(t, run.Tests[0].Observed, `"access_token":"(removed)"`)
	assert.Contains(t, run.Tests[1].Observed, `"password":"(removed)"`)
}

func orEmpty(m map[string]verdict.Verdict) map[string]verdict.Verdict {
	all := map[string]verdict.Verdict{}
	maps.Copy(all, m)
	return all
}

func TestCollect_PackageTrouble(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"a server that did not start, told by two packages": {
			"suite a\nsay countersign: error: hs1 did not answer\nbroken\nsuite b\nsay countersign: error: hs1 did not answer\nbroken",
			"hs1 did not answer",
		},
		"a server that said why": {
			"suite a\nsay countersign: error: hs1 ended\nsay countersign: more: its log:\nsay countersign: more: \"access_token\":\"mine\"\nbroken\n" +
				"suite b\nsay countersign: error: hs1 ended\nsay countersign: more: its log:\nbroken",
			"hs1 ended\nits log:\n\"access_token\":\"(removed)\"",
		},
		"a package that does not compile": {"suite a\nnobuild a_test.go:1: undefined: x", "tests/a does not compile: a_test.go:1: undefined: x"},
		"a failure outside of tests":      {"suite a\nsay could not close\nbroken", "tests/a failed outside of its tests: could not close"},
		"a crash": {
			"suite a\nrun TestA\nrun TestB\nrun TestB/x\nfail TestA\ncrash TestA panic: nil map\nbroken",
			"tests/a crashed, and 2 tests did not end: panic: nil map",
		},
		"a process that ends early": {"suite a\nrun TestA\nrun TestB\nbroken", "tests/a ended early, and 2 tests did not end"},
		"a fact that is not one":    {"suite a\nsay countersign: fact: {\nok", "tests/a printed a fact that cannot be read: {"},
	} {
		t.Run(name, func(t *testing.T) {
			run := collect(t, c.script)
			assert.Equal(t, []string{c.want}, run.Errors)
			assert.Equal(t, ExitHarness, run.ExitCode())
		})
	}
}

func TestCollect_ErrorLineWithinATest(t *testing.T) {
	run := collect(t, "run TestA\ncovers TestA MSC4243-SIG-01\ncrash TestA countersign: error: the run was interrupted\nbroken")
	assert.Equal(t, []string{"the run was interrupted"}, run.Errors)
}

func TestCollect_Facts(t *testing.T) {
	run := collect(t, `say countersign: fact: {"server":"hs2","name":"b"}
		say countersign: fact: {"server":"hs1","name":"a","version":"1","room_versions":{"12":"stable"}}
		ok`)
	assert.Equal(t, []verdict.Fact{
		{Server: "hs1", Name: "a", Version: "1", RoomVersions: map[string]string{"12": "stable"}},
		{Server: "hs2", Name: "b"},
	}, run.Servers)
}

func TestCollect_StrayLines(t *testing.T) {
	collector := NewCollector(nil)
	require.NoError(t, collector.Read(strings.NewReader("go: cannot find main module\n\n")))
	assert.Equal(t, "go: cannot find main module", collector.Stray())
}

// What is kept of a test is bounded, however much it prints.
func TestCollect_OutputIsBounded(t *testing.T) {
	var text strings.Builder
	text.WriteString("run TestA\ncovers TestA MSC4243-SIG-01\nprint TestA first\n")
	for i := range 20_000 {
		fmt.Fprintf(&text, "print TestA line %d\n", i)
	}
	text.WriteString("print TestA last\nfail TestA\nbroken\n")
	run := collect(t, text.String())
	output := run.Tests[0].Output
	assert.Less(t, len(output), 3*tailLimit)
	assert.True(t, strings.HasPrefix(output, "first\n"))
	assert.True(t, strings.HasSuffix(output, "last"))
	assert.Contains(t, output, "[...]")
	assert.Less(t, len(run.Tests[0].Observed), 700)
}

func TestCollect_OverlongLine(t *testing.T) {
	collector := NewCollector(nil)
	long := strings.Repeat("x", 3*lineLimit)
	require.NoError(t, collector.Read(strings.NewReader(long+"\n"+long)))
	assert.Less(t, len(collector.Stray()), 3*tailLimit)
}
