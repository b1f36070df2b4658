//go:build !unix

package target

import "os"

func endingSignals() []os.Signal { return []os.Signal{os.Interrupt} }

// raise ends the process; a signal cannot be sent here.
func raise(os.Signal) { os.Exit(1) }
