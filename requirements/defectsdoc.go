package requirements

import (
	"fmt"
	"strings"
)

//go:generate go run ./internal/gendoc ../docs/SPEC-DEFECTS.md

// DefectsMarkdown is docs/SPEC-DEFECTS.md: every defect of the texts, with the reading that the suite
// adopts, what it tolerates, what the text could say, and the requirements that hang on it.
func (c *Catalogue) DefectsMarkdown() string {
	var b strings.Builder
	b.WriteString("<!-- Generated from requirements/defects.yaml by `go generate ./requirements`. Do not edit. -->\n\n")
	b.WriteString("# Defects of the texts\n\n")
	b.WriteString("What writing the tests found in the proposals: gaps, contradictions and mistakes. For each the suite\n" +
		"adopts one reading, which the reference homeserver implements. A server that reads the text otherwise\n" +
		"is warned, not failed, unless the defect says so.\n")
	for _, proposal := range c.defectProposals() {
		fmt.Fprintf(&b, "\n## %s\n", proposal)
		for _, d := range c.Defects {
			if d.Proposal == proposal {
				c.writeDefect(&b, d)
			}
		}
	}
	return b.String()
}

// defectProposals are the texts that have defects, in the order in which they come.
func (c *Catalogue) defectProposals() (proposals []string) {
	seen := map[string]bool{}
	for _, d := range c.Defects {
		if !seen[d.Proposal] {
			seen[d.Proposal] = true
			proposals = append(proposals, d.Proposal)
		}
	}
	return proposals
}

func (c *Catalogue) writeDefect(b *strings.Builder, d *Defect) {
	severity := map[string]string{"med": "medium"}[d.Severity]
	if severity == "" {
		severity = d.Severity
	}
	fmt.Fprintf(b, "\n### %s (%s)\n\n%s\n", d.ID, severity, d.Problem)
	for _, part := range []struct{ title, text string }{
		{"Reading adopted", d.Reading}, {"Tolerated", d.Tolerance}, {"Suggested wording", d.Wording}, {"What it costs", d.Cost},
		{"Requirements", strings.Join(c.hangingOn(d), ", ")},
	} {
		if part.text != "" {
			fmt.Fprintf(b, "\n- **%s.** %s", part.title, part.text)
		}
	}
	b.WriteString("\n")
}

// hangingOn are the IDs of the requirements that a defect makes uncertain.
func (c *Catalogue) hangingOn(d *Defect) (ids []string) {
	for _, r := range c.Requirements() {
		for _, other := range r.Defects {
			if other == d {
				ids = append(ids, r.ID)
			}
		}
	}
	return ids
}
