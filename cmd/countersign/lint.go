package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"countersign/report"
	"countersign/report/coverage"
	"countersign/requirements"
)

func (a *app) lintCommand() *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:   "lint",
		Short: "Check that requirements and tests agree",
		Long: `Lint reads the catalogue and the sources of the tests, and reports a requirement that must have a test
and has none, a test that covers nothing, and an ID that is not in the catalogue. It prints how many
requirements of each proposal are catalogued, can be tested, and are covered by a test.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			module, err := a.findModule() // the sources are read
			if err != nil {
				return err
			}
			catalogue, err := catalogue()
			if err != nil {
				return err
			}
			tests, err := (&origin{root: module}).scan()
			if err != nil {
				return err
			}
			problems := coverage.Lint(catalogue, tests)
			if asJSON {
				err = a.printLintJSON(coverage.Counts(catalogue, tests), problems)
			} else {
				a.printLint(catalogue, tests, problems)
			}
			if n := len(problems); n > 0 && err == nil {
				return exitf(report.ExitNonConformance, "lint found %d problem(s), listed above", n)
			}
			return err
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print counts and problems as one JSON object")
	return command
}

func (a *app) printLint(catalogue *requirements.Catalogue, tests *coverage.Tests, problems []string) {
	for _, problem := range problems {
		fmt.Fprintln(a.out, problem)
	}
	counts := coverage.Counts(catalogue, tests)
	for _, p := range catalogue.Proposals {
		n := counts[p.ID]
		fmt.Fprintf(a.out, "%-8s  %3d catalogued, %3d testable, %3d covered\n", p.ID, n.Catalogued, n.Testable, n.Covered)
	}
	if len(problems) == 0 {
		fmt.Fprintf(a.out, "%d requirements and %d tests agree\n", len(catalogue.Requirements()), len(tests.Tests))
	}
}

// printLintJSON prints the counts by proposal, and the problems, which are an empty array when there
// are none.
func (a *app) printLintJSON(counts map[string]coverage.Count, problems []string) error {
	encoder := json.NewEncoder(a.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		Proposals map[string]coverage.Count `json:"proposals"`
		Problems  []string                  `json:"problems"`
	}{counts, append([]string{}, problems...)})
}

// catalogue is the embedded catalogue.
func catalogue() (*requirements.Catalogue, error) {
	all, err := requirements.Default()
	if err != nil {
		return nil, exitf(report.ExitHarness, "the requirement catalogue is broken: %v", err)
	}
	return all, nil
}

// match returns the requirements that the patterns choose, in the catalogue's order.
func match(all *requirements.Catalogue, patterns []string) ([]*requirements.Requirement, error) {
	chosen := map[*requirements.Requirement]bool{}
	for _, pattern := range patterns {
		found, err := all.Match(pattern)
		if err != nil {
			return nil, exitf(report.ExitUsage, "%q is not an ID or a pattern such as MSC4243-SIG-*", pattern)
		}
		if len(found) == 0 {
			return nil, exitf(report.ExitUsage, "no requirement matches %q; `countersign list` prints them all", pattern)
		}
		for _, r := range found {
			chosen[r] = true
		}
	}
	var ordered []*requirements.Requirement
	for _, r := range all.Requirements() {
		if chosen[r] {
			ordered = append(ordered, r)
		}
	}
	return ordered, nil
}
