//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup starts a command in a process group of its own, so that it and the tests that it starts
// can be interrupted together, and so that Ctrl-C in a terminal reaches them once, through us.
func ownGroup(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return signalGroup(command, syscall.SIGINT) }
}

// killGroup ends what is left of the command's process group.
func killGroup(command *exec.Cmd) {
	// That nothing is left to kill is the ordinary case.
	_ = signalGroup(command, syscall.SIGKILL)
}

func signalGroup(command *exec.Cmd, signal syscall.Signal) error {
	if err := syscall.Kill(-command.Process.Pid, signal); err != nil {
		return os.ErrProcessDone
	}
	return nil
}
