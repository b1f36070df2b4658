package killing

import (
	"context"
	"fmt"
	"slices"
	"time"

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
			failed, elapsed, err := t.failing(ctx, run)
			if err == nil && len(failed) > 0 { // once more and by themselves, as the machine is busy
				var again time.Duration
				failed, again, err = t.failing(ctx, runOf{testsOf(failed), run.job})
				elapsed += again
			}
			if err != nil {
				return row, fmt.Errorf("the variant %s: %w", v.Name, err)
			}
			for _, one := range run.tests {
				seen = append(seen, one.id)
			}
			for _, f := range failed {
				found.Kills = append(found.Kills, f.blame)
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

// failure is a test and what it says against a variant.
type failure struct {
	test  *test
	blame killtable.Kill
}

func testsOf(failures []failure) (tests []*test) {
	for _, f := range failures {
		tests = append(tests, f.test)
	}
	return tests
}

// failing runs some tests against a variant and returns those that fail it.
func (t *trial) failing(ctx context.Context, run runOf) (failed []failure, elapsed time.Duration, err error) {
	elapsed, err = t.runTests(ctx, run.tests, run.job, func(one *test, judged []report.Test) {
		if b := blame(one.id, judged); b != nil {
			failed = append(failed, failure{one, *b})
		}
	})
	return failed, elapsed, err
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
