package expect

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"countersign/report"
	"countersign/report/verdict"
	"countersign/requirements"
)

// Apply changes the verdicts of a run by what was expected. What an entry is about is looked at in
// pieces: each requirement that it names, or, when it names only tests, each test.
//
//   - A FAIL becomes XFAIL. What else goes wrong (INCONCLUSIVE, ERROR) stays: nobody expected it.
//   - When a piece has passes and nothing else, they become XPASS: the entry asks for too much.
//   - An entry that has expired changes nothing.
//
// Entries that have expired, whose pieces pass, or that match nothing in a run of everything, are
// listed as stale. Today is the day by which entries expire.
func (f *File) Apply(run *report.Run, catalogue *requirements.Catalogue, today time.Time, strict bool) {
	a := &application{run: run, catalogue: catalogue, whole: !run.Selected && run.Shard == nil}
	for i := range f.Entries {
		a.entry(&f.Entries[i], i+1, today)
	}
	for i := range run.Tests {
		t := &run.Tests[i]
		if len(t.Requirements) == 0 {
			continue
		}
		parts := make([]verdict.Verdict, len(t.Requirements))
		for j, r := range t.Requirements {
			parts[j] = r.Verdict
		}
		t.Verdict = verdict.Rollup(parts...)
	}
	run.Expectations = &report.Expectations{File: f.Name, Entries: len(f.Entries), Strict: strict, Stale: append([]string{}, a.stale...)}
	run.RollUp()
}

type application struct {
	run       *report.Run
	catalogue *requirements.Catalogue
	// whole says that the run was of all tests, so that what it did not judge cannot be judged.
	whole bool
	stale []string
}

// piece is a part of what an entry is about.
type piece struct {
	name string
	said []*report.RequirementVerdict
}

func (a *application) entry(e *Entry, number int, today time.Time) {
	stale := func(format string, args ...any) {
		a.stale = append(a.stale, fmt.Sprintf("entry %d (%s) %s", number, e.about(), fmt.Sprintf(format, args...)))
	}
	if e.expired(today) {
		stale("has expired on %s; look at %s", e.Expires.Format(time.DateOnly), e.Link)
		return
	}
	ids := map[string]bool{}
	for _, pattern := range e.Requirements {
		// The pattern was checked when it was read.
		found, err := a.catalogue.Match(pattern)
		if err != nil || len(found) == 0 {
			stale("names %s, which is no requirement", pattern)
		}
		for _, r := range found {
			ids[r.ID] = true
		}
	}
	if len(e.Requirements) > 0 && len(ids) == 0 {
		return
	}
	pieces := a.pieces(e, ids)
	if len(pieces) == 0 && a.whole {
		stale("matches nothing that was judged")
	}
	for _, p := range pieces {
		if p.apply(&report.Known{Reason: e.Reason, Link: e.Link}) {
			stale("expects a failure, but %s passes", p.name)
		}
	}
}

// pieces collects what the run says about each piece of an entry, in the order of the tests.
func (a *application) pieces(e *Entry, ids map[string]bool) []*piece {
	var pieces []*piece
	add := func(name string, said *report.RequirementVerdict) {
		i := slices.IndexFunc(pieces, func(p *piece) bool { return p.name == name })
		if i < 0 {
			i = len(pieces)
			pieces = append(pieces, &piece{name: name})
		}
		pieces[i].said = append(pieces[i].said, said)
	}
	for i := range a.run.Tests {
		t := &a.run.Tests[i]
		if !e.matchesTest(t.ID()) {
			continue
		}
		for j := range t.Requirements {
			switch said := &t.Requirements[j]; {
			case len(ids) == 0:
				add(t.ID(), said)
			case ids[said.ID]:
				add(said.ID, said)
			}
		}
	}
	return pieces
}

// apply turns failures into expected ones, and reports whether there was nothing but passes.
func (p *piece) apply(known *report.Known) (passes bool) {
	passes = true
	for _, said := range p.said {
		switch said.Verdict {
		case verdict.Fail:
			said.Verdict, said.Known = verdict.XFail, known
			passes = false
		case verdict.Pass, verdict.XPass:
		default:
			passes = false
		}
	}
	for _, said := range p.said {
		if passes && said.Verdict == verdict.Pass {
			said.Verdict, said.Known = verdict.XPass, known
			said.Expected = "a failure, because it is listed as known: " + known.Reason
			said.Observed = "it passed; take the entry out of the expectations"
		}
	}
	return passes
}

// about names an entry by what it lists.
func (e *Entry) about() string {
	return strings.Join(append(slices.Clone(e.Requirements), e.Tests...), ", ")
}
