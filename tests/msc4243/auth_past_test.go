package msc4243

import (
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
)

// transient is a room of fay's, open to invited users only, that alice has joined, and a member of it
// who will go.
type transient struct {
	*blueprints.Room
	member *fakeserver.User
}

func newTransient(t *testing.T, verified bool) transient {
	t.Helper()
	r := transient{Room: blueprints.Visited(t, conform.AccountKeyVersion(t), blueprints.Options(func(o *fakeserver.RoomOptions) {
		o.PowerLevels = map[string]any{"state_default": 0}
	}))}
	r.member = r.Peer.Member(t, "member")
	if !verified {
		r.member.AnswerWith(blueprints.Unknown())
	}
	r.Room.Room.Add(blueprints.NewEvent(t, r.Room.Room, r.member, fakeserver.Membership(r.member.KeyID(), "join")))
	r.AliceJoins(t)
	closed := fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": "invite"})
	blueprints.MustSend(conform.Setup(t), r.Room.Room, r.Fay, closed)
	r.Fence(t)
	return r
}

func (r transient) leave() (*fakeserver.User, fakeserver.Draft) {
	return r.member, fakeserver.Membership(r.member.KeyID(), "leave")
}

func (r transient) banned() (*fakeserver.User, fakeserver.Draft) {
	return r.Fay, fakeserver.Membership(r.member.KeyID(), "ban")
}

func (r transient) message() fakeserver.Draft { return fakeserver.Message("hello") }

func (r transient) state() fakeserver.Draft { return blueprints.Probe() }

func (r transient) rejoin() fakeserver.Draft {
	return fakeserver.Membership(r.member.KeyID(), "join").With("displayname", blueprints.Unique("name"))
}

// Server-server API, "Soft failure": an event that its own past allows and the room's present does not.
// A member of the room does something, and goes; then comes something of the same kind that cites the
// time before. Whether the member is verified makes no difference.
func TestSoftFailure(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, requirement string
		goes              func(transient) (*fakeserver.User, fakeserver.Draft)
		does              func(transient) fakeserver.Draft
		verified          bool
	}{
		{"a banned user's message", "MSC4243-AUTH-10", transient.banned, transient.message, true},
		{"a banned user's state", "MSC4243-AUTH-10", transient.banned, transient.state, true},
		{"a banned user's join", "MSC4243-AUTH-10", transient.banned, transient.rejoin, true},
		{"a banned unverified user's message", "MSC4243-AUTH-10", transient.banned, transient.message, false},
		{"a banned unverified user's state", "MSC4243-AUTH-10", transient.banned, transient.state, false},
		{"the message of one who has left", "MSC4243-AUTH-13", transient.leave, transient.message, true},
		{"the state of one who has left", "MSC4243-AUTH-13", transient.leave, transient.state, true},
		{"the join of one who has left", "MSC4243-AUTH-13", transient.leave, transient.rejoin, true},
		{"the join of an unverified user who has left", "MSC4243-AUTH-13", transient.leave, transient.rejoin, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, c.requirement)
			r, setup := newTransient(t, c.verified), conform.Setup(t)

			// Control: it is allowed while the user is in the room.
			control := blueprints.MustSend(setup, r.Room.Room, r.member, c.does(r))
			r.Fence(t)
			r.MustHold(t, control.ID())

			late := r.Forge(t, r.member, c.does(r), fakeserver.Forgery{})
			author, d := c.goes(r)
			blueprints.MustSend(setup, r.Room.Room, author, d)
			r.Fence(t)
			blueprints.MustDeliver(setup, r.Room.Room, late.PDU)
			mustNotCount(t, r.Room, r.Fay, c.requirement, "an event that the room's present state does not allow is not built upon and not shown", late)
		})
	}
}
