package fakeserver

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// Ports remembers which ports were used as part of a server's name. A homeserver remembers a name's
// keys, and that it could not reach it; a second server of that name would inherit this. The zero
// value is ready, and safe for concurrent use.
type Ports struct {
	mu   sync.Mutex
	used map[int]bool
}

// take reports whether the port is new, and remembers it.
func (p *Ports) take(port int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used[port] {
		return false
	}
	if p.used == nil {
		p.used = map[int]bool{}
	}
	p.used[port] = true
	return true
}

// listen finds a port that no server with the same Ports has used.
func listen(c Config) (net.Listener, error) {
	var refused []net.Listener
	defer func() {
		for _, l := range refused {
			l.Close() // nobody has connected to it; there is nothing to lose
		}
	}()
	for {
		l, err := net.Listen("tcp", net.JoinHostPort(c.ListenAddr, "0"))
		if err != nil {
			return nil, fmt.Errorf("fake server: listening on %s: %w", c.ListenAddr, err)
		}
		if c.Ports == nil || c.Ports.take(l.Addr().(*net.TCPAddr).Port) {
			return l, nil
		}
		refused = append(refused, l) // held until the end, so that it is not offered again
	}
}

// busy counts the requests that are being answered.
type busy struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n drops to 0; nil while nobody waits
}

func (b *busy) enter() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
}

func (b *busy) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n--; b.n == 0 && b.idle != nil {
		close(b.idle)
		b.idle = nil
	}
}

// drained waits until no request is being answered, for at most limit.
func (b *busy) drained(limit time.Duration) error {
	b.mu.Lock()
	if b.n == 0 {
		b.mu.Unlock()
		return nil
	}
	if b.idle == nil {
		b.idle = make(chan struct{})
	}
	idle := b.idle
	b.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-idle:
		return nil
	case <-timer.C:
		return fmt.Errorf("requests were still being answered after %v", limit)
	}
}
