package main

import (
	"github.com/spf13/cobra"

	"countersign/report"
	"countersign/report/compare"
)

func (a *app) diffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Compare two reports: regressions, fixes, new and vanished tests",
		Long: `Diff compares an old report with a new one, each a folder or a report.json:

  regression   what was as it should be is broken, without evidence, or no longer asked
  fix          what was not as it should be now is
  changed      the verdicts differ, and neither is better
  new          the old report has no verdict on it
  vanished     the new report has no verdict on it

The exit code is 1 when anything regressed, 4 when the reports have nothing in common, and otherwise
0: a failure that was there before is not a regression.`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			runs, err := a.readReports(args)
			if err != nil {
				return err
			}
			d := compare.Diff(runs[0], runs[1])
			d.Print(a.out, a.width())
			switch code := d.ExitCode(); code {
			case report.ExitAsExpected:
				return nil
			case report.ExitNothingRan:
				return exitf(code, "nothing was compared: the reports have no requirement and no test in common")
			default:
				return exitf(code, "")
			}
		},
	}
}

func (a *app) matrixCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "matrix REPORT REPORT ...",
		Short: "Set the reports of several homeservers side by side",
		Long: `Matrix sets reports side by side, each a folder or a report.json: a table by area, every requirement on
which they disagree, and every behaviour that differs although no requirement judges it. Servers that
read one event differently stop agreeing on the state of a room.

The exit code is 0 whether they agree or not, and 4 when there is nothing to compare.`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			runs, err := a.readReports(args)
			if err != nil {
				return err
			}
			m, err := compare.SideBySide(runs)
			if err != nil {
				return err
			}
			m.Print(a.out, a.width())
			if m.Compared == 0 {
				return exitf(report.ExitNothingRan, "nothing was compared: no two reports judge the same requirement")
			}
			return nil
		},
	}
}

func (a *app) readReports(paths []string) ([]*report.Run, error) {
	runs := make([]*report.Run, len(paths))
	for i, path := range paths {
		run, _, err := a.readReport(path)
		if err != nil {
			return nil, err
		}
		runs[i] = run
	}
	return runs, nil
}
