// Package compare sets runs beside each other: an old one and a new one of the same server, to see
// what became better and worse, or those of several servers, to see where they disagree.
package compare

import (
	"fmt"
	"maps"
	"slices"

	"countersign/report"
	"countersign/report/verdict"
)

// Kind is what a change amounts to.
type Kind string

const (
	// Regression says that what was as it should be no longer is, or is no longer shown to be.
	Regression Kind = "regression"
	// Fix says that what was not as it should be now is.
	Fix Kind = "fix"
	// Changed says that the verdicts differ, and that neither is better.
	Changed Kind = "changed"
	// New says that the old run has no verdict on it.
	New Kind = "new"
	// Vanished says that the new run has no verdict on it.
	Vanished Kind = "vanished"
)

// Kinds returns every kind, the one that matters most first.
func Kinds() []Kind { return []Kind{Regression, Fix, Changed, New, Vanished} }

// Change is one requirement, or one test, on which two runs differ.
type Change struct {
	// ID is that of the requirement, or that of the test.
	ID   string
	Kind Kind
	// Old and New are the verdicts; empty where there is none.
	Old, New verdict.Verdict
	// Says is the requirement's text; empty for a test.
	Says string
	// Expected and Observed are the evidence of the new run, or of the old one when that has all.
	Expected, Observed string
}

// Difference is what changed between two runs.
type Difference struct {
	Old, New *report.Run
	// Requirements are in the order of the catalogue, and Tests in that of suite and name.
	Requirements, Tests []Change
	// Compared is how many requirements and tests both runs have verdicts on.
	Compared struct{ Requirements, Tests int }
	// Cautions say why the runs may differ for other reasons than the server.
	Cautions []string
}

// Diff compares two runs.
func Diff(old, now *report.Run) *Difference {
	d := &Difference{Old: old, New: now, Cautions: cautions(old, now)}
	d.requirements()
	d.tests()
	return d
}

// Of returns the changes of a kind.
func Of(changes []Change, kind Kind) []Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c.Kind != kind })
}

// ExitCode is 1 when something regressed, 4 when the runs have nothing in common, and otherwise 0.
func (d *Difference) ExitCode() int {
	switch {
	case len(Of(d.Requirements, Regression))+len(Of(d.Tests, Regression)) > 0:
		return report.ExitNonConformance
	case d.Compared.Requirements == 0 && d.Compared.Tests == 0:
		return report.ExitNothingRan
	}
	return report.ExitAsExpected
}

func (d *Difference) requirements() {
	old := map[string]*report.Requirement{}
	for i := range d.Old.Requirements {
		old[d.Old.Requirements[i].ID] = &d.Old.Requirements[i]
	}
	seen := map[string]bool{}
	for i := range d.New.Requirements {
		r := &d.New.Requirements[i]
		seen[r.ID] = true
		before := old[r.ID]
		change := Change{ID: r.ID, Kind: New, New: r.Verdict, Says: r.Says, Expected: r.Expected, Observed: r.Observed}
		if before != nil {
			d.Compared.Requirements++
			if before.Verdict == r.Verdict {
				continue
			}
			change.Old, change.Kind = before.Verdict, judge(before.Verdict, r.Verdict)
		}
		d.Requirements = append(d.Requirements, change)
	}
	// A requirement whose tests are there and did not run, although nobody chose others, was lost.
	lost := map[string]bool{}
	for _, n := range d.New.NotJudged {
		lost[n.ID] = n.Reason == report.NotRun && !d.New.Selected && d.New.Shard == nil
	}
	for i := range d.Old.Requirements {
		r := &d.Old.Requirements[i]
		if seen[r.ID] {
			continue
		}
		change := Change{ID: r.ID, Kind: Vanished, Old: r.Verdict, Says: r.Says, Expected: r.Expected, Observed: r.Observed}
		if lost[r.ID] && class(r.Verdict) == good {
			change.Kind, change.Expected, change.Observed = Regression, "", "its tests did not run"
		}
		d.Requirements = append(d.Requirements, change)
	}
}

func (d *Difference) tests() {
	old := map[string]*report.Test{}
	for i := range d.Old.Tests {
		old[d.Old.Tests[i].ID()] = &d.Old.Tests[i]
	}
	seen := map[string]bool{}
	for i := range d.New.Tests {
		t := &d.New.Tests[i]
		seen[t.ID()] = true
		before := old[t.ID()]
		change := Change{ID: t.ID(), Kind: New, New: t.Verdict, Expected: t.Expected, Observed: t.Observed}
		if before != nil {
			d.Compared.Tests++
			if before.Verdict == t.Verdict {
				continue
			}
			change.Old, change.Kind = before.Verdict, judge(before.Verdict, t.Verdict)
		}
		d.Tests = append(d.Tests, change)
	}
	for i := range d.Old.Tests {
		if t := &d.Old.Tests[i]; !seen[t.ID()] {
			d.Tests = append(d.Tests, Change{ID: t.ID(), Kind: Vanished, Old: t.Verdict, Expected: t.Expected, Observed: t.Observed})
		}
	}
}

// quality is what a verdict says about a server, with less detail.
type quality int

const (
	// none says that nothing is known.
	none quality = iota
	// bad says that something is wrong.
	bad
	// known says that something is wrong, and that its maintainers said so.
	known
	// weak says that something is not as recommended.
	weak
	// good says that nothing is wrong.
	good
)

func class(v verdict.Verdict) quality {
	switch v {
	case verdict.Pass, verdict.Info, verdict.XPass:
		return good
	case verdict.Warn:
		return weak
	case verdict.XFail:
		return known
	case verdict.Fail, verdict.Inconclusive, verdict.Error:
		return bad
	}
	return none
}

// judge says what it means that a verdict changed. That a failure is now expected, or is no longer
// looked for, is no fix; that a pass is now a known problem, which its maintainers wrote down, is no
// regression.
func judge(old, now verdict.Verdict) Kind {
	before, after := class(old), class(now)
	switch {
	case after == bad && before != bad:
		return Regression
	case before == good && (after == weak || after == none):
		return Regression
	case (before == bad || before == known) && (after == good || after == weak):
		return Fix
	case before == weak && after == good:
		return Fix
	}
	return Changed
}

// cautions are the differences in how two runs were made.
func cautions(old, now *report.Run) []string {
	var all []string
	add := func(what, a, b string) {
		if a != b {
			all = append(all, fmt.Sprintf("%s differs: %s, then %s", what, orNone(a), orNone(b)))
		}
	}
	add("the suite", identity(&old.Suite), identity(&now.Suite))
	add("strictness", fmt.Sprint(old.Strict), fmt.Sprint(now.Strict))
	add("the choice of tests", choice(old), choice(now))
	names := map[string]string{}
	maps.Copy(names, old.Configuration)
	maps.Copy(names, now.Configuration)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		add(name, old.Configuration[name], now.Configuration[name])
	}
	return all
}

func identity(s *report.Suite) string {
	if s.Commit == "" {
		return s.Version
	}
	return s.Version + " at " + s.Commit[:min(12, len(s.Commit))]
}

func choice(run *report.Run) string {
	text := "all"
	if run.Selected {
		text = fmt.Sprintf("some %v", run.Command)
	}
	if run.Shard != nil {
		text += fmt.Sprintf(", shard %d of %d", run.Shard.Index, run.Shard.Count)
	}
	return text
}

func orNone(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}
