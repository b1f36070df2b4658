package room

import (
	"fmt"

	"countersign/matrix"
	"countersign/reference/store"
)

// States are stored as groups: each is the difference to an earlier one, and every fullGroupEvery-th
// in a chain is complete, so that storing an event costs as much as it changes and loading a state is
// bounded.
const fullGroupEvery = 64

type groupRecord struct {
	// Parent is the group that Changes applies to; 0 is the empty state.
	Parent uint64 `json:"parent,omitempty"`
	// Chain is how many differences lie between the group and a complete one.
	Chain int `json:"chain,omitempty"`
	// Changes are type, state key and event ID; an empty event ID vacates the place.
	Changes [][3]string `json:"changes"`
}

// saveState stores a state, as a difference to an already stored parent, and returns it with its
// group. The state may be stored already.
func (g *Engine) saveState(tx *store.Tx, parent, s State) (State, error) {
	if s.group != 0 {
		return s, nil
	}
	if s.root == parent.root && parent.group != 0 {
		return parent, nil
	}
	r := groupRecord{Parent: parent.group}
	if parent.group != 0 {
		var p groupRecord
		if ok, err := getJSON(tx.Table(tableGroups), groupKey(parent.group), &p); err != nil || !ok {
			return State{}, fmt.Errorf("state group %d cannot be read: %w", parent.group, orDamaged(err))
		}
		r.Chain = p.Chain + 1
	}
	if r.Chain >= fullGroupEvery || parent.group == 0 {
		r, parent = groupRecord{}, State{}
	}
	for place, ids := range Diff(parent, s) {
		r.Changes = append(r.Changes, [3]string{place.Type, place.StateKey, ids[1]})
	}
	n, err := tx.Table(tableGroups).Next()
	if err != nil {
		return State{}, err
	}
	s.group = n
	if err := putJSON(tx.Table(tableGroups), groupKey(n), r); err != nil {
		return State{}, err
	}
	root := s.root
	tx.OnCommit(func() { g.groups.Put(n, root) })
	return s, nil
}

// loadState reads the state of a group; group 0 is the empty state.
func (g *Engine) loadState(tx *store.Tx, group uint64) (State, error) {
	var chain []groupRecord
	var root *node
	for n := group; n != 0; {
		if cached, ok := g.groups.Get(n); ok {
			root = cached
			break
		}
		var r groupRecord
		if ok, err := getJSON(tx.Table(tableGroups), groupKey(n), &r); err != nil || !ok {
			return State{}, fmt.Errorf("state group %d cannot be read: %w", n, orDamaged(err))
		}
		chain = append(chain, r)
		n = r.Parent
	}
	s := State{root: root}
	for i := len(chain) - 1; i >= 0; i-- {
		for _, c := range chain[i].Changes {
			s = s.with(matrix.StateTuple{Type: c[0], StateKey: c[1]}, c[2])
		}
	}
	if len(chain) > 0 {
		g.groups.Put(group, s.root)
	}
	s.group = group
	return s, nil
}

func groupKey(n uint64) []byte { return store.AppendInt(nil, int64(n)) }

func orDamaged(err error) error {
	if err == nil {
		return errDamaged
	}
	return err
}
