package rules

import (
	"maps"
	"strings"
	"testing"

	"countersign/matrix"
)

// The rule that rejects, by the participation that the event sets. Rules are those of MSC4345.
type verdicts struct{ requested, accepted, revoked, another string }

// The whole state machine: what the room says of the target, who sends, and what they make of it.
func TestParticipationStateMachine(t *testing.T) {
	const (
		outside = "2"     // the sender's server is not accepted
		notHere = "D-32f" // the sender is not joined
	)
	table := []struct {
		current, sender string
		want            verdicts
	}{
		{"nothing", "subject", verdicts{"", "1.1.1.2", "1.1.1.2", "1.1.1.2"}},
		{"nothing", "creator", verdicts{"1.4", "D-32d", "D-32d", "1.4"}},
		{"nothing", "admin", verdicts{"1.4", "D-32d", "D-32d", "1.4"}},
		{"nothing", "moderator", verdicts{"1.4", "D-32d", "D-32d", "1.4"}},
		{"nothing", "admin who left", verdicts{notHere, notHere, notHere, notHere}},
		{"nothing", "admin on a requested server", verdicts{outside, outside, outside, outside}},
		{"nothing", "admin on a revoked server", verdicts{outside, outside, outside, outside}},
		{"nothing", "admin on an unknown server", verdicts{outside, outside, outside, outside}},

		{"requested", "subject", verdicts{"1.1.3", "1.1.3", "", "1.1.3"}},
		{"requested", "creator", verdicts{"1.4", "", "", "1.4"}},
		{"requested", "admin", verdicts{"1.4", "", "", "1.4"}},
		{"requested", "moderator", verdicts{"1.4", "1.3.3", "1.2.2", "1.4"}},
		{"requested", "admin who left", verdicts{notHere, notHere, notHere, notHere}},
		{"requested", "admin on a requested server", verdicts{outside, outside, outside, outside}},
		{"requested", "admin on a revoked server", verdicts{outside, outside, outside, outside}},
		{"requested", "admin on an unknown server", verdicts{outside, outside, outside, outside}},

		{"accepted", "subject", verdicts{"1.1.3", "1.1.3", "", "1.1.3"}},
		{"accepted", "creator", verdicts{"1.4", "1.3.1", "", "1.4"}},
		{"accepted", "admin", verdicts{"1.4", "1.3.1", "", "1.4"}},
		{"accepted", "moderator", verdicts{"1.4", "1.3.1", "1.2.2", "1.4"}},
		{"accepted", "admin who left", verdicts{notHere, notHere, notHere, notHere}},
		{"accepted", "admin on a requested server", verdicts{outside, outside, outside, outside}},
		{"accepted", "admin on a revoked server", verdicts{outside, outside, outside, outside}},
		{"accepted", "admin on an unknown server", verdicts{outside, outside, outside, outside}},

		{"revoked by an admin", "subject", verdicts{"1.1.3", "1.1.3", "1.1.3", "1.1.3"}},
		{"revoked by an admin", "creator", verdicts{"1.4", "1.3.2", "1.2.1", "1.4"}},
		{"revoked by an admin", "admin", verdicts{"1.4", "1.3.2", "1.2.1", "1.4"}},
		{"revoked by an admin", "moderator", verdicts{"1.4", "1.3.2", "1.2.1", "1.4"}},
		{"revoked by an admin", "admin who left", verdicts{notHere, notHere, notHere, notHere}},
		{"revoked by an admin", "admin on a revoked server", verdicts{outside, outside, outside, outside}},

		{"revoked by itself", "subject", verdicts{"1.1.3", "1.1.3", "1.1.3", "1.1.3"}},
		{"revoked by itself", "creator", verdicts{"1.4", "1.3.2", "1.2.1", "1.4"}},
		{"revoked by itself", "admin", verdicts{"1.4", "1.3.2", "1.2.1", "1.4"}},
		{"revoked by itself", "moderator", verdicts{"1.4", "1.3.2", "1.2.1", "1.4"}},

		{"requested, revoked by an admin", "subject", verdicts{"1.1.3", "1.1.3", "1.1.3", "1.1.3"}},
		{"requested, revoked by an admin", "creator", verdicts{"1.4", "1.3.2", "1.2.1", "1.4"}},
		{"requested, revoked by itself", "subject", verdicts{"1.1.3", "1.1.3", "1.1.3", "1.1.3"}},
		{"requested, revoked by itself", "creator", verdicts{"1.4", "1.3.2", "1.2.1", "1.4"}},
	}
	senders := map[string]by{
		"subject": {"stranger", "target"}, "creator": carolAtOne, "admin": aliceAtTwo, "moderator": {"mod", "two"}, "admin who left": {"lefty", "two"},
		"admin on a requested server": {"rita", "asking"}, "admin on a revoked server": {"vera", "gone"}, "admin on an unknown server": {"uma", "unheard"},
	}
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w, base := settled(t, v)
		levels := map[by]int{}
		for name, b := range senders {
			if strings.HasPrefix(name, "admin") {
				levels[b] = 100
			}
		}
		levels[senders["moderator"]] = 99
		base = w.do(base, w.powerLevels(levels, nil))
		base = w.admit(base, "gone")
		for _, name := range []string{"moderator", "admin who left", "admin on a revoked server"} {
			base = w.do(base, w.join(senders[name]))
		}
		base = w.do(base, w.member(senders["admin who left"], senders["admin who left"], "leave"))
		base = w.do(base, about(senders["admin on a revoked server"], "gone", "revoked"))
		base = w.do(base, requestVia(senders["admin on a requested server"], "two"))

		requested := w.do(base, requestVia(senders["subject"], "one"))
		accepted := w.do(requested, acceptance(aliceAtTwo, "target"))
		states := map[string]StateMap{
			"nothing": base, "requested": requested, "accepted": accepted,
			"revoked by an admin":            w.do(accepted, about(aliceAtTwo, "target", "revoked")),
			"revoked by itself":              w.do(accepted, about(senders["subject"], "target", "revoked")),
			"requested, revoked by an admin": w.do(requested, about(aliceAtTwo, "target", "revoked")),
			"requested, revoked by itself":   w.do(requested, about(senders["subject"], "target", "revoked")),
		}
		for _, row := range table {
			state, sender := states[row.current], senders[row.sender]
			request := requestVia(sender, "one")
			request.stateKey = key(string(serverName("target")))
			for name, cell := range map[string]struct {
				event draft
				want  string
			}{
				"requested": {request, row.want.requested},
				"accepted":  {acceptance(sender, "target"), row.want.accepted},
				"revoked":   {about(sender, "target", "revoked"), row.want.revoked},
				"Accepted":  {about(sender, "target", "Accepted"), row.want.another},
				"a list":    {aboutWith(sender, "target", map[string]any{"participation": []string{"revoked"}}), row.want.another},
				"missing":   {aboutWith(sender, "target", map[string]any{}), row.want.another},
			} {
				want := cell.want
				if want != "" {
					want = "MSC4345 " + want
				}
				switch {
				case !v.HasPortableAccounts() || row.sender == "subject":
				case name == "requested", row.sender == "admin on an unknown server":
					want = dropped // the event says that the subject has signed it
				}
				t.Run(row.current+"/"+row.sender+"/"+name, func(t *testing.T) {
					w.t = t
					w.check(state, cell.event, want)
					for _, signers := range [][]matrix.Signer{{}, {accountOf(sender.user).Signer()}, {serverPair("three").Signer()}} {
						forged := cell.event
						forged.signers = signers
						w.check(state, forged, dropped)
					}
				})
			}
		}
	})
}

// Rules 1.1.1.3 and 1.1.1.4: a request takes the signature of an accepted server.
func TestRequestsAreCosigned(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w, state := settled(t, v)
		state = w.do(state, requestVia(by{"x", "asking"}, "one"))
		state = w.admit(state, "gone")
		state = w.do(state, about(aliceAtTwo, "gone", "revoked"))
		subject := by{"stranger", "target"}
		three := serverPair("three").Signer()
		for _, c := range []struct {
			name, via string
			signers   []matrix.Signer // beside those who must
			rule      string
		}{
			{"accepted and signed", "two", []matrix.Signer{serverPair("two").Signer()}, ""},
			{"accepted and signed, and others", "two", []matrix.Signer{three, serverPair("two").Signer(), serverPair("one").Signer()}, ""},
			{"accepted, not signed", "two", nil, "MSC4345 1.1.1.4"},
			{"accepted, signed by another", "two", []matrix.Signer{serverPair("one").Signer()}, "MSC4345 1.1.1.4"},
			{"accepted, signed by another under its name", "two", []matrix.Signer{{Entity: serverPair("two").Signer().Entity, KeyID: matrix.ServerKeyID, Key: three.Key}}, "MSC4345 1.1.1.4"},
			{"accepted, signed under a domain", "two", []matrix.Signer{{Entity: "two.example", KeyID: matrix.ServerKeyID, Key: serverPair("two").Signer().Key}}, "MSC4345 1.1.1.4"},
			{"accepted, signed under another key ID", "two", []matrix.Signer{{Entity: serverPair("two").Signer().Entity, KeyID: "ed25519:2", Key: serverPair("two").Signer().Key}}, "MSC4345 1.1.1.4"},
			{"requested", "asking", []matrix.Signer{serverPair("asking").Signer()}, "MSC4345 1.1.1.3"},
			{"revoked", "gone", []matrix.Signer{serverPair("gone").Signer()}, "MSC4345 1.1.1.3"},
			{"unknown", "unheard", []matrix.Signer{serverPair("unheard").Signer()}, "MSC4345 1.1.1.3"},
			{"itself", "target", nil, "MSC4345 1.1.1.3"},
		} {
			t.Run(c.name, func(t *testing.T) {
				w.t = t
				d := requestVia(subject, c.via)
				d.also = c.signers
				w.check(state, d, c.rule)
			})
		}
		for name, via := range map[string]any{"missing": nil, "a number": 1, "a domain": "one.example", "a list": []any{serverName("one")}, "empty": ""} {
			t.Run(name, func(t *testing.T) {
				w.t = t
				d := aboutWith(subject, "target", map[string]any{"participation": "requested", "request_authorised_via_server": via})
				d.also = []matrix.Signer{serverPair("one").Signer()}
				w.check(state, d, "MSC4345 1.1.1.3")
			})
		}
	})
}

// MSC4345, "The m.server.participation state event": the state key is a server key.
func TestParticipationStateKeys(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w, state := settled(t, v)
		target := serverPair("target").Key()
		for name, stateKey := range map[string]*string{
			"not a state event": nil, "empty": key(""), "a domain": key("target.example"), "padded": key(target.String() + "="),
			"a user ID": key(string(w.id(carolAtOne))), "31 bytes": key(matrix.EncodeURLBase64(target[:31])), "33 bytes": key(target.String() + "A"),
			"small order": key(strings.Repeat("A", 43)), "not on the curve": key(matrix.EncodeURLBase64(append([]byte{2}, make([]byte, 31)...))),
		} {
			t.Run(name, func(t *testing.T) {
				w.t = t
				d := about(carolAtOne, "target", "accepted")
				d.stateKey = stateKey
				w.check(state, d, "MSC4345 1")
			})
		}
	})
}

// Rule 1.1.1.1, D-53: who begins the room needs no request.
func TestFoundingParticipation(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w, byDave := withTwoCreators(t, v, map[string]any{})
		empty := StateMap{}
		w.check(empty, about(carolAtOne, "one", "accepted"), "")
		w.check(empty, about(carolAtOne, "one", "requested"), "MSC4345 1.1.1.3")
		w.check(empty, about(carolAtOne, "one", "revoked"), "MSC4345 1.1.1.2")
		w.check(empty, about(by{"mallory", "three"}, "three", "accepted"), "MSC4345 1.1.1.2")
		w.check(empty, byDave, "") // another creator's server brings itself in
		if v.HasPortableAccounts() {
			// Carol's account at a server that has not signed the create event.
			w.check(empty, about(by{"carol", "three"}, "three", "accepted"), "MSC4345 1.1.1.1")
			w.check(empty, about(by{"mallory", "one"}, "one", "accepted"), "MSC4345 1.1.1.2")
		} else {
			w.check(empty, about(by{"carol", "three"}, "three", "accepted"), "MSC4345 1.1.1.2")
			w.check(empty, about(by{"mallory", "one"}, "one", "accepted"), "MSC4345 1.1.1.2") // on the server, but no creator
		}
		// A founder that has gone does not come back.
		state := w.do(empty, about(carolAtOne, "one", "accepted"))
		state = w.do(state, about(carolAtOne, "one", "revoked"))
		w.check(state, about(carolAtOne, "one", "accepted"), "MSC4345 1.1.3")
	})
}

// D-32, rule 5.3.1: the creator's first join comes behind the server's own participation.
func TestFirstJoin(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w := newWorld(t, v, map[string]any{})
		create := w.room.Create()
		d := about(carolAtOne, "one", "accepted")
		d.prev = []*matrix.Event{create}
		state := w.do(StateMap{}, d)
		first := state[matrix.ParticipationPlace(serverName("one"))]
		behind := func(b by, target by, prev ...*matrix.Event) draft {
			d := w.member(b, target, "join")
			d.prev = prev
			return d
		}
		w.check(state, behind(carolAtOne, carolAtOne, first), "")
		w.check(StateMap{}, behind(carolAtOne, carolAtOne, create), map[bool]string{false: "MSC4345 2", true: dropped}[v.HasPortableAccounts()])
		w.check(state, behind(carolAtOne, carolAtOne, create), "5.3.7") // nobody has invited her
		w.check(state, behind(carolAtOne, carolAtOne, first, create), "5.3.7")
		w.check(state, behind(by{"mallory", "one"}, by{"mallory", "one"}, first), "5.3.7")

		// A participation that does not stand at the root of the room is not the first event.
		d = about(carolAtOne, "one", "accepted")
		d.content = map[string]any{"participation": "accepted", "reason": "later"}
		d.prev = []*matrix.Event{create, first}
		later := w.do(StateMap{}, d)
		w.check(later, behind(carolAtOne, carolAtOne, later[matrix.ParticipationPlace(serverName("one"))]), "5.3.7")
	})
	t.Run("behind another creator's server", func(t *testing.T) {
		eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
			w, first := withTwoCreators(t, v, map[string]any{})
			state := w.do(StateMap{}, first)
			join := w.member(daveAtTwo, carolAtOne, "join")
			join.prev = []*matrix.Event{state[matrix.ParticipationPlace(serverName("two"))]}
			w.check(state, join, "5.3.2")
		})
	})
}

var daveAtTwo = by{"dave", "two"}

// withTwoCreators is a room that Dave is a creator of beside Carol, and the event by which he brings his
// server in, right behind the create event.
func withTwoCreators(t *testing.T, v matrix.RoomVersion, createContent map[string]any) (*world, draft) {
	dave := (&world{v: v}).id(daveAtTwo)
	createContent["additional_creators"] = []matrix.UserID{dave}
	w := newWorld(t, v, createContent)
	first := about(daveAtTwo, "two", "accepted")
	first.prev = []*matrix.Event{w.room.Create()}
	return w, first
}

// D-32c, D-41, D-56: who can be revoked by whom.
func TestImplicitPower(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		low, high := by{"low", "target"}, by{"high", "target"}
		base, state := settled(t, v)
		state = base.admit(state, "target")
		for _, b := range []by{low, high} {
			state = base.do(state, base.join(b))
		}
		for _, c := range []struct {
			name        string
			alice, low  int
			high        int
			more        map[string]any
			rule        string
			seesMembers bool // the auth events do not show it in rooms of MSC4348
		}{
			{"less", 100, 50, 99, nil, "", false},
			{"equal", 100, 50, 100, nil, "MSC4345 D-32c", true},
			{"more", 100, 50, 101, nil, "MSC4345 D-32c", true},
			{"the highest counts", 100, 101, 0, nil, "MSC4345 D-32c", true},
			{"more than equal", 101, 100, 100, nil, "", false},
			{"below the accept level", 99, 0, 0, nil, "MSC4345 1.2.2", false},
			{"a lower accept level", 50, 0, 49, map[string]any{"accept": 50}, "", false},
			{"a lower accept level, equal", 50, 0, 50, map[string]any{"accept": 50}, "MSC4345 D-32c", true},
			{"the default level of users", 100, 0, 0, map[string]any{"users_default": 100}, "MSC4345 D-32c", false},
			{"below the default level of users", 100, 0, 0, map[string]any{"users_default": 99}, "", false},
		} {
			t.Run(c.name, func(t *testing.T) {
				w := *base
				w.t = t
				state := w.do(state, w.powerLevels(map[by]int{aliceAtTwo: c.alice, low: c.low, high: c.high}, c.more))
				if c.seesMembers && v.HasPortableAccounts() {
					w.checkState(state, about(aliceAtTwo, "target", "revoked"), c.rule)
				} else {
					w.check(state, about(aliceAtTwo, "target", "revoked"), c.rule)
				}
			})
		}
		t.Run("membership does not count", func(t *testing.T) {
			w := *base
			w.t = t
			state := w.do(state, w.powerLevels(map[by]int{aliceAtTwo: 100, high: 100}, nil))
			state = w.do(state, w.member(high, high, "leave"))
			rule := "MSC4345 D-32c"
			if v.HasPortableAccounts() {
				rule = "" // who has left is resident nowhere
			}
			w.check(state, about(aliceAtTwo, "target", "revoked"), rule)
		})
		t.Run("the creator's server", func(t *testing.T) {
			w := *base
			w.t = t
			d := about(aliceAtTwo, "one", "revoked")
			if v.HasPortableAccounts() {
				w.checkState(state, d, "MSC4345 D-32c")
			} else {
				w.check(state, d, "MSC4345 D-32c")
			}
			w.check(state, about(by{"stranger", "one"}, "one", "revoked"), "")
		})
		t.Run("the sender's own server", func(t *testing.T) {
			w := *base
			w.t = t
			w.check(state, about(aliceAtTwo, "two", "revoked"), "") // rule 1.1.2
			w.check(state, about(by{"mod", "two"}, "two", "revoked"), "")
		})
	})
}

// D-32e: accepting keeps the domain of the request.
func TestAcceptanceKeepsTheDomain(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w, state := settled(t, v)
		with := func(content map[string]any, domain any) map[string]any {
			content = maps.Clone(content)
			if domain != nil {
				content["unverified_domain"] = domain
			}
			return content
		}
		request := map[string]any{"participation": "requested", "request_authorised_via_server": serverName("one")}
		for _, c := range []struct {
			name          string
			before, after any
			rule          string
		}{
			{"same", "a.example", "a.example", ""},
			{"none", nil, nil, ""},
			{"another", "a.example", "b.example", "MSC4345 D-32e"},
			{"another case", "a.example", "A.example", "MSC4345 D-32e"},
			{"dropped", "a.example", nil, "MSC4345 D-32e"},
			{"added", nil, "a.example", "MSC4345 D-32e"},
			{"another type", "1", 1, "MSC4345 D-32e"},
		} {
			t.Run(c.name, func(t *testing.T) {
				w.t = t
				d := aboutWith(by{"x", "target"}, "target", with(request, c.before))
				d.also = []matrix.Signer{serverPair("one").Signer()}
				w.check(w.do(state, d), aboutWith(aliceAtTwo, "target", with(map[string]any{"participation": "accepted"}, c.after)), c.rule)
			})
		}
	})
}

// The accept level: its default, and D-37.
func TestAcceptLevel(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w, state := settled(t, v)
		state = w.do(state, requestVia(by{"x", "target"}, "one"))
		accept := acceptance(aliceAtTwo, "target")
		level := func(alice int, more map[string]any) StateMap {
			return w.do(state, w.powerLevels(map[by]int{aliceAtTwo: alice}, more))
		}
		w.check(level(99, nil), accept, "MSC4345 1.3.3")
		w.check(level(100, nil), accept, "")
		w.check(level(100, map[string]any{"accept": 101}), accept, "MSC4345 1.3.3")
		w.check(level(50, map[string]any{"accept": 50}), accept, "")
		// The levels of state events do not count.
		w.check(level(50, map[string]any{"accept": 50, "events": map[string]int{matrix.ParticipationType: 90}}), accept, "")

		without := maps.Clone(state)
		delete(without, matrix.StateTuple{Type: "m.room.power_levels"})
		w.check(without, accept, "MSC4345 1.3.3")
		w.check(without, acceptance(carolAtOne, "target"), "")

		byAlice := func(more map[string]any) draft {
			d := w.powerLevels(map[by]int{aliceAtTwo: 100}, more)
			d.by = aliceAtTwo
			return d
		}
		w.check(level(100, nil), byAlice(map[string]any{"accept": "100"}), "10.1")
		w.check(level(100, nil), byAlice(map[string]any{"accept": 100}), "")
		w.check(level(100, nil), byAlice(map[string]any{"accept": 101}), "10.6.2")
		w.check(level(100, map[string]any{"accept": 101}), byAlice(map[string]any{"accept": 50}), "10.6.1")
		w.check(level(100, map[string]any{"accept": 101}), byAlice(nil), "10.6.1")
		w.check(level(100, map[string]any{"accept": 101}), byAlice(map[string]any{"accept": 101}), "")

		redacted := level(50, map[string]any{"accept": 50, "notifications": map[string]int{"room": 1}})
		place := matrix.StateTuple{Type: "m.room.power_levels"}
		redacted[place] = redacted[place].Redacted()
		w.check(redacted, accept, "")
	})
	t.Run("version 12 does not know it", func(t *testing.T) {
		runRows(t, "", []row{{"accept", []ev{joined(carol)}, levels(`{"accept":"100"}`), ""}})
	})
}

// D-36: the redacted copy of a request is authorised as the request is.
func TestRedactedRequestIsAuthorised(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w, state := settled(t, v)
		d := requestVia(by{"x", "target"}, "one")
		d.content.(map[string]any)["reason"] = "hello"
		e, auth := w.build(state, d)
		for _, e := range []*matrix.Event{e, e.Redacted()} {
			byAuth, byState := w.judge(state, e, auth)
			if byAuth+byState != "" {
				t.Fatalf("rule %q, %q: %s", byAuth, byState, e.JSON())
			}
		}
	})
}

// Rule 2: nothing comes from a server that is not accepted.
func TestNothingFromOutside(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w, base := settled(t, v)
		out := by{"out", "target"}
		base = w.do(base, w.powerLevels(map[by]int{aliceAtTwo: 100, out: 90}, nil))
		requested := w.do(base, requestVia(out, "one"))
		accepted := w.do(requested, acceptance(aliceAtTwo, "target"))
		joined := w.do(accepted, w.join(out))
		target := by{"newcomer", "target"}
		invite := w.member(out, target, "invite")
		events := map[string]draft{
			"message": says(out), "topic": stateBy(out, "m.room.topic", `{}`), "power levels": stateBy(out, "m.room.power_levels", `{}`),
			"join": w.join(target), "leave": w.member(out, out, "leave"), "invite": invite, "redaction": {by: out, eventType: "m.room.redaction", content: `{}`},
			"third party invite": {by: out, eventType: "m.room.third_party_invite", stateKey: key("token"), content: `{}`},
		}
		for name, d := range events {
			t.Run(name, func(t *testing.T) {
				w.t = t
				rule := "MSC4345 2"
				unknown := rule
				if v.HasPortableAccounts() {
					unknown = dropped // there is no participation to cite
				}
				w.check(base, d, unknown)
				w.check(requested, d, rule)
				w.check(w.do(joined, about(out, "target", "revoked")), d, rule)
				w.check(w.do(joined, about(aliceAtTwo, "target", "revoked")), d, rule)
				if name != "power levels" { // which would give levels up that the sender does not have
					w.check(joined, d, "")
				}
			})
		}
		t.Run("an invited user cannot decline from outside", func(t *testing.T) { // D-40
			w.t = t
			state := w.do(requested, w.member(carolAtOne, target, "invite"))
			w.check(state, w.member(target, target, "leave"), "MSC4345 2")
			state = w.do(state, acceptance(aliceAtTwo, "target"))
			w.check(state, w.member(target, target, "leave"), "")
		})
		t.Run("auth events without the participation", func(t *testing.T) {
			w.t = t
			e, auth := w.build(joined, says(out))
			for i, a := range auth {
				if a.IsParticipation() {
					auth = append(auth[:i:i], auth[i+1:]...)
					break
				}
			}
			requireRule(t, "MSC4345 2", w.room.AuthoriseByAuthEvents(e, auth))
		})
	})
}

// Rule 3.2 knows the participations that D-42 selects, and no others.
func TestParticipationsInAuthEvents(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w, state := settled(t, v)
		place := func(server string) AuthEvent {
			return AuthEvent{Event: state[matrix.ParticipationPlace(serverName(server))]}
		}
		e, auth := w.build(state, says(aliceAtTwo))
		requireRule(t, "", w.room.AuthoriseByAuthEvents(e, auth))
		requireRule(t, "3.2", w.room.AuthoriseByAuthEvents(e, append(auth, place("one"))))
		e, auth = w.build(state, requestVia(by{"x", "target"}, "one"))
		requireRule(t, "", w.room.AuthoriseByAuthEvents(e, auth))
		requireRule(t, "3.2", w.room.AuthoriseByAuthEvents(e, append(auth, place("two"))))
	})
}

// D-38, D-52: rules that go by domain go by key.
func TestKeysInThePlaceOfDomains(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		t.Run("m.federate", func(t *testing.T) {
			w, state := founded(t, v, map[string]any{"m.federate": false})
			w.check(state, says(carolAtOne), "")
			state = w.do(state, stateBy(carolAtOne, "m.room.join_rules", `{"join_rule":"public"}`))
			w.check(state, w.join(by{"dave", "one"}), "")
			w.check(state, requestVia(by{"x", "two"}, "one"), "4")
			w.check(state, about(by{"carol", "two"}, "two", "accepted"), "4")
			other, first := withTwoCreators(t, v, map[string]any{"m.federate": false})
			other.check(StateMap{}, first, "4")
		})
		t.Run("redaction", func(t *testing.T) {
			w, state := settled(t, v)
			mate, stranger := by{"mate", "two"}, by{"stranger", "three"}
			state = w.admit(state, "three")
			for _, b := range []by{mate, stranger} {
				state = w.do(state, w.join(b))
			}
			target, _ := w.build(state, says(mate))
			for _, c := range []struct {
				name   string
				sender by
				want   bool
			}{
				{"oneself", mate, true}, {"another on the server", by{"other", "two"}, true}, {"another server", stranger, false}, {"the creator", carolAtOne, true},
			} {
				redaction, _ := w.build(state, draft{by: c.sender, eventType: "m.room.redaction", content: map[string]any{"redacts": target.ID()}})
				if got := w.room.MayRedact(redaction, target, state); got != c.want {
					t.Errorf("%s: %v", c.name, got)
				}
				if c.sender != carolAtOne && w.room.MayRedact(redaction, w.room.Create(), state) {
					t.Errorf("%s redacts the create event", c.name)
				}
			}
		})
		t.Run("state keys", func(t *testing.T) {
			w, state := settled(t, v)
			for _, bad := range []string{"@alice:example.org", "alice", "", "@", "@" + strings.Repeat("A", 42)} {
				d := w.member(carolAtOne, carolAtOne, "invite")
				d.stateKey = key(bad)
				w.check(state, d, "5.1")
			}
		})
	})
}

// MSC4345, "Revoked participation": a revoked key authorises nothing, restricted joins included.
func TestRestrictedJoinThroughRevokedServer(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w, state := settled(t, v)
		state = w.admit(state, "three")
		state = w.do(state, stateBy(carolAtOne, "m.room.join_rules", `{"join_rule":"restricted","allow":[]}`))
		newcomer := by{"newcomer", "three"}
		d := w.join(newcomer)
		d.content = map[string]any{"membership": "join", "join_authorised_via_users_server": w.id(aliceAtTwo)}
		w.check(state, d, "5.2.1")
		d.also = w.signers(aliceAtTwo)
		w.check(state, d, "")
		w.checkState(w.do(state, about(aliceAtTwo, "two", "revoked")), d, "5.3.5.2")
	})
}

// In other room versions the event type means nothing.
func TestParticipationMeansNothingElsewhere(t *testing.T) {
	revoked := func(server string) ev {
		return state(carol, matrix.ParticipationType, server, `{"participation":"revoked"}`)
	}
	restricted := member(bob, bob, `{"membership":"join","join_authorised_via_users_server":"@alice:one"}`)
	given := []ev{joined(carol), joined(alice), joinRule("restricted"), revoked("one"), revoked("two")}
	runRows(t, "", []row{
		{"message", given, message(alice), ""},
		{"restricted join", given, restricted, ""},
		{"participation by anybody with the power", given, revoked("three"), ""},
		{"participation by others", given, state(alice, matrix.ParticipationType, "one", `{"participation":"revoked"}`), "8"},
	})
}
