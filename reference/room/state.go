package room

import (
	"cmp"
	"hash/maphash"
	"iter"
	"strings"

	"countersign/matrix"
)

// State is an immutable room state: the IDs of the state events at each place. The zero State is
// empty. It is a treap whose priorities are hashes of the places, so its shape depends only on what
// is in it: states that have a common past share almost all of their nodes, changing one place copies
// only a path, and two states compare by walking only what they do not share.
type State struct {
	root *node
	// group is the number under which the state is stored, or 0.
	group uint64
}

type node struct {
	place       matrix.StateTuple
	event       string
	priority    uint64
	size        int
	left, right *node
}

// prioritySeed keeps peers, who choose state keys, from choosing the treap's shape.
var prioritySeed = maphash.MakeSeed()

func comparePlaces(a, b matrix.StateTuple) int {
	return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.StateKey, b.StateKey))
}

func (n *node) outranks(m *node) bool {
	return n.priority > m.priority || n.priority == m.priority && comparePlaces(n.place, m.place) < 0
}

func (n *node) count() int {
	if n == nil {
		return 0
	}
	return n.size
}

// with returns a copy of n with other children.
func (n *node) with(left, right *node) *node {
	if n.left == left && n.right == right {
		return n
	}
	c := *n
	c.left, c.right = left, right
	c.size = 1 + left.count() + right.count()
	return &c
}

// split parts a tree at a place: what is before it, the node at it or nil, and what is after it.
func split(n *node, at matrix.StateTuple) (before, equal, after *node) {
	if n == nil {
		return nil, nil, nil
	}
	switch c := comparePlaces(at, n.place); {
	case c < 0:
		before, equal, middle := split(n.left, at)
		return before, equal, n.with(middle, n.right)
	case c > 0:
		middle, equal, after := split(n.right, at)
		return n.with(n.left, middle), equal, after
	}
	return n.left, n, n.right
}

// join is the tree of two trees of which every place of the first is before every place of the second.
func join(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.outranks(b):
		return a.with(a.left, join(a.right, b))
	}
	return b.with(join(a, b.left), b.right)
}

func insert(n, added *node) *node {
	if n == nil {
		return added
	}
	if added.outranks(n) {
		before, _, after := split(n, added.place)
		return added.with(before, after)
	}
	switch c := comparePlaces(added.place, n.place); {
	case c < 0:
		return n.with(insert(n.left, added), n.right)
	case c > 0:
		return n.with(n.left, insert(n.right, added))
	}
	replaced := *added
	return (&replaced).sized(n.left, n.right)
}

// sized sets the children of a node that nobody else has seen yet.
func (n *node) sized(left, right *node) *node {
	n.left, n.right = left, right
	n.size = 1 + left.count() + right.count()
	return n
}

func remove(n *node, place matrix.StateTuple) *node {
	if n == nil {
		return nil
	}
	switch c := comparePlaces(place, n.place); {
	case c < 0:
		return n.with(remove(n.left, place), n.right)
	case c > 0:
		return n.with(n.left, remove(n.right, place))
	}
	return join(n.left, n.right)
}

// Get is the ID of the event at a place, or empty.
func (s State) Get(place matrix.StateTuple) string {
	for n := s.root; n != nil; {
		switch c := comparePlaces(place, n.place); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n.event
		}
	}
	return ""
}

// Len is the number of places that are taken.
func (s State) Len() int { return s.root.count() }

// with is the state with an event put at a place; an empty ID vacates the place.
func (s State) with(place matrix.StateTuple, eventID string) State {
	switch {
	case s.Get(place) == eventID:
		return s
	case eventID == "":
		return State{root: remove(s.root, place)}
	}
	added := &node{place: place, event: eventID, priority: maphash.Comparable(prioritySeed, place), size: 1}
	return State{root: insert(s.root, added)}
}

// toMap is the state as a map that the caller owns.
func (s State) toMap() map[matrix.StateTuple]string {
	m := make(map[matrix.StateTuple]string, s.Len())
	for place, id := range s.All() {
		m[place] = id
	}
	return m
}

// All are the places that are taken and the IDs of the events there, sorted by place.
func (s State) All() iter.Seq2[matrix.StateTuple, string] {
	return func(yield func(matrix.StateTuple, string) bool) { s.root.walk(yield) }
}

// OfType are the state keys and event IDs at the places of one event type, sorted by state key.
func (s State) OfType(eventType string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		s.root.walkType(eventType, func(place matrix.StateTuple, id string) bool { return yield(place.StateKey, id) })
	}
}

func (n *node) walk(yield func(matrix.StateTuple, string) bool) bool {
	return n == nil || n.left.walk(yield) && yield(n.place, n.event) && n.right.walk(yield)
}

func (n *node) walkType(eventType string, yield func(matrix.StateTuple, string) bool) bool {
	if n == nil {
		return true
	}
	c := strings.Compare(eventType, n.place.Type)
	if c <= 0 && !n.left.walkType(eventType, yield) {
		return false
	}
	if c == 0 && !yield(n.place, n.event) {
		return false
	}
	return c < 0 || n.right.walkType(eventType, yield)
}

// Diff are the places at which two states differ, each with the IDs of the events there in the first
// and in the second state, empty where there is none.
func Diff(old, new State) iter.Seq2[matrix.StateTuple, [2]string] {
	return func(yield func(matrix.StateTuple, [2]string) bool) { diff(old.root, new.root, yield) }
}

func diff(a, b *node, yield func(matrix.StateTuple, [2]string) bool) bool {
	switch {
	case a == b:
		return true
	case a == nil:
		return b.walk(func(p matrix.StateTuple, id string) bool { return yield(p, [2]string{"", id}) })
	case b == nil:
		return a.walk(func(p matrix.StateTuple, id string) bool { return yield(p, [2]string{id, ""}) })
	case a.place != b.place && b.outranks(a):
		before, equal, after := split(a, b.place)
		return diff(before, b.left, yield) && yieldUnequal(equal, b, yield) && diff(after, b.right, yield)
	}
	before, equal, after := split(b, a.place)
	return diff(a.left, before, yield) && yieldUnequal(a, equal, yield) && diff(a.right, after, yield)
}

func yieldUnequal(a, b *node, yield func(matrix.StateTuple, [2]string) bool) bool {
	var ids [2]string
	var place matrix.StateTuple
	if a != nil {
		ids[0], place = a.event, a.place
	}
	if b != nil {
		ids[1], place = b.event, b.place
	}
	return ids[0] == ids[1] || yield(place, ids)
}
