// Package boundedlog keeps what a server prints in files of bounded size: the newest part survives.
package boundedlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// DefaultLimit is how many bytes of a server's output are kept.
const DefaultLimit = 8 << 20

// Log is an io.Writer that appends to a file. When the file reaches half the limit it becomes the
// older half, and the older half before it is forgotten. It is safe for concurrent use.
type Log struct {
	path  string
	limit int64

	mu   sync.Mutex
	file *os.File
	size int64
	lost bool
}

// Open opens the log at path, which is made when it is missing and gone on with when it is there.
func Open(path string, limit int64) (*Log, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a server's log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening a server's log: %w", err), file.Close())
	}
	return &Log{path: path, limit: limit, file: file, size: info.Size()}, nil
}

// Write appends p. It always takes all of p, because a server must not die of its log: what cannot
// be kept is dropped, and Read says so.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := p
	if int64(len(kept)) > l.limit/2 {
		kept = kept[int64(len(kept))-l.limit/2:]
		l.lost = true
	}
	if l.size+int64(len(kept)) > l.limit/2 {
		if err := l.rotate(); err != nil {
			l.lost = true
			return len(p), nil
		}
	}
	n, err := l.file.Write(kept)
	l.size += int64(n)
	l.lost = l.lost || err != nil
	return len(p), nil
}

func (l *Log) older() string { return l.path + ".1" }

func (l *Log) rotate() error {
	if _, err := os.Stat(l.older()); err == nil {
		l.lost = true
	}
	if err := os.Rename(l.path, l.older()); err != nil {
		return err
	}
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	old := l.file
	l.file, l.size = file, 0
	return old.Close()
}

// Read returns what is kept, oldest first, with a line on top when some of it is gone.
func (l *Log) Read() (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	older, err := os.ReadFile(l.older())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading a server's log: %w", err)
	}
	newer, err := os.ReadFile(l.path)
	if err != nil {
		return "", fmt.Errorf("reading a server's log: %w", err)
	}
	text := string(older) + string(newer)
	if l.lost {
		text = "[older output was dropped]\n" + text
	}
	return text, nil
}

// Close closes the file. Later writes are dropped.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
