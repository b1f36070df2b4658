//go:build unix

package target

import (
	"fmt"
	"os"
	"syscall"
)

func endingSignals() []os.Signal {
	return []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
}

// raise sends a signal to this process: without a claim on it, it ends the process as if it had
// never been caught.
func raise(received os.Signal) {
	if err := syscall.Kill(os.Getpid(), received.(syscall.Signal)); err != nil {
		fmt.Fprintf(os.Stderr, "countersign: ending after the signal %q: %v\n", received, err)
		os.Exit(1)
	}
}
