package deploy

import (
	"errors"
	"fmt"
	"strings"
)

// ErrorKind tells a wrong request from a server that did not come up; a command line gives each
// its own exit code.
type ErrorKind int

const (
	// KindUsage: the configuration asks for something that makes no sense or cannot be read.
	KindUsage ErrorKind = iota + 1
	// KindStart: the configuration is fine, but a homeserver, or what it needs to run (a Docker
	// engine, an image, a command, a port), is not there or does not work.
	KindStart
)

// Error is a failure to set up a deployment. Its message is one line that says what is wrong and
// what to do about it, followed by the end of the server's log when there is one.
type Error struct {
	// Kind is whose fault it is.
	Kind ErrorKind
	// Message is one line: what is wrong, where, and what to do.
	Message string
	// Log is the end of what the server printed, or empty.
	Log string
	// Err is the underlying error, or nil. Its text is not printed again.
	Err error
}

// Error is the message, and below it the end of the server's log.
func (e *Error) Error() string {
	log := strings.TrimRight(e.Log, "\n")
	if log == "" {
		return e.Message
	}
	return e.Message + "\nthe last lines of its log:\n" + log
}

// Unwrap returns the underlying error.
func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of the first *Error in err's chain, or KindStart for any other error.
func KindOf(err error) ErrorKind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindStart
}

// Usagef makes an Error of KindUsage. The format may hold one %w.
func Usagef(format string, args ...any) *Error { return newError(KindUsage, format, args...) }

// Startf makes an Error of KindStart. The format may hold one %w.
func Startf(format string, args ...any) *Error { return newError(KindStart, format, args...) }

func newError(kind ErrorKind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: err.Error(), Err: errors.Unwrap(err)}
}

// LastLines is the end of a log: at most n lines, each cut to a width that a terminal can show.
func LastLines(log string, n int) string {
	const width = 400
	lines := strings.Split(strings.TrimRight(log, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	for i, line := range lines {
		if line = strings.TrimRight(line, "\r"); len(line) > width {
			line = strings.ToValidUTF8(line[:width], "") + "…"
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}
