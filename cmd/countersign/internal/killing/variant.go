package killing

import (
	"context"
	"fmt"
	"slices"
	"time"

	"countersign/reference"
	"countersign/report"
	"countersign/report/killtable"
	"countersign/report/verdict"
)

// How dead servers are tried. For most of them deadlines are short: whether a wait ends for the right reason
// does not matter, as long as nothing passes. One that is slow is waited for, by many tests at once; those
// that take much of the honest server's time make so many requests, one after the other, that they are left
// out.
const (
	deadScale      = 0.2
	livingScale    = 5
	livingParallel = 256
	livingCPU      = 500 * time.Millisecond
)

// variant runs every test that could tell a variant from the honest server; when no honest run says
// which these are, all tests that cover what permits it.
func (t *trial) variant(ctx context.Context, v reference.Variant) (killtable.Variant, error) {
	defer t.step(v.Name)
	row := killtable.Variant{Name: v.Name, Permitted: v.Permitted, Differs: v.Differs, Failed: []killtable.Kill{}}
	tests := t.reaching(v.Name)
	row.Reached = len(tests)
	j := job{defect: v.Name, scale: max(t.Scale, 1), limit: t.scaled(suiteLimit)}
	if !t.Whole {
		tests, _ = t.choose(reference.Mutant{Name: v.Name, Requirement: v.Permitted}, nil)
		j.requirement = v.Permitted
	}
	var found trialOf
	if !t.journal.get("variant:"+v.Name, &found) {
		elapsed, err := t.runTests(ctx, tests, j, func(one *test, judged []report.Test) {
			found.Tried = append(found.Tried, one.id)
			if b := blame(one.id, judged); b != nil {
				found.Kills = append(found.Kills, *b)
			}
		})
		if err != nil {
			return row, fmt.Errorf("the variant %s: %w", v.Name, err)
		}
		found.Seconds = elapsed.Seconds()
		if err := t.journal.put("variant:"+v.Name, found); err != nil {
			return row, err
		}
	}
	row.Failed, row.Ran, row.Seconds = append(row.Failed, found.Kills...), len(found.Tried), found.Seconds
	return row, nil
}

// deadServer runs the whole suite against a server that does nothing right, and looks for tests that
// pass it. What a test cannot tell from the honest server it may pass: one in which the server's
// decision never comes up. A server that lives must pass everything.
func (t *trial) deadServer(ctx context.Context, d reference.DeadServer) (killtable.Dead, error) {
	defer t.step(d.Name)
	var row killtable.Dead
	if t.journal.get("dead:"+d.Name, &row) {
		return row, nil
	}
	row = killtable.Dead{Name: d.Name, Does: d.Does, Lives: d.Lives, Wrong: []string{}}
	for _, suite := range t.Suites {
		j := job{suite: suite, tests: t.tryable(suite, d), defect: d.Name, scale: deadScale, limit: t.scaled(suiteLimit)}
		if len(j.tests) == 0 {
			continue
		}
		if d.Lives {
			j.scale, j.parallel = livingScale, livingParallel
		}
		o, err := t.binaries.run(ctx, t.Catalogue, j)
		if err != nil {
			return row, fmt.Errorf("the dead server %s: %w", d.Name, err)
		}
		row.Seconds += o.elapsed.Seconds()
		if len(o.judged) == 0 && len(o.errors) > 0 {
			row.Refused = o.errors[0]
		}
		for id, judged := range o.judged {
			parts := make([]verdict.Verdict, len(judged))
			for i := range judged {
				parts[i] = judged[i].Verdict
				row.Verdicts.Add(parts[i])
			}
			if v := verdict.Rollup(parts...); t.wronglyJudged(d, id, v) {
				row.Wrong = append(row.Wrong, id+": "+string(v))
			}
		}
	}
	return row, t.journal.put("dead:"+d.Name, row)
}

// tryable are the test functions of a suite that are run against a dead server.
func (t *trial) tryable(suite string, d reference.DeadServer) (names []string) {
	for _, one := range t.tests {
		if one.suite == suite && one.honest.Blame == nil && (!d.Lives || one.honest.CPU <= livingCPU) {
			names = append(names, one.name)
		}
	}
	slices.Sort(names)
	return names
}

// wronglyJudged reports whether a dead server has got a verdict that it cannot have earned. Of a test with
// several cases, some may not come to what the server does wrong; all of them together do.
func (t *trial) wronglyJudged(d reference.DeadServer, id string, v verdict.Verdict) bool {
	if d.Lives {
		return !v.AsExpected()
	}
	one := t.tests[id]
	return v == verdict.Pass && one != nil && slices.Contains(one.honest.Reached, d.Name)
}
