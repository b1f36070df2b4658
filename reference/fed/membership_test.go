package fed_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/room"
)

var background = context.Background()

// requireRefused asserts that an error is a Matrix error with a status.
func requireRefused(t *testing.T, err error, status int) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, status, peer.AsError(err).Status, "%v", err)
}

func TestInvitationIsAcceptedOrRejected(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("invite"))
		requireRefused(t, hs2.engine.Join(background, id, hs2.user("bob"), nil, names([]*homeserver{hs1})), http.StatusForbidden)

		require.NoError(t, hs1.engine.Invite(background, id, hs1.user("alice"), hs2.user("bob"), object("reason", "please")))
		bob := hs2.inRoom(v, "bob")
		require.Equal(t, "invite", hs1.membership(id, bob))
		m, ok := hs2.engine.Membership(id, bob)
		require.True(t, ok)
		require.Equal(t, "invite", m.Membership)
		require.Equal(t, "please", m.Event.Get("reason").String())
		require.Equal(t, hs1.inRoom(v, "alice"), m.Sender)
		require.True(t, m.Stripped[0].IsCreate())
		onHS1, ok := hs1.engine.Event(id, m.EventID)
		require.True(t, ok, "both servers know the invitation by one ID")
		if v.HasAccountKeys() {
			require.ElementsMatch(t, []string{bob.Localpart(), hs1.inRoom(v, "alice").Localpart()}, onHS1.SignatureEntities())
		} else {
			require.ElementsMatch(t, []string{string(hs1.name), string(hs2.name)}, onHS1.SignatureEntities())
		}
		require.NoError(t, hs2.engine.Join(background, id, hs2.user("bob"), nil, nil))
		hs1.waitFor("the join", func() bool { return hs1.membership(id, bob) == "join" })

		require.NoError(t, hs1.engine.Invite(background, id, hs1.user("alice"), hs2.user("carol"), nil))
		carol := hs2.inRoom(v, "carol")
		hs2.waitFor("the invitation", func() bool { return hs2.membership(id, carol) == "invite" })
		require.NoError(t, hs2.engine.Leave(background, id, hs2.user("carol"), nil))
		hs1.waitFor("the rejection", func() bool { return hs1.membership(id, carol) == "leave" })
		require.Equal(t, hs1.state(id), hs2.state(id))

		requireRefused(t, hs1.engine.Invite(background, id, hs1.user("alice"), hs2.user("ghost"), nil), http.StatusNotFound)
		requireRefused(t, hs1.engine.Invite(background, id, hs1.user("alice"), hs2.user("bob"), nil), http.StatusForbidden)
		// The second invitation names a key that has left the room.
		require.NoError(t, hs1.engine.Invite(background, id, hs1.user("alice"), hs2.user("carol"), nil))
		hs2.waitFor("the second invitation", func() bool { return hs2.membership(id, carol) == "invite" })
	})
}

// TestInvitationOutsideOfTheRoom rejects, and sees retracted, invitations of a server that is not in
// the room.
func TestInvitationOutsideOfTheRoom(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("invite"))
		require.NoError(t, hs1.engine.Invite(background, id, hs1.user("alice"), hs2.user("bob"), nil))
		require.NoError(t, hs2.engine.Leave(background, id, hs2.user("bob"), nil))
		bob, carol := hs2.inRoom(v, "bob"), hs2.inRoom(v, "carol")
		require.Equal(t, "leave", hs2.membership(id, bob))
		hs1.waitFor("the rejection", func() bool { return hs1.membership(id, bob) == "leave" })

		require.NoError(t, hs1.engine.Invite(background, id, hs1.user("alice"), hs2.user("carol"), nil))
		require.Equal(t, "invite", hs2.membership(id, carol))
		require.NoError(t, hs1.engine.Kick(background, id, hs1.user("alice"), hs2.user("carol"), nil))
		hs2.waitFor("the retraction", func() bool { return hs2.membership(id, carol) == "leave" })

		require.NoError(t, hs1.engine.Invite(background, id, hs1.user("alice"), hs2.user("dave"), nil))
		hs1.stop()
		require.NoError(t, hs2.engine.Leave(background, id, hs2.user("dave"), nil), "an invitation can be rejected when the inviter is gone")
		require.Equal(t, "leave", hs2.membership(id, hs2.inRoom(v, "dave")))
	})
}

func TestKickBanUnbanKnockAndRejoin(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		alice, bob := hs1.user("alice"), hs2.user("bob")
		hs2.join(id, "bob", hs1)
		key := hs2.inRoom(v, "bob")
		is := func(membership string) {
			t.Helper()
			for _, hs := range []*homeserver{hs1, hs2} {
				hs.waitFor("bob to be "+membership, func() bool { return hs.membership(id, key) == membership })
			}
		}
		is("join")
		require.NoError(t, hs1.engine.Kick(background, id, alice, bob, nil))
		is("leave")
		hs2.join(id, "bob", hs1)
		is("join")
		require.NoError(t, hs1.engine.Ban(background, id, alice, bob, nil))
		is("ban")
		requireRefused(t, hs2.engine.Join(background, id, bob, nil, names([]*homeserver{hs1})), http.StatusForbidden)
		requireRefused(t, hs1.engine.Kick(background, id, alice, bob, nil), http.StatusForbidden)
		require.NoError(t, hs1.engine.Unban(background, id, alice, bob, nil))
		hs1.waitFor("the unban", func() bool { return hs1.membership(id, key) == "leave" })

		_, err := hs1.engine.Send(background, id, alice, joinRules("knock"))
		require.NoError(t, err)
		require.NoError(t, hs2.engine.Knock(background, id, bob, object("reason", "let me in"), names([]*homeserver{hs1})))
		hs1.waitFor("the knock", func() bool { return hs1.membership(id, key) == "knock" })
		m, _ := hs2.engine.Membership(id, key)
		require.Equal(t, "knock", m.Membership)
		require.NotEmpty(t, m.Stripped)
		require.NoError(t, hs2.engine.Leave(background, id, bob, nil))
		hs1.waitFor("the knock's end", func() bool { return hs1.membership(id, key) == "leave" })
		require.NoError(t, hs2.engine.Knock(background, id, bob, nil, names([]*homeserver{hs1})))
		hs1.waitFor("the second knock", func() bool { return hs1.membership(id, key) == "knock" })
		require.NoError(t, hs1.engine.Invite(background, id, alice, bob, nil))
		require.NoError(t, hs2.engine.Join(background, id, bob, nil, nil))
		is("join")
		require.NoError(t, hs2.engine.Leave(background, id, bob, nil))
		hs1.waitFor("the leaving", func() bool { return hs1.membership(id, key) == "leave" })
		require.Equal(t, key, hs2.inRoom(v, "bob"), "leaving and joining keep the account key")
	})
}

func TestRestrictedJoins(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2, hs3 := n.start(t), n.start(t), n.start(t)
		space := hs1.create(v, "alice", joinRules("public"))
		id := hs1.create(v, "alice", stateDraft("m.room.join_rules", "", "join_rule", "restricted",
			"allow", []any{map[string]any{"type": "m.room_membership", "room_id": space}}))
		via := names([]*homeserver{hs1})
		requireRefused(t, hs2.engine.Join(background, id, hs2.user("bob"), nil, via), http.StatusForbidden)
		hs2.join(space, "bob", hs1)
		hs2.join(id, "bob", hs1)
		bob := hs2.inRoom(v, "bob")
		hs1.waitFor("bob's join", func() bool { return hs1.membership(id, bob) == "join" })
		m, _ := hs2.engine.Membership(id, bob)
		join, ok := hs2.engine.Event(id, m.EventID)
		require.True(t, ok)
		require.Equal(t, string(hs1.inRoom(v, "alice")), join.Get("join_authorised_via_users_server").String())
		require.Len(t, join.SignatureEntities(), 2)

		// A local user of the resident server is let in by it, a local user of another by asking it.
		hs1.join(space, "anna")
		hs1.join(id, "anna")
		hs2.join(space, "ben")
		hs2.join(id, "ben", hs1)
		hs3.join(space, "carol", hs2)
		hs3.join(id, "carol", hs2, hs1)
		carol := hs3.inRoom(v, "carol")
		for _, hs := range []*homeserver{hs1, hs2} {
			hs.waitFor("carol's join", func() bool { return hs.membership(id, carol) == "join" })
			require.Equal(t, hs1.state(id), hs.state(id))
		}
	})
}

func TestPreemptiveBan(t *testing.T) {
	v := matrix.RoomVersionMSC4243()
	n := newNetwork(t)
	hs1, hs2 := n.start(t), n.start(t)
	id := hs1.create(v, "alice", joinRules("public"))
	require.NoError(t, hs1.engine.Ban(background, id, hs1.user("alice"), hs2.user("spam"), object("reason", "spam")))
	spam := hs2.inRoom(v, "spam")
	require.Equal(t, "ban", hs1.membership(id, spam))
	requireRefused(t, hs2.engine.Join(background, id, hs2.user("spam"), nil, names([]*homeserver{hs1})), http.StatusForbidden)
	require.Empty(t, hs2.membership(id, spam), "whoever is banned from afar is not told")

	requireRefused(t, hs1.engine.Ban(background, id, hs1.user("alice"), hs2.user("ghost"), nil), http.StatusNotFound)
	hs2.stop()
	requireRefused(t, hs1.engine.Ban(background, id, hs1.user("alice"), hs2.user("other"), nil), http.StatusBadGateway)
	for place := range hs1.state(id) {
		require.NotContains(t, place.StateKey, "other", "no account name enters the room")
	}
}

// TestCosignedInvitationsAreChecked has the invited server change what it must not change.
func TestCosignedInvitationsAreChecked(t *testing.T) {
	v := matrix.RoomVersionMSC4243()
	n := newNetwork(t)
	hs1, hs2 := n.start(t), n.start(t)
	id := hs1.create(v, "alice", joinRules("invite"))
	thief, err := matrix.NewAccount()
	require.NoError(t, err)
	cases := map[string]func(p *matrix.ProtoEvent) []matrix.Signer{
		"another membership": func(p *matrix.ProtoEvent) []matrix.Signer {
			p.Content = []byte(`{"membership":"ban"}`)
			return []matrix.Signer{thief.Signer()}
		},
		"another type": func(p *matrix.ProtoEvent) []matrix.Signer {
			p.Type = "m.room.name"
			return []matrix.Signer{thief.Signer()}
		},
		"another time": func(p *matrix.ProtoEvent) []matrix.Signer {
			p.OriginServerTS++
			return []matrix.Signer{thief.Signer()}
		},
		"a key of another domain": func(p *matrix.ProtoEvent) []matrix.Signer {
			p.StateKey = matrix.StateKey(string(thief.Key().UserID("elsewhere")))
			return []matrix.Signer{thief.Signer()}
		},
		"the account name": func(p *matrix.ProtoEvent) []matrix.Signer {
			p.StateKey = matrix.StateKey(string(hs2.user("bob")))
			return []matrix.Signer{thief.Signer()}
		},
		"no signature":           func(*matrix.ProtoEvent) []matrix.Signer { return nil },
		"the server's signature": func(*matrix.ProtoEvent) []matrix.Signer { return []matrix.Signer{hs2.key} },
		"a signature by the sender": func(*matrix.ProtoEvent) []matrix.Signer {
			return []matrix.Signer{{Entity: "x", KeyID: "ed25519:1", Key: hs2.key.Key}}
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			hs2.answerWith(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/_matrix/federation/v2/invite/") {
					return false
				}
				e := readInvite(t, r)
				p := matrix.ProtoEvent{
					Type: e.Type(), StateKey: matrix.StateKey(string(thief.Key().UserID(hs2.name))), Sender: e.Sender(), RoomID: e.RoomID(),
					Content: e.Content(), PrevEvents: e.PrevEvents(), AuthEvents: e.AuthEvents(), Depth: e.Depth(), OriginServerTS: e.OriginServerTS(),
				}
				signers := change(&p)
				changed, err := p.Build(v, signers...)
				require.NoError(t, err)
				writeEvent(w, changed)
				return true
			})
			before := hs1.engine.Now()
			requireRefused(t, hs1.engine.Invite(background, id, hs1.user("alice"), hs2.user("bob"), nil), http.StatusBadGateway)
			require.Equal(t, before, hs1.engine.Now(), "nothing enters the room")
		})
	}
	hs2.intercept.Store(nil)
	require.NoError(t, hs1.engine.Invite(background, id, hs1.user("alice"), hs2.user("bob"), nil))
}

func TestServerACL(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		hs2.join(id, "bob", hs1)
		hs1.waitFor("bob's join", func() bool { return hs1.membership(id, hs2.inRoom(v, "bob")) == "join" })
		_, err := hs1.engine.Send(background, id, hs1.user("alice"), stateDraft("m.room.server_acl", "", "allow", []string{"*"}, "deny", []string{"local*"}))
		require.NoError(t, err)
		e := hs2.say(id, "bob", "am I heard?")
		sentinel := hs2.create(v, "bob", joinRules("public"))
		hs1.join(sentinel, "alice", hs2)
		hs1.waitForEvent(sentinel, hs2.say(sentinel, "bob", "sentinel").ID())
		_, heard := hs1.engine.Event(id, e.ID())
		require.False(t, heard)
		requireRefused(t, hs2.engine.Knock(background, id, hs2.user("carol"), nil, names([]*homeserver{hs1})), http.StatusForbidden)
	})
}

// readInvite is the event of an invitation as it is sent.
func readInvite(t *testing.T, r *http.Request) *matrix.Event {
	var body room.CosignRequest
	require.NoError(t, json.NewDecoder(r.Body).Decode(&body))
	e, err := matrix.ParseEvent(matrix.RoomVersionMSC4243(), body.Event)
	require.NoError(t, err)
	require.Empty(t, e.SignatureEntities(), "the request is not signed")
	return e
}

func writeEvent(w http.ResponseWriter, e *matrix.Event) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"event": e})
}
