// Package stateres is state resolution version 2.1, the algorithm of room version 12 ("State
// resolution" of the room version's page).
package stateres

import (
	"errors"

	"countersign/matrix"
	"countersign/reference/rules"
)

// StateMap names the event at each place of a room's state.
type StateMap = map[matrix.StateTuple]string

// Source finds the events that resolution walks over: those in the state sets and those in their auth
// chains. Both methods are called from one goroutine at a time.
type Source interface {
	// Event returns an event, or nil when it is not known.
	Event(id string) *matrix.Event
	// Rejected reports whether an event was rejected on receipt. Rejected events take part in
	// resolution, but do not authorise others ("Rejected events").
	Rejected(id string) bool
}

// ErrMissingEvent is wrapped by the errors of resolutions that need an event which the source does
// not have. Resolving without it would give another result than other servers get.
var ErrMissingEvent = errors.New("event missing from the auth chain")

// Resolve computes the resolution of a set of states. The result is a new map that the caller owns;
// it does not depend on the order of sets. The error wraps ErrMissingEvent.
func Resolve(room *rules.Room, sets []StateMap, source Source) (StateMap, error) {
	return nil, nil
}
