package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync"

	"countersign/report"
)

// executor runs the tests of a plan, lets read have what they say in the form of `go test -json`, and
// returns what was complained about beside it. When the context ends, everything that it started is
// interrupted, and killed when it does not end.
type executor func(ctx context.Context, read func(io.Reader) error) (complaints string, err error)

// executor chooses who runs the tests: the go command, or the programs of a bundle.
func (a *app) executor(p *plan) (executor, error) {
	if p.origin.index != nil {
		return p.runPrebuilt, nil
	}
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return nil, exitf(report.ExitHarness, "there is no go command in PATH; install Go 1.26 or newer, or use a bundle")
	}
	return func(ctx context.Context, read func(io.Reader) error) (string, error) {
		return stream(read, func(out io.Writer) (string, error) {
			command := exec.CommandContext(ctx, goCommand, p.goTest()...)
			command.Dir = p.origin.root
			return p.start(ctx, command, out)
		})
	}, nil
}

// runPrebuilt runs the test programs of a bundle, as many at once as there are cores, in the working
// directory.
func (p *plan) runPrebuilt(ctx context.Context, read func(io.Reader) error) (string, error) {
	return stream(read, func(out io.Writer) (string, error) {
		var all sync.WaitGroup
		var writing sync.Mutex
		slots := make(chan struct{}, runtime.GOMAXPROCS(0))
		complaints, errs := make([]string, len(p.suites)), make([]error, len(p.suites))
		for i, suite := range p.suites {
			all.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				words := p.prebuilt(suite)
				whole := &wholeLines{out: out, writing: &writing}
				complaints[i], errs[i] = p.start(ctx, exec.CommandContext(ctx, words[0], words[1:]...), whole)
				errs[i] = errors.Join(errs[i], whole.flush())
			})
		}
		all.Wait()
		return strings.Join(complaints, " "), errors.Join(errs...)
	})
}

// start runs a command in a process group of its own to its end. That tests failed is no error: it is
// told by what they said.
func (p *plan) start(ctx context.Context, command *exec.Cmd, out io.Writer) (string, error) {
	complaints := &lastBytes{limit: 4 << 10}
	command.Env = p.environ
	command.Stdout = out
	command.Stderr = complaints
	command.WaitDelay = p.grace
	ownGroup(command)
	err := command.Start()
	if err == nil {
		err = command.Wait()
		if ctx.Err() != nil || errors.Is(err, exec.ErrWaitDelay) {
			killGroup(command)
		}
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		err = nil
	}
	return complaints.String(), err
}

// stream has read read what write writes.
func stream(read func(io.Reader) error, write func(io.Writer) (string, error)) (string, error) {
	output, input := io.Pipe()
	finished := make(chan error, 1)
	go func() {
		err := read(output)
		// Whatever happens to the reader, the tests must not block on their output.
		_, drainErr := io.Copy(io.Discard, output)
		finished <- errors.Join(err, drainErr)
	}()
	complaints, err := write(input)
	input.Close() //nolint:errcheck // closing a pipe with no error always succeeds
	return complaints, errors.Join(err, <-finished)
}

// wholeLines hands on whole lines, so that those of several programs can be one stream.
type wholeLines struct {
	out     io.Writer
	writing *sync.Mutex
	rest    []byte
}

func (w *wholeLines) Write(text []byte) (int, error) {
	w.rest = append(w.rest, text...)
	end := bytes.LastIndexByte(w.rest, '\n') + 1
	if end == 0 {
		return len(text), nil
	}
	w.writing.Lock()
	defer w.writing.Unlock()
	if _, err := w.out.Write(w.rest[:end]); err != nil {
		return 0, err
	}
	w.rest = append(w.rest[:0], w.rest[end:]...)
	return len(text), nil
}

// flush hands on a last line that has no end.
func (w *wholeLines) flush() error {
	if len(w.rest) == 0 {
		return nil
	}
	_, err := w.Write([]byte("\n"))
	return err
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
