package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"countersign/helpers/conform"
	"countersign/report"
	"countersign/report/coverage"
	"countersign/requirements"
)

// plan is what a run is going to do.
type plan struct {
	// origin is where the tests are.
	origin *origin
	// target and strict are what the environment of the tests says.
	target string
	strict bool
	// suites are the packages below tests/.
	suites []string
	// pattern is for `go test -run`; empty for all tests.
	pattern string
	// all are the tests of the checkout, and tests those that the pattern chooses.
	all   *coverage.Tests
	tests []coverage.Test
	// selected says that the run was asked for some of the tests only, and shard that it takes one
	// part of them.
	selected bool
	shard    *report.Shard
	// repeat is how often every test runs, and failFast ends a suite at its first failure.
	repeat   int
	failFast bool
	// keep leaves the homeservers up after the tests.
	keep bool
	// environ is the environment of the tests.
	environ []string
	// report is the folder for the report, absolute.
	report string
	// packageLimit and runLimit bound one package and the whole run, and grace the time to clean up
	// after an interrupt.
	packageLimit, runLimit, grace time.Duration
	// command is the run's own command line, for the report.
	command []string
}

// plan turns flags into what to do. Its errors are the fault of the command line.
func (a *app) plan(all *requirements.Catalogue, flags *runFlags) (*plan, error) {
	origin, err := a.origin()
	if err != nil {
		return nil, err
	}
	p := &plan{origin: origin, keep: flags.keep, environ: slices.Clone(a.environ), command: flags.commandLine(), repeat: flags.repeat, failFast: flags.failFast}
	if err := p.configure(a, flags); err != nil {
		return nil, err
	}
	if err := p.chooseSuites(flags.suites); err != nil {
		return nil, err
	}
	if err := p.chooseTests(all, flags); err != nil {
		return nil, err
	}
	return p, p.chooseKeep()
}

// configure fills what the environment of the tests says, flags first.
func (p *plan) configure(a *app, flags *runFlags) error {
	wd, err := a.getwd()
	if err != nil {
		return exitf(report.ExitUsage, "cannot tell the working directory: %v", err)
	}
	if flags.report == "" {
		return exitf(report.ExitUsage, "--report is empty; name a folder")
	}
	p.report = flags.report
	if !filepath.IsAbs(p.report) {
		p.report = filepath.Join(wd, p.report)
	}

	scale := 1.0
	if flags.timeoutScale < 0 {
		return exitf(report.ExitUsage, "--timeout-scale is %v; give a number greater than 0", flags.timeoutScale)
	}
	if flags.timeoutScale > 0 {
		p.set("COUNTERSIGN_TIMEOUT_SCALE", strconv.FormatFloat(flags.timeoutScale, 'g', -1, 64))
	}
	// A value that cannot be read is refused when the configuration is.
	if value, err := strconv.ParseFloat(p.get("COUNTERSIGN_TIMEOUT_SCALE"), 64); err == nil && value > 0 {
		scale = value
	}
	if flags.repeat < 1 {
		return exitf(report.ExitUsage, "--repeat is %d; give a number from 1", flags.repeat)
	}
	p.packageLimit = time.Duration(float64(packageLimit) * scale * float64(flags.repeat))
	p.runLimit = time.Duration(float64(runLimit) * scale * float64(flags.repeat))
	p.grace = time.Duration(float64(interruptGrace) * scale)

	if flags.target != "" {
		p.set("COUNTERSIGN_TARGET", flags.target)
	}
	if flags.strict {
		p.set(conform.StrictVariable, "1")
	}
	if p.get(conform.ArtifactsVariable) == "" {
		p.set(conform.ArtifactsVariable, filepath.Join(p.report, "artifacts"))
	}
	p.target = p.get("COUNTERSIGN_TARGET")
	if image := p.get("COMPLEMENT_BASE_IMAGE"); p.target == "" && image != "" {
		p.target = "docker:" + image
	}
	if p.target == "" {
		p.target = "embedded"
	}
	p.strict, _ = strconv.ParseBool(p.get(conform.StrictVariable))
	return nil
}

// flags are the flags of the testing package, each behind a prefix.
func (p *plan) flags(prefix string) []string {
	args := []string{prefix + "count=" + strconv.Itoa(p.repeat), prefix + "timeout=" + p.packageLimit.String()}
	if p.failFast {
		args = append(args, prefix+"failfast")
	}
	if p.pattern != "" {
		args = append(args, prefix+"run="+p.pattern)
	}
	return args
}

// goTest is the command line of the go command.
func (p *plan) goTest() []string {
	args := append([]string{"test", "-json"}, p.flags("-")...)
	for _, suite := range p.suites {
		args = append(args, "./"+coverage.Folder+"/"+suite)
	}
	return args
}

// chooseKeep prepares for homeservers that stay up: nothing may end the tests' process meanwhile.
func (p *plan) chooseKeep() error {
	p.set(conform.KeepVariable, "")
	if !p.keep {
		return nil
	}
	if len(p.suites) > 1 {
		return exitf(report.ExitUsage, "--keep leaves the homeservers of one suite up; choose it with --suite: %s", strings.Join(p.suites, ", "))
	}
	p.set(conform.KeepVariable, "1")
	p.packageLimit, p.runLimit = 0, 0
	return nil
}

// get is the value of a variable in the environment of the tests.
func (p *plan) get(name string) string { return (&app{environ: p.environ}).getenv(name) }

func (p *plan) set(name, value string) { p.environ = append(p.environ, name+"="+value) }

// printPlan prints what a run would do.
func (a *app) printPlan(p *plan) {
	fmt.Fprintf(a.out, "target: %s\n", p.target)
	for _, t := range p.tests {
		fmt.Fprintf(a.out, "%s  %s\n", t.ID(), strings.Join(t.Covers, " "))
	}
	if p.origin.index != nil {
		for _, suite := range p.suites {
			fmt.Fprintln(a.out, strings.Join(p.prebuilt(suite), " "))
		}
		return
	}
	fmt.Fprintf(a.out, "go %s\n", strings.Join(p.goTest(), " "))
}
