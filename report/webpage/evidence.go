package webpage

import (
	"slices"

	"countersign/report"
	"countersign/report/verdict"
)

// casesShown is how many tests of one broken requirement are shown with their transcripts.
const casesShown = 4

// seenShown is how many different observations are shown of a requirement that is not broken.
const seenShown = 12

// reader reads transcripts until there are enough of them.
type reader struct {
	source report.Evidence
	left   int
	// shown are the tests whose transcripts are on the page already: a test that breaks several
	// requirements is quoted once.
	shown map[string]bool
}

// troubled are the verdicts that a reader must look at, the gravest first.
var troubled = [...]verdict.Verdict{verdict.Fail, verdict.Error, verdict.Inconclusive, verdict.XPass, verdict.XFail}

func (v *view) problems(run *report.Run, reader *reader) {
	tests := map[string]*report.Test{}
	for i := range run.Tests {
		tests[run.Tests[i].ID()] = &run.Tests[i]
	}
	for _, bad := range troubled {
		for i := range run.Tests {
			if t := &run.Tests[i]; t.Verdict == bad && len(t.Requirements) == 0 {
				v.Stray = append(v.Stray, reader.evidence(t, report.RequirementVerdict{Verdict: t.Verdict, Expected: t.Expected, Observed: t.Observed}))
			}
		}
		for i := range run.Requirements {
			r := &run.Requirements[i]
			if r.Verdict != bad {
				continue
			}
			p := problem{Requirement: r}
			for _, said := range r.Tests {
				t := tests[said.Test]
				if said.Verdict != r.Verdict || t == nil {
					continue
				}
				if len(p.Cases) == casesShown {
					p.More++
					continue
				}
				p.Cases = append(p.Cases, reader.evidence(t, r.About(t)))
			}
			v.Problems = append(v.Problems, p)
		}
	}
}

func (r *reader) evidence(t *report.Test, about report.RequirementVerdict) evidence {
	e := evidence{
		Verdict: about.Verdict, Test: t, Expected: about.Expected, Observed: about.Observed, Known: about.Known,
		Link: link(t.Transcript),
	}
	switch {
	case t.Transcript == "":
	case r.shown[t.ID()]:
		e.Unread = "It is shown with another requirement, above."
	case r.left <= 0:
		e.Unread = "It is left out: the page has enough of them. The file has it all."
	default:
		text, overview, err := r.source.Transcript(t, transcriptLimit)
		if err != nil {
			e.Unread = err.Error()
			break
		}
		if r.shown == nil {
			r.shown = map[string]bool{}
		}
		r.shown[t.ID()] = true
		r.left -= len(text)
		e.Transcript, e.Diagram = text, newDiagram(overview, arrowsShown)
	}
	return e
}

// scenariosShown is how many scenarios the page draws.
const scenariosShown = 12

// scenarios are the tests whose wire is worth looking at whatever came of them.
func (v *view) scenarios(run *report.Run, reader *reader) {
	for i := range run.Tests {
		t := &run.Tests[i]
		if t.Scenario == "" || len(v.Scenarios) == scenariosShown {
			continue
		}
		_, overview, err := reader.source.Transcript(t, transcriptLimit)
		if d := newDiagram(overview, arrowsScenario); err == nil && d != nil {
			v.Scenarios = append(v.Scenarios, scenario{t, d, link(t.Transcript)})
		}
	}
}

// remarks are the warnings and what was recorded.
func (v *view) remarks(run *report.Run) {
	tests := map[string]*report.Test{}
	for i := range run.Tests {
		tests[run.Tests[i].ID()] = &run.Tests[i]
	}
	for _, each := range [...]verdict.Verdict{verdict.Warn, verdict.Info} {
		for i := range run.Requirements {
			r := &run.Requirements[i]
			if r.Verdict != each {
				continue
			}
			found := remark{Requirement: r}
			for _, said := range r.Tests {
				t := tests[said.Test]
				if said.Verdict != r.Verdict || t == nil {
					continue
				}
				if seen := r.About(t).Observed; seen != "" && !slices.Contains(found.Seen, seen) && len(found.Seen) < seenShown {
					found.Seen = append(found.Seen, seen)
				}
			}
			if len(found.Seen) > 0 {
				v.Remarks = append(v.Remarks, found)
			}
		}
	}
}
