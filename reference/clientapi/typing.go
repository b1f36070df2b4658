package clientapi

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"countersign/matrix"
)

// maxTyping is the longest that a client may say to be typing without saying so again, and how long
// users of other servers are taken to type.
const maxTyping = 2 * time.Minute

// fleetingClock numbers the changes to what is only kept in memory. It starts again from 0 when the
// server does.
type fleetingClock struct{ at atomic.Uint64 }

// tick is the position of a new change.
func (c *fleetingClock) tick() uint64 { return c.at.Add(1) }

// now is the position of the newest change.
func (c *fleetingClock) now() uint64 { return c.at.Load() }

// isNews reports whether a change is new to a client that has seen everything up to a position. A
// position that was never reached is from before the server started, and everything is newer.
func (c *fleetingClock) isNews(at, seen uint64) bool { return at > seen || seen > c.now() }

// typing is who types where. It is lost when the server stops.
type typing struct {
	now   func() time.Time
	clock *fleetingClock

	mu    sync.Mutex
	rooms map[string]*typingRoom
}

type typingRoom struct {
	// at is the position of the newest change.
	at uint64
	// until is when each user stops to type unless they say otherwise.
	until map[matrix.UserID]time.Time
}

func newTyping(now func() time.Time, clock *fleetingClock) *typing {
	return &typing{now: now, clock: clock, rooms: map[string]*typingRoom{}}
}

// set notes that a user types for some time, or has stopped when the time is 0. It reports whether
// others see a difference.
func (t *typing) set(roomID string, user matrix.UserID, lasts time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rooms[roomID]
	if r == nil {
		if lasts == 0 {
			return false
		}
		r = &typingRoom{until: map[matrix.UserID]time.Time{}}
		t.rooms[roomID] = r
	}
	_, was := r.until[user]
	if lasts == 0 {
		delete(r.until, user)
	} else {
		r.until[user] = t.now().Add(min(lasts, maxTyping))
	}
	if was == (lasts != 0) {
		return false
	}
	r.at = t.clock.tick()
	return true
}

// expire ends the typing of users whose time is over, and returns the rooms where others see a
// difference and when the next time is over; that is zero when nobody types.
func (t *typing) expire() (changed []string, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for roomID, r := range t.rooms {
		for user, until := range r.until {
			if !now.Before(until) {
				delete(r.until, user)
				r.at = t.clock.tick()
				changed = append(changed, roomID)
			} else if next.IsZero() || until.Before(next) {
				next = until
			}
		}
	}
	return changed, next
}

// between returns who types in a room, in order, when that has changed after one position and not after
// another.
func (t *typing) between(roomID string, after, until uint64) (users []matrix.UserID, changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rooms[roomID]
	if r == nil || !t.clock.isNews(r.at, after) || r.at > until {
		return nil, false
	}
	users = []matrix.UserID{}
	for user := range r.until {
		users = append(users, user)
	}
	slices.Sort(users)
	return users, true
}
