package fakeserver

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"countersign/matrix"
)

// Branch is a line of a room's history beside the one that the room goes on with: its events follow each other,
// and each is authorised by the state that the branch has there. They are known to the room, and served when
// they are asked for, but become part of it only when an event follows them that does, or with [Branch.Adopt].
// It is safe for concurrent use.
type Branch struct {
	room     *Room
	tips     []string        // under room.mu
	events   []*matrix.Event // under room.mu
	resolved []*matrix.Event
}

// Fork begins a branch after some events, or after the latest ones when none is named.
func (r *Room) Fork(after ...*matrix.Event) *Branch {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := &Branch{room: r, tips: slices.Clone(r.extremities)}
	if len(after) > 0 {
		b.tips = nil
	}
	for _, e := range after {
		b.tips = append(b.tips, e.ID())
	}
	return b
}

// Merge begins a branch that follows the tips of several. Where their states differ, the deeper event wins,
// which need not be what state resolution says: resolved are the events that the test says win.
func (r *Room) Merge(branches []*Branch, resolved ...*matrix.Event) *Branch {
	merged := &Branch{room: r, resolved: resolved}
	for _, b := range branches {
		for _, id := range b.Tips() {
			if !slices.Contains(merged.tips, id) {
				merged.tips = append(merged.tips, id)
			}
		}
	}
	return merged
}

// Add builds an honest event at the end of the branch and makes it part of the branch. It is not sent. What the
// draft says of parents and auth events goes before what the branch says.
func (b *Branch) Add(sender *User, d Draft) (*matrix.Event, error) {
	b.room.mu.Lock()
	defer b.room.mu.Unlock()
	e, err := b.room.newEvent(sender, b.placed(d))
	if err != nil {
		return nil, fmt.Errorf("building %s on a branch of %s: %w", d.Type, b.room.id, err)
	}
	b.append(e)
	return e, nil
}

// Put makes an event that was built elsewhere, such as by another server, the end of the branch.
func (b *Branch) Put(e *matrix.Event) {
	b.room.mu.Lock()
	defer b.room.mu.Unlock()
	b.append(e)
}

// Forge builds an event with a deviation at the end of the branch. It does not become part of the branch and is
// not sent.
func (b *Branch) Forge(sender *User, d Draft, f Forgery) (Forged, error) {
	b.room.mu.Lock()
	d = b.placed(d)
	b.room.mu.Unlock()
	return b.room.Forge(sender, d, f)
}

// placed is a draft with its place in the branch.
func (b *Branch) placed(d Draft) Draft {
	if d.PrevEvents == nil {
		d.PrevEvents = slices.Clone(b.tips)
	}
	d.Resolved = slices.Concat(b.resolved, d.Resolved)
	return d
}

func (b *Branch) append(e *matrix.Event) {
	b.room.branch(e)
	b.events = append(b.events, e)
	b.tips = slices.DeleteFunc(b.tips, func(id string) bool { return slices.Contains(e.PrevEvents(), id) })
	b.tips = append(b.tips, e.ID())
	// What was resolved has been decided by the event that follows the parents, or replaced by it.
	if len(b.resolved) > 0 {
		b.room.settled[e.ID()] = slices.Concat(b.room.settled[e.ID()], b.resolved)
		b.resolved = nil
	}
}

// Tips are the IDs of the events that the next one on the branch follows.
func (b *Branch) Tips() []string {
	b.room.mu.Lock()
	defer b.room.mu.Unlock()
	return slices.Clone(b.tips)
}

// Events are the events of the branch, oldest first, without those before it forked off.
func (b *Branch) Events() []*matrix.Event {
	b.room.mu.Lock()
	defer b.room.mu.Unlock()
	return slices.Clone(b.events)
}

// State is the state event of a type and state key at the end of the branch, or nil.
func (b *Branch) State(eventType, stateKey string) *matrix.Event {
	b.room.mu.Lock()
	defer b.room.mu.Unlock()
	return b.room.stateBefore(b.tips, b.resolved)[matrix.StateTuple{Type: eventType, StateKey: stateKey}]
}

// Accepts and Revokes are the drafts of the methods of [Room] of these names; an acceptance keeps the domain that
// the server has requested with on the branch.
func (b *Branch) Accepts(server matrix.ServerName) Draft {
	return accepting(server, b.State(matrix.ParticipationType, string(server)))
}

// Revokes drafts the revocation of a server; see [Room.Revokes].
func (b *Branch) Revokes(server matrix.ServerName) Draft { return b.room.Revokes(server) }

// maxTransactionPDUs is the most events that a transaction holds (server-server API, "Transactions").
const maxTransactionPDUs = 50

// Send sends the events of the branch to some servers, oldest first, as often as it is called: different servers
// can be sent different branches, in any order. The error joins those of all servers; what a server says about an
// event is in the transcript only.
func (b *Branch) Send(ctx context.Context, to ...matrix.ServerName) error {
	return b.room.server.SendEvents(ctx, b.Events(), to...)
}

// SendEvents sends events to some servers, in this order. The error joins those of all servers.
func (s *Server) SendEvents(ctx context.Context, events []*matrix.Event, to ...matrix.ServerName) error {
	for chunk := range slices.Chunk(events, maxTransactionPDUs) {
		pdus := make([]json.RawMessage, len(chunk))
		for i, e := range chunk {
			pdus[i] = e.JSON()
		}
		if err := s.sendAll(ctx, to, pdus, nil); err != nil {
			return err
		}
	}
	return nil
}

// Adopt makes the events of the branch part of the room, whose next event then follows them as well. The room
// keeps the deepest event of each type and state key; see [Room.Settle].
func (b *Branch) Adopt() {
	for _, e := range b.Events() {
		b.room.Add(e)
	}
}

// Settle makes events the ones in their places of the room's state, whatever else was there: what state
// resolution, of which this server knows nothing, says after a fork.
func (r *Room) Settle(events ...*matrix.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		r.state[e.Tuple()] = e
	}
}

// branch makes an event known that is not part of the room yet.
func (r *Room) branch(e *matrix.Event) {
	if r.events[e.ID()] == nil {
		r.events[e.ID()] = e
	}
	if !r.present[e.ID()] {
		r.branched = append(r.branched, e.ID())
	}
}

// adoptBefore makes the events of branches part of the room that an event stands on.
func (r *Room) adoptBefore(e *matrix.Event) {
	if len(r.branched) == 0 {
		return
	}
	below := r.ancestors(e.PrevEvents())
	var adopted []string
	r.branched = slices.DeleteFunc(r.branched, func(id string) bool {
		if below[id] || id == e.ID() {
			adopted = append(adopted, id)
			return true
		}
		return false
	})
	for _, id := range adopted {
		if id != e.ID() {
			r.add(r.events[id])
		}
	}
}

// stateBefore is the state after some events with the resolved ones in their places.
func (r *Room) stateBefore(prev []string, resolved []*matrix.Event) stateMap {
	state := r.stateAfter(prev)
	if len(resolved) == 0 {
		return state
	}
	state = maps.Clone(state)
	for _, e := range resolved {
		state[e.Tuple()] = e
	}
	return state
}
