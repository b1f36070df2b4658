package process

import "syscall"

// childAttributes puts the child at the head of a process group of its own, so that it can be
// signalled together with its children and is not hit by our terminal's Ctrl-C, and has the kernel
// kill it when we die.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
