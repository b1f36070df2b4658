package room

import (
	"context"
	"sync"
)

// keyedLock is a lock for every key. Waiting for one ends with the context.
type keyedLock struct {
	mutex sync.Mutex
	held  map[string]*keyedEntry
}

type keyedEntry struct {
	token chan struct{}
	users int
}

func newKeyedLock() *keyedLock { return &keyedLock{held: map[string]*keyedEntry{}} }

// lock takes the lock of a key and returns what releases it, or ctx's error.
func (l *keyedLock) lock(ctx context.Context, key string) (unlock func(), err error) {
	l.mutex.Lock()
	e, ok := l.held[key]
	if !ok {
		e = &keyedEntry{token: make(chan struct{}, 1)}
		l.held[key] = e
	}
	e.users++
	l.mutex.Unlock()
	select {
	case e.token <- struct{}{}:
		return func() { <-e.token; l.leave(key, e) }, nil
	case <-ctx.Done():
		l.leave(key, e)
		return nil, ctx.Err()
	}
}

func (l *keyedLock) leave(key string, e *keyedEntry) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if e.users--; e.users == 0 {
		delete(l.held, key)
	}
}
