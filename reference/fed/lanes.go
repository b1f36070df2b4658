package fed

import (
	"context"
	"net/http"
	"sync"

	"countersign/matrix"
	"countersign/reference/peer"
)

// maxWaiting is how many transactions of one server may wait for the one before.
const maxWaiting = 8

// lanes let every server have one transaction at a time worked on, so that a server that makes this one
// fetch things for a long time holds up nobody but itself.
type lanes struct {
	mutex sync.Mutex
	busy  map[matrix.ServerName]*lane
}

type lane struct {
	token chan struct{}
	users int
}

func newLanes() *lanes { return &lanes{busy: map[matrix.ServerName]*lane{}} }

// enter waits for a server's lane and returns what leaves it again.
func (l *lanes) enter(ctx context.Context, server matrix.ServerName) (leave func(), err error) {
	l.mutex.Lock()
	e, ok := l.busy[server]
	if !ok {
		e = &lane{token: make(chan struct{}, 1)}
		l.busy[server] = e
	}
	if e.users > maxWaiting {
		l.mutex.Unlock()
		return nil, peer.Errorf(http.StatusTooManyRequests, "M_LIMIT_EXCEEDED", "%d transactions are waiting already", maxWaiting)
	}
	e.users++
	l.mutex.Unlock()
	select {
	case e.token <- struct{}{}:
		return func() { <-e.token; l.drop(server, e) }, nil
	case <-ctx.Done():
		l.drop(server, e)
		return nil, peer.Errorf(http.StatusServiceUnavailable, "M_UNKNOWN", "an earlier transaction takes too long")
	}
}

func (l *lanes) drop(server matrix.ServerName, e *lane) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if e.users--; e.users == 0 {
		delete(l.busy, server)
	}
}
