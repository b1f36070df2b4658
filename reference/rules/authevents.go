package rules

import (
	"slices"

	"countersign/matrix"
)

// AuthEvent is one of an event's auth_events.
type AuthEvent struct {
	*matrix.Event
	// Rejected is set when the event was rejected on receipt.
	Rejected bool
}

// AuthoriseByAuthEvents applies rules 2 and 3 to e and its auth_events, then the other rules with the
// auth_events as the state (server-server API, "Checks performed on receipt of a PDU", step 4). auth
// has one entry for every ID in e.AuthEvents, in any order. For a create event it applies rule 1. The
// error is a *Rejection.
func (r *Room) AuthoriseByAuthEvents(e *matrix.Event, auth []AuthEvent) error {
	if e.IsCreate() {
		return AuthoriseCreate(e)
	}
	if err := r.checkRoomID(e); err != nil {
		return err
	}
	if r.Version().HasPortableAccounts() {
		r = r.withAuthEvents(auth)
	}
	if err := r.checkAuthEvents(e, auth); err != nil {
		return err
	}
	return r.Authorise(e, authState(auth))
}

// checkRoomID is rule 2. That the create event was accepted is what makes r a Room.
func (r *Room) checkRoomID(e *matrix.Event) error {
	if e.RoomID() != r.ID() {
		return reject("2", "the room_id is not the ID of an accepted create event")
	}
	return nil
}

// withAuthEvents returns the same room, which finds the given events too.
func (r *Room) withAuthEvents(auth []AuthEvent) *Room {
	find := r.find
	return r.WithEvents(func(id string) *matrix.Event {
		for i := range auth {
			if auth[i].ID() == id {
				return auth[i].Event
			}
		}
		return find(id)
	})
}

// checkAuthEvents is rule 3.
func (r *Room) checkAuthEvents(e *matrix.Event, auth []AuthEvent) error {
	if err := checkNoDuplicates(auth); err != nil {
		return err
	}
	if err := r.checkSelection(e, auth); err != nil {
		return err
	}
	for _, a := range auth {
		if a.Rejected {
			return reject("3.3", "the auth event %s was rejected", a.ID())
		}
	}
	for _, a := range auth {
		if a.RoomID() != e.RoomID() {
			return reject("3.4", "the auth event %s belongs to another room", a.ID())
		}
	}
	return nil
}

// checkNoDuplicates is rule 3.1.
func checkNoDuplicates(auth []AuthEvent) error {
	for i, a := range auth {
		for _, b := range auth[:i] {
			if a.Tuple() == b.Tuple() {
				return reject("3.1", "two auth events are of type %q and state key %q", a.Type(), a.Tuple().StateKey)
			}
		}
	}
	return nil
}

// checkSelection is rule 3.2. It forbids entries that the selection does not name, create events among
// them, but does not demand those that it names.
func (r *Room) checkSelection(e *matrix.Event, auth []AuthEvent) error {
	selected := e.AuthEventTuples()
	if r.Version().HasPortableAccounts() {
		cosigner, err := r.sendingServer(e)
		if err != nil {
			return err
		}
		selected = append(selected, matrix.ParticipationPlace(cosigner))
	}
	for _, a := range auth {
		if _, isState := a.StateKey(); !isState || !slices.Contains(selected, a.Tuple()) {
			return reject("3.2", "the auth event %s (type %q) does not belong to the auth events of this event", a.ID(), a.Type())
		}
	}
	return nil
}

// authState is the state that consists of an event's auth events: a handful, so that a search is
// faster than a map.
type authState []AuthEvent

// Event implements State.
func (s authState) Event(place matrix.StateTuple) *matrix.Event {
	for i := range s {
		if s[i].IsState(place.Type, place.StateKey) {
			return s[i].Event
		}
	}
	return nil
}
