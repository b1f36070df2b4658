package stateres

import (
	"container/heap"

	"countersign/matrix"
	"countersign/reference/rules"
)

// isPowerEvent is the definition "Power events". It asks for no particular state key of power levels
// and join rules.
func isPowerEvent(e *matrix.Event) bool {
	stateKey, isState := e.StateKey()
	if !isState {
		return false
	}
	switch e.Type() {
	case "m.room.power_levels", "m.room.join_rules":
		return true
	case "m.room.member":
		m := e.Membership()
		return (m == "leave" || m == "ban") && string(e.Sender()) != stateKey
	}
	return isParticipationPowerEvent(e)
}

// isParticipationPowerEvent is D-43: MSC4345 does not make participation events power events. Without
// that, a revocation would come after the events that it is to stop, and the argument for its security
// ("Why server bans are implemented as key revocation") would not hold in rooms that fork.
func isParticipationPowerEvent(e *matrix.Event) bool { return e.IsParticipation() }

// comesLast reports whether a mutant does not take an event for a power event.
func (r *resolution) comesLast(e *matrix.Event) bool {
	if !isParticipationPowerEvent(e) {
		return false
	}
	subject, _ := e.StateKey()
	own := e.Participation() == matrix.Revoked && string(e.Sender().Domain()) == subject
	return own && r.room.Defects().Has("ResolveOwnRevocationsLast") || r.room.Defects().Has("ResolveParticipationLast")
}

// leavesOut reports whether a mutant takes an event for none in a room that has forked.
func (r *resolution) leavesOut(e *matrix.Event) bool {
	return e.IsParticipation() && e.Participation() == matrix.Revoked && r.room.Defects().Has("ForgetForkedRevocations")
}

// powerEventsWithAuthChains is the selection of step 1. A path from one event of the full conflicted
// set to another never leaves the set, because its conflicted subgraph and auth difference are closed
// in that way, so the walk stays inside.
func (r *resolution) powerEventsWithAuthChains(full *set) (*set, error) {
	picked := &set{}
	var stack []number
	for n := range full.all {
		if isPowerEvent(r.event(n)) && !r.comesLast(r.event(n)) && picked.add(n) {
			stack = append(stack, n)
		}
	}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		auth, err := r.auth(n)
		if err != nil {
			return nil, err
		}
		for _, a := range auth {
			if full.has(a) && picked.add(a) {
				stack = append(stack, a)
			}
		}
	}
	return picked, nil
}

// reverseTopologicalPowerOrder is the definition "Reverse topological power ordering", by Kahn's
// algorithm with a heap of the events all of whose auth events have been placed.
func (r *resolution) reverseTopologicalPowerOrder(events *set) ([]number, error) {
	waiting := make(map[number]int, events.count()) // how many auth events are not placed yet
	dependents := make(map[number][]number)
	ready := powerHeap{}
	for n := range events.all {
		auth, err := r.auth(n)
		if err != nil {
			return nil, err
		}
		count := 0
		for _, a := range auth {
			if events.has(a) {
				dependents[a] = append(dependents[a], n)
				count++
			}
		}
		waiting[n] = count
		if count == 0 {
			c, err := r.candidate(n)
			if err != nil {
				return nil, err
			}
			ready = append(ready, c)
		}
	}
	heap.Init(&ready)
	ordered := make([]number, 0, len(waiting))
	for len(ready) > 0 {
		n := heap.Pop(&ready).(candidate).n
		ordered = append(ordered, n)
		for _, d := range dependents[n] {
			if waiting[d]--; waiting[d] == 0 {
				c, err := r.candidate(d)
				if err != nil {
					return nil, err
				}
				heap.Push(&ready, c)
			}
		}
	}
	return ordered, nil
}

// candidate is an event with what the comparison relation looks at.
type candidate struct {
	n     number
	power rules.Level
	event *matrix.Event
}

func (r *resolution) candidate(n number) (candidate, error) {
	power, err := r.senderPower(n)
	return candidate{n, power, r.event(n)}, err
}

// senderPower is the power level of an event's sender by the event's own auth events.
func (r *resolution) senderPower(n number) (rules.Level, error) {
	pl, ok, err := r.powerLevels(n)
	if err != nil {
		return 0, err
	}
	if !ok {
		return r.room.ReadPowerLevels(nil).User(r.event(n).Sender()), nil
	}
	levels := r.levels[pl]
	if levels == nil {
		if r.levels == nil {
			r.levels = map[number]*rules.PowerLevels{}
		}
		levels = r.room.ReadPowerLevels(r.event(pl))
		r.levels[pl] = levels
	}
	return levels.User(r.event(n).Sender()), nil
}

// powerHeap orders candidates by the comparison relation of the definition, smallest first.
type powerHeap []candidate

func (h powerHeap) Len() int      { return len(h) }
func (h powerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *powerHeap) Push(x any)   { *h = append(*h, x.(candidate)) }

func (h *powerHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func (h powerHeap) Less(i, j int) bool {
	x, y := h[i], h[j]
	if x.power != y.power {
		return x.power > y.power
	}
	if a, b := x.event.OriginServerTS(), y.event.OriginServerTS(); a != b {
		return a < b
	}
	return x.event.ID() < y.event.ID()
}
