package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// outputGrace is how long we go on reading the output of a child that has ended, in case somebody
// outside of its process group still holds the other end.
const outputGrace = 2 * time.Second

// child is one running process. ended is closed when it is gone, with its process group and its
// last output; result and cleanUp may be read after that.
type child struct {
	process *os.Process
	ended   chan struct{}
	result  error // how the process ended, as exec.Cmd.Wait tells it
	cleanUp error // what went wrong in ending what it left
}

// launch starts a process. The kernel kills it when the thread that started it ends (see
// childAttributes), so it is started on a thread that a goroutine holds until the process is gone.
// It runs in our working directory, since a command may name its own files relative to that.
func launch(command Command, environ []string, log io.Writer) (*child, error) {
	output, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(command.Path, command.Args...)
	cmd.Env = environ
	cmd.Stdout, cmd.Stderr = input, input
	cmd.SysProcAttr = childAttributes()
	c := &child{ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := errors.Join(cmd.Start(), input.Close())
		c.process = cmd.Process
		if err != nil {
			err = errors.Join(err, output.Close())
		}
		started <- err
		if err == nil {
			c.watch(cmd, output, log)
		}
	}()
	return c, <-started
}

// watch copies the output of a started process until both are at their end.
func (c *child) watch(cmd *exec.Cmd, output *os.File, log io.Writer) {
	var copying sync.WaitGroup
	var copyErr error
	copying.Go(func() {
		if _, copyErr = io.Copy(log, output); errors.Is(copyErr, os.ErrDeadlineExceeded) {
			copyErr = nil
		}
	})
	c.result = cmd.Wait()
	// What the process started must not outlive it. This is the moment to end it: later, the
	// number of the process group may belong to somebody else.
	killErr := kill(cmd.Process)
	deadlineErr := output.SetReadDeadline(time.Now().Add(outputGrace))
	copying.Wait()
	c.cleanUp = errors.Join(killErr, deadlineErr, copyErr, output.Close())
	close(c.ended)
}

// outcome says how an ended process ended.
func (c *child) outcome() string {
	if c.result == nil {
		return "exit status 0"
	}
	return c.result.Error()
}

func (c *child) running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// stop asks the process and its children to end, waits for grace, and then kills them. It returns
// once they are gone.
func (c *child) stop(ctx context.Context, grace time.Duration) error {
	if !c.running() {
		return c.cleanUp
	}
	if err := terminate(c.process); err != nil {
		return fmt.Errorf("asking process %d to end: %w", c.process.Pid, err)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.ended:
		return c.cleanUp
	case <-timer.C:
	case <-ctx.Done():
	}
	if err := kill(c.process); err != nil {
		return fmt.Errorf("killing process %d: %w", c.process.Pid, err)
	}
	// SIGKILL cannot be refused, so this wait ends.
	<-c.ended
	return c.cleanUp
}
