package blueprints

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// Act is what somebody does on a branch of a room's history.
type Act struct {
	By    *fakeserver.User
	Draft fakeserver.Draft
}

// Fork builds branches that all begin after what the room has now: on each the acts follow one another, and
// nothing of one branch is known on another. Nothing is sent.
func (m *Migration) Fork(t testing.TB, branches ...[]Act) []*fakeserver.Branch {
	t.Helper()
	var built []*fakeserver.Branch
	for _, acts := range branches {
		branch := m.Room.Room.Fork()
		for _, act := range acts {
			if _, err := branch.Add(act.By, act.Draft); err != nil {
				conform.HarnessError(t, "%v", err)
			}
		}
		built = append(built, branch)
	}
	return built
}

// ArrivalOrders are all orders in which the events of branches can arrive at a server when each follows those
// before it on its own branch.
func ArrivalOrders(branches []*fakeserver.Branch) [][]*matrix.Event {
	var rest [][]*matrix.Event
	for _, b := range branches {
		rest = append(rest, b.Events())
	}
	return interleave(rest)
}

func interleave(rest [][]*matrix.Event) (orders [][]*matrix.Event) {
	for i, branch := range rest {
		if len(branch) == 0 {
			continue
		}
		after := slices.Clone(rest)
		after[i] = branch[1:]
		for _, order := range interleave(after) {
			orders = append(orders, append([]*matrix.Event{branch[0]}, order...))
		}
	}
	if orders == nil {
		orders = [][]*matrix.Event{nil}
	}
	return orders
}

// RoomState is the state of a room as one homeserver tells it: event IDs by their places.
type RoomState map[matrix.StateTuple]string

// Has reports whether an event is in the state.
func (s RoomState) Has(e *matrix.Event) bool { return s[e.Tuple()] == e.ID() }

// Meet joins branches by a message of fay's that follows them all, and returns what every homeserver then
// makes of the room, in the order of the sites: see [Migration.Converge].
//
// The events that win are those by which fay's own message is authorised. The room has the state of the
// first homeserver when the method returns.
func (m *Migration) Meet(t testing.TB, requirement string, branches []*fakeserver.Branch, win ...*matrix.Event) []RoomState {
	t.Helper()
	merge, err := m.Room.Room.Merge(branches, win...).Add(m.Fay, fakeserver.Message("the branches meet"))
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	m.Room.Room.Add(merge)
	m.Tell(t, merge)
	m.MustSee(conform.Setup(t), merge)
	return m.Converge(t, requirement, merge)
}

// Converge judges that every homeserver tells the same state of the room, in three ways: over federation, before an
// event that all of them have and before the next event of one of them, and to its client. What is not the same costs
// what the requirement says. It returns the state before the event that all have.
func (m *Migration) Converge(t testing.TB, requirement string, at *matrix.Event) []RoomState {
	t.Helper()
	var states, later []RoomState
	next := m.nextOf(t, m.Sites[m.meets%len(m.Sites)]) // of each in its turn
	m.meets++
	for i, site := range m.Sites {
		states, later = append(states, m.Before(t, site, at)), append(later, m.Before(t, site, next))
		both := m.Sites[0].HS.Alias() + " and " + site.HS.Alias()
		m.compare(t, requirement, both+" before the same event", states[0], states[i])
		m.compare(t, requirement, both+" before the next event", later[0], later[i])
		m.compare(t, requirement, site.HS.Alias()+" over federation, and to its client", later[i], m.stateAt(t, StateIDs(t, site.Alice, m.ID)))
	}
	var settled []*matrix.Event
	for _, id := range states[0] {
		settled = append(settled, m.Room.Room.Event(id))
	}
	m.Room.Room.Settle(settled...)
	return states
}

// Alike reports whether the homeservers say that they are one implementation in one version. Such homeservers read
// the proposals alike, so that nothing but a fault makes them disagree.
func (m *Migration) Alike(t testing.TB) bool {
	t.Helper()
	var versions []string
	for _, site := range m.Sites {
		versions = append(versions, m.Peer.Ask(conform.Setup(t), site.At, http.MethodGet, "/_matrix/federation/v1/version", nil).JSON().Get("server").Raw)
	}
	return versions[0] != "" && len(slices.Compact(versions)) == 1
}

// nextOf has a homeserver's client send a message and returns it when every other homeserver has it too.
func (m *Migration) nextOf(t testing.TB, site *Room) *matrix.Event {
	t.Helper()
	t = conform.Setup(t)
	next := m.Peer.MustReceiveEvent(t, site.Alice.MustSay(t, m.ID, "next"))
	m.MustSee(t, next)
	return next
}

// Before is the state before an event as a homeserver tells it over federation.
func (m *Migration) Before(t testing.TB, site *Room, at *matrix.Event) RoomState {
	t.Helper()
	reply := m.Peer.StateIDsAt(conform.Setup(t), site.At, m.ID, at.ID())
	if reply.StatusCode() != 200 {
		conform.Inconclusive(t, "the state at %s cannot be had: %s", at.ID(), reply)
	}
	return m.stateAt(t, reply.IDs)
}

// stateAt sorts event IDs by their places in the state.
func (m *Migration) stateAt(t testing.TB, ids []string) RoomState {
	t.Helper()
	state := RoomState{}
	for _, id := range ids {
		e := m.Room.Room.Event(id)
		if e == nil {
			conform.Inconclusive(t, "a homeserver has the event %s in its state, of which the room's maker has never heard", id)
		}
		state[e.Tuple()] = id
	}
	return state
}

// compare judges two states that should be one.
func (m *Migration) compare(t testing.TB, requirement, whose string, a, b RoomState) {
	t.Helper()
	if maps.Equal(a, b) {
		return
	}
	var differences []string
	for tuple, id := range a {
		if b[tuple] != id {
			differences = append(differences, m.describe(id)+" against "+m.describe(b[tuple]))
		}
	}
	for tuple, id := range b {
		if a[tuple] == "" {
			differences = append(differences, "nothing against "+m.describe(id))
		}
	}
	slices.Sort(differences)
	conform.Violation(t, requirement, "one state of the room, whoever tells it: "+whose, strings.Join(differences, "; "))
}

// describe is one sentence about an event of the room.
func (m *Migration) describe(id string) string {
	if id == "" {
		return "nothing"
	}
	e := m.Room.Room.Event(id)
	key, _ := e.StateKey()
	return fmt.Sprintf("%s %q %s (%s)", e.Type(), key, e.Get("@this").Raw, id)
}
