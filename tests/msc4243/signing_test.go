package msc4243

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Proposal: "The private key for the sender's account key signs the event JSON over federation."
// Whatever a user does becomes an event that their key has signed; bob starts outside of the room.
func TestEvents_AreSignedByTheSender(t *testing.T) {
	t.Parallel()
	type act = func(t testing.TB, r *blueprints.Room, bob *csapi.Client)
	joins := func(t testing.TB, r *blueprints.Room, bob *csapi.Client) { bob.MustJoin(t, r.ID) }
	for _, c := range []struct {
		what   string
		before act // what must be so for the event to be possible
		act    act
		event  func(e *matrix.Event) bool
	}{
		{"a message", nil, func(t testing.TB, r *blueprints.Room, _ *csapi.Client) { r.Alice.MustSay(t, r.ID, "hello") }, ofType("m.room.message")},
		{"a state event", nil, func(t testing.TB, r *blueprints.Room, _ *csapi.Client) {
			r.Alice.MustSendState(t, r.ID, "m.room.topic", "", map[string]any{"topic": "keys"})
		}, ofType("m.room.topic")},
		{"a redaction", nil, func(t testing.TB, r *blueprints.Room, _ *csapi.Client) {
			r.Alice.MustRedact(t, r.ID, r.Alice.MustSay(t, r.ID, "oops"), "")
		}, ofType("m.room.redaction")},
		{"a join", nil, joins, membership("join", true)},
		{"a new display name", joins, func(t testing.TB, _ *blueprints.Room, bob *csapi.Client) {
			bob.SetProfile(t, "displayname", "Robert").MustOK(t)
		}, func(e *matrix.Event) bool { return e.Get("displayname").String() == "Robert" }},
		{"a leave", joins, func(t testing.TB, r *blueprints.Room, bob *csapi.Client) { bob.MustLeave(t, r.ID) }, membership("leave", true)},
		{"an invite", nil, func(t testing.TB, r *blueprints.Room, bob *csapi.Client) { r.Alice.MustInvite(t, r.ID, bob.UserID) }, membership("invite", false)},
		{"a kick", joins, func(t testing.TB, r *blueprints.Room, bob *csapi.Client) { r.Alice.MustKick(t, r.ID, bob.UserID) }, membership("leave", false)},
		{"a ban", joins, func(t testing.TB, r *blueprints.Room, bob *csapi.Client) { r.Alice.MustBan(t, r.ID, bob.UserID) }, membership("ban", false)},
		{"the end of a ban", func(t testing.TB, r *blueprints.Room, bob *csapi.Client) {
			bob.MustJoin(t, r.ID)
			r.Alice.MustBan(t, r.ID, bob.UserID)
		}, func(t testing.TB, r *blueprints.Room, bob *csapi.Client) { r.Alice.MustUnban(t, r.ID, bob.UserID) }, membership("leave", false)},
		{"a knock", func(t testing.TB, r *blueprints.Room, _ *csapi.Client) {
			r.Alice.MustSendState(t, r.ID, "m.room.join_rules", "", map[string]any{"join_rule": "knock"})
		}, func(t testing.TB, r *blueprints.Room, bob *csapi.Client) { bob.MustKnock(t, r.ID) }, membership("knock", true)},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-SIG-01")
			r := hosting(t)
			setup := conform.Setup(t)
			bob := r.User(t, r.HS.Alias(), "bob")
			if c.before != nil {
				c.before(setup, r, bob)
			}
			c.act(setup, r, bob)
			e := r.Peer.MustReceive(setup, c.what, func(pdu fakeserver.PDU) bool {
				return pdu.Via == fakeserver.OpSend && pdu.Event != nil && c.event(pdu.Event)
			}).Event
			must.NoError(t, "checking the signature of "+c.what+" by its sender "+string(e.Sender()), e.VerifyAccountKey(e.Sender()))
		})
	}
}

func ofType(eventType string) func(*matrix.Event) bool {
	return func(e *matrix.Event) bool { return e.Type() == eventType }
}

// membership matches a membership event that somebody sends about themselves, or about another.
func membership(m string, own bool) func(*matrix.Event) bool {
	return func(e *matrix.Event) bool {
		key, _ := e.StateKey()
		return e.Type() == "m.room.member" && e.Membership() == m && (key == string(e.Sender())) == own
	}
}

// Proposal: "Servers no longer sign events with their server signing key." Wherever another server
// gets the homeserver's events from.
func TestEvents_AreNotSignedByTheServer(t *testing.T) {
	t.Parallel()
	type source = func(t testing.TB, r *blueprints.Room, last *matrix.Event) []json.RawMessage
	events := func(reply func(r *blueprints.Room, t testing.TB, last *matrix.Event) blueprints.Reply) source {
		return func(t testing.TB, r *blueprints.Room, last *matrix.Event) []json.RawMessage {
			answer := reply(r, t, last)
			must.Succeed(t, answer)
			return append(answer.Events, answer.AuthChain...)
		}
	}
	for _, c := range []struct {
		name   string
		source source
	}{
		{"a transaction", func(_ testing.TB, _ *blueprints.Room, last *matrix.Event) []json.RawMessage {
			return []json.RawMessage{last.JSON()}
		}},
		{"the answer to send_join", func(_ testing.TB, r *blueprints.Room, _ *matrix.Event) (pdus []json.RawMessage) {
			for _, pdu := range r.Peer.PDUs() {
				if pdu.Via == fakeserver.OpSendJoin && pdu.Get("sender").String() != string(r.Fay.KeyID()) {
					pdus = append(pdus, pdu.Raw)
				}
			}
			return pdus
		}},
		{"/event", events(func(r *blueprints.Room, t testing.TB, last *matrix.Event) blueprints.Reply {
			return r.Peer.Event(t, r.At, last.ID())
		})},
		{"/state", events(func(r *blueprints.Room, t testing.TB, last *matrix.Event) blueprints.Reply {
			return r.Peer.StateAt(t, r.At, r.ID, last.ID())
		})},
		{"/backfill", events(func(r *blueprints.Room, t testing.TB, last *matrix.Event) blueprints.Reply {
			return r.Peer.Backfill(t, r.At, r.ID, 100, last.ID())
		})},
		{"/get_missing_events", events(func(r *blueprints.Room, t testing.TB, last *matrix.Event) blueprints.Reply {
			return r.Peer.MissingEvents(t, r.At, r.ID, 20, nil, []string{last.ID()})
		})},
		{"the answer to an invite", func(t testing.TB, r *blueprints.Room, _ *matrix.Event) []json.RawMessage {
			invitation, reply := blueprints.OfferInvite(t, r.Room, r.Fay, matrix.UserID(r.User(t, r.HS.Alias(), "bob").UserID))
			must.Succeed(t, reply)
			return []json.RawMessage{invitation.Returned}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-SIG-02")
			r := hosting(t)
			last := received(conform.Setup(t), r, r.Alice.MustSay(conform.Setup(t), r.ID, "hello"))
			pdus := c.source(conform.Setup(t), r, last)
			must.Be(conform.Setup(t), len(pdus) > 0, "events from %s", c.name)
			for _, pdu := range pdus {
				if gjson.GetBytes(pdu, "sender").Str == string(r.Fay.KeyID()) {
					continue // whether a join that was handed in is signed is MSC4243-SIG-11
				}
				_, signed := gjson.GetBytes(pdu, "signatures").Map()[string(r.At)]
				must.Be(t, !signed, "no signature by the server %s in:\n%s", r.At, pdu)
			}
		})
	}
}

// Server-server API, "Validating hashes and signatures on received events": signatures that nothing
// asks for are not looked at.
func TestForeignSignatures_AreIgnored(t *testing.T) {
	t.Parallel()
	const garbage = `"` + "YmFkIGJhZCBiYWQgYmFkIGJhZCBiYWQgYmFkIGJhZCBiYWQgYmFkIGJhZCBiYWQgYmFkIGJhZCBiYWQgYmFk" + `"`
	for _, c := range []struct {
		name  string
		extra fakeserver.Signature
	}{
		{"by the sender's server", fakeserver.Signature{Entity: "{domain}", KeyID: "{server-key-id}", JSON: garbage}},
		{"by the receiving server", fakeserver.Signature{Entity: "{victim-domain}", KeyID: "ed25519:1", JSON: garbage}},
		{"by a policy server", fakeserver.Signature{Entity: "{elsewhere}", KeyID: "ed25519:policy_server", JSON: garbage}},
		{"by another account key", fakeserver.Signature{Entity: "{stranger-key}", KeyID: "ed25519:1", JSON: garbage}},
		{"by the sender with another key ID", fakeserver.Signature{Entity: "{key}", KeyID: "ed25519:2", JSON: garbage}},
		{"by the sender with another algorithm", fakeserver.Signature{Entity: "{key}", KeyID: "rsa:1", JSON: garbage}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-SIG-03")
			r := visiting(t)
			eventID := say(t, r, "signed by others too", fakeserver.Forgery{ExtraSignatures: []fakeserver.Signature{c.extra}})
			conform.Expect(t, "an event that its sender has signed is accepted, with a bad signature %s beside", c.name)
			r.Alice.MustSee(t, r.ID, eventID)
		})
	}
}

// Server-server API, "Checks performed on receipt of a PDU", step 3: an event whose content is not
// what its hash says is redacted, and otherwise treated like any other; one that comes redacted is
// valid, because signatures cover the redacted event.
func TestRedactedCopies_AreAccepted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, requirement string
		forgery           fakeserver.Forgery
	}{
		{"changed on the way", "MSC4243-SIG-04", fakeserver.Forgery{LateEdits: []fakeserver.Edit{{Path: "content.body", JSON: `"altered"`}}}},
		{"redacted on the way", "MSC4243-SIG-05", fakeserver.Forgery{Redacted: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, c.requirement)
			r := visiting(t)
			control := r.Alice.MustSee(conform.Setup(t), r.ID, say(t, r, "original", fakeserver.Forgery{}))
			must.Field(conform.Setup(t), control, "content.body", "original")

			eventID := say(t, r, "original", c.forgery)
			conform.Expect(t, "a message that was %s is accepted, and shown without its content", c.name)
			must.Lack(t, r.Alice.MustSee(t, r.ID, eventID), "content.body")
			kept := must.Succeed(t, r.Peer.Event(t, r.At, eventID))
			must.Lack(t, kept, "pdus.0.content.body")
		})
	}
}

// Room version 4 and later: the event ID is the hash of the event in the DAG, which clients never
// see. It is the same for clients and servers all the same.
func TestEventIDs_DoNotDependOnSignatures(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SIG-06")
	r := hosting(t)
	setup := conform.Setup(t)
	local(t, r, "bob")
	r.Alice.MustRedact(setup, r.ID, r.Alice.MustSay(setup, r.ID, "oops"), "")
	blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Message("hello"))
	r.Fence(t)
	history := r.Alice.MustHistory(setup, r.ID)
	must.Be(setup, len(history) > 8, "the history of the room, got %d events", len(history))
	for _, shown := range history {
		eventID := shown.Get("event_id").String()
		kept := must.Succeed(t, r.Peer.Event(t, r.At, eventID))
		e := blueprints.MustParse(t, r.Version, []byte(kept.Get("pdus.0").Raw))
		must.Equal(t, "event ID of the event that was asked for as "+eventID, e.ID(), eventID)
		must.Equal(t, "type of "+eventID, e.Type(), shown.Get("type").String())
	}
}

// Proposal: the sender's key signs, whoever made the room.
func TestStateEvents_AreSignedByWhoSetsThem(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SIG-07")
	r := hosting(t)
	setup := conform.Setup(t)
	bob := local(t, r, "bob")
	promotion := r.Alice.MustSendState(setup, r.ID, "m.room.power_levels", "", map[string]any{"users": map[string]any{bob.UserID: 50}})
	name := bob.MustSendState(setup, r.ID, "m.room.name", "", map[string]any{"name": "by bob"})
	custom := bob.MustSendState(setup, r.ID, "com.example.custom", "x", map[string]any{})
	bobID := idOf(t, r, bob)
	for eventID, sender := range map[string]matrix.UserID{promotion: idOf(t, r, r.Alice), name: bobID, custom: bobID} {
		e := received(t, r, eventID)
		must.Equal(t, "sender of "+e.Type(), e.Sender(), sender)
		must.NoError(t, "checking the signature of "+e.Type(), e.VerifyAccountKey(sender))
	}
}

// Proposal: "Co-signed events (e.g invites) are still co-signed, but with account keys not server
// signing keys."
func TestInvites_AreSignedByBothAccountKeys(t *testing.T) {
	t.Parallel()
	t.Run("sent", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-SIG-08")
		r := hosting(t)
		guest := r.Peer.Member(t, "guest")
		r.Alice.MustInvite(t, r.ID, string(guest.NameID()))
		e := r.Peer.MustReceive(t, "the invite", func(pdu fakeserver.PDU) bool {
			return pdu.Via == fakeserver.OpSend && pdu.Event != nil && membership("invite", false)(pdu.Event)
		}).Event
		key, _ := e.StateKey()
		must.Equal(t, "invited user", key, string(guest.KeyID()))
		must.SameSet(t, "names of signatures", e.SignatureEntities(), []string{e.Sender().Localpart(), guest.Key()})
		must.NoError(t, "checking the inviter's signature", e.VerifyAccountKey(e.Sender()))
		must.NoError(t, "checking the invited user's signature", e.VerifyAccountKey(guest.KeyID()))
	})
	t.Run("received", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-SIG-08")
		r := blueprints.Visited(t, conform.AccountKeyVersion(t))
		invitation, reply := blueprints.OfferInvite(t, r.Room, r.Fay, matrix.UserID(r.Alice.UserID))
		must.Succeed(t, reply)
		e := blueprints.MustConfirm(conform.Setup(t), r.Room, r.Fay, invitation)
		key, _ := e.StateKey()
		invited := matrix.UserID(key)
		must.SameSet(t, "names of signatures", e.SignatureEntities(), []string{r.Fay.Key(), invited.Localpart()})
		must.NoError(t, "checking the invited user's signature", e.VerifyAccountKey(invited))
	})
}

// Server-server API, "Request Authentication": the proposal changes who signs events, not who signs
// requests.
func TestRequests_AreSignedByServerKeys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		signer func(r *blueprints.Room) matrix.Signer
	}{
		{"an account key as if it were the server's", func(r *blueprints.Room) matrix.Signer {
			return matrix.Signer{Entity: string(r.Peer.Name()), KeyID: r.Peer.Signer().KeyID, Key: r.Fay.Account().Signer().Key}
		}},
		{"an account key under its own key ID", func(r *blueprints.Room) matrix.Signer { return r.Fay.Account().Signer() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-SIG-09")
			r := hosting(t)
			next := r.Next(t)
			must.Succeed(conform.Setup(t), r.Peer.Event(t, r.At, next.ID())) // signed by the server's key

			signer := c.signer(r)
			answer, err := r.Peer.DoRequest(t.Context(), fakeserver.Request{
				Destination: r.At, Method: http.MethodGet, Signer: &signer,
				URI: "/_matrix/federation/v1/event/" + url.PathEscape(next.ID()),
			})
			must.NoError(conform.Setup(t), "asking for an event", err)
			must.Equal(t, "status of the answer to a request that is signed by "+c.name, answer.Status, http.StatusUnauthorized)
		})
	}
	t.Run("of the homeserver", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-SIG-09")
		r := hosting(t)
		r.Next(t)
		sent := r.Peer.MustBeAsked(t, fakeserver.OpSend)
		must.Equal(t, "what is wrong with the signature of a transaction", sent.Auth, "")
		must.Equal(t, "origin of the transaction", sent.Peer, r.At)
	})
}

// Proposal: an event is signed by its sender also where another server made the template for it.
func TestHandshakes_AreSignedByTheAccountKey(t *testing.T) {
	t.Parallel()
	rule := func(joinRule string) blueprints.Setting {
		return blueprints.Options(func(o *fakeserver.RoomOptions) { o.JoinRule = joinRule })
	}
	for _, c := range []struct {
		name, rule string
		via        fakeserver.Operation
		act        func(t testing.TB, r *blueprints.Room)
	}{
		{"join", "public", fakeserver.OpSendJoin, func(t testing.TB, r *blueprints.Room) {
			r.Alice.MustJoin(t, r.ID, string(r.Peer.Name()))
		}},
		{"knock", "knock", fakeserver.OpSendKnock, func(t testing.TB, r *blueprints.Room) {
			r.Alice.MustKnock(t, r.ID, string(r.Peer.Name()))
		}},
		{"leave", "invite", fakeserver.OpSendLeave, func(t testing.TB, r *blueprints.Room) {
			invitation, reply := blueprints.OfferInvite(t, r.Room, r.Fay, matrix.UserID(r.Alice.UserID))
			must.Succeed(t, reply)
			blueprints.MustConfirm(t, r.Room, r.Fay, invitation)
			r.Alice.MustSeeInvite(t, r.ID)
			r.Alice.MustLeave(t, r.ID)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-SIG-10")
			r := blueprints.Visited(t, conform.AccountKeyVersion(t), rule(c.rule))
			c.act(conform.Setup(t), r)
			e := r.Peer.MustReceive(t, "alice's "+c.name, func(pdu fakeserver.PDU) bool { return pdu.Via == c.via && pdu.Event != nil }).Event
			key, _ := e.StateKey()
			must.Equal(t, "state key", key, string(e.Sender()))
			must.NoError(t, "checking the signature of "+string(e.Sender()), e.VerifyAccountKey(e.Sender()))
			must.SameSet(t, "names of signatures", e.SignatureEntities(), []string{e.Sender().Localpart()})
		})
	}
}

// Server-server API, "Joining Rooms": the resident server "then adds its signature". There is no key
// by which it could, except in a restricted join.
func TestResidentServer_AddsNoSignatureToJoins(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SIG-11")
	r := hosting(t)
	setup := conform.Setup(t)
	witness := r.Scene.Peer(t)
	witness.MustJoin(setup, r.At, r.Version, r.ID, witness.Member(t, "witness"))

	late := r.Peer.Member(t, "late")
	event, reply := blueprints.MustSubmit(setup, r.Peer.MustBegin(setup, r.At, r.Version, "join", r.ID, late))
	copies := []gjson.Result{must.Succeed(setup, reply).Get("event")}
	copies = append(copies, gjson.ParseBytes(witness.MustReceive(setup, "the join", func(pdu fakeserver.PDU) bool {
		return pdu.Via == fakeserver.OpSend && pdu.Event != nil && pdu.Event.ID() == event.ID()
	}).Raw))
	for _, e := range copies {
		for name := range e.Get("signatures").Map() {
			if name != late.Key() {
				conform.Violation(t, "MSC4243-SIG-11", "a join that is signed by the user who joins, and nobody else", e.Raw)
			}
		}
	}
}

// Proposal: "Each user is identified using an ed25519 key", guests too.
func TestGuests_HaveAccountKeys(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SIG-12")
	r := hosting(t, blueprints.Create("initial_state", []any{
		map[string]any{"type": "m.room.guest_access", "content": map[string]any{"guest_access": "can_join"}},
	}))
	guest := csapi.New(t, r.HS)
	registered := guest.Register(t, struct{}{}, csapi.Query("kind", "guest"))
	if !registered.OK() {
		conform.Skip(t, "%s registers no guests: %s", r.HS.Alias(), registered.ErrCode())
	}
	guest.UserID, guest.AccessToken = registered.Get("user_id").String(), registered.Get("access_token").String()
	guest.MustJoin(conform.Setup(t), r.ID)
	judge := conform.Judge(t, "MSC4243-SIG-12")
	message := r.Peer.MustReceiveEvent(judge, guest.MustSay(conform.Setup(t), r.ID, "hello")) // signed by the sender's account key
	_, err := message.Sender().AccountKey()
	must.NoError(judge, "reading the guest's account key", err)
}

// Appendices, "Canonical JSON": numbers are integers within 2^53. A valid signature does not make an
// event of anything else.
func TestOddNumbers_AreNoEvents(t *testing.T) {
	t.Parallel()
	number := func(json string) fakeserver.Forgery {
		return fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "content.n", JSON: json}}}
	}
	for name, odd := range map[string]string{
		"a fraction": "1.5", "too large": "9007199254740992", "too small": "-9007199254740992", "an exponent": "1e400",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-SIG-13")
			r := visiting(t)
			r.Alice.MustSee(conform.Setup(t), r.ID, say(t, r, "the largest number", number("9007199254740991")))

			eventID := say(t, r, "an odd number", number(odd))
			r.Fence(t)
			unseen(t, r, eventID)
		})
	}
}

// unseen judges an event that the homeserver must not accept, after a fence: it does not keep it,
// does not show it and does not build upon it.
func unseen(t *testing.T, r *blueprints.Room, eventID string) {
	t.Helper()
	next := r.Next(t)
	must.NotContain(t, "previous events of the homeserver's next event", next.PrevEvents(), eventID)
	r.Alice.MustSee(conform.Setup(t), r.ID, next.ID())
	must.Be(t, !r.Alice.View().Room(r.ID).Has(eventID), "%s not to be shown in /sync", eventID)
	must.Be(t, !r.Alice.HistoryHas(t, r.ID, eventID), "%s not to be shown in /messages", eventID)
	kept := r.Peer.Event(t, r.At, eventID)
	must.Be(t, kept.StatusCode() != http.StatusOK, "%s not to be kept: %s", eventID, kept)
}
