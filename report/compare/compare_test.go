package compare

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report"
	"countersign/report/internal/sample"
	"countersign/report/verdict"
)

func before(t *testing.T) *report.Run {
	return sample.Run(t,
		"TestSigning MSC4243-SIG-01 PASS", "TestOther MSC4243-SIG-02 FAIL", "TestThird MSC4243-SIG-03 WARN",
		"TestKeys MSC4243-KEY-01 PASS", "TestOld MSC4243-KEY-02 PASS",
		"TestForge/unsigned/send MSC4243-FORGE-01 PASS", "TestForge/unsigned/send_join MSC4243-FORGE-01 PASS",
		"TestDuplicates MSC4243-FORGE-59 INFO")
}

func after(t *testing.T) *report.Run {
	run := sample.Run(t,
		"TestSigning MSC4243-SIG-01 FAIL", "TestOther MSC4243-SIG-02 PASS", "TestThird MSC4243-SIG-03 WARN",
		"TestKeys MSC4243-KEY-01 SKIP",
		"TestForge/unsigned/send MSC4243-FORGE-01 PASS", "TestForge/unsigned/send_join MSC4243-FORGE-01 INCONCLUSIVE",
		"TestServerKey MSC4243-FORGE-02 PASS", "TestDuplicates MSC4243-FORGE-59 INFO")
	run.Suite.Commit = "fedcba9876543210fedcba9876543210fedcba98"
	for i := range run.Tests {
		if run.Tests[i].Name == "TestDuplicates" {
			run.Tests[i].Requirements[0].Observed = "it was dropped"
		}
	}
	return run
}

func TestDiff(t *testing.T) {
	d := Diff(before(t), after(t))
	kinds := map[string]Kind{}
	for _, c := range append(d.Requirements, d.Tests...) {
		kinds[c.ID] = c.Kind
	}
	assert.Equal(t, map[string]Kind{
		"MSC4243-SIG-01": Regression, "MSC4243-SIG-02": Fix, "MSC4243-KEY-01": Regression, "MSC4243-KEY-02": Vanished,
		"MSC4243-FORGE-01": Regression, "MSC4243-FORGE-02": New,
		"msc4243/TestSigning": Regression, "msc4243/TestOther": Fix, "msc4243/TestKeys": Regression, "msc4243/TestOld": Vanished,
		"msc4243/TestForge/unsigned/send_join": Regression, "msc4243/TestServerKey": New,
	}, kinds)
	assert.Equal(t, report.ExitNonConformance, d.ExitCode())
	var out bytes.Buffer
	d.Print(&out, 0)
	sample.Golden(t, "testdata/diff.txt", out.Bytes())
}

func TestDiff_OfTheSame(t *testing.T) {
	d := Diff(before(t), before(t))
	assert.Empty(t, d.Requirements)
	assert.Empty(t, d.Tests)
	assert.Empty(t, d.Cautions)
	assert.Equal(t, report.ExitAsExpected, d.ExitCode())
	assert.Equal(t, 7, d.Compared.Requirements)
}

// Runs that were not made in the same way may differ for other reasons than the server.
func TestDiff_Cautions(t *testing.T) {
	old := &report.Run{Suite: report.Suite{Version: "v1"}, Configuration: map[string]string{"COUNTERSIGN_FLOOD": "10", "COMPLEMENT_DEBUG": "1"}}
	now := &report.Run{Suite: report.Suite{Version: "v2"}, Strict: true, Configuration: map[string]string{"COUNTERSIGN_FLOOD": "20", "COMPLEMENT_DEBUG": "1", "COUNTERSIGN_MUTANT": "A"}}
	assert.Equal(t, []string{
		"the suite differs: v1, then v2", "strictness differs: false, then true",
		"COUNTERSIGN_FLOOD differs: 10, then 20", "COUNTERSIGN_MUTANT differs: nothing, then A",
	}, Diff(old, now).Cautions)
}

func TestDiff_ExitCodes(t *testing.T) {
	assert.Equal(t, report.ExitNothingRan, Diff(sample.Nothing(t), sample.Nothing(t)).ExitCode(), "nothing compared is no success")
	assert.Equal(t, report.ExitNothingRan, Diff(sample.Run(t, "TestA MSC4243-SIG-01 PASS"), sample.Run(t, "TestB MSC4243-SIG-02 PASS")).ExitCode())
	assert.Equal(t, report.ExitAsExpected, Diff(sample.Run(t, "TestA MSC4243-SIG-01 FAIL"), sample.Run(t, "TestA MSC4243-SIG-01 FAIL")).ExitCode(),
		"a failure that was there before is no regression")
}

// A requirement whose tests are there, and were not left out on purpose, must not get lost.
func TestDiff_TestsThatDidNotRun(t *testing.T) {
	old, lost := sample.Run(t, "TestA MSC4243-SIG-01 PASS", "TestB MSC4243-SIG-02 PASS"), sample.Run(t, "TestB MSC4243-SIG-02 PASS")
	for i := range lost.NotJudged {
		if lost.NotJudged[i].ID == "MSC4243-SIG-01" {
			lost.NotJudged[i].Reason = report.NotRun
		}
	}
	d := Diff(old, lost)
	require.Len(t, d.Requirements, 1)
	assert.Equal(t, Regression, d.Requirements[0].Kind)
	lost.Selected = true
	assert.Equal(t, Vanished, Diff(old, lost).Requirements[0].Kind)
}

// Every pair of verdicts has a kind, written out: rows are old, columns new.
func TestJudge_EveryPair(t *testing.T) {
	const r, f, c = Regression, Fix, Changed
	columns := []verdict.Verdict{"PASS", "INFO", "WARN", "SKIP", "XFAIL", "XPASS", "INCONCLUSIVE", "ERROR", "FAIL"}
	for old, row := range map[verdict.Verdict][]Kind{
		"PASS":         {c, c, r, r, c, c, r, r, r},
		"INFO":         {c, c, r, r, c, c, r, r, r},
		"XPASS":        {c, c, r, r, c, c, r, r, r},
		"WARN":         {f, f, c, c, c, f, r, r, r},
		"SKIP":         {c, c, c, c, c, c, r, r, r},
		"XFAIL":        {f, f, f, c, c, f, r, r, r},
		"INCONCLUSIVE": {f, f, f, c, c, f, c, c, c},
		"ERROR":        {f, f, f, c, c, f, c, c, c},
		"FAIL":         {f, f, f, c, c, f, c, c, c},
	} {
		for i, want := range row {
			assert.Equal(t, want, judge(old, columns[i]), "%s -> %s", old, columns[i])
		}
	}
}

func TestMatrix(t *testing.T) {
	m, err := SideBySide([]*report.Run{before(t), after(t), sample.Mixed(t)})
	require.NoError(t, err)
	var ids []string
	for _, row := range m.Disagreements {
		ids = append(ids, row.ID)
	}
	assert.Equal(t, []string{"MSC4243-KEY-01", "MSC4243-SIG-01", "MSC4243-SIG-02", "MSC4243-FORGE-01", "MSC4243-FORGE-02"}, ids)
	require.Len(t, m.Splits, 1)
	assert.Equal(t, []string{"it was accepted", "it was dropped", ""}, m.Splits[0].Observed)
	var out bytes.Buffer
	m.Print(&out, 0)
	sample.Golden(t, "testdata/matrix.txt", out.Bytes())
}

// The rows stay in the catalogue's order, whichever runs have them.
func TestMatrix_Order(t *testing.T) {
	m, err := SideBySide([]*report.Run{
		sample.Run(t, "TestA MSC4243-SIG-02 PASS"),
		sample.Run(t, "TestA MSC4243-SIG-01 PASS", "TestB MSC4243-SIG-03 PASS", "TestC MSC4243-KEY-01 PASS"),
	})
	require.NoError(t, err)
	var areas []string
	for _, a := range m.Areas {
		areas = append(areas, a.Area)
	}
	assert.Equal(t, []string{"MSC4243-KEY", "MSC4243-SIG"}, areas)
	assert.Zero(t, m.Compared)
}

func TestLetters(t *testing.T) {
	assert.Equal(t, []string{"A", "Z", "AA", "AB", "BA"}, []string{letters(0), letters(25), letters(26), letters(27), letters(52)})
}
