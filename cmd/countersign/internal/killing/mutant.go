package killing

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"countersign/reference"
	"countersign/report"
	"countersign/report/killtable"
)

// mutant runs the tests that could notice a mutant.
func (t *trial) mutant(ctx context.Context, m reference.Mutant) (killtable.Mutant, error) {
	defer t.step(m.Name)
	row := killtable.Mutant{Name: m.Name, Requirement: m.Requirement, Wrong: m.Wrong, Killers: []killtable.Kill{}}
	reaching := t.reaching(m.Name)
	row.Reached = len(reaching)
	var found trialOf
	if !t.journal.get("mutant:"+m.Name, &found) {
		var err error
		if found, err = t.tryMutant(ctx, m, reaching); err != nil {
			return row, err
		}
		if err := t.journal.put("mutant:"+m.Name, found); err != nil {
			return row, err
		}
	}
	t.credit(m.Name, found)
	row.Killers, row.Undecided, row.Ran, row.Seconds = append(row.Killers, found.Kills...), found.Undecided, len(found.Tried), found.Seconds
	return row, nil
}

// trialOf is what came of one mutant.
type trialOf struct {
	Tried []string         `json:"tried"`
	Kills []killtable.Kill `json:"kills"`
	// Undecided are tests that neither passed the mutant nor failed it.
	Undecided []killtable.Kill `json:"undecided,omitempty"`
	Seconds   float64          `json:"seconds"`
}

// credit notes which tests were tried and which have killed.
func (t *trial) credit(mutant string, found trialOf) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for _, id := range found.Tried {
		if one := t.tests[id]; one != nil {
			one.tried[mutant] = true
		}
	}
	for _, k := range found.Kills {
		if one := t.tests[k.Test]; one != nil {
			one.kills[mutant] = true
		}
	}
}

// tryMutant runs, against a mutant, the tests that cover its requirement, as far as they do, and, when
// the whole suite is asked for, others that could notice it.
func (t *trial) tryMutant(ctx context.Context, m reference.Mutant, reaching []*test) (found trialOf, err error) {
	note := func(one *test, judged []report.Test) {
		found.Tried = append(found.Tried, one.id)
		if k := kill(one.id, judged, m.Requirement); k != nil {
			found.Kills = append(found.Kills, *k)
		} else if b := blame(one.id, judged); b != nil {
			found.Undecided = append(found.Undecided, *b)
		} else if len(judged) == 0 {
			found.Undecided = append(found.Undecided, killtable.Kill{Test: one.id, Requirements: []string{}, Observed: "nothing was judged"})
		}
	}
	own, others := t.choose(m, reaching)
	j := job{defect: m.Name, strict: true, scale: t.Scale, limit: t.scaled(jobLimit)}
	for _, part := range [...]struct {
		tests       []*test
		requirement string
	}{{own, m.Requirement}, {others, ""}} {
		j.requirement = part.requirement
		elapsed, err := t.runTests(ctx, part.tests, j, note)
		if err != nil {
			return found, fmt.Errorf("the mutant %s: %w", m.Name, err)
		}
		found.Seconds += elapsed.Seconds()
	}
	return found, nil
}

// choose parts the tests into those that cover a mutant's requirement and others. Of the others, those
// that have killed nothing yet come first, then the cheap ones, as far as the budget goes.
func (t *trial) choose(m reference.Mutant, reaching []*test) (own, others []*test) {
	for _, one := range t.tests {
		if slices.Contains(one.covers, m.Requirement) && one.honest.Blame == nil {
			own = append(own, one)
		}
	}
	slices.SortFunc(own, func(a, b *test) int { return cmp.Compare(a.id, b.id) })
	t.mutex.Lock()
	defer t.mutex.Unlock()
	candidates := slices.Clone(reaching)
	slices.SortStableFunc(candidates, func(a, b *test) int {
		return cmp.Or(cmp.Compare(min(len(a.kills), 1), min(len(b.kills), 1)), cmp.Compare(a.honest.CPU, b.honest.CPU))
	})
	var cost time.Duration
	for _, one := range candidates {
		if slices.Contains(own, one) {
			continue
		}
		if cost += one.honest.CPU; cost > othersBudget {
			break
		}
		others = append(others, one)
	}
	return own, others
}
