//go:build !unix

package owner

import "os"

func bootID() string { return "" }

func pidNamespace() string { return "" }

func startTime(pid int) (started uint64, exists bool) {
	p, err := os.FindProcess(pid)
	if err != nil {
		return 0, false
	}
	return 0, p.Release() == nil
}
