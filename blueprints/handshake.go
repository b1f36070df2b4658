package blueprints

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"countersign/fakeserver"
	"countersign/matrix"
)

// Make asks a server for the template of a membership event and returns the answer, whatever it is:
// GET make_join, make_knock or make_leave. The versions are the "ver" parameters.
func (p *Peer) Make(t testing.TB, via matrix.ServerName, membership, roomID, userID string, versions ...string) Reply {
	t.Helper()
	path := fmt.Sprintf("/_matrix/federation/v1/make_%s/%s/%s", membership, url.PathEscape(roomID), url.PathEscape(userID))
	if len(versions) > 0 {
		path += "?" + url.Values{"ver": versions}.Encode()
	}
	return p.Ask(t, via, http.MethodGet, path, nil)
}

// HandIn submits a membership event to a server and returns the answer, whatever it is: PUT
// send_join or send_leave (v2), or send_knock (v1).
func (p *Peer) HandIn(t testing.TB, via matrix.ServerName, membership string, event *matrix.Event) Reply {
	t.Helper()
	version := "v2"
	if membership == "knock" {
		version = "v1"
	}
	path := fmt.Sprintf("/_matrix/federation/%s/send_%s/%s/%s", version, membership, url.PathEscape(event.RoomID()), url.PathEscape(event.ID()))
	return p.Ask(t, via, http.MethodPut, path, event.JSON())
}

// MustBegin begins a join or a knock in a room of the given version through another server, which
// must give a template for it.
func (p *Peer) MustBegin(t testing.TB, via matrix.ServerName, v matrix.RoomVersion, membership, roomID string, user *fakeserver.User) *fakeserver.Handshake {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	handshake, err := p.Begin(ctx, via, membership, roomID, user, fakeserver.InRoomVersion(v), fakeserver.SupportingVersions(v.ID))
	if err != nil {
		t.Fatalf("expected a template for the %s of %s: %v", membership, p.userID(v, roomID, user), err)
	}
	return handshake
}

// MustSubmit builds the honest event of a handshake, submits it, and returns it with the answer,
// whatever that is.
func MustSubmit(t testing.TB, handshake *fakeserver.Handshake) (*matrix.Event, Reply) {
	t.Helper()
	event, err := handshake.Event()
	if err != nil {
		t.Fatalf("expected a template from which an event can be built: %v\n%s", err, handshake.Template)
	}
	return event, ask(t, fmt.Sprintf("%s submits the %s %s", handshake.Via, handshake.Membership, event.JSON()), func(ctx context.Context) (*fakeserver.EventAnswer, error) {
		r, err := handshake.Submit(ctx, event.ID(), event.JSON())
		return &fakeserver.EventAnswer{Response: r}, err
	})
}

// OfferInvite has a user of the fake server invite a user of another server, up to and with the
// answer of that server, whatever it is.
func OfferInvite(t testing.TB, room *fakeserver.Room, inviter *fakeserver.User, target matrix.UserID) (*fakeserver.Invitation, Reply) {
	t.Helper()
	var invitation *fakeserver.Invitation
	reply := ask(t, fmt.Sprintf("%s invites %s to %s", inviter.ID(room.Version()), target, room.ID()), func(ctx context.Context) (*fakeserver.EventAnswer, error) {
		var err error
		if invitation, err = room.OfferInvite(ctx, inviter, target); err != nil {
			return nil, err
		}
		return &fakeserver.EventAnswer{Response: invitation.Response}, nil
	})
	return invitation, reply
}

// MustConfirm finishes an invitation that the invited user's server has signed: it is signed for the
// inviter, becomes part of the room and is sent to the servers that it concerns.
func MustConfirm(t testing.TB, room *fakeserver.Room, inviter *fakeserver.User, invitation *fakeserver.Invitation) *matrix.Event {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	event, err := room.Confirm(ctx, inviter, invitation)
	if err != nil {
		t.Fatalf("confirming the invitation to %s: %v", room.ID(), err)
	}
	return event
}

// MustReceiveInvite waits until another server has invited a user of the fake server.
func (p *Peer) MustReceiveInvite(t testing.TB, roomID string, user *fakeserver.User) fakeserver.Invite {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	invite, err := p.WaitInvite(ctx, func(i fakeserver.Invite) bool {
		return i.Operation == fakeserver.OpInvite && i.RoomID == roomID && i.User == user
	})
	if err != nil {
		t.Fatal(err)
	}
	return invite
}

// MustReceiveMember waits for a membership event of the room to be sent to the fake server in a
// transaction, and returns it after checking that it is a valid PDU.
func (r *Room) MustReceiveMember(t testing.TB, userID, membership string) *matrix.Event {
	t.Helper()
	pdu := r.Peer.MustReceive(t, fmt.Sprintf("membership %q of %s", membership, userID), func(pdu fakeserver.PDU) bool {
		return pdu.Via == fakeserver.OpSend && pdu.Event != nil && pdu.Event.RoomID() == r.ID &&
			pdu.Event.IsState("m.room.member", userID) && pdu.Event.Membership() == membership
	})
	r.Peer.MustVerify(t, pdu.Event)
	return pdu.Event
}
