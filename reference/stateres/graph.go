package stateres

import (
	"fmt"

	"countersign/matrix"
)

// number stands for an event during one resolution, in the order in which events are met.
type number int32

// graph is the part of the auth events graph that has been met. Edges lead from an event to its
// auth_events.
type graph struct {
	source  Source
	numbers map[string]number
	nodes   []node
}

type node struct {
	event *matrix.Event
	// auth are the numbers of the event's auth_events, once edges has been asked for them.
	auth     []number
	expanded bool
}

func newGraph(source Source, capacity int) *graph {
	return &graph{source: source, numbers: make(map[string]number, capacity), nodes: make([]node, 0, capacity)}
}

// number returns the number of the event with an ID.
func (g *graph) number(id string) (number, error) {
	if n, ok := g.numbers[id]; ok {
		return n, nil
	}
	e := g.source.Event(id)
	if e == nil {
		return 0, fmt.Errorf("%w: %s", ErrMissingEvent, id)
	}
	n := number(len(g.nodes))
	g.numbers[id] = n
	g.nodes = append(g.nodes, node{event: e})
	return n, nil
}

// allNumbers is number for a list of IDs.
func (g *graph) allNumbers(ids []string) ([]number, error) {
	list := make([]number, 0, len(ids))
	for _, id := range ids {
		n, err := g.number(id)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

func (g *graph) event(n number) *matrix.Event { return g.nodes[n].event }

// auth returns the auth events of an event.
func (g *graph) auth(n number) ([]number, error) {
	if !g.nodes[n].expanded {
		auth, err := g.allNumbers(g.nodes[n].event.AuthEvents())
		if err != nil {
			return nil, fmt.Errorf("auth events of %s: %w", g.nodes[n].event.ID(), err)
		}
		g.nodes[n].auth, g.nodes[n].expanded = auth, true
	}
	return g.nodes[n].auth, nil
}

// powerLevels returns the m.room.power_levels event among the auth events of an event.
func (g *graph) powerLevels(n number) (found number, ok bool, err error) {
	auth, err := g.auth(n)
	if err != nil {
		return 0, false, err
	}
	for _, a := range auth {
		if g.event(a).IsState("m.room.power_levels", "") {
			return a, true, nil
		}
	}
	return 0, false, nil
}

// addAuthChains adds the auth chains of events to a set. It does not go beyond events that are in the
// set or in boundary already; both must be closed under auth events.
func (g *graph) addAuthChains(to, boundary *set, of []number) error {
	stack := append([]number(nil), of...)
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		auth, err := g.auth(n)
		if err != nil {
			return err
		}
		for _, a := range auth {
			if !boundary.has(a) && to.add(a) {
				stack = append(stack, a)
			}
		}
	}
	return nil
}
