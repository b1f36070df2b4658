package killtable

import (
	"fmt"
	"slices"

	"countersign/report"
)

// Merge puts the shards of one trial together. The error says which are missing, there twice, or of
// different trials.
func Merge(shards ...*Table) (*Table, error) {
	if len(shards) == 0 {
		return nil, fmt.Errorf("there is nothing to merge")
	}
	first := shards[0]
	merged := &Table{Suite: first.Suite, Whole: first.Whole, Machine: first.Machine, Started: first.Started}
	seen := map[report.Shard]bool{}
	tests := map[string]*Test{}
	for _, s := range shards {
		switch {
		case s.Shard == nil || first.Shard == nil || s.Shard.Count != first.Shard.Count:
			return nil, fmt.Errorf("these are not the shards of one trial")
		case seen[*s.Shard]:
			return nil, fmt.Errorf("shard %d of %d is there twice", s.Shard.Index, s.Shard.Count)
		case s.Suite != first.Suite || s.Whole != first.Whole:
			return nil, fmt.Errorf("the shards are of different suites: commits %q and %q", first.Suite.Commit, s.Suite.Commit)
		}
		seen[*s.Shard] = true
		merged.DurationSeconds = max(merged.DurationSeconds, s.DurationSeconds)
		merged.Problems = append(merged.Problems, s.Problems...)
		merged.Mutants = append(merged.Mutants, s.Mutants...)
		merged.Variants = append(merged.Variants, s.Variants...)
		merged.Dead = append(merged.Dead, s.Dead...)
		for _, t := range s.Tests {
			m := tests[t.ID]
			if m == nil {
				m = &Test{ID: t.ID, Covers: t.Covers, Exempt: t.Exempt}
				tests[t.ID] = m
			}
			m.Kills = append(m.Kills, t.Kills...)
			m.Reaches, m.Tried = m.Reaches+t.Reaches, m.Tried+t.Tried
		}
	}
	if len(seen) != first.Shard.Count {
		return nil, fmt.Errorf("there are %d of %d shards", len(seen), first.Shard.Count)
	}
	for _, t := range tests {
		slices.Sort(t.Kills)
		merged.Tests = append(merged.Tests, *t)
	}
	merged.Close()
	return merged, nil
}
