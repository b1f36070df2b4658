package msc4345

import (
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Terminology: a server's implicit power level is "the highest power level of any user that is resident to the server",
// and a user without a power level of their own has users_default.
func TestRevocation_OfAServerWhoseUsersHaveTheDefault(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-AUTH-10")
	r := visiting(t)
	admin, friend, key := r.Join(t, "admin"), r.Peer.Member(t, "friend"), r.AnotherServer(t, matrix.Accepted)
	blueprints.MustSend(conform.Setup(t), r.Room, friend, fakeserver.Membership(friend.IDThrough(r.Version, key), "join").Through(key))
	for _, level := range []int{150, 50} {
		setPowers(t, r, powers(nil, map[matrix.UserID]int{r.UserID(admin): 100}).With("users_default", level))
		_, got := try(t, r, admin, r.Room.Revokes(key.Key().Name()), fakeserver.Forgery{})
		if level == 50 {
			must.Be(conform.Setup(t), got.Effective(), "an admin to revoke a server of users with less power: %s", got)
		} else if got.Effective() {
			conform.Violation(t, "MSC4345-AUTH-10", "an admin with 100 does not revoke a server whose user has 150 by users_default", got.String())
		}
	}
}

// Situations where m.server.participation is sent on behalf of the server: "regardless of room membership", and so by
// a user who is banned, too.
func TestRevocation_ByItselfThroughABannedUser(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-20", "MSC4345-AUTH-05")
	r := visiting(t)
	setup := conform.Setup(t)
	user, key := r.Peer.Member(t, "user"), r.AnotherServer(t, matrix.Accepted)
	id := user.IDThrough(r.Version, key)
	blueprints.MustSend(setup, r.Room, user, fakeserver.Membership(id, "join").Through(key))
	blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Membership(id, "ban"))
	if _, got := try(t, r, user, r.Room.Revokes(key.Key().Name()).Through(key), fakeserver.Forgery{}); !got.Effective() {
		conform.Violation(t, "MSC4345-FLOW-20", "a server revokes itself by way of any user, a banned one among them", got.String())
	}
}

// Rules 1.1.1.1 and 1.1.3: a creator's server accepts itself when the room says nothing of it, and never afterwards.
// "Once a key is revoked", it is for good, whoever its users are.
func TestCreator_AcceptsTheOwnServerOnlyAtFirst(t *testing.T) {
	t.Parallel()
	for _, from := range []matrix.Participation{matrix.Requested, matrix.Revoked} {
		t.Run(string(from), func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4345-AUTH-06", "MSC4345-FORGE-18")
			setup := conform.Setup(t)
			key, err := matrix.NewServerKeyPair()
			must.NoError(setup, "making a server key", err)
			r := visited(t, blueprints.Options(func(o *fakeserver.RoomOptions) {
				o.CreateContent = map[string]any{"additional_creators": []matrix.UserID{key.Key().UserID("second")}}
			}))
			r.AliceJoins(t)
			second := r.Peer.Relay("second", r.Peer.Member(t, "account").Account())
			blueprints.MustSend(setup, r.Room, r.Fay, r.Room.Asks(key))
			if from == matrix.Revoked {
				r.FayAccepts(setup, key.Key().Name())
				blueprints.MustSend(setup, r.Room, second, r.Room.Revokes(key.Key().Name()).Through(key))
			}
			r.MustSeeParticipation(setup, key.Key().Name(), from)
			own := fakeserver.Participates(key.Key().Name(), matrix.Accepted).With("unverified_domain", r.Peer.Name())
			if _, got := try(t, r, second, own.Through(key), fakeserver.Forgery{}); got.Effective() {
				conform.Violation(t, "MSC4345-AUTH-06", "a creator's server that is "+string(from)+" does not accept itself", got.String())
			}
		})
	}
}
