// Package walks has a homeserver walk through the states of a model at random, with pgregory.net/rapid. A
// homeserver takes milliseconds for what a property test expects to take microseconds, and a walk that
// fails is evidence about the homeserver, not a broken test.
package walks

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Shorten has random walks be few and short unless the command line or the environment (RAPID_CHECKS,
// RAPID_STEPS) asks for more. It is called from TestMain, before the flags are parsed.
func Shorten(checks, steps int) {
	for name, value := range map[string]string{
		"checks": fmt.Sprint(checks), "steps": fmt.Sprint(steps), "shrinktime": "10s", "nofailfile": "true",
	} {
		if _, chosen := os.LookupEnv("RAPID_" + strings.ToUpper(name)); !chosen {
			if err := flag.Set("rapid."+name, value); err != nil {
				panic(err) // rapid has no such flag any more
			}
		}
	}
}

// Check takes walks until one fails, which is then shortened. It returns how to walk the same way again,
// and nothing when no walk has failed. The test does not fail.
func Check(t *testing.T, walk func(*rapid.T)) (failure string) {
	t.Helper()
	l := &log{T: t}
	rapid.Check(l, walk)
	if !l.failed {
		return ""
	}
	return strings.Join(strings.Fields(strings.TrimSuffix(strings.Join(l.errors, " "), "Failed test output:")), " ")
}

// log keeps what rapid says about a walk that fails.
type log struct {
	*testing.T
	failed bool
	errors []string
}

func (l *log) Errorf(format string, args ...any) {
	l.failed, l.errors = true, append(l.errors, fmt.Sprintf(format, args...))
}
func (l *log) Error(args ...any)                 { l.Errorf("%s", fmt.Sprint(args...)) }
func (l *log) Fatalf(format string, args ...any) { l.Errorf(format, args...) }
func (l *log) Fatal(args ...any)                 { l.Error(args...) }
func (l *log) Fail()                             { l.failed = true }
func (l *log) FailNow()                          { l.failed = true }
func (l *log) Failed() bool                      { return l.failed }
