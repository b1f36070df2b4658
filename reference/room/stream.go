package room

import (
	"context"
	"sync"

	"countersign/reference/store"
)

// stream numbers everything that happens and wakes those who wait for it.
type stream struct {
	mutex   sync.Mutex
	now     Position
	changed chan struct{} // closed and replaced when now grows
}

func newStream(now Position) *stream { return &stream{now: now, changed: make(chan struct{})} }

// advance takes the next position for something that happens in some rooms. Transactions are committed
// one after the other, so that whoever sees a position sees everything up to it; and by then the rooms
// count as touched.
func (g *Engine) advance(tx *store.Tx, rooms ...string) (Position, error) {
	n, err := tx.Table(tableStream).Next()
	if err != nil {
		return 0, err
	}
	tx.OnCommit(func() {
		g.touch(Position(n), rooms)
		g.stream.reached(Position(n))
	})
	return Position(n), nil
}

func (s *stream) reached(p Position) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if p <= s.now {
		return
	}
	s.now = p
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *stream) state() (Position, <-chan struct{}) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.now, s.changed
}

// Now is the position of the latest change.
func (g *Engine) Now() Position {
	now, _ := g.stream.state()
	return now
}

// Wait returns when something has happened after a position, or with ctx's error when ctx ends.
func (g *Engine) Wait(ctx context.Context, after Position) error {
	for {
		now, changed := g.stream.state()
		if now > after {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Advance takes the next position for a change in a caller's own tables, in the transaction that
// makes the change. Those who wait are woken when it is committed.
func (g *Engine) Advance(tx *store.Tx) (Position, error) { return g.advance(tx) }
