package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// killProcessesWith kills every process whose environment holds the entry. Processes of other users
// hide their environment and are passed over.
func killProcessesWith(entry string) error {
	folders, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("looking for processes of earlier runs: %w", err)
	}
	var errs []error
	for _, folder := range folders {
		pid, err := strconv.Atoi(folder.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		environ, err := os.ReadFile("/proc/" + folder.Name() + "/environ")
		if err != nil {
			continue // it is another user's, or has just ended
		}
		if !slices.ContainsFunc(bytes.Split(environ, []byte{0}), func(e []byte) bool { return string(e) == entry }) {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("killing process %d of an earlier run: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}
