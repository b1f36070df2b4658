package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"countersign/report"
	"countersign/requirements"
)

// errTooLong is why a run that exceeds its limit is ended.
var errTooLong = errors.New("the run took too long")

// perform runs the tests and judges what they say. A run that is interrupted, or that cannot run
// its tests, is reported as far as it got; the error is for a machine that cannot run tests at
// all.
func (a *app) perform(ctx context.Context, all *requirements.Catalogue, p *plan, verbose bool) (*report.Run, error) {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return nil, exitf(report.ExitHarness, "there is no go command in PATH; install Go 1.26 or newer")
	}
	run := &report.Run{
		Suite:    identity(ctx, p.module),
		Target:   p.target,
		Strict:   p.strict,
		Command:  p.command,
		Selected: p.selected,
		Shard:    p.shard,
		Machine:  report.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()},
		Started:  time.Now().UTC().Truncate(time.Millisecond),
	}
	fmt.Fprintf(a.out, "Running %d tests of %s against %s.\n", len(p.tests), strings.Join(p.suites, " and "), p.target)

	progress := a.progress(all, len(p.tests)*p.repeat, verbose)
	collector := report.NewCollector(all)
	collector.OnTest = progress.Test
	collector.Covered = func(id string) bool { return len(p.all.Covering(id)) > 0 }
	limited, cancel := context.WithTimeoutCause(ctx, p.runLimit, errTooLong)
	defer cancel()
	complaints, err := a.goTest(limited, goCommand, p, collector.Read)
	progress.Close()

	switch {
	case errors.Is(context.Cause(limited), errTooLong):
		collector.Fail(fmt.Sprintf("the run took longer than %s and was ended; raise --timeout-scale on a slow machine", p.runLimit))
	case ctx.Err() != nil:
		collector.Fail("the run was interrupted; what is judged is what had been tested until then")
	case err != nil:
		collector.Fail(err.Error())
	case collector.Packages() == 0:
		collector.Fail("go test ran no tests: " + strings.Join(strings.Fields(complaints+" "+collector.Stray()), " "))
	}
	run.DurationSeconds = time.Since(run.Started).Round(time.Millisecond).Seconds()
	collector.Finish(run)
	for i := range run.Tests {
		run.Tests[i].Transcript = below(p.report, run.Tests[i].Transcript)
	}
	return run, nil
}

// goTest runs the go command, lets read have its output, and returns what it complained about. When
// the context ends, the whole process group is interrupted, and killed when it does not end.
func (a *app) goTest(ctx context.Context, goCommand string, p *plan, read func(io.Reader) error) (string, error) {
	output, input := io.Pipe()
	complaints := &lastBytes{limit: 4 << 10}
	command := exec.CommandContext(ctx, goCommand, p.goTest()...)
	command.Dir = p.module
	command.Env = p.environ
	command.Stdout = input
	command.Stderr = complaints
	command.WaitDelay = p.grace
	ownGroup(command)

	finished := make(chan error, 1)
	go func() {
		err := read(output)
		// Whatever happens to the reader, the tests must not block on their output.
		_, drainErr := io.Copy(io.Discard, output)
		finished <- errors.Join(err, drainErr)
	}()
	err := command.Start()
	if err == nil {
		err = command.Wait()
		if ctx.Err() != nil || errors.Is(err, exec.ErrWaitDelay) {
			killGroup(command)
		}
	}
	input.Close() //nolint:errcheck // closing a pipe with no error always succeeds
	readErr := <-finished
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		err = nil // that tests failed is told by what they said
	}
	return complaints.String(), errors.Join(err, readErr)
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	limit int
	text  []byte
}

func (l *lastBytes) Write(text []byte) (int, error) {
	l.text = append(l.text, text...)
	if extra := len(l.text) - l.limit; extra > 0 {
		l.text = append(l.text[:0], l.text[extra:]...)
	}
	return len(text), nil
}

func (l *lastBytes) String() string {
	return strings.TrimSpace(strings.ToValidUTF8(string(l.text), ""))
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
