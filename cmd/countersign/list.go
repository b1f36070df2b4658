package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"countersign/report/coverage"
	"countersign/requirements"
)

func (a *app) listCommand() *cobra.Command {
	var untested bool
	command := &cobra.Command{
		Use:   "list [ID or pattern ...]",
		Short: "List the requirements, and how many tests cover each",
		Long: `List prints one line per requirement: its ID, its level (how strongly the text asks for it), its
profile (what breaking it costs), how much of it a black-box test can observe, and how many test
functions cover it. A dash means that a test is planned.

  countersign list                   every requirement
  countersign list MSC4243-SIG       one area
  countersign list 'MSC4345-*-01'    a pattern`,
		RunE: func(_ *cobra.Command, patterns []string) error {
			all, err := catalogue()
			if err != nil {
				return err
			}
			if len(patterns) == 0 {
				patterns = []string{"*"}
			}
			chosen, err := match(all, patterns)
			if err != nil {
				return err
			}
			tests := &coverage.Tests{}
			if origin, err := a.origin(); err == nil {
				if tests, err = origin.scan(); err != nil {
					return err
				}
			}
			a.list(chosen, tests, untested)
			return nil
		},
	}
	command.Flags().BoolVar(&untested, "untested", false, "only requirements that no test covers")
	return command
}

func (a *app) list(chosen []*requirements.Requirement, tests *coverage.Tests, untested bool) {
	var area *requirements.Area
	for _, r := range chosen {
		covering := len(tests.Covering(r.ID))
		if untested && covering > 0 {
			continue
		}
		if r.Area != area {
			area = r.Area
			fmt.Fprintf(a.out, "\n%s  %s\n", area.ID, area.Title)
			fmt.Fprintf(a.out, "  %-16s  %-10s  %-7s  %-8s  %5s\n", "ID", "LEVEL", "PROFILE", "TESTABLE", "TESTS")
		}
		count := fmt.Sprint(covering)
		if covering == 0 && !r.NeedsTest() {
			count = "-"
		}
		fmt.Fprintf(a.out, "  %-16s  %-10s  %-7s  %-8s  %5s  %s\n",
			r.ID, r.Level, r.Profile, r.Testable, count, strings.TrimSpace(r.Says))
	}
}
