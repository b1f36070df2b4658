package stateres

import (
	"cmp"
	"math"
	"slices"

	"countersign/matrix"
)

// offMainline is the mainline position ∞.
const offMainline = math.MaxInt

// mainlineOrder is the definition "Mainline ordering", based on the power levels in a partially
// resolved state. Without power levels the mainline is empty.
func (r *resolution) mainlineOrder(events *set, state partialState) ([]number, error) {
	positions, err := r.mainline(state)
	if err != nil {
		return nil, err
	}
	type placed struct {
		n        number
		position int
		event    *matrix.Event
	}
	list := make([]placed, 0, events.count())
	for n := range events.all {
		position, err := r.mainlinePosition(n, positions)
		if err != nil {
			return nil, err
		}
		list = append(list, placed{n, position, r.event(n)})
	}
	slices.SortFunc(list, func(x, y placed) int {
		return cmp.Or(
			cmp.Compare(y.position, x.position), // greater positions first
			cmp.Compare(x.event.OriginServerTS(), y.event.OriginServerTS()),
			cmp.Compare(x.event.ID(), y.event.ID()),
		)
	})
	ordered := make([]number, len(list))
	for i, p := range list {
		ordered[i] = p.n
	}
	return ordered, nil
}

// mainline returns the index of every event of the mainline.
func (r *resolution) mainline(state partialState) (map[number]int, error) {
	positions := map[number]int{}
	n, ok := state[matrix.StateTuple{Type: "m.room.power_levels"}]
	for ok {
		positions[n] = len(positions)
		var err error
		if n, ok, err = r.powerLevels(n); err != nil {
			return nil, err
		}
	}
	return positions, nil
}

// mainlinePosition is the mainline position of an event. positions holds the positions of power levels
// events, their own index for those of the mainline; those that are met on the way are added.
func (r *resolution) mainlinePosition(e number, positions map[number]int) (int, error) {
	var passed []number
	position := offMainline
	for n := e; ; {
		pl, ok, err := r.powerLevels(n)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		if known, ok := positions[pl]; ok {
			position = known
			break
		}
		passed = append(passed, pl)
		n = pl
	}
	for _, pl := range passed {
		positions[pl] = position
	}
	return position, nil
}
