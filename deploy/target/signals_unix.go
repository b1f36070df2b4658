//go:build unix

package target

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Whether this process was started with a signal ignored, as a shell starts its background jobs and
// nohup its command. It can be asked only before the signal is claimed for the first time.
var (
	interruptIgnored = signal.Ignored(syscall.SIGINT)
	hangupIgnored    = signal.Ignored(syscall.SIGHUP)
)

// endingSignals are the signals that end a process that does not claim them.
func endingSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !hangupIgnored { // a run under nohup goes on
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// raise sends a signal to this process: without a claim on it, it ends the process as if it had
// never been caught.
func raise(received os.Signal) {
	number := received.(syscall.Signal)
	if number == syscall.SIGINT && interruptIgnored {
		number = syscall.SIGTERM // given up, an interrupt would be ignored again
	}
	if err := syscall.Kill(os.Getpid(), number); err != nil {
		fmt.Fprintf(os.Stderr, "countersign: ending after the signal %q: %v\n", received, err)
		os.Exit(1)
	}
}
