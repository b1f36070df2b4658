package msc4243

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Proposal, on /invite: the inviting server knows the invited user by name, and puts that user ID into
// the event for the other server to replace.
func TestInvite_RequestNamesTheAccountName(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-INV-01")
	a := fromAfar(t)
	bob := a.server.Member(t, "bob")
	a.Alice.MustInvite(t, a.ID, string(bob.NameID()))

	asked := a.server.MustBeAsked(t, fakeserver.OpInvite)
	must.Equal(t, "method and path of the request", asked.Method+" "+path(asked, 5), "PUT /_matrix/federation/v2/invite/"+a.ID)
	request := gjson.ParseBytes(asked.RequestBody)
	must.Field(t, request, "room_version", a.Version.ID)
	must.Field(t, request, "event.type", "m.room.member")
	must.Field(t, request, "event.room_id", a.ID)
	must.Field(t, request, "event.content.membership", "invite")
	must.Field(t, request, "event.sender", string(a.alice))
	must.Field(t, request, "event.state_key", string(bob.NameID()))
}

// path is the beginning of an exchange's path, unescaped: so many segments of it, or all for 0.
func path(e fakeserver.Exchange, segments int) string {
	all := strings.Split(strings.SplitN(e.URI, "?", 2)[0], "/")
	if segments > 0 {
		all = all[:min(segments+1, len(all))]
	}
	for i, segment := range all {
		if text, err := url.PathUnescape(segment); err == nil {
			all[i] = text
		}
	}
	return strings.Join(all, "/")
}

// Proposal, on /invite: after the invited user's server has signed, the inviting server signs the same
// JSON. This is the event that others are sent.
func TestInvite_IsSignedByBothInTheRoom(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-INV-04")
	a := fromAfar(t)
	bob := a.server.Member(t, "bob")
	a.Alice.MustInvite(t, a.ID, string(bob.NameID()))

	invite := a.MustReceiveMember(t, string(bob.KeyID()), "invite")
	must.NoError(t, "checking the inviter's signature", invite.VerifyAccountKey(a.alice))
	must.NoError(t, "checking the invited user's signature", invite.VerifyAccountKey(bob.KeyID()))
	returned := a.server.MustReceiveInvite(t, a.ID, bob).Event
	must.Equal(t, "what both have signed", unsignedObject(t, invite.JSON()), unsignedObject(t, returned))

	// Without the inviter's signature the invited user's server has no complete event.
	setup := conform.Setup(t)
	room := a.server.MustJoin(setup, a.At, a.Version, a.ID, bob)
	a.server.MustReceiveEvent(setup, a.Alice.MustSay(setup, a.ID, "welcome"))
	sent := "is not sent"
	for _, pdu := range a.server.PDUs() {
		if pdu.Get("state_key").Str == string(bob.KeyID()) && pdu.Membership() == "invite" && blueprints.SignedBy(pdu.Raw, a.alice) {
			sent = "is sent by " + string(pdu.Via)
			break
		}
	}
	conform.Info(t, "MSC4243-INV-04", "the invited user's server "+sent+" the invite that both have signed")
	must.Be(setup, room.Membership(bob.KeyID()) == "join", "the invited user to join")
}

// unsignedObject is an event in canonical JSON without its signatures, and without the named properties.
func unsignedObject(t testing.TB, event json.RawMessage, without ...string) string {
	t.Helper()
	for _, name := range append(without, "signatures", "unsigned") {
		var err error
		if event, err = sjson.DeleteBytes(event, name); err != nil {
			conform.HarnessError(t, "%v", err)
		}
	}
	canonical, err := matrix.CanonicalJSON(event)
	if err != nil {
		t.Fatalf("expected an event, got %s: %v", event, err)
	}
	return string(canonical)
}

// Server-server API, "Inviting to a room": the path has the ID of the event. In this exchange the event
// changes, and its ID with it; the one that counts is the last.
func TestInvite_HasTheIDOfTheFinalEvent(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-INV-06")
	a := fromAfar(t)
	bob := a.server.Member(t, "bob")
	a.Alice.MustInvite(t, a.ID, string(bob.NameID()))

	invite := a.MustReceiveMember(t, string(bob.KeyID()), "invite")
	asked := a.server.MustBeAsked(t, fakeserver.OpInvite)
	requested := eventID(gjson.GetBytes(asked.RequestBody, "event"))
	if id := strings.TrimPrefix(path(asked, 0), "/_matrix/federation/v2/invite/"+a.ID+"/"); id != requested {
		conform.Info(t, "MSC4243-INV-06", "the path of the request has "+id+", which is not the ID of the event in it")
	}
	shown := a.Alice.Event(t, a.ID, invite.ID())
	if !shown.OK() || shown.Get("state_key").Str != string(bob.NameID()) {
		conform.Violation(t, "MSC4243-INV-06", "the client to know the invite as "+invite.ID(), shown.String())
	}
	if state := a.StateBefore(t, a.Next(t)); !slices.Contains(state, invite.ID()) || slices.Contains(state, requested) {
		conform.Violation(t, "MSC4243-INV-06", "the final event "+invite.ID()+" in the state of the room, and not "+requested, strings.Join(state, ", "))
	}
}

// Footnote perroom: a user may have several account keys, so an invite may bring another than the one
// that a name was resolved to before. What is known of that one stays.
func TestInvite_AnsweredWithASecondKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-INV-11")
	r := hosting(t)
	setup := conform.Setup(t)
	first, second := r.Join(t, "gil"), r.Peer.Member(t, "second")
	second.AnswerWith(fakeserver.AccountAnswer{Edits: []fakeserver.Edit{{Path: "account_name", JSON: `"` + first.Name() + `"`}}})
	said := blueprints.MustSend(setup, r.Room, first, fakeserver.Message("by my first key"))
	blueprints.MustSend(setup, r.Room, first, fakeserver.Membership(first.KeyID(), "leave"))
	r.Alice.MustSeeMember(setup, r.ID, r.ClientID(first), "leave")

	r.Peer.ForgeInvites(fakeserver.Forgery{StateKey: "{other}", SignWith: fakeserver.OtherKey, SignatureEntity: "{other-key}"}, fakeserver.Cast{Other: second})
	if answer := r.Alice.Invite(t, r.ID, r.ClientID(first)); answer.OK() {
		r.MustReceiveMember(t, string(second.KeyID()), "invite")
		conform.Info(t, "MSC4243-INV-11", "an invite that brings a second key of a name is sent")
	} else {
		conform.Info(t, "MSC4243-INV-11", "an invite that brings a second key of a name is refused: "+answer.String())
	}
	shown := r.Alice.Event(t, r.ID, said.ID())
	if account := shown.Get("unsigned.sender_account"); account.Get("key").Str != first.Key() || account.Get("user_id").Str != r.ClientID(first) {
		conform.Violation(t, "MSC4243-INV-11", "the first key to stay that of "+r.ClientID(first), shown.String())
	}
}

// Proposal, on /invite: the key is asked for because it is not known. When it is, the request is a
// formality, whose form is recorded.
func TestInvite_OfAUserWhoseKeyIsKnown(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-INV-12")
	r := hosting(t)
	setup := conform.Setup(t)
	gil := r.Join(t, "gil")
	blueprints.MustSend(setup, r.Room, gil, fakeserver.Membership(gil.KeyID(), "leave"))
	r.Alice.MustSeeMember(setup, r.ID, r.ClientID(gil), "leave")

	r.Alice.MustInvite(t, r.ID, r.ClientID(gil))
	r.MustReceiveMember(t, string(gil.KeyID()), "invite")
	form := "there is no request"
	for _, e := range r.Peer.Transcript().Exchanges(fakeserver.Is(fakeserver.OpInvite)) {
		form = "the request names the account name user ID"
		if gjson.GetBytes(e.RequestBody, "event.state_key").Str == string(gil.KeyID()) {
			form = "the request names the account key user ID"
		}
	}
	conform.Info(t, "MSC4243-INV-12", "when a user is invited whose key is known, "+form)
}

// Server-server API, "Inviting to a room": the first version of the endpoint is for the room versions 1
// and 2.
func TestInvite_FallsNotBackToTheFirstVersion(t *testing.T) {
	t.Parallel()
	for code, refusal := range map[string]fakeserver.Answer{
		"M_UNRECOGNIZED":  fakeserver.Errorf(http.StatusNotFound, "M_UNRECOGNIZED", "no such endpoint"),
		"M_NOT_FOUND":     fakeserver.Errorf(http.StatusNotFound, "M_NOT_FOUND", "no such user"),
		"M_INVALID_PARAM": fakeserver.Errorf(http.StatusBadRequest, "M_INVALID_PARAM", "no such event"),
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-INV-20")
			a := fromAfar(t)
			a.server.Override(fakeserver.OpInvite, fakeserver.With(refusal))
			answer := a.Alice.Invite(t, a.ID, string(a.server.Member(t, "bob").NameID()))
			asked := a.server.Transcript().Exchanges(fakeserver.Is(fakeserver.OpInvite))
			must.Be(conform.Setup(t), len(asked) > 0 && !answer.OK(), "an invite that the other server refuses to fail: %s", answer)
			for _, e := range asked {
				if strings.HasPrefix(e.URI, "/_matrix/federation/v1/") {
					conform.Violation(t, "MSC4243-INV-20", "no request to the first version of the endpoint", e.Method+" "+e.URI)
				}
			}
		})
	}
}

// Client-server API, "Creation": clients name whom to invite, and who is trusted, before there is a
// room. No account name may end up in it; whether and how the trusted get their power is recorded.
func TestInvite_WithCreation(t *testing.T) {
	t.Parallel()
	for _, preset := range []string{"private_chat", "trusted_private_chat"} {
		t.Run(preset, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-INV-21")
			scene, v := blueprints.NewScene(t), conform.AccountKeyVersion(t)
			hs := scene.Server(t, "hs1")
			conform.NeedRoomVersion(t, hs, v.ID)
			alice, peer := scene.User(t, hs.Alias(), "alice"), scene.Peer(t)
			bob := peer.Member(t, "bob")

			created := alice.CreateRoom(t, map[string]any{
				"room_version": v.ID, "preset": preset, "invite": []string{string(bob.NameID())},
			})
			if !created.OK() {
				conform.Info(t, "MSC4243-INV-21", preset+" with the invite of a user of another server is refused: "+created.String())
				if created.Status >= http.StatusInternalServerError {
					conform.Violation(t, "MSC4243-INV-21", "a refusal with a status of 400 to 499", created.String())
				}
				return
			}
			roomID := created.MustString(t, "room_id")
			room := peer.MustJoin(conform.Setup(t), blueprints.Name(hs), v, roomID, bob) // which needs the invite
			power := "no power"
			for _, e := range room.FullState() {
				for field, id := range blueprints.Identified(e.JSON()) {
					if _, err := id.AccountKey(); err != nil {
						conform.Violation(t, "MSC4243-INV-21", "no account name in "+field+" of the room's state", string(e.JSON()))
					}
					if field == "content" && id == bob.KeyID() {
						power = "power by " + e.Type()
					}
				}
			}
			conform.Info(t, "MSC4243-INV-21", "the user of another server who is invited with "+preset+" has "+power)
		})
	}
}

// Proposal: within one server there is nobody to ask. That the invited user signs all the same, as on
// other invites, is only recommended.
func TestInvite_OfALocalUser(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-INV-22")
	r := hosting(t)
	bob := r.User(t, r.HS.Alias(), "bob")
	r.Alice.MustInvite(t, r.ID, bob.UserID)
	pdu := r.Peer.MustReceive(t, "the invite", func(pdu fakeserver.PDU) bool {
		return pdu.Via == fakeserver.OpSend && pdu.Event != nil && membership("invite", false)(pdu.Event)
	})
	r.Peer.MustVerify(t, pdu.Event)
	key, _ := pdu.Event.StateKey()
	bob.MustJoin(conform.Setup(t), r.ID)
	if id := idOf(t, r, bob); key != string(id) {
		conform.Violation(t, "MSC4243-INV-22", "the invite to be for "+string(id), "it is for "+key)
	}
	if err := pdu.Event.VerifyAccountKey(matrix.UserID(key)); err != nil {
		conform.Violation(t, "MSC4243-INV-22", "the signature of the invited user, as on other invites", err.Error())
	}
}
