package rules

import (
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
)

// moving is a settled world of MSC4348 with a third accepted server, to which Alice can move, and Bob on
// the second server.
func moving(t testing.TB) (w *world, state StateMap) {
	w, state = settled(t, matrix.RoomVersionMSC4348())
	state = w.admit(state, "three")
	return w, w.do(state, w.join(bobAtTwo))
}

var (
	aliceAtThree = by{"alice", "three"}
	bobAtTwo     = by{"bob", "two"}
	bobAtThree   = by{"bob", "three"}
)

// actsOfAlice is what the membership of a joined administrator authorises, sent through a server.
func actsOfAlice(w *world, server string) map[string]draft {
	alice, dave := by{"alice", server}, by{"dave", "three"}
	levels := w.powerLevels(map[by]int{aliceAtTwo: 100}, nil)
	levels.by = alice
	return map[string]draft{
		"message": says(alice), "topic": stateBy(alice, "m.room.topic", `{}`), "power levels": levels,
		"invite": w.member(alice, dave, "invite"), "kick": w.member(alice, bobAtTwo, "leave"), "ban": w.member(alice, dave, "ban"),
		"leave": w.member(alice, alice, "leave"), "third party invite": {by: alice, eventType: "m.room.third_party_invite", stateKey: key("token"), content: `{}`},
	}
}

// D-54: a membership authorises what its co-signer sends, and nothing else.
func TestMembershipIsBoundToItsCosigner(t *testing.T) {
	w, state := moving(t)
	for name := range actsOfAlice(w, "two") {
		t.Run(name, func(t *testing.T) {
			w.t = t
			act := func(server string) draft { return actsOfAlice(w, server)[name] }
			w.check(state, act("two"), "")
			w.check(state, act("three"), "MSC4348 D-54")
			moved := w.do(state, w.join(aliceAtThree))
			w.check(moved, act("three"), "")
			w.check(moved, act("two"), "MSC4348 D-54")
			back := w.do(moved, w.join(aliceAtTwo))
			w.check(back, act("two"), "")
			w.check(back, act("three"), "MSC4348 D-54")
		})
	}
	for name, d := range map[string]draft{
		"accept": acceptance(aliceAtThree, "four"), "revoke": about(aliceAtThree, "four", "revoked"),
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			state := w.do(state, requestVia(by{"x", "four"}, "one"))
			w.check(state, d, "MSC4348 D-54")
			w.check(w.do(state, w.join(aliceAtThree)), d, "")
		})
	}
}

// A revoked server takes its memberships with it, and a new membership through another restores what the
// account could do.
func TestMigrationAfterRevocation(t *testing.T) {
	w, state := moving(t)
	revoked := w.do(state, about(carolAtOne, "two", "revoked"))
	moved := w.do(revoked, w.join(aliceAtThree))
	for name := range actsOfAlice(w, "two") {
		t.Run(name, func(t *testing.T) {
			w.t = t
			w.check(revoked, actsOfAlice(w, "two")[name], "MSC4345 2")
			// The auth events show that Alice has joined, the state that her server is gone.
			e, auth := w.build(revoked, actsOfAlice(w, "three")[name])
			_, byState := w.judge(revoked, e, auth)
			want := map[string]string{"invite": "5.4.2", "kick": "5.5.2", "ban": "5.6.1", "leave": "5.5.1"}[name]
			if want == "" {
				want = "6"
			}
			require.Equal(t, want, byState)
			w.check(moved, actsOfAlice(w, "three")[name], "")
			w.check(moved, actsOfAlice(w, "two")[name], "MSC4345 2")
		})
	}
}

// Moving takes an accepted server.
func TestMigrationTakesAnAcceptedServer(t *testing.T) {
	w, state := moving(t)
	atFour := by{"alice", "four"}
	w.check(state, w.join(atFour), dropped) // there is nothing to cite
	state = w.do(state, requestVia(atFour, "two"))
	w.check(state, w.join(atFour), "MSC4345 2")
	accepted := w.do(state, acceptance(aliceAtTwo, "four"))
	w.check(accepted, w.join(atFour), "")
	w.check(w.do(accepted, about(aliceAtTwo, "four", "revoked")), w.join(atFour), "MSC4345 2")
	// Another server's key changes nothing about which server the event names.
	d := w.join(atFour)
	d.also = []matrix.Signer{serverPair("two").Signer()}
	w.check(state, d, "MSC4345 2")
}

func TestMigrationUnderJoinRules(t *testing.T) {
	for _, rule := range []string{"invite", "knock", "restricted", "knock_restricted", "private"} {
		t.Run(rule, func(t *testing.T) {
			w, state := moving(t)
			state = w.do(state, stateBy(carolAtOne, "m.room.join_rules", map[string]any{"join_rule": rule}))
			refused := "5.3.7"
			if rule == "restricted" || rule == "knock_restricted" {
				refused = "5.3.5.2"
			}
			if rule == "private" {
				w.check(state, w.join(aliceAtThree), refused)
				return
			}
			w.check(state, w.join(aliceAtThree), "") // who is joined may join again
			revoked := w.do(state, about(carolAtOne, "two", "revoked"))
			w.checkState(revoked, w.join(aliceAtThree), refused) // the old membership authorises nothing
			// It still forbids what it forbade, so that Alice is invited once the room is rid of it.
			w.check(revoked, w.member(carolAtOne, aliceAtThree, "invite"), "5.4.3")
			kicked := w.do(revoked, w.member(carolAtOne, aliceAtThree, "leave"))
			w.check(kicked, w.join(aliceAtThree), refused)
			w.check(w.do(kicked, w.member(carolAtOne, aliceAtThree, "invite")), w.join(aliceAtThree), "")
		})
	}
}

// What belongs to the account key moves with it.
func TestWhatFollowsTheAccountKey(t *testing.T) {
	t.Run("power", func(t *testing.T) {
		w, state := moving(t)
		state = w.do(state, w.join(aliceAtThree))
		w.check(state, w.member(aliceAtThree, bobAtTwo, "ban"), "")
	})
	t.Run("ban", func(t *testing.T) {
		w, state := moving(t)
		state = w.do(state, w.member(aliceAtTwo, bobAtTwo, "ban"))
		w.check(state, w.join(bobAtTwo), "5.3.3")
		w.check(state, w.join(bobAtThree), "5.3.3")
		// The ban stands when the server that has signed it is gone.
		state = w.do(state, about(carolAtOne, "two", "revoked"))
		w.check(state, w.join(bobAtThree), "5.3.3")
		w.check(state, w.member(carolAtOne, bobAtThree, "invite"), "5.4.3")
	})
	t.Run("invite", func(t *testing.T) {
		w, state := moving(t)
		state = w.do(state, stateBy(carolAtOne, "m.room.join_rules", `{"join_rule":"invite"}`))
		dave := by{"dave", "three"}
		byAlice := w.do(state, w.member(aliceAtTwo, dave, "invite"))
		for _, server := range []string{"one", "two", "three"} {
			w.check(byAlice, w.join(by{"dave", server}), "")
			w.check(byAlice, w.member(by{"dave", server}, dave, "leave"), "")
		}
		gone := w.do(byAlice, about(carolAtOne, "two", "revoked"))
		w.checkState(gone, w.join(dave), "5.3.7") // it was Alice's server's
	})
	t.Run("creatorship", func(t *testing.T) {
		w, state := moving(t)
		atTwo := by{"carol", "two"}
		revocation := about(aliceAtTwo, "one", "revoked")
		w.checkState(state, revocation, "MSC4345 D-32c")
		state = w.do(state, w.join(atTwo))
		w.check(state, stateBy(atTwo, "m.room.power_levels", `{"ban":1000}`), "")
		w.check(state, revocation, "") // D-56: nobody mighty is left on that server
		w.check(state, about(by{"mallory", "three"}, "two", "revoked"), "MSC4345 D-32f")
	})
}

// D-55: the co-signer is part of the event ID. A copy with somebody else's signature is no such event, and
// does not stand in the way of the true one.
func TestSwappedCosigner(t *testing.T) {
	w, state := moving(t)
	honest, auth := w.build(state, says(aliceAtTwo))
	swapped := says(aliceAtTwo)
	swapped.signers = []matrix.Signer{accountOf("alice").Signer(), serverPair("three").Signer()}
	w.clock-- // at the same time
	stolen, _ := w.build(state, swapped)
	require.Equal(t, honest.ID(), stolen.ID())
	for _, c := range []struct {
		event *matrix.Event
		rule  string
	}{
		{stolen, dropped}, {honest, ""}, {honest.WithSignature(serverPair("three").Signer()), ""}, {stolen.WithSignature(serverPair("two").Signer()), ""},
	} {
		byAuth, byState := w.judge(state, c.event, auth)
		require.Equal(t, c.rule, byState)
		require.Equal(t, c.rule, byAuth)
	}
	// Whoever cites the other server sends another event, which Alice's membership does not authorise.
	claimed, _ := w.build(state, says(aliceAtThree))
	require.NotEqual(t, honest.ID(), claimed.ID())
	_, byState := w.judge(state, claimed, nil)
	require.Equal(t, "MSC4348 D-54", byState)
}

// One key may be an account and a server; its one signature counts for both, once the server is accepted.
func TestOneKeyInBothRoles(t *testing.T) {
	w, state := moving(t)
	account := matrix.AccountFromSeed(serverPair("hermit").Seed())
	hermit := account.Key().PortableUserID()
	build := func(state StateMap, eventType string, stateKey *string, content string, also ...matrix.Signer) (string, *matrix.Event) {
		p := matrix.ProtoEvent{Type: eventType, StateKey: stateKey, Sender: hermit, RoomID: w.room.ID(), Content: []byte(content)}
		var auth []AuthEvent
		for _, place := range w.v.AuthEventTuples(eventType, stateKey, hermit, p.Content, serverName("hermit")) {
			if e := state[place]; e != nil {
				p.AuthEvents, auth = append(p.AuthEvents, e.ID()), append(auth, AuthEvent{Event: e})
			}
		}
		e, err := p.Build(w.v, append(also, account.Signer())...)
		require.NoError(t, err)
		w.events[e.ID()] = e
		byAuth, byState := w.judge(state, e, auth)
		require.Equal(t, byState, byAuth)
		return byState, e
	}
	join := func(state StateMap) (string, *matrix.Event) {
		return build(state, "m.room.member", key(string(hermit)), `{"membership":"join"}`)
	}
	rule, _ := join(state)
	require.Equal(t, dropped, rule)
	request := w.text(map[string]any{"participation": "requested", "request_authorised_via_server": serverName("one"), "unverified_domain": "hermit.example"})
	rule, e := build(state, matrix.ParticipationType, key(string(serverName("hermit"))), request, serverPair("one").Signer())
	require.Empty(t, rule)
	state[e.Tuple()] = e
	rule, _ = join(state)
	require.Equal(t, "MSC4345 2", rule)
	state = w.do(state, acceptance(aliceAtTwo, "hermit"))
	rule, _ = join(state)
	require.Empty(t, rule)
}

// A room that cannot tell who has co-signed allows nothing.
func TestPortableRoomWithoutEvents(t *testing.T) {
	w, state := moving(t)
	blind, err := NewRoom(w.room.Create(), VerifyAccountKey)
	require.NoError(t, err)
	e, auth := w.build(state, says(aliceAtTwo))
	requireRule(t, "MSC4348 D-55", blind.Authorise(e, state))
	requireRule(t, "6", blind.AuthoriseByAuthEvents(e, auth)) // Alice's membership
	requireRule(t, "", w.room.Authorise(e, state))
}
