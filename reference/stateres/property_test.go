package stateres

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"countersign/matrix"
)

// randomDAG grows a room in which people act at random, on forks and merges, with clashing timestamps
// and with auth events that are not always those of the state before. Events that their auth events
// do not allow are dropped; those that only the state before forbids stay as rejected events.
func randomDAG(t *rapid.T, tb testing.TB) *dag {
	users := []string{carol, alice, bob, dave}
	create := rapid.SampledFrom([]string{`{}`, `{"additional_creators":["@alice:one"]}`}).Draw(t, "create")
	d := newDAG(tb, create)
	e := d.join(carol, d.create())
	if rapid.Bool().Draw(t, "begins with levels") {
		e = d.power(carol, `{"users":{"@bob:two":50},"state_default":20,"users_default":20}`, e)
	}
	d.joinRule(carol, "public", e)

	user := rapid.SampledFrom(users)
	level := rapid.SampledFrom([]int{0, 20, 49, 50, 51, 100})
	for range rapid.IntRange(3, 28).Draw(t, "events") {
		s := step{sender: user.Draw(t, "sender"), ts: int64(rapid.IntRange(1, 12).Draw(t, "ts"))}
		switch rapid.SampledFrom([]string{"join", "join", "join", "leave", "kick", "ban", "invite", "knock", "power", "power", "rules", "topic", "topic", "name"}).Draw(t, "act") {
		case "join":
			s.eventType, s.stateKey, s.content = "m.room.member", s.sender, `{"membership":"join"}`
		case "leave":
			s.eventType, s.stateKey, s.content = "m.room.member", s.sender, `{"membership":"leave"}`
		case "knock":
			s.eventType, s.stateKey, s.content = "m.room.member", s.sender, `{"membership":"knock"}`
		case "kick":
			s.eventType, s.stateKey, s.content = "m.room.member", user.Draw(t, "target"), `{"membership":"leave"}`
		case "ban":
			s.eventType, s.stateKey, s.content = "m.room.member", user.Draw(t, "target"), `{"membership":"ban"}`
		case "invite":
			s.eventType, s.stateKey, s.content = "m.room.member", user.Draw(t, "target"), `{"membership":"invite"}`
		case "power":
			content := map[string]any{"users": map[string]int{}}
			for _, u := range users[1:] {
				if rapid.Bool().Draw(t, "has a level") && !d.room.IsCreator(matrix.UserID(u)) {
					content["users"].(map[string]int)[u] = level.Draw(t, "level")
				}
			}
			for _, name := range []string{"ban", "kick", "state_default", "users_default"} {
				if rapid.Bool().Draw(t, name) {
					content[name] = level.Draw(t, "level")
				}
			}
			b, err := json.Marshal(content)
			require.NoError(tb, err)
			s.eventType, s.content = "m.room.power_levels", string(b)
		case "rules":
			s.eventType, s.content = "m.room.join_rules", `{"join_rule":"`+rapid.SampledFrom([]string{"public", "invite", "knock"}).Draw(t, "rule")+`"}`
		default:
			s.eventType, s.content = rapid.SampledFrom([]string{"m.room.topic", "m.room.name"}).Draw(t, "type"), `{"x":`+rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "x")+`}`
		}
		s.prev = drawEvents(t, d, 3)
		if rapid.IntRange(0, 3).Draw(t, "odd auth events") == 0 {
			s.authFrom = d.after[drawEvents(t, d, 1)[0].ID()]
		}
		e, before, byAuth, byState := d.build(s)
		if byAuth != nil || d.events[e.ID()] != nil {
			continue
		}
		d.rejected[e.ID()] = byState != nil
		d.store(e, before)
	}
	return d
}

// drawEvents draws one to limit different events, preferring late ones.
func drawEvents(t *rapid.T, d *dag, limit int) []*matrix.Event {
	var out []*matrix.Event
	for range rapid.IntRange(1, limit).Draw(t, "how many") {
		back := rapid.IntRange(0, min(len(d.order)-1, 7)).Draw(t, "how far back")
		if e := d.order[len(d.order)-1-back]; !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

// drawSets draws two to four states: after events of the room, or, as faulty servers would have it,
// with places taken from other states or with rejected events in them.
func drawSets(t *rapid.T, d *dag) []StateMap {
	var sets []StateMap
	for range rapid.IntRange(2, 4).Draw(t, "sets") {
		s := maps.Clone(d.after[drawEvents(t, d, 1)[0].ID()])
		for range rapid.IntRange(0, 2).Draw(t, "faults") {
			e := drawEvents(t, d, 1)[0]
			s[e.Tuple()] = e.ID()
		}
		sets = append(sets, s)
	}
	return sets
}

func TestAgreesWithTheNaiveImplementation(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := randomDAG(rt, t)
		sets := drawSets(rt, d)
		got, err := Resolve(d.room, sets, d)
		require.NoError(t, err)
		want := naiveResolve(d, sets, version21)
		if !maps.Equal(want, got) {
			rt.Fatalf("the naive implementation says\n%v\nResolve says\n%v", d.names(want), d.names(got))
		}
	})
}

// The result depends neither on the order of the state sets, nor on how often one is given, nor on
// the order in which a server met the events (which decides their numbers).
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := randomDAG(rt, t)
		sets := drawSets(rt, d)
		want, err := Resolve(d.room, sets, d)
		require.NoError(t, err)
		shuffled := rapid.Permutation(sets).Draw(rt, "order")
		shuffled = append(shuffled, rapid.SampledFrom(sets).Draw(rt, "again"))
		got, err := Resolve(d.room, shuffled, d)
		require.NoError(t, err)
		if !maps.Equal(want, got) {
			rt.Fatalf("one order gives\n%v\nanother\n%v", d.names(want), d.names(got))
		}
	})
}

// Resolving equal states is the identity, and so is resolving a result with itself.
func TestIdentity(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := randomDAG(rt, t)
		state, err := Resolve(d.room, drawSets(rt, d), d)
		require.NoError(t, err)
		again, err := Resolve(d.room, []StateMap{state, maps.Clone(state)}, d)
		require.NoError(t, err)
		require.Equal(t, state, again)
	})
}

// A server's state after a series of events is the same in whatever order they arrive, as long as
// previous events come first.
func TestArrivalOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := randomDAG(rt, t)
		seed := rapid.Uint64().Draw(rt, "arrival")
		for id, want := range d.replay(rand.New(rand.NewPCG(seed, 0))) {
			if !maps.Equal(want, d.after[id]) {
				rt.Fatalf("after %s one server has\n%v\nanother\n%v", id, d.names(d.after[id]), d.names(want))
			}
		}
	})
}

// replay computes the state after each event again, with the events in another order of arrival.
func (d *dag) replay(random *rand.Rand) map[string]StateMap {
	after := map[string]StateMap{}
	pending := slices.Clone(d.order)
	for len(pending) > 0 {
		random.Shuffle(len(pending), func(i, j int) { pending[i], pending[j] = pending[j], pending[i] })
		for i, e := range pending {
			var sets []StateMap
			for _, p := range e.PrevEvents() {
				if s, ok := after[p]; ok {
					sets = append(sets, s)
				}
			}
			if len(sets) < len(e.PrevEvents()) {
				continue // a previous event has not arrived
			}
			random.Shuffle(len(sets), func(i, j int) { sets[i], sets[j] = sets[j], sets[i] })
			before, err := Resolve(d.room, sets, d)
			require.NoError(d.t, err)
			if d.room.Authorise(e, d.state(before)) == nil {
				before[e.Tuple()] = e.ID()
			}
			after[e.ID()] = before
			pending = slices.Delete(pending, i, i+1)
			break
		}
	}
	return after
}
