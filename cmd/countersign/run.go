package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"countersign/report"
)

// defaultReport is the folder for the report of a run that names none.
const defaultReport = "countersign-report"

// The bounds of a run, before --timeout-scale: of one package of tests, of everything, and of the
// removal of homeservers after an interrupt, after which the tests are killed.
const (
	packageLimit   = 10 * time.Minute
	runLimit       = 30 * time.Minute
	interruptGrace = 45 * time.Second
)

// runFlags are the flags of `countersign run`.
type runFlags struct {
	target       string
	suites       []string
	run          string
	requirements []string
	areas        []string
	levels       []string
	profiles     []string
	shard        string
	repeat       int
	failFast     bool
	report       string
	timeoutScale float64
	strict       bool
	keep         bool
	dryRun       bool
	verbose      bool
	expectations expectationFlags
}

func (a *app) runCommand() *cobra.Command {
	var flags runFlags
	command := &cobra.Command{
		Use:   "run",
		Short: "Judge a homeserver, and write a report",
		Long: `Run starts the homeservers under test, runs the tests against them, prints a verdict per requirement,
and writes report.json with everything that was found, and report.html for people. What is wrong comes
last.

  countersign run                                     the bundled reference homeserver
  countersign run --target docker:IMAGE               an image that meets Complement's contract
  countersign run --target 'exec:COMMAND'             a program
  countersign run --suite roomv12                     only the controls in room version 12
  countersign run --requirement 'MSC4243-SIG-*'       only some requirements

The flags set the COUNTERSIGN_ variables of docs/ENVIRONMENT.md and win over the environment.
The exit codes are explained by: countersign help exit-codes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.run(cmd.Context(), &flags)
		},
	}
	f := command.Flags()
	f.SortFlags = false
	f.StringVar(&flags.target, "target", "", "the homeservers under test: embedded, exec:COMMAND, docker:IMAGE or attach:FILE")
	f.StringSliceVar(&flags.suites, "suite", nil, "the suites to run, separated by commas (default all)")
	f.StringSliceVar(&flags.requirements, "requirement", nil, "only tests that cover these requirements: IDs, areas, or patterns such as 'MSC4243-SIG-*'")
	f.StringSliceVar(&flags.areas, "area", nil, "only tests that cover requirements of these areas, such as MSC4243-SIG")
	f.StringSliceVar(&flags.levels, "level", nil, "only tests that cover requirements of these levels: MUST, SHOULD, SHOULD-NOT, MAY, IMPLIED")
	f.StringSliceVar(&flags.profiles, "profile", nil, "only tests that cover requirements of these profiles: STRICT, INTEROP, INFO")
	f.StringVar(&flags.run, "run", "", "only tests whose names match this regular expression, as in go test")
	flags.expectations.add(command)
	f.StringVar(&flags.report, "report", defaultReport, "the folder for report.json, report.html, transcripts and logs")
	f.Float64Var(&flags.timeoutScale, "timeout-scale", 0, "multiply every deadline, for slow machines (default 1)")
	f.BoolVar(&flags.strict, "strict", false, "a departure from the recommended reading of an ambiguous text is a failure")
	f.StringVar(&flags.shard, "shard", "", "one part of the tests: 2/3 is the second of three (or 1+1/3, counted from zero); countersign report merge joins them")
	f.IntVar(&flags.repeat, "repeat", 1, "run every test so many times, to find the flaky ones")
	f.BoolVar(&flags.failFast, "fail-fast", false, "begin no further test in a suite after its first failure")
	f.BoolVar(&flags.keep, "keep", false, "leave the homeservers of one suite up after its tests, and print how to reach them")
	f.BoolVar(&flags.dryRun, "dry-run", false, "print what would run, and start nothing")
	f.BoolVar(&flags.dryRun, "list-only", false, "the same as --dry-run")
	f.BoolVarP(&flags.verbose, "verbose", "v", false, "one line per test case")
	return command
}

func (a *app) run(ctx context.Context, flags *runFlags) error {
	all, err := catalogue()
	if err != nil {
		return err
	}
	p, err := a.plan(all, flags)
	if err != nil {
		return err
	}
	known, err := a.expectations(all, &flags.expectations)
	if err != nil {
		return err
	}
	if flags.dryRun {
		a.printPlan(p)
		return nil
	}
	if err := a.preflight(ctx, p.environ); err != nil {
		return err
	}
	return a.perform(ctx, all, p, flags.verbose, func(result *report.Run) error {
		if known != nil {
			known.Apply(result, all, result.Started, flags.expectations.strict)
		}
		return a.publish(result, all, p.report)
	})
}

// outcome is the error that carries a finished run's exit code. The printer has said what is
// wrong; only a run that judged nothing needs a word more.
func outcome(result *report.Run) error {
	switch code := result.ExitCode(); {
	case code == report.ExitAsExpected:
		return nil
	case code != report.ExitNothingRan:
		return exitf(code, "")
	case result.Summary.Total() > 0:
		return exitf(code, "nothing was judged: every test was skipped, for the reasons above")
	default:
		return exitf(code, "nothing was judged: no test was chosen; `countersign run --dry-run` prints what would run")
	}
}
