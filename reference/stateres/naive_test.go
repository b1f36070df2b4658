package stateres

import (
	"math"
	"sort"

	"countersign/matrix"
	"countersign/reference/rules"
)

// This file is state resolution once more, written down from the text with sets of event IDs and no
// thought for speed: the judge of the implementation beside it.

// algorithm chooses what distinguishes version 2.1 from version 2.
type algorithm struct {
	fromUnconflicted bool // iterative auth checks start from the unconflicted state map
	noSubgraph       bool // the full conflicted set lacks the conflicted state subgraph
}

var (
	version20 = algorithm{fromUnconflicted: true, noSubgraph: true}
	version21 = algorithm{}
)

type ids map[string]bool

func (a ids) with(b ids) ids {
	out := ids{}
	for id := range a {
		out[id] = true
	}
	for id := range b {
		out[id] = true
	}
	return out
}

func (a ids) less(b ids) ids {
	out := ids{}
	for id := range a {
		if !b[id] {
			out[id] = true
		}
	}
	return out
}

type naive struct{ d *dag }

func naiveResolve(d *dag, sets []StateMap, a algorithm) StateMap {
	n := naive{d}
	unconflicted, conflicted := StateMap{}, ids{}
	for _, s := range sets {
		for place, id := range s {
			same := true
			for _, other := range sets {
				same = same && other[place] == id
			}
			if same {
				unconflicted[place] = id
			} else {
				conflicted[id] = true
			}
		}
	}
	full := conflicted.with(n.authDifference(sets))
	if !a.noSubgraph {
		full = full.with(n.subgraph(conflicted))
	}

	x := ids{}
	for id := range full {
		if n.isPowerEvent(id) {
			x[id] = true
			for ancestor := range n.authChain(id) {
				if full[ancestor] {
					x[ancestor] = true
				}
			}
		}
	}
	state := StateMap{}
	if a.fromUnconflicted {
		for place, id := range unconflicted {
			state[place] = id
		}
	}
	n.iterate(state, n.powerOrder(x))
	n.iterate(state, n.mainlineOrder(full.less(x), state[matrix.StateTuple{Type: "m.room.power_levels"}]))
	for place, id := range unconflicted {
		state[place] = id
	}
	return state
}

func (n naive) authChain(id string) ids {
	chain := ids{}
	var walk func(string)
	walk = func(id string) {
		for _, a := range n.d.events[id].AuthEvents() {
			if !chain[a] {
				chain[a] = true
				walk(a)
			}
		}
	}
	walk(id)
	return chain
}

func (n naive) authDifference(sets []StateMap) ids {
	union, inAll := ids{}, map[string]int{}
	for _, s := range sets {
		full := ids{}
		for _, id := range s {
			full = full.with(n.authChain(id))
		}
		union = union.with(full)
		for id := range full {
			inAll[id]++
		}
	}
	difference := ids{}
	for id := range union {
		if inAll[id] != len(sets) {
			difference[id] = true
		}
	}
	return difference
}

// subgraph is every event on every path between two conflicted events.
func (n naive) subgraph(conflicted ids) ids {
	out := ids{}
	for from := range conflicted {
		for between := range n.authChain(from) {
			for to := range conflicted {
				if between == to || n.authChain(between)[to] {
					out[from], out[between], out[to] = true, true, true
				}
			}
		}
	}
	return out
}

func (n naive) isPowerEvent(id string) bool {
	e := n.d.events[id]
	if e.Type() == "m.room.power_levels" || e.Type() == "m.room.join_rules" {
		return true
	}
	if e.Type() == "org.matrix.msc4345.participation" && e.Version().HasParticipation() {
		return true
	}
	return e.Type() == "m.room.member" && (e.Membership() == "leave" || e.Membership() == "ban") && string(e.Sender()) != e.Tuple().StateKey
}

func (n naive) powerLevelsOf(id string) string {
	for _, a := range n.d.events[id].AuthEvents() {
		if n.d.events[a].Type() == "m.room.power_levels" {
			return a
		}
	}
	return ""
}

func (n naive) senderPower(id string) int64 {
	e := n.d.events[id]
	create := n.d.create()
	if e.Sender() == create.Sender() {
		return math.MaxInt64
	}
	for _, c := range create.Get("additional_creators").Array() {
		if c.String() == string(e.Sender()) {
			return math.MaxInt64
		}
	}
	pl := n.powerLevelsOf(id)
	if pl == "" {
		return 0
	}
	content := n.d.events[pl].Get("@this").Map()
	if level, ok := content["users"].Map()[string(e.Sender())]; ok {
		return level.Int()
	}
	return content["users_default"].Int()
}

func (n naive) powerOrder(x ids) (ordered []string) {
	left := x.with(nil)
	for len(left) > 0 {
		best := ""
		for id := range left {
			ready := true
			for ancestor := range n.authChain(id) {
				ready = ready && !left[ancestor]
			}
			if ready && (best == "" || n.powerLess(id, best)) {
				best = id
			}
		}
		ordered = append(ordered, best)
		delete(left, best)
	}
	return ordered
}

func (n naive) powerLess(x, y string) bool {
	if a, b := n.senderPower(x), n.senderPower(y); a != b {
		return a > b
	}
	if a, b := n.d.events[x].OriginServerTS(), n.d.events[y].OriginServerTS(); a != b {
		return a < b
	}
	return x < y
}

func (n naive) mainlineOrder(events ids, p string) []string {
	var mainline []string
	for ; p != ""; p = n.powerLevelsOf(p) {
		mainline = append(mainline, p)
	}
	position := func(id string) int {
		for e := n.powerLevelsOf(id); e != ""; e = n.powerLevelsOf(e) {
			for i, m := range mainline {
				if m == e {
					return i
				}
			}
		}
		return math.MaxInt
	}
	var ordered []string
	for id := range events {
		ordered = append(ordered, id)
	}
	sort.Slice(ordered, func(i, j int) bool {
		x, y := ordered[i], ordered[j]
		if a, b := position(x), position(y); a != b {
			return a > b
		}
		if a, b := n.d.events[x].OriginServerTS(), n.d.events[y].OriginServerTS(); a != b {
			return a < b
		}
		return x < y
	})
	return ordered
}

func (n naive) iterate(state StateMap, ordered []string) {
	for _, id := range ordered {
		e := n.d.events[id]
		current := rules.StateMap{}
		for _, a := range e.AuthEvents() {
			if !n.d.rejected[a] {
				current[n.d.events[a].Tuple()] = n.d.events[a]
			}
		}
		for place, s := range state {
			current[place] = n.d.events[s]
		}
		if n.d.room.Authorise(e, current) == nil {
			state[e.Tuple()] = id
		}
	}
}
