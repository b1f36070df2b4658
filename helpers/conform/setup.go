package conform

import (
	"fmt"
	"strings"
	"testing"
)

// Setup returns the test as seen by the steps that only prepare it: what would fail the test there
// ends it as INCONCLUSIVE instead. A server that cannot be brought into the situation that a
// requirement is about has not been shown to break the requirement.
func Setup(t testing.TB) testing.TB {
	if _, ok := t.(setup); ok {
		return t
	}
	return setup{plain(t)}
}

// setup is a test whose failures are inconclusive. Everything else passes through.
type setup struct{ testing.TB }

func (s setup) Fatal(args ...any) {
	s.Helper()
	Inconclusive(s.TB, "%s", strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
}

func (s setup) Fatalf(format string, args ...any) {
	s.Helper()
	Inconclusive(s.TB, format, args...)
}

func (s setup) Error(args ...any) {
	s.Helper()
	s.Fatal(args...)
}

func (s setup) Errorf(format string, args ...any) {
	s.Helper()
	s.Fatalf(format, args...)
}

func (s setup) FailNow() {
	s.Helper()
	Inconclusive(s.TB, "the situation that the test is about could not be brought about")
}

func (s setup) Fail() {
	s.Helper()
	s.FailNow()
}
