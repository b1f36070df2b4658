package msc4348

import (
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// timeOf is when an event was sent.
func timeOf(f fakeserver.Forged) time.Time {
	return time.UnixMilli(gjson.GetBytes(f.PDU, "origin_server_ts").Int())
}

// MSC4348, "Proposal"; D-55: signatures are no part of the event ID, so that anybody on the way can strip them off. A
// bad copy that came first does not stand in the way of the good one.
func TestForge_BadCopyFirst(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, requirement string
		forgery           fakeserver.Forgery
	}{
		{"not co-signed", "MSC4348-FORGE-10", fakeserver.Forgery{CoSignature: fakeserver.CoSignature{Omit: true}}},
		{"co-signed by another accepted server", "MSC4348-FORGE-09", fakeserver.Forgery{CoSignature: fakeserver.CoSignature{By: fakeserver.OtherServer}}},
		{"co-signed badly", "MSC4348-FORGE-10", fakeserver.Forgery{CoSignature: fakeserver.CoSignature{FlipBits: []int{300}}}},
		{"not signed by the account", "MSC4348-FORGE-02", fakeserver.Forgery{OmitSenderSignature: true}},
		{"signed by another account", "MSC4348-FORGE-04", fakeserver.Forgery{SignWith: fakeserver.StrangerKey}},
		{"not signed at all", "MSC4348-FORGE-02", fakeserver.Forgery{OmitSignatures: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, c.requirement)
			r := hosting(t)
			r.AnotherServer(t, matrix.Accepted)
			for _, d := range []fakeserver.Draft{fakeserver.Message("a copy"), fakeserver.Membership(r.UserID(r.Fay), "join").With("displayname", "Fay")} {
				good := r.Forge(t, r.Fay, d, fakeserver.Forgery{})
				placed := d
				placed.Time = timeOf(good)
				bad := r.Forge(t, r.Fay, placed, c.forgery)
				if good.EventID != bad.EventID {
					conform.HarnessError(t, "the copies %s and %s are not one event", good.EventID, bad.EventID)
				}
				blueprints.MustDeliver(conform.Setup(t), r.Room, bad.PDU)
				r.Fence(t)
				if got := r.Observe(t, bad); got.Effective() {
					conform.Violation(t, c.requirement, "an event that is "+c.name+" has no effect", got.String())
				}
				blueprints.MustDeliver(conform.Setup(t), r.Room, good.PDU)
				r.Fence(t)
				if got := r.Observe(t, good); !got.Effective() {
					conform.Violation(t, c.requirement, "the good copy is accepted after the bad one", got.String())
				}
				r.Keep(t, good)
			}
		})
	}
}

// MSC4348, "Proposal": an account's signature covers the room that the event is of. An event of one room is none of
// another, whoever co-signs it there.
func TestForge_ReplayedInAnotherRoom(t *testing.T) {
	t.Parallel()
	v := conform.PortableVersion(t)
	for _, row := range table(v).Rows {
		if row.Requirement != "MSC4348-FORGE-12" {
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, row.Requirement)
			here := hosting(t)
			there := here.AnotherHosted(t)
			here.Room.SetCast(fakeserver.Cast{OtherRoom: there.Room, OtherServer: there.Room.Key()})
			d := fakeserver.Message("said here")
			if row.On == fakeserver.JoinEvent {
				d = fakeserver.Membership(here.UserID(here.Fay), "join").With("displayname", "Fay")
			}
			honest := here.Forge(t, here.Fay, d, fakeserver.Forgery{})
			blueprints.MustDeliver(conform.Setup(t), here.Room, honest.PDU)
			here.Fence(t)
			if got := here.Observe(t, honest); !got.Effective() {
				conform.Inconclusive(t, "the control failed: the event is not accepted in its own room: %s", got)
			}
			replayed := here.Forge(t, here.Fay, d, row.Forgery)
			blueprints.MustDeliver(conform.Setup(t), there.Room, replayed.PDU)
			there.Fence(t)
			if got := there.Observe(t, replayed); got.Effective() {
				conform.Violation(t, row.Requirement, "an event of another room has no effect", got.String())
			}
		})
	}
}

// MSC4348, "Proposal": the account's signature is of one event. Here everything is as it should be in the room but that
// the signature was made for an event of another room that is alike.
func TestForge_SignatureOfAnotherRoom(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-FORGE-12")
	here := hosting(t)
	there := here.AnotherHosted(t)
	d := fakeserver.Message("said here")
	honest := here.Forge(t, here.Fay, d, fakeserver.Forgery{})
	d.Time = timeOf(honest)
	signature := gjson.GetBytes(honest.PDU, "signatures").Map()[here.Fay.Key()].Get("ed25519:1").Raw
	control := there.Forge(t, there.Fay, d, fakeserver.Forgery{})
	blueprints.MustDeliver(conform.Setup(t), there.Room, control.PDU)
	there.Keep(t, control)
	there.Fence(t)
	if got := there.Observe(t, control); !got.Effective() {
		conform.Inconclusive(t, "the control failed: an event with its own signature is not accepted: %s", got)
	}
	forged := there.Forge(t, there.Fay, d, fakeserver.Forgery{SignatureJSON: signature})
	blueprints.MustDeliver(conform.Setup(t), there.Room, forged.PDU)
	there.Fence(t)
	if got := there.Observe(t, forged); got.Effective() {
		conform.Violation(t, "MSC4348-FORGE-12", "an event with the signature of another room's event has no effect", got.String())
	}
}

// MSC4348, "Proposal"; room version 12, rule 5.2 and 5.4: where several accounts have to sign, each has to. D-05: that an
// invited account signs MSC4348 does not ask.
func TestForge_SeveralAccounts(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-FORGE-11")
	r := visiting(t, blueprints.Options(func(o *fakeserver.RoomOptions) { o.PowerLevels = map[string]any{"invite": 0} }))
	guest := r.Peer.Member(t, "guest")
	invite := r.Forge(t, r.Fay, fakeserver.Membership(r.UserID(guest), "invite"), fakeserver.Forgery{})
	blueprints.MustDeliver(conform.Setup(t), r.Room, invite.PDU)
	r.Fence(t)
	conform.Info(t, "MSC4348-FORGE-11", "an invite that the invited account has not signed: "+r.Observe(t, invite).String())
}
