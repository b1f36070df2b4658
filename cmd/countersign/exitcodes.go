package main

import "github.com/spf13/cobra"

// exitCodesTopic is a help topic: a command that cannot be run.
func exitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `The exit codes of countersign:

  0  as expected       Nothing is wrong with the server. Warnings, skips and recorded behaviours do
                       not count; with --strict, warnings are failures. For lint: requirements and
                       tests agree.
  1  non-conformance   The server broke a requirement (FAIL), or the evidence was not enough to judge
                       one (INCONCLUSIVE). A failure that the expectation file knows (XFAIL) does not
                       count. For diff: something regressed. For lint: requirements and tests do not agree.
                       For kill: a mutant survived, a variant was failed, or a test is idle.
  2  harness           A server did not start, or the suite itself failed (ERROR): nothing is known
                       about the server. Also when the run was interrupted or took too long.
  3  usage             The command line, a configuration variable or the working directory is wrong.
  4  nothing ran       Nothing was judged: no test was chosen, or every test was skipped. For diff and
                       matrix: the reports have nothing in common.
  5  unexpected pass   With --strict-expectations: a requirement was met that the expectation file says
                       is broken, or an entry of the file is stale.

When several apply, the strongest decides: a broken requirement (1) whatever else went wrong, then a
failure of the harness (2), then missing evidence (1).`,
	}
}
