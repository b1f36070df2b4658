package msc4243

import (
	"fmt"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// thief is a second fake server in the room, honest in everything but that it holds fay's account
// key.
type thief struct {
	*blueprints.Peer
	room *fakeserver.Room
	// honest is the thief's own user, who is in the room; stolen is a user with fay's account key,
	// who is not.
	honest, stolen *fakeserver.User
}

// stealing is a room of alice's with fay and a thief's own user in it, both of them seen by alice.
func stealing(t *testing.T, v matrix.RoomVersion) (*blueprints.Room, thief) {
	t.Helper()
	r := blueprints.FayJoined(t, v, blueprints.Create("power_level_content_override", map[string]any{"state_default": 0}))
	setup := conform.Setup(t)
	th := thief{Peer: r.Scene.Peer(t)}
	th.honest = th.Member(t, "thief")
	th.stolen = th.Member(t, "stolen", fakeserver.WithAccount(r.Fay.Account()))
	th.room = th.MustJoin(setup, r.At, v, r.ID, th.honest)
	r.Alice.MustSeeMember(setup, r.ID, r.ClientID(th.honest), "join")
	return r, th
}

// forge builds an event in the thief's copy of the room and sends it.
func (th thief) forge(t *testing.T, at matrix.ServerName, author *fakeserver.User, d fakeserver.Draft, f fakeserver.Forgery) fakeserver.Forged {
	t.Helper()
	forged, err := th.room.Forge(author, d, f)
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	th.SendPDUs(conform.Setup(t), at, forged.PDU)
	return forged
}

// fence has the thief's own user send a message and waits until alice sees it.
func (th thief) fence(t *testing.T, r *blueprints.Room) {
	t.Helper()
	setup := conform.Setup(t)
	sentinel := blueprints.MustSend(setup, th.room, th.honest, fakeserver.Message("sentinel"))
	r.Alice.MustSee(setup, r.ID, sentinel.ID())
}

// MSC4243, "Security Considerations": a stolen key at another domain is a new identity, which is not
// in the room.
func TestForge_StolenKeyAtAnotherDomain(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-FORGE-23", "MSC4243-ID-09")
	r, th := stealing(t, conform.AccountKeyVersion(t))

	// Control: fay's own event, and the thief's.
	honest := blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, blueprints.Probe())
	r.Alice.MustSee(conform.Setup(t), r.ID, honest.ID())
	th.fence(t, r)

	forged := th.forge(t, r.At, th.stolen, blueprints.Probe(), fakeserver.Forgery{})
	th.fence(t, r)
	if got := r.Observe(t, forged); got.Effective() {
		conform.Violation(t, "MSC4243-FORGE-23", "an event of a member's key at another domain, which is no member, has no effect", got.String())
	}

	// The signature is good, so it was the authorization that failed: the same identity may join.
	join := th.forge(t, r.At, th.stolen, fakeserver.Membership(th.stolen.KeyID(), "join"), fakeserver.Forgery{})
	if got := r.Eventually(t, join); !got.Effective() {
		conform.Inconclusive(t, "the control failed: the stolen key cannot join a public room under its own domain; %s", got)
	}
}

// MSC4243, "Security Considerations": the domain is covered by the signature.
func TestForge_RelabelledDomain(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-FORGE-24")
	r, th := stealing(t, conform.AccountKeyVersion(t))
	r.Fence(t)
	th.fence(t, r)

	// Fay's own join, with the thief's domain in place of fay's.
	relabelled := fakeserver.Forgery{LateEdits: []fakeserver.Edit{
		{Path: "sender", JSON: `"@{key}:` + string(th.Name()) + `"`}, {Path: "state_key", JSON: `"@{key}:` + string(th.Name()) + `"`},
	}}
	forged := r.Forge(t, r.Fay, fakeserver.Membership(r.Fay.KeyID(), "join"), relabelled)
	th.SendPDUs(conform.Setup(t), r.At, forged.PDU)
	th.fence(t, r)
	if got := r.Observe(t, forged); got.Effective() {
		conform.Violation(t, "MSC4243-FORGE-24", "an event whose domain was changed after signing has no effect", got.String())
	}
}

// MSC4243, "Security Considerations": whoever delivers an event, its account key and its domain are
// all that identify its sender. The thief makes a room in which fay, of another server, is a member;
// all that the homeserver hears about fay comes from the thief.
func TestForge_StolenKeyAtItsOwnDomain(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-FORGE-25")
	r := blueprints.Visited(t, conform.AccountKeyVersion(t))
	author := r.Scene.Peer(t).Member(t, "absent")

	join := r.Forge(t, author, fakeserver.Membership(author.KeyID(), "join"), fakeserver.Forgery{})
	r.Keep(t, join)
	setup := conform.Setup(t)
	r.Alice.MustJoin(setup, r.ID, string(r.Peer.Name()))
	r.Alice.MustSeeMember(setup, r.ID, r.Alice.UserID, "join")

	stolen := r.Forge(t, author, fakeserver.Message("from afar"), fakeserver.Forgery{})
	r.Peer.SendPDUs(setup, r.At, stolen.PDU)
	r.Fence(t)
	got := r.Observe(t, join)
	if !got.InState {
		conform.Violation(t, "MSC4243-FORGE-25", "a member's signed join counts, whichever server hands it out", got.String())
	}
	// Some homeservers take events in a transaction only from the sender's own server.
	conform.Info(t, "MSC4243-FORGE-25", "an event of another server's user, delivered in a transaction: "+r.Observe(t, stolen).String())
}

// Room version 12: the room ID is signed, and events of one room say nothing in another.
func TestForge_Replay(t *testing.T) {
	v := conform.AccountKeyVersion(t)
	for _, c := range []struct {
		name    string
		forgery fakeserver.Forgery
	}{
		{"room-id-changed", fakeserver.Forgery{LateEdits: []fakeserver.Edit{{Path: "room_id", JSON: `"{other-room}"`}}}},
		{"cites-another-room", fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "room_id", JSON: `"{other-room}"`}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-FORGE-26", "MSC4243-FORGE-19")
			// Two rooms with the same members; fay has power in the first one only.
			powerful := blueprints.Create("power_level_content_override", map[string]any{"state_default": 0})
			there := blueprints.FayJoined(t, v, powerful)
			here := *there
			here.ID = here.Alice.MustCreateRoom(conform.Setup(t), map[string]any{
				"preset": "public_chat", "room_version": v.ID, "power_level_content_override": map[string]any{"state_default": 0},
			})
			here.FayJoins(t)
			here.Fence(t)
			there.Fence(t)

			there.Room.SetCast(fakeserver.Cast{OtherRoom: here.Room})
			forged := there.Forge(t, there.Fay, blueprints.Probe(), c.forgery)
			there.Peer.SendPDUs(conform.Setup(t), there.At, forged.PDU)
			here.Fence(t)
			if got := here.Observe(t, forged); got.Effective() {
				conform.Violation(t, "MSC4243-FORGE-26", "an event made for one room has no effect in another", got.String())
			}
		})
	}
}

// Room version 12: the room ID is the hash of the create event, so another create event is another
// room's.
func TestForge_ReplacedCreateEvent(t *testing.T) {
	v := conform.AccountKeyVersion(t)
	for _, row := range fakeserver.Forgeries() {
		if row.On != fakeserver.CreateEvent {
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-FORGE-27", "MSC4243-FORGE-51")
			r := blueprints.Visited(t, v)
			original := r.Room.State("m.room.create", "")
			other := r.Peer.Member(t, "other")
			forged, err := fakeserver.Forge(fakeserver.Proto{
				ProtoEvent: matrix.ProtoEvent{
					Type: "m.room.create", StateKey: matrix.StateKey(""), Sender: original.Sender(), Content: original.Content(),
					Depth: original.Depth(), OriginServerTS: original.OriginServerTS(),
				},
				Version: v, Author: r.Fay, Cast: fakeserver.Cast{Other: other},
			}, row.Forgery)
			if err != nil {
				conform.HarnessError(t, "%v", err)
			}
			r.Room.Plant(forged)
			if response := r.Alice.Join(t, r.ID, string(r.Peer.Name())); response.OK() {
				r.Alice.MustSeeMember(conform.Setup(t), r.ID, r.Alice.UserID, "join")
				r.Fence(t)
				if got := r.Observe(t, forged); got.Effective() {
					conform.Violation(t, "MSC4243-FORGE-27", "a create event that is not the room's has no effect", got.String())
				}
			}

			// Control: the homeserver joins a room with its own create event.
			control := r.Another(t)
			setup := conform.Setup(t)
			control.Alice.MustJoin(setup, control.ID, string(r.Peer.Name()))
			control.Alice.MustSeeMember(setup, control.ID, control.Alice.UserID, "join")
		})
	}
}

// Server-server API, "Joining Rooms": a membership is handed in by the server of its user.
func TestForge_HandshakeForAnotherDomain(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-FORGE-58")
	v := conform.AccountKeyVersion(t)
	r, th := stealing(t, v)
	setup := conform.Setup(t)
	stranger := r.Peer.Member(t, "stranger")

	// The thief asks for a template for its own user, and hands in a join of a user of fay's server.
	handshake, err := th.Begin(wait.Context(t), r.At, "join", r.ID, th.Member(t, "second"), fakeserver.InRoomVersion(v))
	must.NoError(setup, "make_join for the thief's own user", err)
	handshake.User = stranger
	foreign, err := handshake.Event()
	must.NoError(t, "building the join", err)
	answer, err := handshake.Submit(wait.Context(t), foreign.ID(), foreign.JSON())
	must.NoError(setup, "send_join", err)
	th.fence(t, r)
	got := r.Observe(t, fakeserver.Forged{PDU: foreign.JSON(), EventID: foreign.ID(), Version: v})
	if answer.Status/100 == 2 || got.Effective() {
		conform.Violation(t, "MSC4243-FORGE-58", "send_join refuses the join of a user of another server",
			fmt.Sprintf("status %d, %s; %s", answer.Status, answer.Body, got))
	}

	// Control: the user's own server hands in their join.
	r.Peer.MustJoin(setup, r.At, v, r.ID, stranger)
}
