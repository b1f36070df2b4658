package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report"
	"countersign/report/killtable"
)

func TestKill_Usage(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": `func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-01") }`})
	for _, row := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--mutant", "NoSuchMutant"}, report.ExitUsage, "no mutant has such a name"},
		{[]string{"--mutant", "["}, report.ExitUsage, "--mutant"},
		{[]string{"--shard", "9/8"}, report.ExitUsage, "9/8"},
		{[]string{"--suite", "nosuchsuite"}, report.ExitUsage, "nosuchsuite"},
		{[]string{"--nosuchflag"}, report.ExitUsage, "--nosuchflag"},
		{[]string{"--mutant", "Hangs"}, report.ExitNothingRan, "with --all only"},
	} {
		r := c.run(append([]string{"kill"}, row.args...)...)
		assert.Equal(t, row.code, r.code, "%v: %s", row.args, r.err)
		assert.Contains(t, r.oneLine(t), row.says)
	}
	r := c.run("kill", "--list")
	assert.Equal(t, 0, r.code, r.err)
	for _, part := range []string{"mutant   V12DropMessages ", "variant  ", "dead     Hangs "} {
		assert.Contains(t, r.out, part)
	}
	c.write("tests/roomv12/broken_test.go", "package")
	r = c.run("kill", "--mutant", "V12DropMessages")
	assert.Equal(t, report.ExitHarness, r.code)
	assert.Contains(t, r.oneLine(t), "broken_test.go")
}

// One mutant, and the tests of its requirement, in this repository.
func TestKill_KillsAMutant(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	require.NoError(t, err)
	c := &checkout{t: t, root: filepath.Dir(filepath.Dir(here))}
	folder := t.TempDir()
	r := c.run("kill", "--suite", "roomv12", "--mutant", "V12DropMessages", "--report", folder)
	require.Equal(t, 0, r.code, "%s%s", r.out, r.err)
	assert.Contains(t, r.out, "mutants 1, killed 1 (100 %), killed by a test of their own requirement 1 (100 %)")
	for _, form := range killtable.Forms() {
		assert.FileExists(t, filepath.Join(folder, form.File))
	}
}

// What a table amounts to is the exit code, of a trial and of one that is put together from shards.
func TestKillMerge(t *testing.T) {
	t.Parallel()
	c := &checkout{t: t, root: t.TempDir()}
	shard := func(name string, index int, killers ...killtable.Kill) string {
		table := &killtable.Table{
			Suite: report.Suite{Commit: "c0ffee"}, Shard: &report.Shard{Index: index, Count: 2},
			Mutants: []killtable.Mutant{{Name: name, Requirement: "RV12-MSG-01", Ran: 1, Killers: killers}},
		}
		table.Close()
		text, err := json.Marshal(table)
		require.NoError(t, err)
		c.write(filepath.Join(name, killtable.FileName), string(text))
		return filepath.Join(c.root, name)
	}
	own := killtable.Kill{Test: "roomv12/TestA", Own: true}
	other := killtable.Kill{Test: "roomv12/TestB", Requirements: []string{"RV12-MSG-02"}}
	first, killed, survived, byOthers := shard("First", 1, own), shard("Killed", 2, own), shard("Survived", 2), shard("ByOthers", 2, other)

	r := c.run("kill", "merge", first, killed)
	assert.Equal(t, 0, r.code, r.err)
	assert.Contains(t, r.out, "mutants 2, killed 2 (100 %)")
	r = c.run("kill", "merge", first, survived)
	assert.Equal(t, report.ExitNonConformance, r.code)
	assert.Contains(t, r.out, "SURVIVED  Survived")
	r = c.run("kill", "merge", first, byOthers)
	assert.Equal(t, report.ExitNonConformance, r.code)
	assert.Contains(t, r.out, "BY OTHERS ByOthers (RV12-MSG-01): killed by roomv12/TestB only, for RV12-MSG-02")
	for _, args := range [][]string{{first, first}, {first, c.root}, {}} {
		r = c.run(append([]string{"kill", "merge"}, args...)...)
		assert.Equal(t, report.ExitUsage, r.code, args)
	}
}
