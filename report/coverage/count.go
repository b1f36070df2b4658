package coverage

import "countersign/requirements"

// Count is how far the tests of a proposal have come.
type Count struct {
	// Catalogued is how many requirements the catalogue has.
	Catalogued int `json:"catalogued"`
	// Testable is how many of them a black-box test can observe, wholly or in part.
	Testable int `json:"testable"`
	// Covered is how many of the testable ones a test covers.
	Covered int `json:"covered"`
}

// Counts are the counts of every proposal, by its ID.
func Counts(catalogue *requirements.Catalogue, tests *Tests) map[string]Count {
	covered := map[string]bool{}
	for _, test := range tests.Tests {
		for _, id := range test.Covers {
			covered[id] = true
		}
	}
	counts := map[string]Count{}
	for _, p := range catalogue.Proposals {
		var n Count
		for _, a := range p.Areas {
			for _, r := range a.Requirements {
				n.Catalogued++
				if r.Testable == requirements.No {
					continue
				}
				n.Testable++
				if covered[r.ID] {
					n.Covered++
				}
			}
		}
		counts[p.ID] = n
	}
	return counts
}
