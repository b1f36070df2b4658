// Command countersign tells, with evidence, whether a Matrix homeserver does what room version 12
// and the proposals about account keys ask of it.
//
//	countersign run            judge a homeserver, and write a report
//	countersign report DIR     print a report, or write it as HTML, JUnit, Markdown or a badge
//	countersign diff OLD NEW   what became better and worse between two reports
//	countersign matrix A B ... the reports of several homeservers side by side
//	countersign list           the requirements, and which tests cover them
//	countersign explain ID     everything about one requirement
//	countersign lint           check that requirements and tests agree
//	countersign bundle DIR     build the tests, to be run without Go
//	countersign kill           run the suite against deliberate defects, to prove that it tests
//	countersign serve          run the reference homeserver
//	countersign help exit-codes
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"countersign/report"
)

func main() {
	cobra.EnableCommandSorting = false // help lists the commands in the order of their use
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := (&app{
		out: os.Stdout, err: os.Stderr, environ: os.Environ(), getwd: os.Getwd, preflight: preflight, bundle: bundled(),
	}).execute(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// app is the command line with everything that it takes from its process.
type app struct {
	out, err io.Writer
	environ  []string
	getwd    func() (string, error)
	// bundle is the folder of the bundle that the program belongs to, or empty.
	bundle string
	// preflight tells cheaply whether homeservers can be started as the environment asks.
	preflight func(ctx context.Context, environ []string) error
}

// exitError ends the program with a code of its own. Its message is one line: what is wrong and
// what to do. Without a message the program has already said what there is to say.
type exitError struct {
	code    int
	message string
}

func (e *exitError) Error() string { return e.message }

// exitf makes an exitError.
func exitf(code int, format string, args ...any) error {
	return &exitError{code: code, message: fmt.Sprintf(format, args...)}
}

// execute runs the command line and returns its exit code.
func (a *app) execute(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return report.ExitAsExpected
	}
	exit, ok := errors.AsType[*exitError](err)
	if !ok {
		// What cobra refuses is the fault of the command line.
		exit = &exitError{code: report.ExitUsage, message: err.Error() + "; see countersign --help"}
	}
	if exit.message != "" {
		fmt.Fprintf(a.err, "countersign: %s\n", strings.TrimSpace(exit.message))
	}
	return exit.code
}

// commands are the subcommands, in the order in which help lists them. A command in a file of its
// own is added here.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.runCommand(),
		a.reportCommand(),
		a.diffCommand(),
		a.matrixCommand(),
		a.listCommand(),
		a.explainCommand(),
		a.lintCommand(),
		a.bundleCommand(),
		a.killCommand(),
		a.serveCommand(),
		a.healthcheckCommand(),
		a.versionCommand(),
		exitCodesTopic(),
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "countersign",
		Short: "A conformance suite for Matrix homeservers with account keys",
		Long: `Countersign tells, with evidence, whether a Matrix homeserver does what room version 12 and the
proposals about account keys (MSC4243, MSC4345, MSC4348) ask of it.

It registers users on the homeserver, federates with it over TLS, forges events that it must refuse,
and prints one verdict per requirement. Begin with:

  countersign run                         the bundled reference homeserver, nothing to configure
  countersign run --target docker:IMAGE   your homeserver
  countersign explain MSC4243-SIG-02      what a requirement asks
  countersign diff yesterday today        what became better and worse`,
		SilenceUsage:               true,
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		Args:                       cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("version") {
				return a.version(cmd)
			}
			return cmd.Help()
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.Flags().Bool("version", false, "print the version of the suite, as the command version does")
	root.AddCommand(a.commands()...)
	return root
}
