package fed_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/room"
)

// eachParticipating runs a test in both room versions in which servers participate by key.
func eachParticipating(t *testing.T, f func(t *testing.T, v matrix.RoomVersion)) {
	for _, v := range matrix.ParticipationRoomVersions() {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			f(t, v)
		})
	}
}

// in is a local user as a room names the user.
func (h *homeserver) in(roomID, name string) matrix.UserID {
	h.t.Helper()
	user, ok := h.engine.InRoom(roomID, h.user(name))
	require.True(h.t, ok, "%s has no key in the room", h.name)
	return user
}

// keyIn is the server's key in a room.
func (h *homeserver) keyIn(roomID string) matrix.ServerName {
	h.t.Helper()
	own, ok := h.serverKeys.Latest(roomID)
	require.True(h.t, ok, "%s has no key in the room", h.name)
	return own.Key().Name()
}

// participation sends what a user decides about a server key.
func (h *homeserver) participation(roomID, user string, key matrix.ServerName, p matrix.Participation, domain matrix.ServerName) error {
	_, err := h.engine.Send(background, roomID, h.user(user), stateDraft(matrix.ParticipationType, string(key), "participation", p, "unverified_domain", domain))
	return err
}

// request has a user of another server try to join, which makes the server request to participate.
func (h *homeserver) request(roomID, user string, via ...*homeserver) {
	h.t.Helper()
	err := h.engine.Join(background, roomID, h.user(user), nil, names(via))
	requireRefused(h.t.(*testing.T), err, http.StatusForbidden)
	require.True(h.t, room.IsWaiting(err), "%v", err)
}

// admit has a user of another server request, be accepted, and join.
func (h *homeserver) admit(roomID, admin string, other *homeserver, user string) {
	h.t.Helper()
	other.request(roomID, user, h)
	require.NoError(h.t, h.participation(roomID, admin, other.keyIn(roomID), matrix.Accepted, other.name))
	other.join(roomID, user, h)
	name := other.in(roomID, user)
	h.waitFor("the join", func() bool { return h.membership(roomID, name) == "join" })
}

// TestServerRequestsIsAcceptedAndRevoked goes through the life of a server in a room.
func TestServerRequestsIsAcceptedAndRevoked(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		require.Equal(t, []string{"m.room.create", matrix.ParticipationType, "m.room.member", "m.room.join_rules"}, hs1.timeline(id))
		founder := hs1.engine.Participant(id, hs1.keyIn(id))
		require.Equal(t, room.Participant{Key: hs1.keyIn(id), Participation: matrix.Accepted, UnverifiedDomain: hs1.name, Verified: true}, founder)

		hs2.request(id, "bob", hs1)
		key := hs2.keyIn(id)
		requested := hs1.engine.Participant(id, key)
		require.Equal(t, room.Participant{Key: key, Participation: matrix.Requested, UnverifiedDomain: hs2.name, Verified: true}, requested)
		hs2.request(id, "bob", hs1)
		require.Equal(t, key, hs2.keyIn(id), "the key stays the same")
		require.Equal(t, 1, hs1.requests.count("/send_participation/"), "a request is not repeated")

		require.NoError(t, hs1.participation(id, "alice", key, matrix.Accepted, hs2.name))
		hs2.restart()
		hs2.join(id, "bob", hs1)
		bob, alice := hs2.in(id, "bob"), hs1.in(id, "alice")
		hs1.waitFor("the join", func() bool { return hs1.membership(id, bob) == "join" })
		require.Equal(t, hs1.state(id), hs2.state(id))
		require.True(t, hs2.engine.Participant(id, hs1.keyIn(id)).Verified)

		hs2.waitForEvent(id, hs1.say(id, "alice", "one").ID())
		two := hs1.waitForEvent(id, hs2.say(id, "bob", "two").ID())
		server, ok := hs1.engine.ServerOf(two.Event)
		require.True(t, ok)
		require.Equal(t, key, server.Key)
		if v.HasPortableAccounts() {
			require.ElementsMatch(t, []string{bob.Localpart(), string(key)}, two.SignatureEntities())
			require.NotContains(t, string(bob), ":")
		} else {
			require.Equal(t, []string{string(key)}, two.SignatureEntities())
			require.Equal(t, matrix.UserID("@bob:"+string(key)), bob)
		}
		hs1.restart()
		hs2.waitForEvent(id, hs1.say(id, "alice", "three").ID())
		hs2.client.Forgive(hs1.name) // it may have been asked while it was down
		local, ok := hs1.engine.LocalUser(v, alice)
		require.True(t, ok)
		require.Equal(t, hs1.user("alice"), local)

		require.NoError(t, hs1.participation(id, "alice", key, matrix.Revoked, hs2.name))
		hs2.waitFor("the revocation", func() bool { return hs2.engine.Participant(id, key).Participation == matrix.Revoked })
		_, err := hs2.engine.Send(background, id, hs2.user("bob"), room.Draft{Type: "m.room.message", Content: object("body", "still here")})
		requireRefused(t, err, http.StatusForbidden)

		hs1.admit(id, "alice", hs2, "bob")
		require.NotEqual(t, key, hs2.keyIn(id), "a revoked key never comes back")
		hs1.waitForEvent(id, hs2.say(id, "bob", "with another key").ID())
		require.Equal(t, hs1.state(id), hs2.state(id))
		if v.HasPortableAccounts() {
			require.Equal(t, bob, hs2.in(id, "bob"), "the account key stays the same")
		}
		memberships, err := hs2.engine.Memberships(hs2.user("bob"))
		require.NoError(t, err)
		require.Len(t, memberships, 1)
		require.Equal(t, hs2.in(id, "bob"), memberships[0].User)
	})
}

// TestOwnServerIsRevoked has a user revoke the own server's key.
func TestOwnServerIsRevoked(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		hs1.admit(id, "alice", hs2, "bob")
		key := hs2.keyIn(id)
		require.NoError(t, hs2.participation(id, "bob", key, matrix.Revoked, hs2.name))
		hs1.waitFor("the revocation", func() bool { return hs1.engine.Participant(id, key).Participation == matrix.Revoked })
		info, ok := hs2.engine.Room(id)
		require.True(t, ok)
		require.False(t, info.Joined)
		hs1.admit(id, "alice", hs2, "bob")
		require.NotEqual(t, key, hs2.keyIn(id))
	})
}

// TestDepartedServerIsRevoked has a server revoke its key in a room that all of its users have left.
func TestDepartedServerIsRevoked(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		hs1.admit(id, "alice", hs2, "bob")
		key, bob := hs2.keyIn(id), hs2.in(id, "bob")
		require.NoError(t, hs2.engine.Leave(background, id, hs2.user("bob"), nil))
		hs1.waitFor("the leave", func() bool { return hs1.membership(id, bob) == "leave" })
		hs1.say(id, "alice", "of which the other server hears nothing any more")

		requireRefused(t, hs2.participation(id, "bob", key, matrix.Accepted, hs2.name), http.StatusForbidden)
		requireRefused(t, hs2.participation(id, "bob", hs1.keyIn(id), matrix.Revoked, hs1.name), http.StatusForbidden)
		requireRefused(t, hs2.participation(id, "carol", key, matrix.Revoked, hs2.name), http.StatusForbidden)
		require.NoError(t, hs2.participation(id, "bob", key, matrix.Revoked, hs2.name))
		hs1.waitFor("the revocation", func() bool { return hs1.engine.Participant(id, key).Participation == matrix.Revoked })
		requireRefused(t, hs2.participation(id, "bob", key, matrix.Revoked, hs2.name), http.StatusForbidden)
		hs1.admit(id, "alice", hs2, "bob")
		require.NotEqual(t, key, hs2.keyIn(id))
	})
}

// TestServerIsRevokedWhileItWaits has a request refused, after which the server asks with another key.
func TestServerIsRevokedWhileItWaits(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2, hs3 := n.start(t), n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		hs1.admit(id, "alice", hs2, "bob")
		hs3.request(id, "carol", hs2)
		key := hs3.keyIn(id)
		hs1.waitFor("the request", func() bool { return hs1.engine.Participant(id, key).Participation == matrix.Requested })
		require.NoError(t, hs1.participation(id, "alice", key, matrix.Revoked, hs3.name))
		require.Eventually(t, func() bool {
			own, ok := hs3.serverKeys.Find(key)
			return ok && own.Doubtful
		}, deadline, 5*time.Millisecond, "the server hears of it")
		hs2.waitFor("the revocation", func() bool { return hs2.engine.Participant(id, key).Participation == matrix.Revoked })
		hs3.request(id, "carol", hs2)
		require.NotEqual(t, key, hs3.keyIn(id))
		key = hs3.keyIn(id)
		hs1.waitFor("the second request", func() bool { return hs1.engine.Participant(id, key).Participation == matrix.Requested })
	})
}

// TestThirdServerConverges has three servers talk, of which one enters through one that did not accept it.
func TestThirdServerConverges(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2, hs3 := n.start(t), n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		hs1.admit(id, "alice", hs2, "bob")
		hs3.request(id, "carol", hs2)
		key := hs3.keyIn(id)
		hs1.waitFor("the request", func() bool { return hs1.engine.Participant(id, key).Participation == matrix.Requested })
		require.NoError(t, hs1.participation(id, "alice", key, matrix.Accepted, hs3.name))
		hs2.waitFor("the acceptance", func() bool { return hs2.engine.Participant(id, key).Participation == matrix.Accepted })
		hs3.join(id, "carol", hs2)
		e := hs3.say(id, "carol", "hello")
		hs1.waitForEvent(id, e.ID())
		hs2.waitForEvent(id, e.ID())
		require.Equal(t, hs1.state(id), hs3.state(id))
		require.Equal(t, hs1.state(id), hs2.state(id))
		servers, err := hs3.engine.Servers(id)
		require.NoError(t, err)
		require.ElementsMatch(t, names([]*homeserver{hs1, hs2, hs3}), servers)
	})
}

// TestInvitedServerRequestsAndJoins invites a user whose server the room does not know.
func TestInvitedServerRequestsAndJoins(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("invite"))
		err := hs2.engine.Join(background, id, hs2.user("bob"), nil, names([]*homeserver{hs1}))
		requireRefused(t, err, http.StatusForbidden)
		require.False(t, room.IsWaiting(err), "who is not invited may not even request: %v", err)

		require.NoError(t, hs1.engine.Invite(background, id, hs1.user("alice"), hs2.user("bob"), nil))
		bob := hs2.in(id, "bob")
		require.Equal(t, "invite", hs1.membership(id, bob))
		require.Equal(t, "invite", hs2.membership(id, bob))
		hs2.request(id, "bob")
		require.NoError(t, hs1.participation(id, "alice", hs2.keyIn(id), matrix.Accepted, hs2.name))
		hs2.join(id, "bob")
		hs1.waitFor("the join", func() bool { return hs1.membership(id, bob) == "join" })

		require.NoError(t, hs1.engine.Invite(background, id, hs1.user("alice"), hs2.user("carol"), nil))
		carol := hs2.in(id, "carol")
		hs2.waitFor("the invitation", func() bool { return hs2.membership(id, carol) == "invite" })
		hs2.join(id, "carol")
		hs1.waitFor("the join", func() bool { return hs1.membership(id, carol) == "join" })
		require.NoError(t, hs1.engine.Ban(background, id, hs1.user("alice"), hs2.user("carol"), nil))
		hs2.waitFor("the ban", func() bool { return hs2.membership(id, carol) == "ban" })
		require.Equal(t, hs1.state(id), hs2.state(id))
	})
}

// TestInvitationIsWithdrawnOrRejected ends invitations of a server that does not participate.
func TestInvitationIsWithdrawnOrRejected(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("invite"))
		require.NoError(t, hs1.engine.Invite(background, id, hs1.user("alice"), hs2.user("bob"), nil))
		bob := hs2.in(id, "bob")
		require.NoError(t, hs1.engine.Kick(background, id, hs1.user("alice"), bob, nil))
		hs2.waitFor("the withdrawal", func() bool { return hs2.membership(id, bob) == "leave" })
		require.NoError(t, hs1.engine.Invite(background, id, hs1.user("alice"), hs2.user("dave"), nil))
		require.NoError(t, hs2.engine.Leave(background, id, hs2.user("dave"), nil), "D-40: it is left for the users of this server alone")
		require.Equal(t, "leave", hs2.membership(id, hs2.in(id, "dave")))
	})
}

// TestKnockAndRestrictedJoin enters rooms with other join rules.
func TestKnockAndRestrictedJoin(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("knock"))
		err := hs2.engine.Knock(background, id, hs2.user("bob"), nil, names([]*homeserver{hs1}))
		require.True(t, room.IsWaiting(err), "%v", err)
		require.NoError(t, hs1.participation(id, "alice", hs2.keyIn(id), matrix.Accepted, hs2.name))
		require.NoError(t, hs2.engine.Knock(background, id, hs2.user("bob"), nil, names([]*homeserver{hs1})))
		bob := hs2.in(id, "bob")
		hs1.waitFor("the knock", func() bool { return hs1.membership(id, bob) == "knock" })
		require.NoError(t, hs1.engine.Invite(background, id, hs1.user("alice"), bob, nil))
		hs2.waitFor("the invitation", func() bool { return hs2.membership(id, bob) == "invite" })
		hs2.join(id, "bob", hs1)

		rule := stateDraft("m.room.join_rules", "", "join_rule", "restricted", "allow", []any{
			map[string]string{"type": "m.room_membership", "room_id": id},
		})
		other := hs1.create(v, "alice", rule)
		hs1.admit(other, "alice", hs2, "bob")
		e := hs1.engine
		m, ok := e.Membership(other, hs2.in(other, "bob"))
		require.True(t, ok)
		join, ok := e.Event(other, m.EventID)
		require.True(t, ok)
		require.Equal(t, string(hs1.in(other, "alice")), join.Get("join_authorised_via_users_server").String())
		hs1.waitForEvent(other, hs2.say(other, "bob", "hello").ID())
	})
}

// TestLocalUsersShareAKey has two users of one server in a room, before and after a revocation.
func TestLocalUsersShareAKey(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		hs1.admit(id, "alice", hs2, "bob")
		hs2.join(id, "carol")
		carol := hs2.in(id, "carol")
		hs1.waitFor("carol", func() bool { return hs1.membership(id, carol) == "join" })
		require.NoError(t, hs1.participation(id, "alice", hs2.keyIn(id), matrix.Revoked, hs2.name))
		hs2.waitFor("the revocation", func() bool {
			info, _ := hs2.engine.Room(id)
			return !info.Joined
		})
		hs1.admit(id, "alice", hs2, "bob")
		_, err := hs2.engine.Send(background, id, hs2.user("carol"), room.Draft{Type: "m.room.message", Content: object("body", "me too")})
		requireRefused(t, err, http.StatusForbidden)
		hs2.join(id, "carol")
		hs1.waitForEvent(id, hs2.say(id, "carol", "me too").ID())
		require.Equal(t, hs1.state(id), hs2.state(id))
	})
}
