package report

import (
	"slices"

	"countersign/report/verdict"
)

// RollUp gives the requirements of a run, and its summary, the verdicts that follow from its tests,
// after the tests' verdicts were changed. It adds no requirement and takes none away.
func (r *Run) RollUp() {
	tests := map[string]*Test{}
	for i := range r.Tests {
		tests[r.Tests[i].ID()] = &r.Tests[i]
	}
	for i := range r.Requirements {
		requirement := &r.Requirements[i]
		said := make([]RequirementVerdict, len(requirement.Tests))
		parts := make([]verdict.Verdict, len(requirement.Tests))
		for j := range requirement.Tests {
			if t := tests[requirement.Tests[j].Test]; t != nil {
				said[j] = requirement.About(t)
			}
			parts[j] = said[j].Verdict
			requirement.Tests[j].Verdict = said[j].Verdict
		}
		requirement.Verdict = verdict.Rollup(parts...)
		requirement.Expected, requirement.Observed = "", ""
		if j := slices.Index(parts, requirement.Verdict); j >= 0 {
			requirement.Expected, requirement.Observed = said[j].Expected, said[j].Observed
		}
	}
	r.Summary = summarize(r)
}
