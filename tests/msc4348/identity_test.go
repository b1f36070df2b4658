package msc4348

import (
	"fmt"
	"regexp"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/matrix"
)

// hosting is a room that alice made and fay joined.
func hosting(t testing.TB, list ...blueprints.Setting) *blueprints.Room {
	t.Helper()
	return blueprints.FayJoined(t, conform.PortableVersion(t), list...)
}

// visiting is a room that fay made and alice joined.
func visiting(t testing.TB, list ...blueprints.Setting) *blueprints.Room {
	t.Helper()
	return blueprints.AliceJoined(t, conform.PortableVersion(t), list...)
}

// portable is the form of user IDs ("Proposal").
var portable = regexp.MustCompile(`^@[A-Za-z0-9_-]{43}$`)

// sent are the kinds of events that the homeserver sends, each with what has alice, who has made the room, send
// one.
func sent() []struct {
	name string
	send func(t testing.TB, r *blueprints.Room) (eventID string)
} {
	return []struct {
		name string
		send func(t testing.TB, r *blueprints.Room) (eventID string)
	}{
		{"a message", func(t testing.TB, r *blueprints.Room) string { return r.Alice.MustSay(t, r.ID, "hello") }},
		{"a state event", func(t testing.TB, r *blueprints.Room) string {
			return r.Alice.MustSendState(t, r.ID, "m.room.topic", "", map[string]any{"topic": "keys"})
		}},
		{"a redaction", func(t testing.TB, r *blueprints.Room) string {
			return r.Alice.MustRedact(t, r.ID, r.Alice.MustSay(t, r.ID, "hello"), "")
		}},
		{"power levels", func(t testing.TB, r *blueprints.Room) string {
			return r.Alice.MustSendState(t, r.ID, "m.room.power_levels", "", map[string]any{"users": map[string]any{r.ClientID(r.Fay): 1}})
		}},
		{"a kick", func(t testing.TB, r *blueprints.Room) string {
			victim := r.Join(t, "victim")
			r.Alice.MustKick(t, r.ID, r.ClientID(victim))
			return membership(t, r, r.UserID(victim), "leave").ID()
		}},
		{"a ban", func(t testing.TB, r *blueprints.Room) string {
			victim := r.Join(t, "victim")
			r.Alice.MustBan(t, r.ID, r.ClientID(victim))
			return membership(t, r, r.UserID(victim), "ban").ID()
		}},
		{"the lifting of a ban", func(t testing.TB, r *blueprints.Room) string {
			victim := r.Join(t, "victim")
			r.Alice.MustBan(t, r.ID, r.ClientID(victim))
			r.Alice.MustUnban(t, r.ID, r.ClientID(victim))
			return membership(t, r, r.UserID(victim), "leave").ID()
		}},
		{"the acceptance of a server", func(t testing.TB, r *blueprints.Room) string {
			key := r.AnotherServer(t, matrix.Requested)
			return r.AliceAccepts(t, key.Key().Name())
		}},
		{"the revocation of a server", func(t testing.TB, r *blueprints.Room) string {
			key := r.AnotherServer(t, matrix.Accepted)
			return r.AliceRevokes(t, key.Key().Name())
		}},
		{"a join", func(t testing.TB, r *blueprints.Room) string {
			_, id := local(t, r, "bob")
			return membership(t, r, id, "join").ID()
		}},
		{"a leave", func(t testing.TB, r *blueprints.Room) string {
			bob, id := local(t, r, "bob")
			bob.MustLeave(t, r.ID)
			return membership(t, r, id, "leave").ID()
		}},
		{"an invite", func(t testing.TB, r *blueprints.Room) string {
			guest := r.Peer.Member(t, "guest")
			if answer := r.Alice.Invite(t, r.ID, r.ClientID(guest)); !answer.OK() {
				conform.Skip(t, "the homeserver does not invite an account that it does not know (D-39): %s", answer)
			}
			return membership(t, r, r.UserID(guest), "invite").ID()
		}},
	}
}

// local is another user of alice's homeserver who has joined the room, and the user ID there.
func local(t testing.TB, r *blueprints.Room, name string) (*csapi.Client, matrix.UserID) {
	t.Helper()
	t = conform.Setup(t)
	user := r.User(t, r.HS.Alias(), name)
	user.MustJoin(t, r.ID)
	return user, r.Received(t, user.MustSay(t, r.ID, "this is me")).Sender()
}

// membership is the event by which a user has a membership, as the homeserver sent it.
func membership(t testing.TB, r *blueprints.Room, id matrix.UserID, which string) *matrix.Event {
	t.Helper()
	return r.Peer.MustReceive(t, fmt.Sprintf("membership %q of %s", which, id), func(pdu fakeserver.PDU) bool {
		return pdu.Event != nil && pdu.Event.RoomID() == r.ID && pdu.Event.IsState("m.room.member", string(id)) && pdu.Membership() == which
	}).Event
}

// MSC4348, "Proposal": "The private key for this account key signs the event JSON over federation. The event is
// then cosigned by a participating server." "Changes to room events", "Changes to room membership": users are
// named by their account keys and nothing else.
func TestEvents_AreSignedTwice(t *testing.T) {
	t.Parallel()
	for _, c := range sent() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-ID-01", "MSC4348-ID-03", "MSC4348-ID-04", "MSC4348-ID-05", "MSC4348-ID-06", "MSC4348-ID-08")
			r := hosting(t)
			mustBePortable(t, r, r.Received(t, c.send(conform.Setup(t), r)))
		})
	}
}

// mustBePortable asserts that an event of the homeserver is one of a portable account: its users are account keys,
// its sender's has signed it, and so has the server's own key, which is accepted in the room.
func mustBePortable(t testing.TB, r *blueprints.Room, e *matrix.Event) {
	t.Helper()
	must.Be(t, portable.MatchString(string(e.Sender())), "a sender that is an account key, got:\n%s", e.JSON())
	for field, id := range blueprints.Identified(e.JSON()) {
		must.Be(t, portable.MatchString(string(id)), "account keys in %s, got:\n%s", field, e.JSON())
	}
	must.NoError(t, "verifying both signatures of "+string(e.JSON()), r.Signatures(e))
	own := r.ServerKey(t)
	must.Be(t, len(e.SignatureKeyIDs(string(own))) > 0, "a signature by %s, the server's accepted key, got:\n%s", own, e.JSON())
	must.Be(t, len(e.SignatureKeyIDs(string(r.At))) == 0, "no signature in the name of the domain, got:\n%s", e.JSON())
}

// MSC4348, "Proposal"; MSC4345, "Room creation flow". D-53: the room begins with events that the creator and the
// creator's server have signed, before anybody is accepted.
func TestEvents_ARoomBegins(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ID-10")
	r := hosting(t)
	judge := conform.Judge(t, "MSC4348-ID-10")
	create := r.Room.State("m.room.create", "")
	must.NoError(judge, "verifying both signatures of the create event", r.Signatures(create))
	key := r.ServerKey(t)
	participation := r.Room.State(matrix.ParticipationType, string(key))
	must.NoError(judge, "verifying both signatures of the first participation", r.Signatures(participation))
	must.Equal(judge, "sender of the first participation", participation.Sender(), create.Sender())
	must.Equal(judge, "previous events of the first participation", fmt.Sprint(participation.PrevEvents()), fmt.Sprint([]string{create.ID()}))
	join := r.Room.State("m.room.member", string(create.Sender()))
	must.Be(judge, join != nil && join.Depth() > participation.Depth(), "the creator's join after the server's acceptance")
	for _, e := range r.Room.FullState() {
		if e.Sender() == create.Sender() {
			mustBePortable(judge, r, e)
		}
	}
}

// D-53: a room of another server, which begins as the text is read, can be joined.
func TestEvents_ARoomOfAnotherServerBegins(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ID-10")
	r := visiting(t)
	state := r.StateBefore(t, r.Next(t))
	for _, e := range []*matrix.Event{r.Room.State("m.room.create", ""), r.Room.State(matrix.ParticipationType, string(r.Room.Key().Key().Name()))} {
		must.Contain(conform.Judge(t, "MSC4348-ID-10"), "the state of the joined room", state, e.ID())
	}
}

// MSC4345, "Situations where m.server.participation is sent on behalf of the server". D-53: the account that sends
// the homeserver's request signs it, and so does the key that it is about.
func TestEvents_ARequestIsSignedTwice(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ID-11")
	r := blueprints.Visited(t, conform.PortableVersion(t))
	r.Alice.Join(t, r.ID, string(r.Peer.Name())) // whatever the client is told
	submitted := r.Peer.MustBeAsked(conform.Setup(t), fakeserver.OpSendParticipation)
	judge := conform.Judge(t, "MSC4348-ID-11")
	request, err := matrix.ParseEvent(r.Version, submitted.RequestBody)
	must.NoError(judge, "reading the request to participate", err)
	text, _ := request.StateKey()
	key, err := matrix.ParseServerKey(text)
	must.NoError(judge, "reading the server key in the request", err)
	must.Be(judge, portable.MatchString(string(request.Sender())), "a sender that is an account key, got:\n%s", request.JSON())
	must.NoError(judge, "verifying the signature of the sender", request.VerifyAccountKey(request.Sender()))
	must.NoError(judge, "verifying the signature of the server", request.VerifyServerKey(key.Name()))
}

// D-53: the homeserver, asked to authorise a request, adds its own signature to those of the account and of the
// requesting server.
func TestEvents_ARequestIsAuthorised(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ID-11")
	r := blueprints.Hosted(t, conform.PortableVersion(t))
	petition := r.FayRequests(conform.Judge(t, "MSC4348-ID-11"))
	must.NoError(conform.Judge(t, "MSC4348-ID-11"), "verifying the signature of the sender", petition.Event.VerifyAccountKey(petition.Event.Sender()))
	must.NoError(conform.Judge(t, "MSC4348-ID-11"), "verifying the signature of the server", petition.Event.VerifyServerKey(petition.ServerKey.Key().Name()))
	r.MustSeeParticipation(conform.Judge(t, "MSC4348-ID-11"), petition.ServerKey.Key().Name(), matrix.Requested)
}

// MSC4348, "Proposal": "Leaving and rejoining the same room MUST NOT change the account key."
func TestAccountKey_StaysOverRejoin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		room func(testing.TB, ...blueprints.Setting) *blueprints.Room
	}{{"in the homeserver's own room", hosting}, {"in another server's room", visiting}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-ID-02")
			r := c.room(t)
			setup := conform.Setup(t)
			user, before := local(t, r, "bob")
			user.MustLeave(setup, r.ID)
			membership(setup, r, before, "leave")
			user.MustJoin(setup, r.ID, string(r.Peer.Name()))
			after := r.Received(setup, user.MustSay(setup, r.ID, "back again")).Sender()
			must.Equal(t, "user ID after leaving and joining again", after, before)
		})
	}
}

// MSC4348, "Changes to room membership": a membership is an account key's. What has a domain is nobody's.
func TestMembership_WithoutDomain(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"invite", "ban", "leave"} {
		for _, form := range []string{"@{stranger-key}:{domain}", "@{stranger-key}:{server-key}", "@{name}:{domain}"} {
			t.Run(kind+" of "+form, func(t *testing.T) {
				t.Parallel()
				conform.Covers(t, "MSC4348-ID-06")
				r := visiting(t)
				honest := blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, fakeserver.Membership(r.UserID(r.Peer.Member(t, "guest")), "ban"))
				forged := r.Forge(t, r.Fay, fakeserver.Membership(r.UserID(r.Peer.Member(t, "guest")), kind), fakeserver.Forgery{StateKey: form})
				blueprints.MustDeliver(conform.Setup(t), r.Room, forged.PDU)
				r.Fence(t)
				if got := r.Observe(t, fakeserver.AsForged(honest)); !got.InState {
					conform.Inconclusive(t, "the control failed: the ban of an account key is not in the state: %s", got)
				}
				if got := r.Observe(t, forged); got.Effective() {
					conform.Violation(t, "MSC4348-ID-06", "a membership whose state_key has a domain has no effect", got.String())
				}
			})
		}
	}
}

// MSC4348, "Proposal": "network requests are not required to verify the signature of inbound events as all public
// keys are available in the DAG."
func TestSignatures_NeedNoRequests(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ID-07")
	r := hosting(t)
	setup := conform.Setup(t)
	elsewhere := r.Scene.Peer(t)
	key := elsewhere.MintServerKey()
	// It tells who its account is, which a homeserver may want before it shows what that says (D-58).
	for _, op := range []fakeserver.Operation{fakeserver.OpServerKeys, fakeserver.OpNotary} {
		elsewhere.Override(op, fakeserver.With(fakeserver.Errorf(500, "M_UNKNOWN", "no keys here")))
	}
	elsewhere.AnswerServerKeys(fakeserver.KeyAnswer{Omit: true}) // and no error, which would keep others from asking for names
	// The server of gil speaks to nobody; fay's hands its events on.
	gil := elsewhere.Member(t, "gil")
	request := fakeserver.Participates(key.Key().Name(), matrix.Requested).With("unverified_domain", elsewhere.Name())
	blueprints.MustSend(setup, r.Room, gil, request.Through(key).AuthorisedBy(r.Room.Key()))
	r.MustSeeParticipation(setup, key.Key().Name(), matrix.Requested)
	r.AliceAccepts(setup, key.Key().Name())
	r.Room.Ignore(elsewhere.Name())

	blueprints.MustSend(setup, r.Room, gil, fakeserver.Membership(r.UserID(gil), "join").Through(key))
	message := blueprints.MustSend(setup, r.Room, gil, fakeserver.Message("by way of fay's server").Through(key))
	conform.Expect(t, "an event whose keys are in the room is accepted, although its server tells nobody of keys")
	r.Alice.MustSee(t, r.ID, message.ID())
	for _, op := range []fakeserver.Operation{fakeserver.OpServerKeys, fakeserver.OpNotary} {
		asked := elsewhere.Transcript().Exchanges(fakeserver.Is(op))
		must.Be(t, len(asked) == 0, "no request for the signing keys of the domain, got:\n%s", elsewhere.Transcript().Print(fakeserver.Is(op)))
	}
}
