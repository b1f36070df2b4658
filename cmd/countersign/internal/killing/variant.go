package killing

import (
	"context"
	"fmt"
	"slices"

	"countersign/reference"
	"countersign/report"
	"countersign/report/killtable"
)

// dealtParts is in how many parts subtests are dealt out to variants. A table of a thousand forgeries takes
// most of a run's time; every variant sees what the table has on the requirement that permits it, and of the
// rest one part, another than the variant before it.
const dealtParts = 8

// variant runs every test that could tell a variant from the honest server; when no honest run says
// which these are, all tests that cover what permits it.
func (t *trial) variant(ctx context.Context, index int) (killtable.Variant, error) {
	v := t.Variants[index]
	defer t.step(v.Name)
	row := killtable.Variant{Name: v.Name, Permitted: v.Permitted, Differs: v.Differs, Failed: []killtable.Kill{}}
	tests := t.reaching(v.Name)
	row.Reached = len(tests)
	if !t.Whole {
		tests, _ = t.choose(reference.Mutant{Name: v.Name, Requirement: v.Permitted}, nil)
	}
	var found trialOf
	if !t.journal.get("variant:"+v.Name, &found) {
		var seen []string
		for _, run := range t.runsOf(v, index, tests) {
			elapsed, err := t.runTests(ctx, run.tests, run.job, func(one *test, judged []report.Test) {
				seen = append(seen, one.id)
				if b := blame(one.id, judged); b != nil {
					found.Kills = append(found.Kills, *b)
				}
			})
			if err != nil {
				return row, fmt.Errorf("the variant %s: %w", v.Name, err)
			}
			found.Seconds += elapsed.Seconds()
		}
		slices.Sort(seen)
		found.Tried = slices.Compact(seen)
		if err := t.journal.put("variant:"+v.Name, found); err != nil {
			return row, err
		}
	}
	row.Failed, row.Ran, row.Seconds = append(row.Failed, found.Kills...), len(found.Tried), found.Seconds
	return row, nil
}

// runOf is some tests, and how to run them.
type runOf struct {
	tests []*test
	job   job
}

// runsOf are the runs of tests against a variant.
func (t *trial) runsOf(v reference.Variant, index int, tests []*test) []runOf {
	j := job{defect: v.Name, scale: max(t.Scale, 1), limit: t.scaled(suiteLimit)}
	own, part := j, j
	own.requirement, part.part = v.Permitted, fmt.Sprintf("%d/%d", index%dealtParts+1, dealtParts)
	if !t.Whole {
		return []runOf{{tests, own}}
	}
	var whole, permitting, dealt []*test
	for _, one := range tests {
		if !one.deals {
			whole = append(whole, one)
			continue
		}
		dealt = append(dealt, one)
		if slices.Contains(one.covers, v.Permitted) {
			permitting = append(permitting, one)
		}
	}
	return []runOf{{whole, j}, {permitting, own}, {dealt, part}}
}
