package fed

import (
	"net/http"
	"sync"
	"time"

	"countersign/matrix"
	"countersign/reference/peer"
)

// How often a server may name users who do not exist in invitations and bans: a burst, and then one in
// a while (MSC4243: these requests can be rate-limited to prevent the enumeration of accounts).
const (
	guessBurst    = 50
	guessInterval = 5 * time.Second
)

// guesses counts for every server how often it has named a user who does not exist. Those who name
// users who do are not limited.
type guesses struct {
	clock  func() time.Time
	mutex  sync.Mutex
	counts map[matrix.ServerName]guessCount
}

// guessCount is a count that falls by one in every interval.
type guessCount struct {
	count int
	since time.Time
}

func newGuesses(clock func() time.Time) *guesses {
	return &guesses{clock: clock, counts: map[matrix.ServerName]guessCount{}}
}

// check is the error for a server that has guessed too often.
func (g *guesses) check(server matrix.ServerName) error {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.current(server).count < guessBurst {
		return nil
	}
	e := peer.Errorf(http.StatusTooManyRequests, "M_LIMIT_EXCEEDED", "too many users who do not exist were named")
	e.Extra = map[string]any{"retry_after_ms": guessInterval.Milliseconds()}
	return e
}

// current is a server's count as of now. g.mutex is held.
func (g *guesses) current(server matrix.ServerName) guessCount {
	c := g.counts[server]
	if gone := int(g.clock().Sub(c.since) / guessInterval); gone > 0 {
		c = guessCount{count: max(c.count-gone, 0), since: g.clock()}
	}
	return c
}

// note counts a request by what came of it.
func (g *guesses) note(server matrix.ServerName, err error) {
	if err == nil || peer.AsError(err).Status != http.StatusNotFound {
		return
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if len(g.counts) >= maxTracked {
		clear(g.counts)
	}
	c := g.current(server)
	c.count++
	g.counts[server] = c
}
