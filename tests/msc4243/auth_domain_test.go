package msc4243

import (
	"net/http"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
)

// Room version 12, authorization rule 4: in a room that does not federate, the domain of every sender
// is that of the creator. Here both are domains of account key user IDs, which nobody has proved.
func TestAuthRules_Federate(t *testing.T) {
	t.Parallel()
	v := conform.AccountKeyVersion(t)
	t.Run("of another server's room", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-AUTH-05")
		open := blueprints.AliceJoined(t, v) // control: the same without m.federate
		closed := open.AnotherWith(t, fakeserver.RoomOptions{CreateContent: map[string]any{"m.federate": false}})
		if response := closed.Alice.Join(t, closed.ID, string(closed.Peer.Name())); response.OK() {
			conform.Violation(t, "MSC4243-AUTH-05", "a homeserver does not join a room of another domain that does not federate", response.String())
		}
	})
	t.Run("of a room of the homeserver", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-AUTH-05")
		open := blueprints.FayJoined(t, v) // control: the same without m.federate
		id := open.Alice.MustCreateRoom(conform.Setup(t), map[string]any{
			"preset": "public_chat", "room_version": v.ID, "creation_content": map[string]any{"m.federate": false},
		})
		made := open.Peer.Make(t, open.At, "join", id, string(open.Fay.KeyID()), v.ID)
		if made.StatusCode() == http.StatusOK {
			conform.Violation(t, "MSC4243-AUTH-05", "nobody of another domain is offered a join", made.String())
		}
	})
}

// Room version 12, "Handling redactions": the sender of a redaction has the power to redact, or is of
// the domain of the event's sender.
func TestAuthRules_Redactions(t *testing.T) {
	t.Parallel()
	v := conform.AccountKeyVersion(t)
	for _, c := range []struct {
		by      string
		applies bool
		redact  func(t *testing.T, r *blueprints.Room, eventID string)
	}{
		{"the sender", true, func(t *testing.T, r *blueprints.Room, eventID string) {
			blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, fakeserver.Redaction(eventID))
		}},
		{"a verified user of the same server", true, func(t *testing.T, r *blueprints.Room, eventID string) {
			blueprints.MustSend(conform.Setup(t), r.Room, r.Join(t, "carol"), fakeserver.Redaction(eventID))
		}},
		{"a creator of another server", true, func(t *testing.T, r *blueprints.Room, eventID string) {
			r.Alice.MustRedact(t, r.ID, eventID, "because")
		}},
		{"a user of another server without power", false, func(t *testing.T, r *blueprints.Room, eventID string) {
			elsewhere := r.Scene.Peer(t)
			stranger := elsewhere.Member(t, "stranger")
			room := elsewhere.MustJoin(conform.Setup(t), r.At, v, r.ID, stranger)
			r.Alice.MustSeeMember(conform.Setup(t), r.ID, r.ClientID(stranger), "join")
			redaction := blueprints.NewEvent(t, room, stranger, fakeserver.Redaction(eventID))
			blueprints.MustDeliver(conform.Setup(t), room, redaction.JSON())
			r.Alice.MustSee(conform.Setup(t), r.ID, blueprints.MustSend(conform.Setup(t), room, stranger, fakeserver.Message("sentinel")).ID())
		}},
	} {
		t.Run("by "+c.by, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-AUTH-07")
			r := blueprints.FayJoined(t, v)
			said := r.Fence(t).ID()
			c.redact(t, r, said)
			if c.applies {
				r.MustSeeRedacted(t, said)
				return
			}
			r.Fence(t)
			must.Field(t, r.Alice.Event(conform.Setup(t), r.ID, said).MustOK(t), "content.body", "sentinel")
		})
	}
}

// The same rule, for a user who only claims the domain of the homeserver: nothing proves a domain, and
// what a homeserver should do is open.
func TestAuthRules_RedactionByAClaimedDomain(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-AUTH-06")
	r := hosting(t)
	setup := conform.Setup(t)
	said := r.Alice.MustSay(setup, r.ID, "to be redacted")
	r.Peer.MustReceiveEvent(setup, said)

	pretender := r.Peer.Member(t, "pretender")
	claim := fakeserver.Forgery{Sender: "@{key}:" + string(r.At)}
	join := r.Forge(t, pretender, fakeserver.Membership(pretender.KeyID(), "join"), claim)
	r.Peer.SendPDUs(setup, r.At, join.PDU)
	r.Keep(t, join)
	redaction := r.Forge(t, pretender, fakeserver.Redaction(said), claim)
	r.Peer.SendPDUs(setup, r.At, redaction.PDU)
	r.Fence(t)
	joined := r.Observe(t, join)
	content := r.Alice.Event(setup, r.ID, said).MustOK(setup).Get("content").Raw
	conform.Info(t, "MSC4243-AUTH-06", "the join of a made-up user of the homeserver's domain: "+joined.String()+
		"; a message of a local user after that user's redaction of it has the content "+content)
}
