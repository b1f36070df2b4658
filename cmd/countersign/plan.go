package main

import (
	"fmt"
	"path/filepath"
	"regexp"
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
	// module is the root of the checkout.
	module string
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
	// environ is the environment of the tests.
	environ []string
	// report is the folder for the report, absolute; shown is how to show it to a reader.
	report, shown string
	// packageLimit and runLimit bound one package and the whole run, and grace the time to clean up
	// after an interrupt.
	packageLimit, runLimit, grace time.Duration
	// command is the run's own command line, for the report.
	command []string
}

// plan turns flags into what to do. Its errors are the fault of the command line.
func (a *app) plan(all *requirements.Catalogue, flags *runFlags) (*plan, error) {
	module, err := a.findModule()
	if err != nil {
		return nil, err
	}
	p := &plan{module: module, environ: slices.Clone(a.environ), command: flags.commandLine()}
	if err := p.configure(a, flags); err != nil {
		return nil, err
	}
	if err := p.chooseSuites(flags.suites); err != nil {
		return nil, err
	}
	return p, p.chooseTests(all, flags)
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
	p.shown = a.shorten(p.report)

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
	p.packageLimit = time.Duration(float64(packageLimit) * scale)
	p.runLimit = time.Duration(float64(runLimit) * scale)
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

func (p *plan) chooseSuites(wanted []string) error {
	available, err := suites(p.module)
	if err != nil {
		return err
	}
	if len(available) == 0 {
		return exitf(report.ExitNothingRan, "%s has no tests below %s/", p.module, coverage.Folder)
	}
	for _, suite := range wanted {
		if !slices.Contains(available, suite) {
			return exitf(report.ExitUsage, "there is no suite %q; there are %s", suite, strings.Join(available, ", "))
		}
	}
	p.suites = available
	if len(wanted) > 0 {
		p.suites = slices.DeleteFunc(available, func(s string) bool { return !slices.Contains(wanted, s) })
	}
	return nil
}

// chooseTests finds the test functions that the flags choose, and leaves out suites without any.
func (p *plan) chooseTests(all *requirements.Catalogue, flags *runFlags) error {
	found, err := scan(p.module)
	if err != nil {
		return err
	}
	p.all = found
	top, err := topLevel(flags.run)
	if err != nil {
		return exitf(report.ExitUsage, "--run %q is not a regular expression: %v", flags.run, err)
	}
	chosen, err := match(all, flags.requirements)
	if err != nil {
		return err
	}
	ids := make([]string, len(chosen))
	for i, r := range chosen {
		ids[i] = r.ID
	}
	covers := func(t coverage.Test) bool {
		return len(ids) == 0 || slices.ContainsFunc(t.Covers, func(id string) bool { return slices.Contains(ids, id) })
	}
	var names []string
	for _, t := range found.Tests {
		if slices.Contains(p.suites, t.Suite) && top.MatchString(t.Name) && covers(t) {
			p.tests = append(p.tests, t)
			names = append(names, regexp.QuoteMeta(t.Name))
		}
	}
	if len(p.tests) == 0 {
		return exitf(report.ExitNothingRan, "no test was chosen; `countersign list` prints which requirements have tests")
	}
	p.suites = slices.DeleteFunc(p.suites, func(suite string) bool {
		return !slices.ContainsFunc(p.tests, func(t coverage.Test) bool { return t.Suite == suite })
	})
	p.pattern = flags.run
	if len(ids) > 0 {
		p.set(conform.SelectionVariable, strings.Join(ids, ","))
		if p.pattern == "" {
			slices.Sort(names)
			p.pattern = "^(" + strings.Join(slices.Compact(names), "|") + ")$"
		}
	}
	return nil
}

// topLevel is the part of a -run expression that test functions are matched with. Where the
// expression is too clever to be split, all functions may match.
func topLevel(pattern string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, err
	}
	first, _, deeper := strings.Cut(pattern, "/")
	if deeper && strings.ContainsAny(pattern, "|[(") {
		first = ""
	}
	return regexp.Compile(first)
}

// commandLine writes the flags that matter for the result down again.
func (f *runFlags) commandLine() []string {
	line := []string{"run"}
	add := func(name, value string) {
		if value != "" {
			line = append(line, "--"+name, value)
		}
	}
	add("target", f.target)
	add("suite", strings.Join(f.suites, ","))
	add("requirement", strings.Join(f.requirements, ","))
	add("run", f.run)
	if f.timeoutScale > 0 {
		add("timeout-scale", strconv.FormatFloat(f.timeoutScale, 'g', -1, 64))
	}
	if f.strict {
		line = append(line, "--strict")
	}
	return line
}

// goTest is the command line of the go command.
func (p *plan) goTest() []string {
	args := []string{"test", "-json", "-count=1", "-timeout=" + p.packageLimit.String()}
	if p.pattern != "" {
		args = append(args, "-run="+p.pattern)
	}
	for _, suite := range p.suites {
		args = append(args, "./"+coverage.Folder+"/"+suite)
	}
	return args
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
	fmt.Fprintf(a.out, "go %s\n", strings.Join(p.goTest(), " "))
}
