package roomv12

import (
	"net/http"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/matrix"
)

// inviteOnly has fay make a room that only the invited can join.
var inviteOnly = blueprints.Options(func(o *fakeserver.RoomOptions) { o.JoinRule = "invite" })

// Server-server API, "Inviting to a room": the inviting server's side. The finished invite carries
// the signatures of both servers.
func TestInvite_LocalUserInvitesRemoteUser(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-INVITE-01")
	r := blueprints.Hosted(t, v12, blueprints.Create("preset", "private_chat"))
	witness := *r
	witness.Peer = r.Scene.Peer(t)
	witness.Fay = witness.Peer.Member(t, "gil")
	r.Alice.MustInvite(conform.Setup(t), r.ID, string(witness.Fay.ID(v12)))
	witness.FayJoins(t)

	r.Alice.MustInvite(t, r.ID, string(r.Fay.ID(v12)))

	invite := r.Peer.MustReceiveInvite(t, r.ID, r.Fay)
	must.Equal(t, "room version of the invite", invite.Version.ID, v12.ID)
	offered := blueprints.MustParse(t, v12, invite.Request)
	r.Peer.MustVerify(t, offered)
	must.Equal(t, "sender of the invite", string(offered.Sender()), r.Alice.UserID)
	hasCreate := false
	for _, event := range invite.RoomState {
		hasCreate = hasCreate || gjson.GetBytes(event, "type").Str == "m.room.create"
	}
	must.Be(t, hasCreate, "the create event in invite_room_state: %s", invite.RoomState)

	sent := witness.MustReceiveMember(t, string(r.Fay.ID(v12)), "invite")
	must.Equal(t, "event ID of the invite", sent.ID(), offered.ID())
	if err := witness.Peer.VerifyServerSignature(t, sent, r.Peer.Name()); err != nil {
		t.Fatalf("expected the invite to be signed by the invited user's server: %v\n%s", err, sent.JSON())
	}

	r.Peer.MustJoin(t, r.At, v12, r.ID, r.Fay)
	r.Alice.MustSeeMember(t, r.ID, string(r.Fay.ID(v12)), "join")
}

// Server-server API, "Inviting to a room": the invited user's side.
func TestInvite_LocalUserAcceptsRemoteInvite(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-INVITE-02")
	r := blueprints.Visited(t, v12, inviteOnly)

	invitation, reply := blueprints.OfferInvite(t, r.Room, r.Fay, matrix.UserID(r.Alice.UserID))
	must.Succeed(t, reply)
	signed := blueprints.MustParse(t, v12, invitation.Returned)
	must.Equal(t, "event ID of the signed invite", signed.ID(), invitation.Request.ID())
	r.Peer.MustVerify(t, signed)
	if err := r.Peer.VerifyServerSignature(t, signed, r.At); err != nil {
		t.Fatalf("expected the invite to be signed by the invited user's server: %v\n%s", err, signed.JSON())
	}
	confirm(t, r, invitation)

	stripped := r.Alice.MustSeeInvite(t, r.ID)
	must.Contain(t, "types of the stripped state", blueprints.Types(stripped), "m.room.create")
	r.Alice.MustJoin(t, r.ID, string(r.Peer.Name()))
	r.Alice.MustSeeMember(t, r.ID, r.Alice.UserID, "join")
}

// Server-server API, "Leaving Rooms (Rejecting Invites)".
func TestInvite_LocalUserRejectsRemoteInvite(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-INVITE-03")
	r := blueprints.Visited(t, v12, inviteOnly)
	invitation, reply := blueprints.OfferInvite(conform.Setup(t), r.Room, r.Fay, matrix.UserID(r.Alice.UserID))
	must.Succeed(conform.Setup(t), reply)
	confirm(t, r, invitation)
	r.Alice.MustSeeInvite(conform.Setup(t), r.ID)

	r.Alice.MustLeave(t, r.ID)

	r.Peer.MustBeAsked(t, fakeserver.OpMakeLeave)
	leave := blueprints.MustParse(t, v12, r.Peer.MustBeAsked(t, fakeserver.OpSendLeave).RequestBody)
	r.Peer.MustVerify(t, leave)
	must.Be(t, leave.IsState("m.room.member", r.Alice.UserID) && leave.Membership() == "leave",
		"a leave of %s: %s", r.Alice.UserID, leave.JSON())
	r.Alice.MustSyncUntil(t, "the invite to be gone", func(v *csapi.View) bool { return v.Room(r.ID).Section == "leave" })
}

// confirm finishes an invitation that the invited user's server has signed.
func confirm(t *testing.T, r *blueprints.Room, invitation *fakeserver.Invitation) {
	t.Helper()
	blueprints.MustConfirm(conform.Setup(t), r.Room, r.Fay, invitation)
}

// rooms/v12, rule 5.5: leaving, seen from both sides.
func TestLeave(t *testing.T) {
	t.Parallel()
	t.Run("remote user", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "RV12-LEAVE-01")
		r := blueprints.FayJoined(t, v12)
		fay := string(r.Fay.ID(v12))
		blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Membership(r.Fay.ID(v12), "leave"))
		r.Alice.MustSeeMember(t, r.ID, fay, "leave")

		// The server is out of the room: what is said now is not for it. What is said after the user
		// has come back is, and shows that nothing was merely late.
		missed := r.Alice.MustSay(t, r.ID, "among ourselves")
		r.FayJoins(t)
		r.Next(t)
		for _, pdu := range r.Peer.PDUs() {
			sent := pdu.Via == fakeserver.OpSend && pdu.Event != nil && pdu.Event.ID() == missed
			must.Be(t, !sent, "no event to be sent to a server that has left the room: %s", pdu.Raw)
		}
	})
	t.Run("local user", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "RV12-LEAVE-01")
		r := blueprints.FayJoined(t, v12)
		bob := r.User(t, "hs1", "bob")
		bob.MustJoin(t, r.ID)
		r.MustReceiveMember(t, bob.UserID, "join")
		bob.MustLeave(t, r.ID)
		r.MustReceiveMember(t, bob.UserID, "leave")
		must.Equal(t, "membership of the user who left", r.Member(t, bob.UserID), "leave")
		must.RefuseAny(t, bob.Send(t, r.ID, "m.room.message", map[string]any{"msgtype": "m.text", "body": "from outside"}))
	})
}

// rooms/v12, rules 5.3 and 5.6: a ban holds on every path until it is lifted.
func TestBan(t *testing.T) {
	t.Parallel()
	for _, path := range []struct {
		name    string
		deliver func(*testing.T, *blueprints.Room, *matrix.Event)
	}{
		{"send_join", func(t *testing.T, r *blueprints.Room, join *matrix.Event) {
			r.Peer.HandIn(t, r.At, "join", join)
		}},
		{"send", func(t *testing.T, r *blueprints.Room, join *matrix.Event) {
			blueprints.MustDeliver(t, r.Room, join.JSON())
		}},
	} {
		t.Run(path.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "RV12-BAN-01")
			r := blueprints.FayJoined(t, v12)
			mallory := r.Join(t, "mallory")
			banned := string(mallory.ID(v12))
			r.Alice.MustBan(t, r.ID, banned)
			r.MustReceiveMember(t, banned, "ban")

			must.Refuse(t, r.Peer.Make(t, r.At, "join", r.ID, banned, v12.ID), http.StatusForbidden, "M_FORBIDDEN")
			join := blueprints.NewEvent(t, r.Room, mallory, fakeserver.Membership(mallory.ID(v12), "join"))
			path.deliver(t, r, join)
			r.Fence(t)
			r.MustStayUnseen(t, join)
			must.Equal(t, "membership of the banned user", r.Member(t, banned), "ban")

			// Control: nothing but the ban was in the way.
			r.Alice.MustUnban(conform.Setup(t), r.ID, banned)
			r.Peer.MustJoin(t, r.At, v12, r.ID, mallory)
			r.Alice.MustSeeMember(t, r.ID, banned, "join")
		})
	}
}
