// Package ports finds loopback ports that a server can keep across restarts.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// Ports are taken from below the range that kernels hand out for outgoing connections (32768 and up
// on Linux, 49152 and up elsewhere), so that no such connection can take a port while its server is
// down.
const (
	first = 15000
	last  = 31999
)

// host is where every server of this machine listens.
const host = "127.0.0.1"

// Listen returns a listener on a free loopback port.
func Listen() (net.Listener, error) {
	const attempts = 200
	var lastErr error
	for range attempts {
		port := first + rand.IntN(last-first+1)
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil {
			return l, nil
		}
		lastErr = err
	}
	return nil, fmt.Errorf("no free port between %d and %d on %s after %d attempts: %w", first, last, host, attempts, lastErr)
}

// Free returns n different loopback addresses at which nothing listens at the moment.
func Free(n int) ([]string, error) {
	var addrs []string
	var held []net.Listener
	var errs []error
	for range n {
		l, err := Listen()
		if err != nil {
			errs = append(errs, err)
			break
		}
		held = append(held, l)
		addrs = append(addrs, l.Addr().String())
	}
	for _, l := range held {
		errs = append(errs, l.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return addrs, nil
}

// patience is how long Check waits for a port. A program that is being started right now has, for the
// moment before it is itself, copies of all open sockets, so that a port which Free has found stays in use
// that much longer.
const patience = 2 * time.Second

// Check returns an error of one line when something else already listens at the address, and goes on to.
func Check(addr string) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(patience); ; <-again.C {
		l, err := net.Listen("tcp", addr)
		if err == nil {
			return l.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cannot listen at %s: %w; end the program that uses this port, or start again to get another", addr, errors.Unwrap(err))
		}
	}
}
