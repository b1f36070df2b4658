package fakeserver

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"countersign/matrix"
)

// Room is a server's copy of a room. It is safe for concurrent use.
//
// The state is the latest event of each type and state key: an event replaces another unless it is
// less deep. There are no authorization rules and no state resolution.
type Room struct {
	server  *Server
	id      string
	version matrix.RoomVersion

	mu          sync.Mutex
	events      map[string]*matrix.Event   // every event that is known, by ID
	served      map[string]json.RawMessage // what is served for an ID in place of the event
	timeline    []string                   // the events that came one after the other since this server is in the room
	present     map[string]bool            // the same, to be looked up
	followed    map[string]bool            // the events that one of the timeline has as a parent
	base        stateMap                   // the state before the first of them, as the peer told it
	state       stateMap
	extremities []string
	branched    []string                   // the events of branches that the room does not stand on
	settled     map[string][]*matrix.Event // the events that a test says win before an event, by its ID
	ignored     map[matrix.ServerName]bool
	cast        Cast
	hidden      map[string]*hidden // events that only some operations hand out, by ID
	planted     []Forged           // events that the answers to send_join hold besides the room's own
	accepts     *User              // who accepts servers as soon as they request; nil: nobody
	templates   Forgery            // what happens to the templates of make_*
}

// stateMap is a room state.
type stateMap map[matrix.StateTuple]*matrix.Event

// put adds a state event unless the state has a deeper one in its place.
func (m stateMap) put(e *matrix.Event) {
	if _, ok := e.StateKey(); !ok {
		return
	}
	if now := m[e.Tuple()]; now == nil || now.Depth() <= e.Depth() {
		m[e.Tuple()] = e
	}
}

// list is the state in a stable order.
func (m stateMap) list() []*matrix.Event {
	list := make([]*matrix.Event, 0, len(m))
	for _, e := range m {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *matrix.Event) int {
		if a.Depth() != b.Depth() {
			return int(a.Depth() - b.Depth())
		}
		if a.ID() < b.ID() {
			return -1
		}
		return 1
	})
	return list
}

func (m stateMap) membership(id matrix.UserID) string {
	e := m[matrix.StateTuple{Type: "m.room.member", StateKey: string(id)}]
	if e == nil {
		return ""
	}
	return e.Membership()
}

func newRoom(s *Server, id string, v matrix.RoomVersion) *Room {
	return &Room{
		server: s, id: id, version: v,
		events: map[string]*matrix.Event{}, served: map[string]json.RawMessage{}, hidden: map[string]*hidden{},
		settled: map[string][]*matrix.Event{}, present: map[string]bool{}, followed: map[string]bool{},
		base: stateMap{}, state: stateMap{}, ignored: map[matrix.ServerName]bool{},
	}
}

// ID is the room ID.
func (r *Room) ID() string { return r.id }

// Version is the room version.
func (r *Room) Version() matrix.RoomVersion { return r.version }

// Server is the server whose copy this is.
func (r *Room) Server() *Server { return r.server }

// Event is a known event, or nil.
func (r *Room) Event(id string) *matrix.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[id]
}

// Timeline are the events that came since this server is in the room, oldest first.
func (r *Room) Timeline() []*matrix.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := make([]*matrix.Event, len(r.timeline))
	for i, id := range r.timeline {
		events[i] = r.events[id]
	}
	return events
}

// Extremities are the IDs of the events that no known event follows; the next one will.
func (r *Room) Extremities() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.extremities)
}

// State is the state event of a type and state key, or nil.
func (r *Room) State(eventType, stateKey string) *matrix.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state[matrix.StateTuple{Type: eventType, StateKey: stateKey}]
}

// FullState is the whole state, the least deep event first.
func (r *Room) FullState() []*matrix.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.list()
}

// Membership is a user's membership in the current state, empty for one who never had any.
func (r *Room) Membership(id matrix.UserID) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.membership(id)
}

// Peers are the other servers that have joined members, in order of their names, without those
// that Ignore names. In rooms with participation they are the unverified domains of the accepted servers
// that have joined members.
func (r *Room) Peers() []matrix.ServerName {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peers()
}

func (r *Room) peers() []matrix.ServerName {
	if r.version.HasParticipation() {
		return r.participantPeers()
	}
	found := map[matrix.ServerName]bool{}
	for tuple, e := range r.state {
		domain := matrix.UserID(tuple.StateKey).Domain()
		if tuple.Type == "m.room.member" && e.Membership() == "join" && domain != r.server.name && !r.ignored[domain] {
			found[domain] = true
		}
	}
	return sortedKeys(found)
}

// Ignore leaves servers out of Peers, such as those of members that exist only in the room's state.
func (r *Room) Ignore(servers ...matrix.ServerName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range servers {
		r.ignored[name] = true
	}
}

// Add makes an event the latest one of this server's copy of the room. Adding it again changes
// nothing.
func (r *Room) Add(e *matrix.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(e)
}

func (r *Room) add(e *matrix.Event) {
	r.adoptBefore(e)
	known := r.present[e.ID()]
	r.events[e.ID()] = e // when it is known, the same event, perhaps with more signatures
	if known {
		return
	}
	r.present[e.ID()] = true
	r.timeline = append(r.timeline, e.ID())
	r.enterState(r.state, e)
	for _, id := range e.PrevEvents() {
		r.followed[id] = true
	}
	r.extremities = slices.DeleteFunc(r.extremities, func(id string) bool {
		return slices.Contains(e.PrevEvents(), id)
	})
	if !r.followed[e.ID()] { // it may have come late
		r.extremities = append(r.extremities, e.ID())
	}
}

// enterState puts an event in a state, after those that a test says win before it.
func (r *Room) enterState(state stateMap, e *matrix.Event) {
	for _, winner := range r.settled[e.ID()] {
		state[winner.Tuple()] = winner
	}
	state.put(e)
}

// AddOutlier makes an event known without making it part of the timeline or of the state: it can be
// cited, and is served when it is asked for.
func (r *Room) AddOutlier(e *matrix.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.events[e.ID()] == nil {
		r.events[e.ID()] = e
	}
}

// ServeAs serves other bytes in place of an event, wherever its ID is asked for or listed. The room
// itself keeps the event. Nil bytes stop it.
func (r *Room) ServeAs(id string, raw json.RawMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if raw == nil {
		delete(r.served, id)
		return
	}
	r.served[id] = slices.Clone(raw)
}

// raw is what an operation serves for an event ID; nil when nothing is known by it there.
func (r *Room) raw(id string, op Operation) json.RawMessage {
	if h := r.hidden[id]; h != nil && r.events[id] == nil && slices.Contains(h.by, op) {
		return h.pdu
	}
	if raw, ok := r.served[id]; ok {
		return raw
	}
	if e := r.events[id]; e != nil {
		return e.JSON()
	}
	return nil
}

// ancestors are the events of the timeline that ids stand on, ids included.
func (r *Room) ancestors(ids []string) map[string]bool {
	found := map[string]bool{}
	for queue := slices.Clone(ids); len(queue) > 0; queue = queue[1:] {
		id := queue[0]
		if prev, ok := r.prevOf(id); ok && !found[id] {
			found[id] = true
			queue = append(queue, prev...)
		}
	}
	return found
}

// stateAfter is the state after a set of events.
func (r *Room) stateAfter(ids []string) stateMap {
	if sameSet(ids, r.extremities) {
		return r.state
	}
	state, below := maps.Clone(r.base), r.ancestors(ids)
	ids = slices.DeleteFunc(slices.Concat(r.timeline, r.branched), func(id string) bool { return !below[id] })
	slices.SortStableFunc(ids, func(a, b string) int { return int(r.depthOf(a) - r.depthOf(b)) })
	for _, id := range ids {
		r.enterState(state, r.events[id])
	}
	return state
}

func sameSet(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(id string) bool { return !slices.Contains(b, id) })
}

// Send builds an honest event, adds it to the room and sends it to every peer. The event is returned
// also when a peer could not be reached or did not answer 200, which the error then says; what a peer
// says about the event itself is in the transcript only.
func (r *Room) Send(ctx context.Context, sender *User, d Draft) (*matrix.Event, error) {
	r.mu.Lock()
	e, err := r.newEvent(sender, d)
	if err != nil {
		r.mu.Unlock()
		return nil, fmt.Errorf("building %s for %s: %w", d.Type, r.id, err)
	}
	peers := r.recipients(e) // before the event, so that a server whose last user it removes is told
	r.add(e)
	r.mu.Unlock()
	return e, r.server.sendAll(ctx, peers, []json.RawMessage{e.JSON()}, nil)
}

// Deliver sends events to every peer as they are, without adding them to the room.
func (r *Room) Deliver(ctx context.Context, pdus ...json.RawMessage) error {
	return r.server.sendAll(ctx, r.Peers(), pdus, nil)
}

// SendEDU sends an ephemeral message to every peer.
func (r *Room) SendEDU(ctx context.Context, eduType string, content any) error {
	edu, err := NewEDU(eduType, content)
	if err != nil {
		return err
	}
	return r.server.sendAll(ctx, r.Peers(), nil, []json.RawMessage{edu})
}

// Wait returns nil as soon as the condition holds, which is looked at again whenever another server
// has sent something. The error wraps the cause of ctx, or ErrClosed.
func (r *Room) Wait(ctx context.Context, what string, condition func() bool) error {
	for {
		r.server.inbox.mu.Lock()
		changed := r.server.inbox.changed
		r.server.inbox.mu.Unlock()
		if condition() {
			return nil
		}
		if err := r.server.wait(ctx, changed); err != nil {
			return fmt.Errorf("waiting for %s in %s at %s: %w", what, r.id, r.server.name, err)
		}
	}
}

// WaitMembership waits until a user has a membership in this server's copy of the room.
func (r *Room) WaitMembership(ctx context.Context, id matrix.UserID, membership string) error {
	return r.Wait(ctx, fmt.Sprintf("%s to be %q", id, membership), func() bool { return r.Membership(id) == membership })
}
