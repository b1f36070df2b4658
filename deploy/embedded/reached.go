package embedded

import (
	"fmt"
	"os"
	"sync"
)

// reached writes down which of its deliberate defects a server could have shown, one name per line. A
// nil *reached writes nothing down.
type reached struct {
	mutex sync.Mutex
	names map[string]bool
	file  *os.File
	err   error
}

// openReached begins, or goes on with, the file at a path; an empty path is no file.
func openReached(path string) (*reached, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("the file of COUNTERSIGN_REACHED: %w", err)
	}
	return &reached{names: map[string]bool{}, file: file}, nil
}

// note is what the server calls, or nil when nothing is written down.
func (r *reached) note() func(name string) {
	if r == nil {
		return nil
	}
	return func(name string) {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		if r.names[name] || r.err != nil {
			return
		}
		r.names[name] = true
		_, r.err = r.file.WriteString(name + "\n")
	}
}

// close closes the file and tells whether a name could not be written.
func (r *reached) close() error {
	if r == nil {
		return nil
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.err != nil {
		return r.err
	}
	r.err = os.ErrClosed
	return r.file.Close()
}
