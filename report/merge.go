package report

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"countersign/report/verdict"
	"countersign/requirements"
)

// Merge puts runs of different tests against the same server together, as if they had been one. The
// runs must be of the same suite, target and strictness, and of the same implementations. Shards
// must be complete: that one is missing is an error, so that a lost job is never taken for a success.
// A test that is in several runs counts as repeated. Of images that each machine has built for itself, no
// digest is named, and of the configuration only what all runs had. The duration is that of the longest run. The
// runs are not changed.
func Merge(catalogue *requirements.Catalogue, runs ...*Run) (*Run, error) {
	if len(runs) == 0 {
		return nil, errors.New("there is nothing to merge")
	}
	for _, run := range runs[1:] {
		if err := fits(runs[0], run); err != nil {
			return nil, err
		}
	}
	if err := complete(runs); err != nil {
		return nil, err
	}
	merged := *runs[0]
	merged.Shard, merged.Command = nil, withoutShard(runs[0].Command)
	merged.Configuration = maps.Clone(merged.Configuration)
	merged.Errors, merged.Tests, merged.Expectations = []string{}, []Test{}, nil
	places, facts, reasons := map[string]int{}, map[string]verdict.Fact{}, map[string]Reason{}
	for _, run := range runs {
		merged.Selected = merged.Selected || run.Selected
		merged.DurationSeconds = max(merged.DurationSeconds, run.DurationSeconds)
		if run.Started.Before(merged.Started) {
			merged.Started = run.Started
		}
		for _, fact := range run.Servers {
			if before, ok := facts[fact.Server]; ok && before.Digest != fact.Digest {
				fact.Digest = ""
			}
			facts[fact.Server] = fact
		}
		maps.DeleteFunc(merged.Configuration, func(name, value string) bool { return run.Configuration[name] != value })
		for _, reason := range run.Errors {
			if run.Shard != nil {
				reason = fmt.Sprintf("shard %d of %d: %s", run.Shard.Index, run.Shard.Count, reason)
			}
			merged.Errors = append(merged.Errors, reason)
		}
		merged.Tests = fold(merged.Tests, places, slices.Clone(run.Tests))
		for _, n := range run.NotJudged {
			if reasons[n.ID] != NotRun {
				reasons[n.ID] = n.Reason
			}
		}
		merged.addExpectations(run.Expectations)
	}
	slices.SortStableFunc(merged.Tests, func(a, b Test) int {
		return cmp.Or(cmp.Compare(a.Suite, b.Suite), cmp.Compare(a.Name, b.Name))
	})
	merged.Servers = []verdict.Fact{}
	for _, alias := range slices.Sorted(maps.Keys(facts)) {
		merged.Servers = append(merged.Servers, facts[alias])
	}
	for i := range merged.Tests {
		for _, about := range merged.Tests[i].Requirements {
			if catalogue.Requirement(about.ID) == nil {
				return nil, fmt.Errorf("%s judges %s, which is not in the catalogue of this program; use the one that made the reports", merged.Tests[i].ID(), about.ID)
			}
		}
	}
	merged.Requirements = rollup(catalogue, merged.Tests)
	merged.NotJudged = notJudged(catalogue, merged.Requirements, func(id string) bool { return reasons[id] == NotRun })
	merged.Summary = summarize(&merged)
	return &merged, nil
}

// addExpectations takes over what expectations did to one of the merged runs.
func (r *Run) addExpectations(applied *Expectations) {
	if applied == nil {
		return
	}
	if r.Expectations == nil {
		first := *applied
		first.Stale = slices.Clone(applied.Stale)
		r.Expectations = &first
		return
	}
	r.Expectations.Strict = r.Expectations.Strict || applied.Strict
	for _, stale := range applied.Stale {
		if !slices.Contains(r.Expectations.Stale, stale) {
			r.Expectations.Stale = append(r.Expectations.Stale, stale)
		}
	}
}

// fits tells why two runs cannot be put together.
func fits(a, b *Run) error {
	for _, each := range []struct{ what, a, b string }{
		{"suites", a.Suite.Version + " " + a.Suite.Commit, b.Suite.Version + " " + b.Suite.Commit},
		{"targets", a.Target, b.Target},
		{"strictness", fmt.Sprint(a.Strict), fmt.Sprint(b.Strict)},
	} {
		if each.a != each.b {
			return fmt.Errorf("the reports are of different %s: %s and %s", each.what, each.a, each.b)
		}
	}
	for _, one := range a.Servers {
		for _, other := range b.Servers {
			if one.Server != other.Server {
				continue
			}
			if one.Name != other.Name || one.Version != other.Version || !maps.Equal(one.RoomVersions, other.RoomVersions) {
				return fmt.Errorf("the reports are of different servers: %s is %s %s and %s %s", one.Server, one.Name, one.Version, other.Name, other.Version)
			}
			if one.Target != other.Target {
				return fmt.Errorf("the reports are of different servers: %s is %s and %s", one.Server, one.Target, other.Target)
			}
		}
	}
	return nil
}

// complete tells which shard is missing or there twice.
func complete(runs []*Run) error {
	count := 0
	for _, run := range runs {
		if run.Shard != nil {
			count = run.Shard.Count
		}
	}
	if count == 0 {
		return nil
	}
	seen := map[int]bool{}
	for _, run := range runs {
		switch {
		case run.Shard == nil || run.Shard.Count != count:
			return fmt.Errorf("the reports are not all of %d shards", count)
		case seen[run.Shard.Index]:
			return fmt.Errorf("shard %d of %d is there twice", run.Shard.Index, count)
		}
		seen[run.Shard.Index] = true
	}
	for i := range count {
		if !seen[i+1] {
			return fmt.Errorf("shard %d of %d is missing", i+1, count)
		}
	}
	return nil
}

// withoutShard is a command line without its --shard.
func withoutShard(command []string) []string {
	rest := []string{}
	for i := 0; i < len(command); i++ {
		if command[i] == "--shard" {
			i++
			continue
		}
		rest = append(rest, command[i])
	}
	return rest
}
