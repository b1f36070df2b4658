// Package stateres is state resolution version 2.1, the algorithm of room version 12 ("State
// resolution" of the room version's page, whose headings the comments here quote).
//
// Resolution is a pure function of the state sets and the events that they lead to. Events are
// numbered as they are met, and sets of events are bitsets over the numbers.
package stateres

import (
	"errors"
	"fmt"
	"maps"

	"countersign/matrix"
	"countersign/reference/rules"
)

// StateMap names the event at each place of a room's state.
type StateMap = map[matrix.StateTuple]string

// Source finds the events that resolution walks over: those in the state sets and those in their auth
// chains. Resolve calls both methods from its own goroutine only.
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
	unconflicted, conflicted := partition(sets)
	if len(conflicted) == 0 {
		return unconflicted, nil
	}
	r := resolution{
		graph: newGraph(source, len(unconflicted)+2*len(conflicted)),
		// Signatures were checked on receipt, and do not depend on state. Who has co-signed is read from
		// the auth events.
		room: room.Settled().WithEvents(source.Event),
	}
	resolved, err := r.run(sets, unconflicted, conflicted)
	if err != nil {
		return nil, fmt.Errorf("resolving the state of %s: %w", room.ID(), err)
	}
	return resolved, nil
}

// resolution is one run of the algorithm.
type resolution struct {
	*graph
	room   *rules.Room
	levels map[number]*rules.PowerLevels
}

// run is the section "Algorithm".
func (r *resolution) run(sets []StateMap, unconflicted StateMap, conflicted []string) (StateMap, error) {
	full, err := r.fullConflictedSet(sets, unconflicted, conflicted)
	if err != nil {
		return nil, err
	}
	// Step 1.
	picked, err := r.powerEventsWithAuthChains(full)
	if err != nil {
		return nil, err
	}
	ordered, err := r.reverseTopologicalPowerOrder(picked)
	if err != nil {
		return nil, err
	}
	// Step 2: from an empty state, which is what distinguishes version 2.1.
	state := make(partialState, full.count())
	if err := r.iterativeAuthChecks(state, ordered); err != nil {
		return nil, err
	}
	// Steps 3 and 4.
	remaining, err := r.mainlineOrder(full.without(picked), state)
	if err != nil {
		return nil, err
	}
	if err := r.iterativeAuthChecks(state, remaining); err != nil {
		return nil, err
	}
	// Step 5.
	resolved := make(StateMap, len(unconflicted)+len(state))
	for place, n := range state {
		resolved[place] = r.event(n).ID()
	}
	maps.Copy(resolved, unconflicted)
	return resolved, nil
}
