package killtable

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/report"
)

func sample(shard *report.Shard) *Table {
	t := &Table{Whole: true, Shard: shard, Suite: report.Suite{Commit: "c0ffee"}}
	own := Kill{Test: "s/TestA", Own: true, Requirements: []string{"R-1"}, Observed: "it <is> | wrong"}
	t.Mutants = []Mutant{{Name: "B", Requirement: "R-2", Wrong: "errs", Ran: 2}, {Name: "A", Requirement: "R-1", Wrong: "errs", Killers: []Kill{{Test: "s/TestB"}, own}}}
	t.Variants = []Variant{{Name: "V", Permitted: "R-3"}}
	t.Dead = []Dead{{Name: "D"}}
	t.Tests = []Test{{ID: "s/TestB"}, {ID: "s/TestA", Kills: []string{"A"}}, {ID: "s/TestC", Exempt: "it is a control"}}
	t.Close()
	return t
}

func TestTable_CountsAndConcludes(t *testing.T) {
	table := sample(nil)
	require.Equal(t, Summary{
		Mutants: 2, Killed: 1, KilledByOwnRequirement: 1, Variants: 1, DeadServers: 1, Tests: 3, IdleTests: 1, ExemptTests: 1,
	}, table.Summary)
	require.False(t, table.Proves())
	require.Equal(t, "A", table.Mutants[0].Name, "mutants are sorted by requirement")
	require.True(t, table.Mutants[0].Killers[0].Own, "killers of its own requirement come first")
	text := ""
	for _, line := range table.Conclusions() {
		text += line + "\n"
	}
	require.Contains(t, text, "killed 1 (50 %)")
	require.Contains(t, text, "SURVIVED  B (R-2)")
	require.Contains(t, text, "IDLE      s/TestB")
}

func TestTable_Proves(t *testing.T) {
	table := sample(nil)
	table.Mutants, table.Tests = table.Mutants[:1], table.Tests[:1]
	table.Close()
	require.True(t, table.Proves())
	table.Variants[0].Failed = []Kill{{Test: "s/TestA"}}
	table.Close()
	require.False(t, table.Proves(), "a variant was failed")
}

func TestForms_AreWritten(t *testing.T) {
	for _, form := range Forms() {
		var b bytes.Buffer
		require.NoError(t, form.Write(&b, sample(nil)), form.File)
		require.Contains(t, b.String(), "s/TestA", form.File)
		if form.File != FileName {
			require.NotContains(t, b.String(), "<is>", "%s: what a server says is no markup", form.File)
		}
	}
}

func TestMerge(t *testing.T) {
	first, second := sample(&report.Shard{Index: 1, Count: 2}), sample(&report.Shard{Index: 2, Count: 2})
	second.Mutants[0].Name = "C"
	second.Tests[1].Kills = []string{"C"}
	merged, err := Merge(first, second)
	require.NoError(t, err)
	require.Equal(t, 4, merged.Summary.Mutants)
	require.Equal(t, 0, merged.Summary.IdleTests, "a test that has killed something in one shard is not idle")

	_, err = Merge(first)
	require.ErrorContains(t, err, "there are 1 of 2 shards")
	_, err = Merge(first, first)
	require.ErrorContains(t, err, "twice")
	second.Suite.Commit = "other"
	_, err = Merge(first, second)
	require.ErrorContains(t, err, "different suites")
}

func TestJSON_HasTheSummary(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, writeJSON(&b, sample(nil)))
	var read struct{ Summary map[string]int }
	require.NoError(t, json.Unmarshal(b.Bytes(), &read))
	for _, key := range []string{"mutants", "killed", "killed_by_own_requirement", "variants", "variants_failed", "idle_tests"} {
		require.Contains(t, read.Summary, key)
	}
}
