package stateres

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"countersign/matrix"
)

// randomParty grows a room with participation in which people act at random through servers at random,
// on forks and merges, as randomDAG grows other rooms.
func randomParty(t *rapid.T, tb testing.TB) *dag {
	v := rapid.SampledFrom(matrix.ParticipationRoomVersions()).Draw(t, "version")
	p := newParty(tb, v, rapid.SampledFrom([]string{"public", "invite"}).Draw(t, "join rule"))
	servers := rapid.SampledFrom([]string{"one", "two", "three", "five"})
	person := func() by {
		b := rapid.SampledFrom([]by{carolAtOne, aliceAtTwo, bobAtThree}).Draw(t, "person")
		if rapid.IntRange(0, 2).Draw(t, "elsewhere") == 0 {
			b.server = servers.Draw(t, "server")
		}
		return b
	}
	for range rapid.IntRange(3, 24).Draw(t, "events") {
		b := person()
		s := p.act(b, "m.room.topic", "", `{"x":`+rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "x")+`}`)
		s.ts = int64(rapid.IntRange(1, 12).Draw(t, "ts"))
		switch rapid.SampledFrom([]string{"join", "join", "leave", "kick", "ban", "invite", "power", "topic", "topic", "request", "accept", "accept", "revoke", "withdraw"}).Draw(t, "act") {
		case "join":
			s.eventType, s.stateKey, s.content = "m.room.member", s.sender, `{"membership":"join"}`
		case "leave":
			s.eventType, s.stateKey, s.content = "m.room.member", s.sender, `{"membership":"leave"}`
		case "kick":
			s.eventType, s.stateKey, s.content = "m.room.member", p.id(person()), `{"membership":"leave"}`
		case "ban":
			s.eventType, s.stateKey, s.content = "m.room.member", p.id(person()), `{"membership":"ban"}`
		case "invite":
			s.eventType, s.stateKey, s.content = "m.room.member", p.id(person()), `{"membership":"invite"}`
		case "power":
			content := map[string]any{"users": map[string]int{p.id(aliceAtTwo): rapid.SampledFrom([]int{50, 100}).Draw(t, "alice"), p.id(bobAtThree): rapid.SampledFrom([]int{0, 100}).Draw(t, "bob")}}
			if rapid.Bool().Draw(t, "has an accept level") {
				content["accept"] = rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "accept")
			}
			j, err := json.Marshal(content)
			require.NoError(tb, err)
			s.eventType, s.content = "m.room.power_levels", string(j)
		case "request":
			s.eventType, s.stateKey, s.content = matrix.ParticipationType, serverKey(b.server).String(), requestContent(servers.Draw(t, "via"))
		case "accept":
			s.eventType, s.stateKey, s.content = matrix.ParticipationType, serverKey(servers.Draw(t, "accepts")).String(), `{"participation":"accepted"}`
		case "revoke":
			s.eventType, s.stateKey, s.content = matrix.ParticipationType, serverKey(servers.Draw(t, "revokes")).String(), `{"participation":"revoked"}`
		case "withdraw":
			s.eventType, s.stateKey, s.content = matrix.ParticipationType, serverKey(b.server).String(), `{"participation":"revoked"}`
		}
		s.prev = drawEvents(t, p.dag, 3)
		if rapid.IntRange(0, 3).Draw(t, "odd auth events") == 0 {
			s.authFrom = p.after[drawEvents(t, p.dag, 1)[0].ID()]
		}
		e, before, byAuth, byState := p.build(s)
		if byAuth != nil || p.events[e.ID()] != nil {
			continue
		}
		p.rejected[e.ID()] = byState != nil
		p.store(e, before)
	}
	return p.dag
}

// The properties of resolution hold in rooms with participation.
func TestParticipationAgreesWithTheNaiveImplementation(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := randomParty(rt, t)
		sets := drawSets(rt, d)
		got, err := Resolve(d.room, sets, d)
		require.NoError(t, err)
		want := naiveResolve(d, sets, version21)
		if !maps.Equal(want, got) {
			rt.Fatalf("the naive implementation says\n%v\nResolve says\n%v", d.names(want), d.names(got))
		}
	})
}

func TestParticipationOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := randomParty(rt, t)
		sets := drawSets(rt, d)
		want, err := Resolve(d.room, sets, d)
		require.NoError(t, err)
		got, err := Resolve(d.room, append(rapid.Permutation(sets).Draw(rt, "order"), rapid.SampledFrom(sets).Draw(rt, "again")), d)
		require.NoError(t, err)
		if !maps.Equal(want, got) {
			rt.Fatalf("one order gives\n%v\nanother\n%v", d.names(want), d.names(got))
		}
	})
}

func TestParticipationArrivalOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := randomParty(rt, t)
		seed := rapid.Uint64().Draw(rt, "arrival")
		for id, want := range d.replay(rand.New(rand.NewPCG(seed, 0))) {
			if !maps.Equal(want, d.after[id]) {
				rt.Fatalf("after %s one server has\n%v\nanother\n%v", id, d.names(d.after[id]), d.names(want))
			}
		}
	})
}

// A revocation is final: wherever the creator revokes a server, and whatever has happened elsewhere, the
// server is revoked in what the two resolve to. Only a state in which the creator's own server is gone may
// have lost the revocation with it.
func TestRevocationsAreNotForgotten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := randomParty(rt, t)
		p := party{dag: d, v: d.room.Version()}
		server := rapid.SampledFrom([]string{"two", "three", "five"}).Draw(rt, "revoked")
		e, before, byAuth, byState := d.build(p.act(carolAtOne, matrix.ParticipationType, serverKey(server).String(), `{"participation":"revoked"}`, drawEvents(rt, d, 1)...))
		if byAuth != nil || byState != nil {
			rt.Skip("the creator cannot revoke the server there")
		}
		other := drawEvents(rt, d, 1)[0]
		d.store(e, before)
		state, err := Resolve(d.room, []StateMap{d.after[e.ID()], d.after[other.ID()]}, d)
		require.NoError(t, err)
		participation := func(server string) matrix.Participation {
			if e := d.events[state[matrix.ParticipationPlace(serverKey(server).Name())]]; e != nil {
				return e.Participation()
			}
			return ""
		}
		if participation("one") == matrix.Accepted && participation(server) != matrix.Revoked {
			rt.Fatalf("%s is revoked in\n%v\nand resolving that with\n%v\ngives\n%v", server, d.names(d.after[e.ID()]), d.names(d.after[other.ID()]), d.names(state))
		}
	})
}
