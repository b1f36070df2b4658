// Package owner names the process that made something (a folder, a container), so that a later run
// can tell the debris of a dead run from the property of one that is still going.
package owner

import (
	"encoding/json"
	"fmt"
	"os"
)

// ID identifies one run of one process, beyond the reuse of process numbers.
type ID struct {
	// Host is the name of the machine.
	Host string `json:"host"`
	// Boot identifies the time since the machine's last start, or is empty when unknown.
	Boot string `json:"boot,omitempty"`
	// Namespace identifies the space that PID counts in, or is empty when unknown.
	Namespace string `json:"namespace,omitempty"`
	// PID is the process number.
	PID int `json:"pid"`
	// Started is when the process began, in the kernel's own units, or 0 when unknown.
	Started uint64 `json:"started,omitempty"`
}

// Self identifies this process.
func Self() (ID, error) {
	host, err := os.Hostname()
	if err != nil {
		return ID{}, fmt.Errorf("finding the name of this machine: %w", err)
	}
	id := ID{Host: host, Boot: bootID(), Namespace: pidNamespace(), PID: os.Getpid()}
	id.Started, _ = startTime(id.PID)
	return id, nil
}

// String is the form that Parse reads: one line of JSON.
func (id ID) String() string {
	text, err := json.Marshal(id)
	if err != nil {
		panic(err) // strings and integers always encode
	}
	return string(text)
}

// Parse reads what String wrote.
func Parse(s string) (ID, error) {
	var id ID
	if err := json.Unmarshal([]byte(s), &id); err != nil {
		return ID{}, fmt.Errorf("%q does not name an owner: %w", s, err)
	}
	if id.PID <= 0 || id.Host == "" {
		return ID{}, fmt.Errorf("%q does not name an owner: host and pid are needed", s)
	}
	return id, nil
}

// Dead reports whether the owner is certainly gone. A process of another machine or of another
// process namespace cannot be looked up from here and is never reported dead.
func (id ID) Dead() bool {
	self, err := Self()
	if err != nil || id.Host != self.Host {
		return false
	}
	if id.Boot != self.Boot {
		return true
	}
	if id.Namespace != self.Namespace {
		return false
	}
	started, exists := startTime(id.PID)
	return !exists || started != id.Started
}
