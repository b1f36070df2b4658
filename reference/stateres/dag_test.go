package stateres

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/internal/roomtest"
	"countersign/reference/rules"
)

// The people of the tests. Carol creates the rooms.
const (
	carol = "@carol:one"
	alice = "@alice:one"
	bob   = "@bob:two"
	dave  = "@dave:two"
)

// dag is a room that grows event by event, as on a server that sees everything.
type dag struct {
	t        testing.TB
	room     *rules.Room
	events   map[string]*matrix.Event
	order    []*matrix.Event
	rejected map[string]bool
	after    map[string]StateMap // the state after each event
	clock    int64
}

// Event and Rejected implement Source.
func (d *dag) Event(id string) *matrix.Event { return d.events[id] }
func (d *dag) Rejected(id string) bool       { return d.rejected[id] }

func newDAG(t testing.TB, createContent string) *dag {
	return newDAGOf(t, matrix.RoomVersion12(), carol, createContent)
}

func newDAGOf(t testing.TB, v matrix.RoomVersion, creator, createContent string) *dag {
	create := roomtest.Create(t, v, creator, createContent)
	room, err := rules.NewRoom(create, rules.AlreadyVerified)
	require.NoError(t, err)
	d := &dag{t: t, events: map[string]*matrix.Event{}, rejected: map[string]bool{}, after: map[string]StateMap{}}
	d.room = room.Settled().WithEvents(d.Event)
	d.store(create, StateMap{})
	return d
}

func (d *dag) create() *matrix.Event { return d.room.Create() }

func (d *dag) store(e *matrix.Event, before StateMap) {
	d.events[e.ID()] = e
	d.order = append(d.order, e)
	after := maps.Clone(before)
	if _, isState := e.StateKey(); isState && !d.rejected[e.ID()] {
		after[e.Tuple()] = e.ID()
	}
	d.after[e.ID()] = after
}

// step describes an event to add. Zero TS is the next tick of the clock.
type step struct {
	sender, eventType, stateKey, content string
	ts                                   int64
	prev                                 []*matrix.Event
	// via is the server that co-signs in rooms of MSC4348.
	via matrix.ServerName
	// authFrom is the state that auth_events come from; nil means the state before the event.
	authFrom StateMap
}

// before is the state before an event with these previous events.
func (d *dag) before(prev []*matrix.Event) StateMap {
	var sets []StateMap
	for _, p := range prev {
		sets = append(sets, d.after[p.ID()])
	}
	state, err := Resolve(d.room, sets, d)
	require.NoError(d.t, err)
	return state
}

func (d *dag) state(s StateMap) rules.StateMap {
	out := rules.StateMap{}
	for place, id := range s {
		out[place] = d.events[id]
	}
	return out
}

// build makes the event of a step, and says whether its auth events allow it and whether the state
// before it does.
func (d *dag) build(s step) (e *matrix.Event, before StateMap, byAuth, byState error) {
	before = d.before(s.prev)
	authFrom := before
	if s.authFrom != nil {
		authFrom = s.authFrom
	}
	if s.ts == 0 {
		d.clock++
		s.ts = d.clock
	}
	var auth []*matrix.Event
	var withVerdicts []rules.AuthEvent
	for _, place := range d.room.Version().AuthEventTuples(s.eventType, &s.stateKey, matrix.UserID(s.sender), []byte(s.content), s.via) {
		if id, ok := authFrom[place]; ok {
			auth = append(auth, d.events[id])
			withVerdicts = append(withVerdicts, rules.AuthEvent{Event: d.events[id], Rejected: d.rejected[id]})
		}
	}
	e = roomtest.Build(d.t, d.room.Version(), d.create(), roomtest.Event{
		Sender: s.sender, Type: s.eventType, StateKey: &s.stateKey, Content: s.content, Prev: s.prev, Auth: auth, TS: s.ts,
	})
	return e, before, d.room.AuthoriseByAuthEvents(e, withVerdicts), d.room.Authorise(e, d.state(before))
}

// send adds an allowed state event behind prev.
func (d *dag) send(sender, eventType, stateKey, content string, prev ...*matrix.Event) *matrix.Event {
	d.t.Helper()
	return d.sendStep(step{sender: sender, eventType: eventType, stateKey: stateKey, content: content, prev: prev})
}

func (d *dag) sendStep(s step) *matrix.Event {
	d.t.Helper()
	e, before, byAuth, byState := d.build(s)
	require.NoError(d.t, byAuth)
	require.NoError(d.t, byState)
	d.store(e, before)
	return e
}

func (d *dag) member(sender, target, membership string, prev ...*matrix.Event) *matrix.Event {
	d.t.Helper()
	return d.send(sender, "m.room.member", target, `{"membership":"`+membership+`"}`, prev...)
}

func (d *dag) join(user string, prev ...*matrix.Event) *matrix.Event {
	d.t.Helper()
	return d.member(user, user, "join", prev...)
}

func (d *dag) power(sender, content string, prev ...*matrix.Event) *matrix.Event {
	d.t.Helper()
	return d.send(sender, "m.room.power_levels", "", content, prev...)
}

func (d *dag) joinRule(sender, rule string, prev ...*matrix.Event) *matrix.Event {
	d.t.Helper()
	return d.send(sender, "m.room.join_rules", "", `{"join_rule":"`+rule+`"}`, prev...)
}

func (d *dag) topic(sender, text string, prev ...*matrix.Event) *matrix.Event {
	d.t.Helper()
	return d.send(sender, "m.room.topic", "", `{"topic":"`+text+`"}`, prev...)
}

// begin makes a public room that Carol has created and that the others have joined, with a power
// levels event, and returns its last event.
func begin(t testing.TB, powerLevels string, users ...string) (*dag, *matrix.Event) {
	t.Helper()
	d := newDAG(t, `{"room_version":"12"}`)
	e := d.join(carol, d.create())
	e = d.power(carol, powerLevels, e)
	e = d.joinRule(carol, "public", e)
	for _, u := range users {
		e = d.join(u, e)
	}
	return d, e
}

// at is the event at a place of the state after an event.
func (d *dag) at(after *matrix.Event, eventType, stateKey string) *matrix.Event {
	return d.events[d.after[after.ID()][matrix.StateTuple{Type: eventType, StateKey: stateKey}]]
}

// resolve resolves the states after events with both implementations and every order of the sets.
func (d *dag) resolve(ends ...*matrix.Event) StateMap {
	d.t.Helper()
	var sets []StateMap
	for _, e := range ends {
		sets = append(sets, d.after[e.ID()])
	}
	return d.resolveSets(sets...)
}

func (d *dag) resolveSets(sets ...StateMap) StateMap {
	d.t.Helper()
	state, err := Resolve(d.room, sets, d)
	require.NoError(d.t, err)
	require.Equal(d.t, d.names(naiveResolve(d, sets, version21)), d.names(state), "the two implementations disagree")
	slices.Reverse(sets)
	again, err := Resolve(d.room, sets, d)
	require.NoError(d.t, err)
	require.Equal(d.t, state, again, "the order of the state sets matters")
	return state
}

// names makes a state readable in failures.
func (d *dag) names(s StateMap) map[string]string {
	out := map[string]string{}
	for place, id := range s {
		out[place.Type+"/"+place.StateKey] = id + " " + string(d.events[id].Sender()) + " " + string(d.events[id].Content())
	}
	return out
}

// requireState checks one place of a state; want nil means empty.
func (d *dag) requireState(s StateMap, place string, want *matrix.Event) {
	d.t.Helper()
	eventType, stateKey, _ := strings.Cut(place, "/")
	id := s[matrix.StateTuple{Type: eventType, StateKey: stateKey}]
	if want == nil {
		require.Empty(d.t, id, "%s", place)
		return
	}
	if id != want.ID() {
		got := "nothing"
		if e := d.events[id]; e != nil {
			got = string(e.JSON())
		}
		d.t.Fatalf("%s is %s, want %s", place, got, want.JSON())
	}
}
