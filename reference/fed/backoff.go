package fed

import (
	"sync"
	"time"

	"countersign/matrix"
	"countersign/reference/defect"
)

// The backoff of a server doubles with every failure, between these.
const (
	firstBackoff = 500 * time.Millisecond
	lastBackoff  = time.Hour
	// heardPause is how long a server that has failed is left alone even when it is heard from.
	heardPause = 5 * time.Second
	// maxTracked bounds how many servers are remembered; peers can name any number of domains.
	maxTracked = 100_000
)

// backoff remembers for every server how long it is left alone. It is one for all rooms and all kinds
// of requests, so that a domain that has nothing to do with a room, but is named by user IDs in it,
// cannot be flooded (MSC4243, "Potential Issues").
type backoff struct {
	clock   func() time.Time
	defects defect.Set
	mutex   sync.Mutex
	servers map[matrix.ServerName]failures
}

type failures struct {
	count       int
	last, until time.Time
}

func newBackoff(clock func() time.Time, defects defect.Set) *backoff {
	return &backoff{clock: clock, defects: defects, servers: map[matrix.ServerName]failures{}}
}

// wait is for how long a server is still left alone; 0 when it may be asked now.
func (b *backoff) wait(server matrix.ServerName) time.Duration {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	wait := max(b.servers[server].until.Sub(b.clock()), 0)
	if wait > 0 && b.defects.Has("NeverBackOff") {
		return 0
	}
	return wait
}

func (b *backoff) succeeded(server matrix.ServerName) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	delete(b.servers, server)
}

// heardFrom lets a server be tried again that has just sent a signed request: it is up. Its failures are
// not forgotten until it answers.
func (b *backoff) heardFrom(server matrix.ServerName) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if f, ok := b.servers[server]; ok && b.clock().Sub(f.last) >= heardPause {
		f.until = b.clock()
		b.servers[server] = f
	}
}

func (b *backoff) failed(server matrix.ServerName) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	f := b.servers[server]
	if f.until.After(b.clock()) {
		return // requests that were under way together fail together
	}
	if _, known := b.servers[server]; !known && len(b.servers) >= maxTracked {
		b.forgetSome()
	}
	delay := min(firstBackoff<<min(f.count, 30), lastBackoff)
	b.servers[server] = failures{count: f.count + 1, last: b.clock(), until: b.clock().Add(delay)}
}

// forgetSome makes room: first those whose time is over, else any.
func (b *backoff) forgetSome() {
	now := b.clock()
	for s, f := range b.servers {
		if f.until.Before(now) {
			delete(b.servers, s)
		}
	}
	for s := range b.servers {
		if len(b.servers) < maxTracked {
			return
		}
		delete(b.servers, s)
	}
}
