package fakeserver

import (
	"encoding/json"
	"slices"

	"countersign/matrix"
)

// hidden is an event that other servers can find by way of some operations only, although this
// server's own copy of the room does not have it: a forgery, or an event that is kept back.
type hidden struct {
	pdu json.RawMessage
	// prev and depth place it in the history of the room. They are what its author had in mind, since
	// a forged event may not say.
	prev  []string
	depth int64
	// by are the operations that hand it out.
	by []Operation
	// claims are events that this server says are in the state before it.
	claims []Forged
}

// hide lets other servers find an event by way of some operations. The room's own events do not
// follow it unless they are made to.
func (r *Room) hide(f Forged, by ...Operation) *hidden {
	h := &hidden{pdu: f.PDU, prev: f.prev, depth: f.depth, by: by}
	r.hidden[f.EventID] = h
	return h
}

// follow has the next events of the room follow a hidden event, in place of its parents.
func (r *Room) follow(f Forged) {
	r.extremities = slices.DeleteFunc(r.extremities, func(id string) bool { return slices.Contains(f.prev, id) })
	r.extremities = append(r.extremities, f.EventID)
}

// prevOf are the parents of an event that is known, or hidden.
func (r *Room) prevOf(id string) (prev []string, ok bool) {
	if e := r.events[id]; e != nil {
		return e.PrevEvents(), true
	}
	if h := r.hidden[id]; h != nil {
		return h.prev, true
	}
	return nil, false
}

// depthOf is the depth of an event that is known, or hidden; 0 for any other.
func (r *Room) depthOf(id string) int64 {
	if e := r.events[id]; e != nil {
		return e.Depth()
	}
	if h := r.hidden[id]; h != nil {
		return h.depth
	}
	return 0
}

// handedOut reports whether an operation hands an event out.
func (r *Room) handedOut(id string, op Operation) bool {
	if r.events[id] != nil {
		return true
	}
	h := r.hidden[id]
	return h != nil && slices.Contains(h.by, op)
}

// stateToldBefore is the state before an event as this server tells it: the IDs of the state, which
// claimed events replace in their places.
func (r *Room) stateToldBefore(id string) (ids []string, ok bool) {
	prev, ok := r.prevOf(id)
	if !ok {
		return nil, false
	}
	state := r.stateAfter(prev)
	h := r.hidden[id]
	if h == nil || len(h.claims) == 0 {
		return eventIDs(state), true
	}
	told, claimed := stateMap{}, []string{}
	for tuple, e := range state {
		told[tuple] = e
	}
	for _, f := range h.claims {
		if tuple, isState := f.Tuple(); isState {
			delete(told, tuple)
		}
		claimed = append(claimed, f.EventID)
	}
	return append(eventIDs(told), claimed...), true
}

// member is a user of this server who is in the room and may speak for it; nil when there is none.
func (r *Room) member() *User {
	for _, u := range r.server.Users() {
		id := r.UserID(u)
		if r.state.membership(id) != "join" {
			continue
		}
		// A portable account sends through the server that has co-signed its membership (D-54).
		if !r.version.HasPortableAccounts() || r.serverOf(id) == r.Key().Key().Name() {
			return u
		}
	}
	return nil
}

// forgedOf is an honest event as a forgery is: with the place that it has in the history.
func forgedOf(e *matrix.Event) Forged {
	return Forged{PDU: e.JSON(), EventID: e.ID(), Version: e.Version(), prev: e.PrevEvents(), depth: e.Depth()}
}
