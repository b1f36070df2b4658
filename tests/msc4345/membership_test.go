package msc4345

import (
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Revoked participation: "the key can no longer be used to authorize events within the room". A restricted join
// needs somebody who lets the user in, and whose server is not revoked.
func TestRestrictedJoin_AuthoriserOnARevokedServer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-21")
	r := visiting(t)
	setup := conform.Setup(t)
	key, friend, late := r.AnotherServer(t, matrix.Accepted), r.Peer.Member(t, "friend"), r.Peer.Member(t, "late")
	friendID := friend.IDThrough(r.Version, key)
	blueprints.MustSend(setup, r.Room, friend, fakeserver.Membership(friendID, "join").Through(key))
	blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": "restricted", "allow": []any{}}))
	join := func(user *fakeserver.User) fakeserver.Draft {
		d := fakeserver.Membership(r.UserID(user), "join").With("join_authorised_via_users_server", friendID)
		d.Authorising = key
		return d
	}
	_, got := try(t, r, late, join(late), fakeserver.Forgery{})
	must.Be(setup, got.Effective(), "friend to let late in while the server is accepted: %s", got)

	r.FayRevokes(setup, key.Key().Name())
	r.MustSeeParticipation(setup, key.Key().Name(), matrix.Revoked)
	later := r.Peer.Member(t, "later")
	if _, got = try(t, r, later, join(later), fakeserver.Forgery{}); got.Effective() {
		conform.Violation(t, "MSC4345-FLOW-21", "nobody on a revoked server lets others in", got.String())
	}
}

// The request participation handshake: a knock is a membership, for which the server must have been accepted.
func TestKnock_ThroughAWaitingServer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-17")
	r := visiting(t)
	blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": "knock"}))
	for _, p := range []matrix.Participation{matrix.Requested, matrix.Accepted} {
		key, late := r.AnotherServer(t, p), r.Peer.Member(t, "late")
		_, got := try(t, r, late, fakeserver.Membership(late.IDThrough(r.Version, key), "knock").Through(key), fakeserver.Forgery{})
		if got.Effective() != (p == matrix.Accepted) {
			conform.Violation(t, "MSC4345-FLOW-17", "a knock counts through accepted servers only, and this one is "+string(p), got.String())
		}
	}
}

// Revoked participation: a server has the power of its most powerful user, and the servers of additional
// creators that of creators.
func TestRevocation_OfACreatorsServer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FORGE-19", "MSC4345-AUTH-10")
	key, err := matrix.NewServerKeyPair()
	must.NoError(conform.Setup(t), "making a server key", err)
	name := key.Key().Name()
	r := visiting(t, blueprints.Options(func(o *fakeserver.RoomOptions) {
		o.CreateContent = map[string]any{"additional_creators": []matrix.UserID{key.Key().UserID("second")}}
	}))
	setup := conform.Setup(t)
	admin := r.Peer.Member(t, "admin")
	blueprints.MustSend(setup, r.Room, admin, fakeserver.Membership(r.UserID(admin), "join"))
	blueprints.MustSend(setup, r.Room, r.Fay, powers(nil, map[matrix.UserID]int{r.UserID(admin): 100}))
	blueprints.MustSend(setup, r.Room, r.Fay, r.Room.Asks(key))
	r.FayAccepts(setup, name)
	r.MustSeeParticipation(setup, name, matrix.Accepted)
	second := r.Peer.Relay("second", admin.Account()) // D-41: in the room, where everybody counts
	blueprints.MustSend(setup, r.Room, second, fakeserver.Membership(key.Key().UserID("second"), "join").Through(key))

	if _, got := try(t, r, admin, r.Room.Revokes(name), fakeserver.Forgery{}); got.Effective() {
		conform.Violation(t, "MSC4345-FORGE-19", "an admin does not revoke the server of a creator", got.String())
	}
	_, got := try(t, r, admin, r.Room.Revokes(r.AnotherServer(t, matrix.Accepted).Key().Name()), fakeserver.Forgery{})
	must.Be(setup, got.Effective(), "an admin to revoke another server: %s", got)
}
