package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// groupIsStopped reports whether every thread of every process of the group is stopped.
func groupIsStopped(group int) (bool, error) {
	folders, err := os.ReadDir("/proc")
	if err != nil {
		return false, fmt.Errorf("looking for the processes of a group: %w", err)
	}
	for _, folder := range folders {
		pid, err := strconv.Atoi(folder.Name())
		if err != nil {
			continue
		}
		if of, err := syscall.Getpgid(pid); err != nil || of != group {
			continue // it has just ended, or is none of ours
		}
		threads, err := filepath.Glob("/proc/" + folder.Name() + "/task/*/stat")
		if err != nil {
			return false, err
		}
		for _, thread := range threads {
			stat, err := os.ReadFile(thread)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
				continue // the thread has just ended
			}
			if err != nil {
				return false, fmt.Errorf("looking at a thread: %w", err)
			}
			// The state follows the name, which is in parentheses and may hold some itself: T is
			// stopped, t stopped by a debugger, Z and X have ended.
			_, state, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')'):], []byte(" "))
			if len(state) == 0 || !strings.ContainsRune("TtZX", rune(state[0])) {
				return false, nil
			}
		}
	}
	return true, nil
}
