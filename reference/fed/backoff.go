package fed

import (
	"sync"
	"time"

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

// backoff remembers for everything that has failed how long it is left alone. One, for servers, is for all
// rooms and all kinds of requests, so that a domain that has nothing to do with a room, but is named by
// user IDs in it, cannot be flooded (MSC4243, "Potential Issues"). Another is for endpoints that servers
// have said they do not know.
type backoff[K comparable] struct {
	clock   func() time.Time
	defects defect.Set
	mutex   sync.Mutex
	left    map[K]failures // alone
}

type failures struct {
	count       int
	last, until time.Time
}

func newBackoff[K comparable](clock func() time.Time, defects defect.Set) *backoff[K] {
	return &backoff[K]{clock: clock, defects: defects, left: map[K]failures{}}
}

// wait is for how long a server, or an endpoint, is still left alone; 0 when it may be asked now.
func (b *backoff[K]) wait(key K) time.Duration {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	wait := max(b.left[key].until.Sub(b.clock()), 0)
	if wait > 0 && b.defects.Has("NeverBackOff") {
		return 0
	}
	return wait
}

func (b *backoff[K]) succeeded(key K) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	delete(b.left, key)
}

// heardFrom lets a server be tried again that has just sent a signed request: it is up. Its failures are
// not forgotten until it answers.
func (b *backoff[K]) heardFrom(key K) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if f, ok := b.left[key]; ok && b.clock().Sub(f.last) >= heardPause {
		f.until = b.clock()
		b.left[key] = f
	}
}

func (b *backoff[K]) failed(key K) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	f := b.left[key]
	if f.until.After(b.clock()) {
		return // requests that were under way together fail together
	}
	if _, known := b.left[key]; !known && len(b.left) >= maxTracked {
		b.forgetSome()
	}
	delay := min(firstBackoff<<min(f.count, 30), lastBackoff)
	b.left[key] = failures{count: f.count + 1, last: b.clock(), until: b.clock().Add(delay)}
}

// forgetSome makes room: first those whose time is over, else any.
func (b *backoff[K]) forgetSome() {
	now := b.clock()
	for s, f := range b.left {
		if f.until.Before(now) {
			delete(b.left, s)
		}
	}
	for s := range b.left {
		if len(b.left) < maxTracked {
			return
		}
		delete(b.left, s)
	}
}
