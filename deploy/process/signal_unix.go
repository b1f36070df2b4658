//go:build unix

package process

import (
	"errors"
	"os"
	"syscall"
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

func kill(leader *os.Process) error   { return signalGroup(leader, syscall.SIGKILL) }
func freeze(leader *os.Process) error { return signalGroup(leader, syscall.SIGSTOP) }
func thaw(leader *os.Process) error   { return signalGroup(leader, syscall.SIGCONT) }
