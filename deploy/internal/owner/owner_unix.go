//go:build unix && !linux

package owner

import "syscall"

func bootID() string { return "" }

func pidNamespace() string { return "" }

func startTime(pid int) (started uint64, exists bool) {
	err := syscall.Kill(pid, 0)
	return 0, err == nil || err == syscall.EPERM
}
