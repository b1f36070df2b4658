package killing

import (
	"context"
	"fmt"
	"slices"
	"time"

	"countersign/reference"
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
	deadAtOnce     = 2
	livingCPU      = 150 * time.Millisecond
	livingLimit    = 2 * suiteLimit
)

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
			j.scale, j.parallel, j.limit = livingScale, livingParallel, livingLimit
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
	return v == verdict.Pass && one != nil && slices.Contains(one.honest.Reached, d.Name) && !hasEarned(d.Name, id)
}

// hasEarned reports whether a dead server does what a test asks for.
func hasEarned(server, test string) bool {
	for _, e := range earned {
		if e.server == server && e.test == test {
			return true
		}
	}
	return false
}

// earned are tests that a dead server passes with right, although its one mistake comes up in them.
var earned = [...]struct{ server, test, because string }{
	{"AcceptsEveryEvent", "msc4243/TestForge_Replay", "an event names its room: wherever it is sent, it is accepted there, where it belongs"},
	{"AcceptsEveryEvent", "msc4348/TestForge_ReplayedInAnotherRoom", "the same"},
	{"AcceptsEveryEvent", "msc4243/TestRestrictedJoin_ReturnedEventIsChecked", "the server compares what comes back with what it has sent"},
	{"AcceptsEveryEvent", "msc4243/TestTemplates_LendNoSignatureToClaims", "what the server signs is judged, not what it accepts"},
	{"AcceptsEveryEvent", "msc4243/TestInvite_NothingElseIsSigned", "what the server signs is judged"},
	{"AcceptsEveryEvent", "msc4345/TestResident_ChecksRequests", "what the server signs is judged"},
	{"AcceptsEveryEvent", "msc4345/TestFork_TwoRevocations", "both revocations are good, and one of them wins"},
	{"RejectsEveryEvent", "msc4348/TestDomains_NotFederated", "what the server sends is judged"},
}

func alive(d reference.DeadServer) int {
	if d.Lives {
		return 1
	}
	return 0
}
