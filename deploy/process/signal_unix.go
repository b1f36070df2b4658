//go:build unix

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

func signalGroup(leader *os.Process, sig syscall.Signal) error {
	err := syscall.Kill(-leader.Pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return nil // nobody is left to hear it
	}
	return err
}

func terminate(leader *os.Process) error {
	// A stopped process acts on SIGTERM only when it goes on.
	return errors.Join(signalGroup(leader, syscall.SIGTERM), signalGroup(leader, syscall.SIGCONT))
}

func kill(leader *os.Process) error { return signalGroup(leader, syscall.SIGKILL) }
func thaw(leader *os.Process) error { return signalGroup(leader, syscall.SIGCONT) }

// freeze returns once nothing in the process group runs any more: the signal reaches one thread,
// and on a busy machine the others may still answer requests until that thread is scheduled.
func freeze(ctx context.Context, leader *os.Process) error {
	if err := signalGroup(leader, syscall.SIGSTOP); err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		stopped, err := groupIsStopped(leader.Pid)
		if stopped || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d has not stopped: %w", leader.Pid, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
