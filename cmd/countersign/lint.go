package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"countersign/report"
	"countersign/report/coverage"
	"countersign/requirements"
)

func (a *app) lintCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "lint",
		Short: "Check that requirements and tests agree",
		Long: `Lint reads the catalogue and the sources of the tests, and reports a requirement that must have a test
and has none, a test that covers nothing, and an ID that is not in the catalogue.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			module, err := a.findModule()
			if err != nil {
				return err
			}
			catalogue, err := catalogue()
			if err != nil {
				return err
			}
			tests, err := scan(module)
			if err != nil {
				return err
			}
			problems := coverage.Lint(catalogue, tests)
			for _, problem := range problems {
				fmt.Fprintln(a.out, problem)
			}
			if n := len(problems); n > 0 {
				return exitf(report.ExitNonConformance, "lint found %d problem(s), listed above", n)
			}
			fmt.Fprintf(a.out, "%d requirements and %d tests agree\n", len(catalogue.Requirements()), len(tests.Tests))
			return nil
		},
	}
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
