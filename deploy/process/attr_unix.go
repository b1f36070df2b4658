//go:build unix && !linux

package process

import "syscall"

// childAttributes puts the child at the head of a process group of its own. These systems cannot
// kill a child when its parent dies; the sweep of the next run does.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
