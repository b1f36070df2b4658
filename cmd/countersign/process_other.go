//go:build !unix

package main

import (
	"os"
	"os/exec"
)

// ownGroup interrupts the command when its context ends. Without process groups, the tests that it
// starts end when their standard output is closed.
func ownGroup(command *exec.Cmd) {
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
}

func killGroup(*exec.Cmd) {}
