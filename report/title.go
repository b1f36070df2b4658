package report

import (
	"slices"
	"strings"

	"countersign/report/verdict"
)

// Title names what was tested: the homeservers as they call themselves, or the target.
func (r *Run) Title() string {
	var names []string
	for _, fact := range r.Servers {
		if name := Implementation(fact); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return r.Target
	}
	return strings.Join(names, " and ")
}

// Implementation is the name and the version that a homeserver gives itself, or empty.
func Implementation(fact verdict.Fact) string {
	return strings.TrimSpace(fact.Name + " " + fact.Version)
}
