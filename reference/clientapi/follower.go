package clientapi

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"countersign/matrix"
	"countersign/reference/room"
)

// follower reads the new events of all rooms as they come, each once, for those who are told of them
// without asking: application services and push gateways. What other servers are asked for later, to
// fill a hole in the history, is not new.
type follower struct {
	engine *room.Engine
	start  room.Position
	// read is how far a room has been read; start for others. It belongs to whoever calls next.
	read map[string]room.Position

	mu      sync.Mutex
	touched map[string]bool
	woken   chan struct{} // has one element when a room was touched
}

// newFollower reads what happens from now on, and what has happened after a position in some rooms.
func newFollower(engine *room.Engine, start room.Position, rooms ...string) *follower {
	f := &follower{
		engine: engine, start: start, read: map[string]room.Position{}, touched: map[string]bool{}, woken: make(chan struct{}, 1),
	}
	for _, roomID := range rooms {
		f.touched[roomID] = true
	}
	engine.OnChange(func(roomID string, _ []matrix.UserID) { f.touch(roomID) })
	return f
}

func (f *follower) touch(roomID string) {
	f.mu.Lock()
	f.touched[roomID] = true
	f.mu.Unlock()
	select {
	case f.woken <- struct{}{}:
	default:
	}
}

func (f *follower) take() map[string]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.touched
	f.touched = map[string]bool{}
	return taken
}

// next waits for new events and returns them in the order in which they came. It returns ctx's error
// when that ends first.
func (f *follower) next(ctx context.Context) (events []room.Stored, err error) {
	for {
		for roomID := range f.take() {
			fresh, err := f.fresh(roomID)
			if err != nil {
				return nil, err
			}
			events = append(events, fresh...)
		}
		if len(events) > 0 {
			slices.SortFunc(events, func(a, b room.Stored) int { return cmp.Compare(a.Place.Major, b.Place.Major) })
			return events, nil
		}
		select {
		case <-f.woken:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// fresh are the new events of a room.
func (f *follower) fresh(roomID string) (events []room.Stored, err error) {
	upTo := max(f.start, f.read[roomID])
	for from := behindPosition(upTo).forwards(); ; {
		chunk, next, err := f.engine.Timeline(roomID, from, false, chunkSize)
		if err != nil {
			return nil, err
		}
		for _, e := range chunk {
			if e.Place.Minor == 0 && e.Outcome == room.Accepted {
				events = append(events, e)
			}
			upTo = max(upTo, e.Place.Major)
		}
		if f.read[roomID] = upTo; len(chunk) == 0 || next == from {
			return events, nil
		}
		from = next
	}
}
