package owner

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "" // proc is not mounted; the other parts must do
	}
	return strings.TrimSpace(string(id))
}

func pidNamespace() string {
	name, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return name
}

// startTime is the 22nd field of /proc/PID/stat. The second field is the program's name in
// parentheses and may itself hold spaces and parentheses, so counting starts after the last one.
func startTime(pid int) (started uint64, exists bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, !os.IsNotExist(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const afterName = 22 - 3
	if len(fields) <= afterName {
		return 0, true
	}
	started, err = strconv.ParseUint(fields[afterName], 10, 64)
	if err != nil {
		return 0, true
	}
	// A zombie has ended; only its parent has not noticed yet.
	return started, fields[0] != "Z"
}
