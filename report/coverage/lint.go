package coverage

import (
	"fmt"

	"countersign/requirements"
)

// Lint returns what is wrong between the catalogue and the tests, one sentence each: a requirement
// that needs a test and has none, a test that covers nothing, and an ID that is not in the
// catalogue.
func Lint(catalogue *requirements.Catalogue, tests *Tests) []string {
	var problems []string
	for _, mention := range tests.Mentions {
		if catalogue.Requirement(mention.ID) == nil {
			problems = append(problems, fmt.Sprintf(
				"%s: %q is not a requirement; `countersign list` prints them all", mention.Position, mention.ID))
		}
	}
	covered := map[string]bool{}
	for _, test := range tests.Tests {
		for _, id := range test.Covers {
			covered[id] = true
		}
		switch {
		case !test.Judges:
			// It checks the tests, not a server.
		case !test.CallsCovers:
			problems = append(problems, fmt.Sprintf(
				"%s: %s covers nothing; begin it with conform.Covers(t, ...)", test.Position, test.Name))
		case len(test.Covers) == 0:
			problems = append(problems, fmt.Sprintf(
				"%s: %s calls conform.Covers, but no requirement's ID is written out in it", test.Position, test.Name))
		}
	}
	for _, r := range catalogue.Requirements() {
		if r.NeedsTest() && !covered[r.ID] {
			problems = append(problems, fmt.Sprintf(
				"%s: no test covers it; write one, or mark it `tests: planned` in the catalogue", r.ID))
		}
	}
	return problems
}
