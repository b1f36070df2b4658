package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"countersign/cmd/countersign/internal/killing"
	"countersign/reference"
	"countersign/report"
	"countersign/report/killtable"
)

// defaultKillFolder is the folder for a kill table when none is named.
const defaultKillFolder = "countersign-kill"

// killFlags are the flags of `countersign kill`.
type killFlags struct {
	all, list    bool
	suites       []string
	mutants      []string
	sample       int
	shard        string
	report       string
	jobs         int
	timeoutScale float64
}

func (a *app) killCommand() *cobra.Command {
	var flags killFlags
	command := &cobra.Command{
		Use:   "kill",
		Short: "Prove that the tests test: run the suite against deliberate defects",
		Long: `Kill runs the suite against the reference homeserver with one deliberate defect at a time (a mutant),
and finds out which tests notice. Beside that, it runs the suite against permitted alternatives
(variants), which no test may fail, and, with --all, against dead servers, which no test may pass.

  countersign kill                         every mutant, against the tests that cover its requirement
  countersign kill --all                   against all tests that could notice it; finds idle tests, too
  countersign kill --mutant 'Accept*'      some mutants
  countersign kill --sample 60             some that differ from commit to commit, for CI
  countersign kill --all --shard 2/8       one part; countersign kill merge joins them
  countersign kill --list                  what there is

The kill table is written as kill-table.json, KILL-TABLE.md and kill-table.html. An interrupted run goes
on where it was when it is started again with the same folder. The exit code is 1 when a mutant survives
or is killed only by tests of other requirements, a variant is failed, a dead server is passed, or a test
is idle.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.kill(cmd.Context(), &flags) },
	}
	f := command.Flags()
	f.SortFlags = false
	f.BoolVar(&flags.all, "all", false, "run all tests that could notice a mutant, not only those of its requirement")
	f.StringSliceVar(&flags.mutants, "mutant", nil, "only mutants, variants and dead servers whose names match, such as 'Accept*'")
	f.IntVar(&flags.sample, "sample", 0, "only so many mutants, another spread for every commit")
	f.StringSliceVar(&flags.suites, "suite", nil, "the suites to run, separated by commas (default all)")
	f.StringVar(&flags.shard, "shard", "", "one part of the mutants: 2/8 is the second of eight")
	f.StringVar(&flags.report, "report", defaultKillFolder, "the folder for the table and for what is needed to go on after an interrupt")
	f.IntVar(&flags.jobs, "jobs", 0, "how many programs run at once (default 3 for each core, as tests mostly wait)")
	f.Float64Var(&flags.timeoutScale, "timeout-scale", 0.5, "multiply every deadline")
	f.BoolVar(&flags.list, "list", false, "print the mutants, variants and dead servers, and run nothing")
	command.AddCommand(a.killMergeCommand())
	return command
}

func (a *app) kill(ctx context.Context, flags *killFlags) error {
	if flags.list {
		a.listDefects()
		return nil
	}
	all, err := catalogue()
	if err != nil {
		return err
	}
	module, err := a.findModule()
	if err != nil {
		return err
	}
	checkout := &origin{root: module}
	tests, err := checkout.scan()
	if err != nil {
		return err
	}
	folder, err := a.absolute(flags.report)
	if err != nil {
		return err
	}
	p := &plan{origin: checkout}
	if err := p.chooseSuites(flags.suites); err != nil {
		return err
	}
	suite := checkout.identity(ctx)
	options := killing.Options{
		Module: module, Folder: folder, Suites: p.suites, Catalogue: all, Tests: tests,
		Mutants: reference.Mutants(), Variants: reference.Variants(), Dead: reference.DeadServers(),
		Whole: flags.all, Jobs: flags.jobs, Scale: flags.timeoutScale, Group: ownGroup, Kill: killGroup,
	}
	if options.Jobs <= 0 {
		options.Jobs = 3 * runtime.NumCPU()
	}
	shard, err := chooseMutants(&options, flags, suite.Commit)
	if err != nil {
		return err
	}
	bar := a.killProgress()
	options.Progress = bar.show
	fmt.Fprintf(a.out, "Trying %d mutants, %d variants and %d dead servers.\n", len(options.Mutants), len(options.Variants), len(options.Dead))
	table, err := killing.Run(ctx, options)
	bar.end()
	if err != nil {
		if ctx.Err() != nil {
			return exitf(report.ExitHarness, "interrupted; run the same command again to go on")
		}
		return exitf(report.ExitHarness, "%v", err)
	}
	table.Suite, table.Shard = suite, shard
	return a.publishKills(table, folder)
}

// chooseMutants leaves the mutants, variants and dead servers that the flags choose.
func chooseMutants(o *killing.Options, flags *killFlags, commit string) (*report.Shard, error) {
	if len(flags.mutants) > 0 {
		for _, pattern := range flags.mutants {
			if _, err := path.Match(pattern, ""); err != nil {
				return nil, exitf(report.ExitUsage, "--mutant: %q: %v", pattern, err)
			}
		}
		matches := func(name string) bool {
			return slices.ContainsFunc(flags.mutants, func(pattern string) bool {
				ok, _ := path.Match(pattern, name) // the pattern is good
				return ok
			})
		}
		o.Mutants = slices.DeleteFunc(o.Mutants, func(m reference.Mutant) bool { return !matches(m.Name) })
		o.Variants = slices.DeleteFunc(slices.Clone(o.Variants), func(v reference.Variant) bool { return !matches(v.Name) })
		o.Dead = slices.DeleteFunc(slices.Clone(o.Dead), func(d reference.DeadServer) bool { return !matches(d.Name) })
		if len(o.Mutants)+len(o.Variants)+len(o.Dead) == 0 {
			return nil, exitf(report.ExitUsage, "no mutant has such a name; `countersign kill --list` prints them all")
		}
	}
	if flags.sample > 0 {
		o.Mutants = spread(o.Mutants, flags.sample, commit)
	}
	if !flags.all {
		o.Dead = nil // which tests cannot tell them from the honest server has not been found out
	}
	var shard *report.Shard
	if flags.shard != "" {
		var err error
		if shard, err = parseShard(flags.shard); err != nil {
			return nil, err
		}
		o.Mutants, o.Variants, o.Dead = part(o.Mutants, shard), part(o.Variants, shard), part(o.Dead, shard)
	}
	if len(o.Mutants)+len(o.Variants)+len(o.Dead) == 0 {
		return nil, exitf(report.ExitNothingRan, "nothing is left to try; dead servers are tried with --all only")
	}
	return shard, nil
}

// part is every so many-th element.
func part[T any](list []T, shard *report.Shard) (mine []T) {
	for i := shard.Index - 1; i < len(list); i += shard.Count {
		mine = append(mine, list[i])
	}
	return mine
}

// spread is a number of elements at even distances. The commit says where it begins, so that all have
// their turn.
func spread[T any](list []T, n int, commit string) (chosen []T) {
	if n >= len(list) {
		return list
	}
	offset := 0
	for _, c := range commit {
		offset = (offset*31 + int(c)) % len(list)
	}
	for i := range n {
		chosen = append(chosen, list[(offset+i*len(list)/n)%len(list)])
	}
	return chosen
}

// listDefects prints what there is to be tried.
func (a *app) listDefects() {
	for _, m := range reference.Mutants() {
		fmt.Fprintf(a.out, "mutant   %-44s %-18s %s\n", m.Name, m.Requirement, m.Wrong)
	}
	for _, v := range reference.Variants() {
		fmt.Fprintf(a.out, "variant  %-44s %-18s %s\n", v.Name, v.Permitted, v.Differs)
	}
	for _, d := range reference.DeadServers() {
		fmt.Fprintf(a.out, "dead     %-44s %-18s %s\n", d.Name, "", d.Does)
	}
}

// killProgress shows how far a trial is: as a bar on a terminal, and as a line now and then elsewhere.
func (a *app) killProgress() *killBar {
	b := &killBar{out: a.out, started: time.Now()}
	if _, ok := terminal(a.err); ok {
		b.bar = progressbar.NewOptions(-1, progressbar.OptionSetWriter(a.err), progressbar.OptionSetWidth(30),
			progressbar.OptionShowCount(), progressbar.OptionSetElapsedTime(true), progressbar.OptionClearOnFinish(),
			progressbar.OptionThrottle(50*time.Millisecond), progressbar.OptionSetDescription("compiling"))
	}
	return b
}

type killBar struct {
	out     io.Writer
	bar     *progressbar.ProgressBar
	started time.Time
}

// lineEvery is after how many steps a line is printed where there is no bar.
const lineEvery = 25

func (b *killBar) show(done, total int, what string) {
	switch {
	case b.bar != nil:
		b.bar.ChangeMax(total)
		b.bar.Describe(what)
		b.draw(b.bar.Set(done))
	case done%lineEvery == 0 || done == total:
		fmt.Fprintf(b.out, "%d of %d after %s\n", done, total, time.Since(b.started).Round(time.Second))
	}
}

func (b *killBar) end() {
	if b.bar != nil {
		b.draw(b.bar.Clear())
	}
}

// draw takes the error of drawing on a terminal: when the terminal is gone, the trial goes on.
func (b *killBar) draw(error) {}

// publishKills writes a table in all its forms, prints what it amounts to, and returns that.
func (a *app) publishKills(table *killtable.Table, folder string) error {
	for _, form := range killtable.Forms() {
		err := report.WriteFile(filepath.Join(folder, form.File), func(w io.Writer) error { return form.Write(w, table) })
		if err != nil {
			return exitf(report.ExitHarness, "%v", err)
		}
	}
	for _, line := range table.Conclusions() {
		fmt.Fprintln(a.out, line)
	}
	fmt.Fprintf(a.out, "The table is in %s.\n", a.shorten(folder))
	if !table.Proves() {
		return exitf(report.ExitNonConformance, "")
	}
	return nil
}

func (a *app) killMergeCommand() *cobra.Command {
	var into string
	command := &cobra.Command{
		Use:   "merge DIR DIR ...",
		Short: "Put the kill tables of shards together",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			tables := make([]*killtable.Table, len(args))
			for i, dir := range args {
				text, err := os.ReadFile(filepath.Join(dir, killtable.FileName))
				if err == nil {
					tables[i] = &killtable.Table{}
					err = json.Unmarshal(text, tables[i])
				}
				if err != nil {
					return exitf(report.ExitUsage, "%s has no kill table: %v", dir, err)
				}
			}
			merged, err := killtable.Merge(tables...)
			if err != nil {
				return exitf(report.ExitUsage, "%s", strings.TrimSpace(err.Error()))
			}
			folder, err := a.absolute(into)
			if err != nil {
				return err
			}
			return a.publishKills(merged, folder)
		},
	}
	command.Flags().StringVar(&into, "to", defaultKillFolder, "the folder for the merged table")
	return command
}
