package report

import (
	"slices"

	"countersign/report/verdict"
)

// fold adds tests to those that are kept. A test that is there already was repeated: of every
// requirement the strongest verdict is kept, with its evidence. Places are the indices by ID.
func fold(kept []Test, places map[string]int, more []Test) []Test {
	for i := range more {
		at, repeated := places[more[i].ID()]
		if !repeated {
			places[more[i].ID()] = len(kept)
			kept = append(kept, more[i])
			continue
		}
		kept[at].repeat(&more[i])
	}
	return kept
}

// repeat takes in another run of the same test, or of several.
func (t *Test) repeat(again *Test) {
	counts := Counts{}
	for _, each := range [...]*Test{t, again} {
		if each.Repeats == nil {
			counts.Add(each.Verdict)
			continue
		}
		for _, v := range verdict.All() {
			for range each.Repeats.Of(v) {
				counts.Add(v)
			}
		}
	}
	duration := max(t.DurationSeconds, again.DurationSeconds)
	stays, other := t, again
	if again.Verdict.Worse(t.Verdict) {
		stays, other = again, t
	}
	merged := *stays
	merged.Requirements = slices.Clone(stays.Requirements)
	for _, r := range other.Requirements {
		i := slices.IndexFunc(merged.Requirements, func(m RequirementVerdict) bool { return m.ID == r.ID })
		switch {
		case i < 0:
			merged.Requirements = append(merged.Requirements, r)
		case r.Verdict.Worse(merged.Requirements[i].Verdict):
			merged.Requirements[i] = r
		}
	}
	merged.Repeats, merged.DurationSeconds = &counts, duration
	*t = merged
}
