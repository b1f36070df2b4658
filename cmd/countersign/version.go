package main

import (
	"cmp"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"countersign/report"
	"countersign/requirements"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of the suite, and of the texts that it judges by",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.version(cmd) },
	}
}

// version prints what a report says of the suite. Outside of a checkout the program knows less of itself.
func (a *app) version(cmd *cobra.Command) error {
	source, err := a.origin()
	if err != nil {
		source = &origin{}
	}
	catalogue, err := requirements.Default()
	if err != nil {
		return exitf(report.ExitHarness, "%v", err)
	}
	suite := source.identity(cmd.Context())
	fmt.Fprintf(a.out, "%s %s, commit %s, %s %s/%s\n", suite.Name, suite.Version, cmp.Or(suite.Commit, "unknown"),
		runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, p := range catalogue.Proposals {
		fmt.Fprintf(a.out, "  %-9s  %.12s  %s\n", p.ID, p.Text.Revision, p.Title)
	}
	return nil
}
