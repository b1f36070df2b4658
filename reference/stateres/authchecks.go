package stateres

import (
	"slices"

	"countersign/matrix"
	"countersign/reference/rules"
)

// partialState is the state that is being built.
type partialState map[matrix.StateTuple]number

// iterativeAuthChecks is the definition "Iterative auth checks": it applies the events that the
// authorization rules allow, in order, to state.
func (r *resolution) iterativeAuthChecks(state partialState, events []number) error {
	for _, n := range events {
		auth, err := r.auth(n)
		if err != nil {
			return err
		}
		e := r.event(n)
		rejection := r.room.Authorise(e, &stateForCheck{r.graph, state, auth, r.room})
		if rejection != nil && r.room.Defects().Has("AcceptsEveryEvent") {
			rejection = nil
		}
		if rejection == nil && !r.leavesOut(e) {
			state[e.Tuple()] = n
		}
	}
	return nil
}

// stateForCheck is the state that one event is checked against: the state so far, and where it has
// nothing, those of the event's auth events that are not rejected.
type stateForCheck struct {
	graph *graph
	state partialState
	auth  []number
	room  *rules.Room
}

// Event implements rules.State.
func (s *stateForCheck) Event(place matrix.StateTuple) *matrix.Event {
	if n, ok := s.state[place]; ok && !s.goesByCitations(place, n) {
		return s.graph.event(n)
	}
	for _, a := range s.auth {
		e := s.graph.event(a)
		if e.IsState(place.Type, place.StateKey) && !s.graph.source.Rejected(e.ID()) {
			return e
		}
	}
	return nil
}

// goesByCitations reports whether a mutant believes the participation that an event cites, whatever has come of the
// server on another branch.
func (s *stateForCheck) goesByCitations(place matrix.StateTuple, n number) bool {
	if place.Type != matrix.ParticipationType || slices.Contains(s.auth, n) {
		return false
	}
	cited := slices.ContainsFunc(s.auth, func(a number) bool { return s.graph.event(a).Tuple() == place })
	return cited && s.room.Defects().Has("ResolveByCitedParticipation")
}
