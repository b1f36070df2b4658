package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"countersign/report"
	"countersign/report/coverage"
	"countersign/requirements"
)

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain ID ...",
		Short: "Explain a requirement, or a defect of a proposal",
		Long: `Explain prints everything about a requirement: what it asks, which section of which revision it comes
from, what breaking it costs, how it is tested and by which tests, and the gaps in the text that it
hangs on. A defect's ID, such as D-08, explains that gap.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, ids []string) error {
			all, err := catalogue()
			if err != nil {
				return err
			}
			tests := &coverage.Tests{}
			if origin, err := a.origin(); err == nil {
				if tests, err = origin.scan(); err != nil {
					return err
				}
			}
			for i, id := range ids {
				if i > 0 {
					fmt.Fprintln(a.out)
				}
				if err := a.explain(all, tests, strings.ToUpper(id)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (a *app) explain(all *requirements.Catalogue, tests *coverage.Tests, id string) error {
	page := report.Page{Out: a.out, Width: a.width()}
	if d := all.Defect(id); d != nil {
		explainDefect(page, all, d)
		return nil
	}
	r := all.Requirement(id)
	if r == nil {
		if found, err := all.Match(id); err == nil && len(found) > 0 {
			return exitf(report.ExitUsage, "%q is %d requirements; `countersign list '%s'` prints them", id, len(found), id)
		}
		return exitf(report.ExitUsage, "there is no requirement %q; `countersign list` prints them all", id)
	}
	explainRequirement(page, tests, r)
	return nil
}

func explainRequirement(page report.Page, tests *coverage.Tests, r *requirements.Requirement) {
	text := r.Area.Proposal.Text
	page.Line("%s  %s", r.ID, r.Area.Title)
	page.Line("")
	page.Field("says", r.Says)
	page.Field("level", levelMeaning(r))
	page.Field("profile", profileMeaning(r.Profile))
	page.Field("text", fmt.Sprintf("%s (%s), section %q", r.Area.Proposal.ID, r.Area.Proposal.Title, r.Where))
	page.Field("", fmt.Sprintf("%s at %.12s, %s", text.Path, text.Revision, text.URL))
	page.Field("room version", r.Area.Proposal.RoomVersion)
	page.Line("")
	page.Field("test", r.Test)
	if r.Testable != requirements.Yes {
		page.Field("testable", fmt.Sprintf("%s: %s", r.Testable, r.Reason))
	}
	if r.Notes != "" {
		page.Field("notes", r.Notes)
	}
	covering := tests.Covering(r.ID)
	for i, test := range covering {
		name := ""
		if i == 0 {
			name = "covered by"
		}
		page.Field(name, fmt.Sprintf("%s (%s)", test.ID(), test.Position))
	}
	switch {
	case len(covering) > 0:
	case r.Testable == requirements.No:
		page.Field("covered by", "nothing: it has no black-box observable")
	default:
		page.Field("covered by", "nothing yet")
	}
	for _, d := range r.Defects {
		page.Line("")
		page.Field("hangs on", fmt.Sprintf("%s (%s): %s", d.ID, severity(d), d.Problem))
		if d.Reading != "" {
			page.Field("reading", d.Reading)
		}
		if d.Tolerance != "" {
			page.Field("tolerance", d.Tolerance)
		}
	}
}

func explainDefect(page report.Page, all *requirements.Catalogue, d *requirements.Defect) {
	page.Line("%s  a gap in %s (%s)", d.ID, d.Proposal, severity(d))
	page.Line("")
	page.Field("problem", d.Problem)
	if d.Reading != "" {
		page.Field("reading", d.Reading)
	}
	if d.Tolerance != "" {
		page.Field("tolerance", d.Tolerance)
	}
	var ids []string
	for _, r := range all.Requirements() {
		if slices.Contains(r.Defects, d) {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) > 0 {
		page.Field("touches", strings.Join(ids, ", "))
	}
}

func severity(d *requirements.Defect) string {
	if d.Severity == "med" {
		return "medium"
	}
	return d.Severity
}

func levelMeaning(r *requirements.Requirement) string {
	meaning := map[requirements.Level]string{
		requirements.Must:      "the text requires it",
		requirements.Should:    "the text recommends it",
		requirements.ShouldNot: "the text advises against it",
		requirements.May:       "the text permits it",
		requirements.Implied:   "it follows from the base specification or from the text's own consistency",
	}[r.Level]
	return fmt.Sprintf("%s: %s", r.Level, meaning)
}

func profileMeaning(p requirements.Profile) string {
	meaning := map[requirements.Profile]string{
		requirements.Strict:      "the text is unambiguous; breaking it is a FAIL",
		requirements.Interop:     "the text is ambiguous or only recommends; departing from it is a WARN, and a FAIL with --strict",
		requirements.Fingerprint: "nothing is judged; what the server does is recorded",
	}[p]
	return fmt.Sprintf("%s: %s", p, meaning)
}
