package msc4345

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// visited is a room that fay made; nobody else is in it.
func visited(t testing.TB, list ...blueprints.Setting) *blueprints.Room {
	t.Helper()
	return blueprints.Visited(t, conform.ServerKeyVersion(t), list...)
}

// Room join flow: the joining server requests with its own key, "with the unverified_domain that they are
// advertising their public key from", and joins once it was accepted.
func TestJoiner_RequestsAndJoins(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-03", "MSC4345-FLOW-11", "MSC4345-FLOW-13")
	r := visited(t)
	key := r.Requests(t, r.Alice)
	request := r.Room.State(matrix.ParticipationType, string(key))
	must.NoError(t, "looking for the signature of the server that asks", request.VerifyServerKey(key))
	must.Equal(t, "the server in the sender", request.Sender().Domain(), key)
	domain, _ := request.UnverifiedDomain()
	must.Equal(t, "unverified_domain", domain, r.At)
	must.Equal(t, "request_authorised_via_server", request.RequestAuthorisedVia(), r.Room.Key().Key().Name())
	submitted := r.Peer.MustBeAsked(t, fakeserver.OpSendParticipation)
	conform.Info(t, "MSC4345-FLOW-11", "a request is handed in by "+submitted.Submission().String())

	// Not before: the join of a server that waits is nothing that fay would have to take.
	must.Be(t, len(r.Room.Peers()) == 0, "no user of a server that was not accepted to be in the room")
	must.Be(t, r.Alice.View().Room(r.ID).Section != "join", "clients are not told that they are in a room whose server has not accepted theirs")
	r.FayAccepts(t, key)
	r.MustEnter(conform.Judge(t, "MSC4345-FLOW-13"), r.Alice)
	wait.For(t, "fay to be told of the join", func(context.Context) (bool, error) {
		return r.Room.Membership(request.Sender()) == "join", nil
	})
	r.Fence(t)
}

// GET make_participation: the template is another server's, and the joining server's key signs what it is
// made into. A template for something else than this server's request must not be signed.
func TestJoiner_SignsNoOtherTemplate(t *testing.T) {
	t.Parallel()
	v := conform.ServerKeyVersion(t)
	for _, row := range fakeserver.ForgeriesIn(v) {
		if row.Requirement != "MSC4345-FORGE-23" {
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, row.Requirement)
			r := visited(t)
			honest := r.Another(conform.Setup(t))
			honest.Requests(conform.Setup(t), r.Alice)
			r.Room.ForgeTemplates(row.Forgery)
			r.Alice.Join(t, r.ID, string(r.Peer.Name()))
			r.Peer.MustBeAsked(conform.Setup(t), fakeserver.OpMakeParticipation, about(r))
			for _, e := range r.Peer.Transcript().Exchanges(fakeserver.Is(fakeserver.OpSendParticipation).And(about(r))) {
				// A server may make the request from what it knows itself; it must be an honest one.
				if why := dishonest(r, e.RequestBody); why != "" {
					conform.Violation(t, row.Requirement, "nothing but this server's own request is signed", why+":\n"+string(e.RequestBody))
				}
			}
		})
	}
}

// about matches the requests about a room.
func about(r *blueprints.Room) fakeserver.Matcher {
	return func(e fakeserver.Exchange) bool { return strings.Contains(e.URI, url.PathEscape(r.ID)) }
}

// dishonest is what a homeserver must not have signed in a request to participate in fay's room; empty
// when the request is an honest one in spite of the template that it was made from.
func dishonest(r *blueprints.Room, pdu []byte) string {
	event, err := matrix.ParseEvent(r.Version, pdu)
	if err != nil {
		return "" // which nobody would take
	}
	domain, _ := event.UnverifiedDomain()
	subject, _ := event.StateKey()
	switch {
	case event.RoomID() != r.ID:
		return "it is about another room"
	case event.Type() != matrix.ParticipationType || event.Participation() != matrix.Requested:
		return "it is no request"
	case subject != string(event.Sender().Domain()):
		return "it is about another server than the sender's"
	case domain != r.At:
		return "it names another domain"
	}
	if _, err := matrix.ParseServerKey(string(event.RequestAuthorisedVia())); err != nil {
		return "what is to authorise it is no server key" // whose key it is, nobody outside the room knows
	}
	return ""
}

// Revoked participation: a homeserver whose key was revoked comes again with another one.
func TestJoiner_ComesAgainWithANewKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-19")
	r := visiting(t)
	old := r.ServerKey(t)
	r.FayRevokes(t, old)
	r.MustSeeParticipation(conform.Setup(t), old, matrix.Revoked)
	refused := r.Alice.Send(t, r.ID, "m.room.message", map[string]any{"msgtype": "m.text", "body": "still here"})
	must.RefuseAny(t, refused)

	r.Alice.Leave(t, r.ID)
	key := r.Requests(t, r.Alice)
	must.Be(t, key != old, "another key than the one that was revoked, %s", old)
	r.FayAccepts(t, key)
	r.MustEnter(t, r.Alice)
	said := r.Next(t)
	must.Equal(t, "the server in the sender", said.Sender().Domain(), key)
}

// Room invitation flow: the invited user's server first requests to participate.
func TestJoiner_InvitedUserJoins(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-15")
	r := visited(t, blueprints.Options(func(o *fakeserver.RoomOptions) { o.JoinRule = "invite" }))
	invitation, reply := blueprints.OfferInvite(t, r.Room, r.Fay, matrix.UserID(r.Alice.UserID))
	if reply.StatusCode() != http.StatusOK {
		conform.Skip(t, "how a user is invited whose server's key the room does not know is not said (D-39), and the homeserver has refused it: %s", reply)
	}
	blueprints.MustConfirm(conform.Setup(t), r.Room, r.Fay, invitation)
	key := r.Requests(t, r.Alice)
	r.FayAccepts(t, key)
	r.MustEnter(conform.Judge(t, "MSC4345-FLOW-15"), r.Alice)
	must.Equal(t, "alice's membership in fay's room", r.Room.Membership(aliceAt(r, key)), "join")
	r.Fence(t)
}

// aliceAt is alice's user ID through a server key.
func aliceAt(r *blueprints.Room, key matrix.ServerName) matrix.UserID {
	return matrix.UserID("@" + matrix.UserID(r.Alice.UserID).Localpart() + ":" + string(key))
}
