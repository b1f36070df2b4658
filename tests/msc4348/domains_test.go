package msc4348

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// MSC4348, "Backwards incompatibility of user IDs"; room version 12, "Handling redactions". D-52: where redactions go by
// the domain of user IDs, they go by the server that has co-signed.
func TestDomains_RedactionThroughTheSameServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		same bool
	}{{"through the same server", true}, {"through another server", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-ID-09")
			r := visiting(t)
			server := r.Room.Key()
			if !c.same {
				server = r.AnotherServer(t, matrix.Accepted)
			}
			mallory := r.Peer.Member(t, "mallory")
			blueprints.MustSend(conform.Setup(t), r.Room, mallory, fakeserver.Membership(r.UserID(mallory), "join").Through(server))
			target := blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, fakeserver.Message("to be redacted"))
			r.Alice.MustSee(conform.Setup(t), r.ID, target.ID())
			redaction := blueprints.NewEvent(t, r.Room, mallory, fakeserver.Redaction(target.ID()).Through(server))
			blueprints.MustDeliver(conform.Setup(t), r.Room, redaction.JSON())
			r.Fence(t)
			redacted := r.Alice.Event(t, r.ID, target.ID()).MustOK(t).Get("content").Raw == "{}"
			conform.Observed(t, "a redaction by another user %s counts: %t", c.name, redacted)
			if redacted != c.same {
				conform.Violation(t, "MSC4348-ID-09", fmt.Sprintf("a redaction by another user %s counts: %t", c.name, c.same), fmt.Sprint(redacted))
			}
		})
	}
}

// MSC4348, "Backwards incompatibility of user IDs"; server-server API, "Typing notifications". D-52: a server speaks for
// the users whose memberships it has co-signed.
func TestDomains_EphemeralEventsFromTheCoSigner(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ID-09")
	m := migrating(t)
	mia := m.Mover(t, "mia")
	types := func(peer *blueprints.Peer, id matrix.UserID) {
		edu, err := fakeserver.NewEDU("m.typing", map[string]any{"room_id": m.ID, "user_id": id, "typing": true})
		if err != nil {
			conform.HarnessError(t, "%v", err)
		}
		if _, err := peer.SendTransaction(t.Context(), m.At, nil, []json.RawMessage{edu}); err != nil {
			conform.Inconclusive(t, "%v", err)
		}
	}
	seen := func(id matrix.UserID) bool {
		for _, e := range m.Alice.View().Room(m.ID).Ephemeral {
			for _, user := range e.Get("content.user_ids").Array() {
				if user.Str == string(id) {
					return true
				}
			}
		}
		return false
	}
	types(m.New, mia.ID) // which is not mia's server
	types(m.Peer, m.UserID(m.Fay))
	err := wait.Until(wait.Context(t), wait.Limit()/4, "fay to be typing", func(context.Context) (bool, error) {
		m.Fence(t)
		return seen(m.UserID(m.Fay)), nil
	})
	conform.Info(t, "MSC4348-ID-09", fmt.Sprintf("clients are shown that users of other servers type, by account key user ID: %t", err == nil))
	if seen(mia.ID) {
		conform.Violation(t, "MSC4348-ID-09", "nobody types for a user but the server that has co-signed the membership", "a client is shown that "+string(mia.ID)+" is typing")
	}
}

// MSC4348, "Backwards incompatibility of user IDs"; room version 12, rule 3. D-52: where m.federate goes by the domain of
// user IDs, it goes by the server that has co-signed.
func TestDomains_NotFederated(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ID-09")
	r := blueprints.Visited(t, conform.PortableVersion(t), blueprints.Options(func(o *fakeserver.RoomOptions) {
		o.CreateContent = map[string]any{"m.federate": false}
	}))
	response := r.Alice.Join(t, r.ID, string(r.Peer.Name()))
	for _, key := range r.Room.Participants(matrix.Requested) {
		r.FayAccepts(t, key)
		response = r.Alice.Join(t, r.ID, string(r.Peer.Name()))
	}
	conform.Observed(t, "a join by another server of a room that is not federated is answered %d", response.Status)
	if response.OK() {
		conform.Violation(t, "MSC4348-ID-09", "nobody joins a room that is not federated through another server than the creator's", response.String())
	}
}

// Room version 12, "Handling redactions", compares the domains of user IDs, so that users redact what they have sent.
// D-52: an account that has moved is the same user.
func TestDomains_RedactionAfterAMove(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ID-09")
	m := migrating(t)
	mia := m.Mover(t, "mia")
	target := m.Say(t, mia.User, fakeserver.Message("sent before").Through(mia.From))
	m.MustSee(conform.Setup(t), target)
	m.Join(t, mia, mia.To)
	m.Say(t, mia.User, fakeserver.Redaction(target.ID()).Through(mia.To))
	m.Fence(t)
	for _, site := range m.Sites {
		if content := site.Alice.Event(t, m.ID, target.ID()).MustOK(t).Get("content").Raw; content != "{}" {
			conform.Violation(t, "MSC4348-ID-09", "an account redacts what it has sent through another server", site.HS.Alias()+" shows "+content)
		}
	}
}
