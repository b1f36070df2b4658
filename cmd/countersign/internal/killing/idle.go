package killing

import (
	"context"
	"slices"

	"countersign/reference"
	"countersign/report"
	"countersign/report/killtable"
)

// wakeIdle runs the tests that have killed nothing yet against every mutant that could show in them and
// that they have not been run against, until they have killed one. What is left is idle: no mutant in
// the table makes it fail.
func (t *trial) wakeIdle(ctx context.Context, rows []killtable.Mutant) error {
	for {
		rounds := t.nextRounds()
		if len(rounds) == 0 {
			return nil
		}
		err := t.each(ctx, t.Jobs, len(rounds), func(ctx context.Context, i int) error {
			return t.wake(ctx, rounds[i], rows)
		})
		if err != nil {
			return err
		}
	}
}

// round is one mutant and the idle tests to run against it.
type round struct {
	mutant int
	tests  []*test
}

// nextRounds gives every idle test one mutant to be run against.
func (t *trial) nextRounds() (rounds []round) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for _, one := range t.tests {
		if len(one.kills) > 0 || exempt(one.id) != "" || one.honest.Blame != nil {
			continue
		}
		next := slices.IndexFunc(t.Mutants, func(m reference.Mutant) bool {
			return slices.Contains(one.honest.Reached, m.Name) && !one.tried[m.Name]
		})
		if next < 0 {
			continue
		}
		at := slices.IndexFunc(rounds, func(r round) bool { return r.mutant == next })
		if at < 0 {
			rounds = append(rounds, round{mutant: next})
			at = len(rounds) - 1
		}
		rounds[at].tests = append(rounds[at].tests, one)
	}
	return rounds
}

// wake runs idle tests against one mutant.
func (t *trial) wake(ctx context.Context, r round, rows []killtable.Mutant) error {
	m := t.Mutants[r.mutant]
	var found trialOf
	key := "idle:" + m.Name + ":" + names(r.tests)
	if !t.journal.get(key, &found) {
		j := job{defect: m.Name, strict: true, scale: t.Scale, limit: t.scaled(jobLimit)}
		elapsed, err := t.runTests(ctx, r.tests, j, func(one *test, judged []report.Test) {
			found.Tried = append(found.Tried, one.id)
			if k := kill(one.id, judged, m.Requirement); k != nil {
				found.Kills = append(found.Kills, *k)
			}
		})
		if err != nil {
			return err
		}
		found.Seconds = elapsed.Seconds()
		if err := t.journal.put(key, found); err != nil {
			return err
		}
	}
	t.credit(m.Name, found)
	t.mutex.Lock()
	defer t.mutex.Unlock()
	row := &rows[r.mutant]
	row.Killers = append(row.Killers, found.Kills...)
	row.Ran += len(found.Tried)
	row.Seconds += found.Seconds
	return nil
}
