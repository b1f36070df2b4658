package killing

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/reference"
	"countersign/report"
	"countersign/report/killtable"
	"countersign/report/verdict"
)

func judged(v verdict.Verdict, requirements ...report.RequirementVerdict) []report.Test {
	return []report.Test{{Suite: "s", Name: "TestA", Verdict: v, Requirements: requirements, Observed: "something"}}
}

// A mutant is killed by a FAIL, and for the right reason by one on the requirement that it breaks.
func TestKill(t *testing.T) {
	own := report.RequirementVerdict{ID: "R-1", Verdict: verdict.Fail, Observed: "this"}
	other := report.RequirementVerdict{ID: "R-2", Verdict: verdict.Fail}
	open := report.RequirementVerdict{ID: "R-1", Verdict: verdict.Inconclusive}
	require.Equal(t, &killtable.Kill{Test: "s/TestA", Own: true, Requirements: []string{"R-1", "R-2"}, Observed: "this"},
		kill("s/TestA", judged(verdict.Fail, own, other), "R-1"))
	require.Equal(t, &killtable.Kill{Test: "s/TestA", Requirements: []string{"R-2"}, Observed: "something"},
		kill("s/TestA", judged(verdict.Fail, open, other), "R-1"), "INCONCLUSIVE on its own requirement is no reason")
	for _, v := range []verdict.Verdict{verdict.Pass, verdict.Inconclusive, verdict.Error, verdict.Skip, verdict.Warn} {
		require.Nil(t, kill("s/TestA", judged(v, open), "R-1"), v)
	}
}

func TestBlame(t *testing.T) {
	for _, v := range []verdict.Verdict{verdict.Pass, verdict.Skip, verdict.Warn, verdict.Info} {
		require.Nil(t, blame("s/TestA", judged(v)), v)
	}
	for _, v := range []verdict.Verdict{verdict.Fail, verdict.Inconclusive, verdict.Error} {
		require.NotNil(t, blame("s/TestA", judged(v)), v)
	}
}

func tests(trial *trial, all ...*test) {
	trial.tests = map[string]*test{}
	for _, one := range all {
		one.kills, one.tried = map[string]bool{}, map[string]bool{}
		trial.tests[one.id] = one
	}
}

// Tests of the mutant's requirement come in any case; of the others those that could notice it, idle ones
// first, within the budget.
func TestChoose(t *testing.T) {
	reached := []string{"M"}
	own := &test{id: "s/TestOwn", covers: []string{"R-1"}}
	busy := &test{id: "s/TestBusy", honest: honest{Reached: reached, CPU: othersBudget / 4}}
	idle := &test{id: "s/TestIdle", honest: honest{Reached: reached, CPU: othersBudget / 2}}
	dear := &test{id: "s/TestDear", honest: honest{Reached: reached, CPU: othersBudget}}
	blind := &test{id: "s/TestBlind"}
	trial := &trial{}
	tests(trial, own, busy, idle, dear, blind)
	busy.kills["N"], dear.kills["N"] = true, true
	chosen, others := trial.choose(reference.Mutant{Name: "M", Requirement: "R-1"}, trial.reaching("M"))
	require.Equal(t, []*test{own}, chosen)
	require.Equal(t, []*test{idle, busy}, others)
}

// Every idle test is given every mutant that could show in it, one after the other, until it has killed one.
func TestNextRounds(t *testing.T) {
	trial := &trial{Options: Options{Mutants: []reference.Mutant{{Name: "M"}, {Name: "N"}}}}
	idle := &test{id: "s/TestIdle", honest: honest{Reached: []string{"M", "N"}}}
	blind := &test{id: "s/TestBlind"}
	tests(trial, idle, blind)
	rounds := trial.nextRounds()
	require.Equal(t, []round{{mutant: 0, tests: []*test{idle}}}, rounds)
	trial.credit("M", trialOf{Tried: []string{idle.id}})
	require.Equal(t, 1, trial.nextRounds()[0].mutant)
	trial.credit("N", trialOf{Tried: []string{idle.id}, Kills: []killtable.Kill{{Test: idle.id}}})
	require.Empty(t, trial.nextRounds())
}

// What is known survives a restart, also of a run that was killed while it wrote; and is forgotten when the
// programs have changed.
func TestJournal(t *testing.T) {
	folder := t.TempDir()
	first, err := openJournal(folder, "one")
	require.NoError(t, err)
	require.NoError(t, first.put("a", 1))
	_, err = first.file.WriteString(`{"key":"b","val`)
	require.NoError(t, err)
	require.NoError(t, first.close())

	second, err := openJournal(folder, "one")
	require.NoError(t, err)
	var value int
	require.True(t, second.get("a", &value))
	require.False(t, second.get("b", &value))
	require.NoError(t, second.put("c", 3))
	require.NoError(t, second.close())

	third, err := openJournal(folder, "one")
	require.NoError(t, err)
	require.True(t, third.get("c", &value))
	require.Equal(t, 3, value)
	require.NoError(t, third.close())

	other, err := openJournal(folder, "two")
	require.NoError(t, err)
	require.False(t, other.get("a", &value))
	require.NoError(t, other.close())
}

func TestReadReached(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reached")
	names, err := (&trial{}).readReached(path)
	require.NoError(t, err)
	require.Empty(t, names)
	require.NoError(t, os.WriteFile(path, []byte("B\nA\nB\n"), 0o600))
	names, err = (&trial{}).readReached(path)
	require.NoError(t, err)
	require.Equal(t, []string{"A", "B"}, names)
}
