package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"countersign/report"
	"countersign/report/verdict"
	"countersign/requirements"
)

// errTooLong is why a run that exceeds its limit is ended.
var errTooLong = errors.New("the run took too long")

// perform runs the tests, judges what they say, and hands the result to finish, whose error it
// returns. A run that is interrupted, or that cannot run its tests, is reported as far as it got; any
// other error is for a machine that cannot run tests at all. Homeservers that are to be kept are up
// until ctx ends, after the result has been handed on.
func (a *app) perform(ctx context.Context, all *requirements.Catalogue, p *plan, verbose bool, finish func(*report.Run) error) error {
	execute, err := a.executor(p)
	if err != nil {
		return err
	}
	run := &report.Run{
		Suite:         p.origin.identity(ctx),
		Target:        p.target,
		Strict:        p.strict,
		Command:       p.command,
		Configuration: configuration(a.environ),
		Selected:      p.selected,
		Shard:         p.shard,
		Machine:       report.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: p.origin.goVersion()},
		Started:       time.Now().UTC().Truncate(time.Millisecond),
	}
	fmt.Fprintf(a.out, "Running %d tests of %s against %s.\n", len(p.tests), strings.Join(p.suites, " and "), p.target)

	progress := a.progress(all, len(p.tests)*p.repeat, verbose)
	collector := report.NewCollector(all)
	collector.OnTest = progress.Test
	collector.Covered = func(id string) bool { return len(p.all.Covering(id)) > 0 }
	end := func() error {
		progress.Close()
		run.DurationSeconds = time.Since(run.Started).Round(time.Millisecond).Seconds()
		collector.Finish(run)
		for i := range run.Tests {
			run.Tests[i].Transcript = below(p.report, run.Tests[i].Transcript)
		}
		return finish(run)
	}
	held, heldErr := false, error(nil)
	collector.OnKept = func(kept verdict.Kept) {
		held, heldErr = true, end()
		a.printKept(kept)
	}
	limited, cancel := ctx, func() {}
	if p.runLimit > 0 {
		limited, cancel = context.WithTimeoutCause(ctx, p.runLimit, errTooLong)
	}
	defer cancel()
	complaints, err := execute(limited, collector.Read)
	switch {
	case held:
		return heldErr
	case errors.Is(context.Cause(limited), errTooLong):
		collector.Fail(fmt.Sprintf("the run took longer than %s and was ended; raise --timeout-scale on a slow machine", p.runLimit))
	case ctx.Err() != nil:
		collector.Fail("the run was interrupted; what is judged is what had been tested until then")
	case err != nil:
		collector.Fail(err.Error())
	case collector.Packages() == 0:
		collector.Fail("go test ran no tests: " + strings.Join(strings.Fields(complaints+" "+collector.Stray()), " "))
	}
	return end()
}

// printKept says how homeservers that are kept are reached.
func (a *app) printKept(kept verdict.Kept) {
	fmt.Fprintf(a.out, "\nThe homeservers stay up until Ctrl-C.\n")
	for _, server := range kept.Servers {
		fmt.Fprintf(a.out, "%s  %s\n", server.Server, server.Name)
		fmt.Fprintf(a.out, "     clients   %s\n     servers   https://%s\n", server.Client, server.Federation)
	}
	fmt.Fprintf(a.out, "\nTheir certificates are vouched for by %s.\n", a.shorten(filepath.Join(filepath.Dir(kept.Attach), kept.CA)))
	fmt.Fprintf(a.out, "To test them again: countersign run --target attach:%s\n", a.shorten(kept.Attach))
}

// progress shows a run while it runs: as a bar on a terminal, as plain lines elsewhere.
func (a *app) progress(all *requirements.Catalogue, total int, verbose bool) report.Progress {
	_, out := terminal(a.out)
	_, err := terminal(a.err)
	if out && err && !verbose {
		return report.NewBar(a.err, a.printer(all), total)
	}
	return report.NewLines(a.printer(all), verbose)
}

func (a *app) printer(all *requirements.Catalogue) *report.Printer {
	titles := map[string]string{}
	for _, proposal := range all.Proposals {
		for _, area := range proposal.Areas {
			titles[area.ID] = area.Title
		}
	}
	return &report.Printer{Out: a.out, Color: a.colorful(), Width: a.width(), Titles: titles}
}

// shorten is a path as seen from the working directory, when that is shorter.
func (a *app) shorten(path string) string {
	wd, err := a.getwd()
	if err != nil {
		return path
	}
	return below(wd, path)
}

// below is a path as seen from a folder that it is in, or the path itself.
func below(folder, path string) string {
	relative, err := filepath.Rel(folder, path)
	if err != nil || path == "" || relative == ".." || strings.HasPrefix(relative, ".."+string(os.PathSeparator)) {
		return path
	}
	return relative
}
