package msc4243

import (
	"net/http"
	"testing"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/matrix"
)

// cosigned is something that alice does to a user whose account key her server does not know, so that
// it has to ask the user's server.
type cosigned struct {
	membership string
	op         fakeserver.Operation
	ask        func(alice *csapi.Client, t testing.TB, roomID, userID string) *csapi.Response
}

func invites() cosigned { return cosigned{"invite", fakeserver.OpInvite, (*csapi.Client).Invite} }
func bans() cosigned    { return cosigned{"ban", fakeserver.OpBan, (*csapi.Client).Ban} }

// tampering is an answer that an honest server would not give when its signature is asked for.
type tampering struct {
	name, requirement string
	// forgery is committed in the event that is returned. Unless it says otherwise, the event is hashed
	// and signed with the target's key after the change, so that only the change itself is wrong.
	forgery fakeserver.Forgery
	// cast are those whom the forgery names.
	cast fakeserver.Cast
	// answer, unless nil, is what the server answers in place of that.
	answer func(target *fakeserver.User) fakeserver.Override
}

// tamperings are answers after which the server that asked must not sign.
func tamperings() []tampering {
	return append(append(changedEvents(), strangeKeys()...), badAnswers()...)
}

// changedEvents differ from the request in more than state_key, hashes and signatures.
func changedEvents() (rows []tampering) {
	change := func(name string, edits ...fakeserver.Edit) {
		rows = append(rows, tampering{name: "changed " + name, requirement: "MSC4243-INV-07", forgery: fakeserver.Forgery{Edits: edits}})
	}
	change("membership", fakeserver.Edit{Path: "content.membership", JSON: `"leave"`})
	change("display name", fakeserver.Edit{Path: "content.displayname", JSON: `"Somebody Else"`})
	change("reason", fakeserver.Edit{Path: "content.reason", JSON: `"because I say so"`})
	change("type", fakeserver.Edit{Path: "type", JSON: `"m.room.topic"`})
	change("into power levels",
		fakeserver.Edit{Path: "type", JSON: `"m.room.power_levels"`}, fakeserver.Edit{Path: "state_key", JSON: `""`},
		fakeserver.Edit{Path: "content", JSON: `{"users":{"@{key}:{domain}":100}}`})
	change("room", fakeserver.Edit{Path: "room_id", JSON: `"!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`})
	change("sender", fakeserver.Edit{Path: "sender", JSON: `"{stranger}"`})
	change("previous events", fakeserver.Edit{Path: "prev_events", JSON: `[]`})
	change("auth events", fakeserver.Edit{Path: "auth_events", JSON: `[]`})
	change("depth", fakeserver.Edit{Path: "depth", JSON: `1000000`})
	change("time", fakeserver.Edit{Path: "origin_server_ts", JSON: `1`})
	change("by an addition", fakeserver.Edit{Path: "extra", JSON: `true`})
	return rows
}

// strangeKeys name as the target what is no account key of the target's server.
func strangeKeys() (rows []tampering) {
	key := func(name, stateKey, entity string) {
		rows = append(rows, tampering{name: "for " + name, requirement: "MSC4243-INV-08",
			forgery: fakeserver.Forgery{StateKey: stateKey, SignatureEntity: entity}})
	}
	key("the account name", "@{name}:{domain}", "")
	key("a key at another domain", "@{key}:{elsewhere}", "")
	key("a key at the domain that asks", "@{key}:{victim-domain}", "")
	key("the user who asks", "{victim}", "")
	key("a padded key", "@{key}=:{domain}", "{key}=")
	key("a key with trailing bits", "@{alias-1}:{domain}", "{alias-1}")
	key("a key in the standard alphabet", "@{std-key}:{domain}", "{std-key}")
	key("a key in hexadecimal", "@{hex-key}:{domain}", "{hex-key}")
	key("no point of the curve", "@{off-curve}:{domain}", "{off-curve}")
	key("a key without a domain", "@{key}", "")
	return append(rows,
		tampering{name: "for the account name, signed by the server", requirement: "MSC4243-INV-08",
			forgery: fakeserver.Forgery{StateKey: "@{name}:{domain}", SignWithServerKeyOnly: true}},
		tampering{name: "for nobody", requirement: "MSC4243-INV-08",
			forgery: fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "state_key"}}}})
}

// badAnswers are not signed by the key that they name, or are no events.
func badAnswers() (rows []tampering) {
	unsigned := func(name string, f fakeserver.Forgery) {
		rows = append(rows, tampering{name: name, requirement: "MSC4243-INV-09", forgery: f})
	}
	unsigned("without signatures", fakeserver.Forgery{OmitSignatures: true})
	unsigned("with no signature", fakeserver.Forgery{EmptySignatures: true})
	unsigned("signed with garbage", fakeserver.Forgery{SignatureJSON: `"!!"`})
	unsigned("signed with a number", fakeserver.Forgery{SignatureJSON: `5`})
	unsigned("signed with a wrong bit", fakeserver.Forgery{FlipSignatureBits: []int{300}})
	unsigned("signed over another time", fakeserver.Forgery{SignOver: fakeserver.OtherEvent})
	unsigned("signed by another key", fakeserver.Forgery{SignWith: fakeserver.StrangerKey})
	unsigned("signed by and for another key", fakeserver.Forgery{SignWith: fakeserver.StrangerKey, SignatureEntity: "{stranger-key}"})
	unsigned("signed by the server's key", fakeserver.Forgery{SignWith: fakeserver.ServerKey})
	unsigned("signed by and for the server", fakeserver.Forgery{SignWithServerKeyOnly: true})
	unsigned("signed under the user ID", fakeserver.Forgery{SignatureEntity: "@{key}:{domain}"})
	unsigned("signed under another key ID", fakeserver.Forgery{SignatureKeyID: "ed25519:2"})
	for name, body := range map[string]string{
		"no event": `{}`, "a null event": `{"event":null}`, "an empty event": `{"event":{}}`, "a list": `[200,{"event":{}}]`, "no JSON": `signed`,
	} {
		rows = append(rows, tampering{name: name, requirement: "MSC4243-INV-09", answer: func(*fakeserver.User) fakeserver.Override {
			return fakeserver.With(fakeserver.Answer{Status: http.StatusOK, Body: []byte(body)})
		}})
	}
	return append(rows, tampering{name: "with the hash of the request", requirement: "MSC4243-INV-03", answer: staleHash})
}

// staleHash puts the target's key in and signs, but leaves the content hash as it was.
func staleHash(target *fakeserver.User) fakeserver.Override {
	return func(q *fakeserver.Inquiry, _ fakeserver.Handler) fakeserver.Answer {
		event, err := sjson.SetBytes([]byte(gjson.GetBytes(q.Body, "event").Raw), "state_key", string(target.KeyID()))
		if err == nil {
			event, err = sjson.SetRawBytes(event, "signatures", []byte("{}"))
		}
		if err != nil {
			return fakeserver.Errorf(http.StatusInternalServerError, "M_UNKNOWN", "%v", err)
		}
		e, err := matrix.ParseEvent(matrix.RoomVersion{Identity: matrix.AccountKeyIdentity}, event)
		if err != nil {
			return fakeserver.Errorf(http.StatusInternalServerError, "M_UNKNOWN", "%v", err)
		}
		return fakeserver.JSON(http.StatusOK, map[string]any{"event": e.WithSignature(target.Account().Signer())})
	}
}

// afar is a room that alice made and fay joined, and a server whose users alice knows by name.
type afar struct {
	*blueprints.Room
	// alice is the account key user ID of alice.
	alice  matrix.UserID
	server *blueprints.Peer
}

// fromAfar is a room, and a server that has nobody in it.
func fromAfar(t testing.TB, list ...blueprints.Setting) afar {
	t.Helper()
	r := hosting(t, list...)
	return afar{r, r.Room.State("m.room.create", "").Sender(), r.Scene.Peer(t)}
}

// tamper has the server give the answer from now on.
func (a afar) tamper(q cosigned, target *fakeserver.User, row tampering) {
	if row.answer != nil {
		a.server.Override(q.op, row.answer(target))
		return
	}
	a.server.ForgeInvites(row.forgery, row.cast)
}

// asked are the requests that the server was sent, by the ID of the event in them. When none was about
// the target, so that the answer was not put to the test, the test is INCONCLUSIVE.
func (a afar) asked(t testing.TB, q cosigned, target *fakeserver.User) map[string]fakeserver.Exchange {
	t.Helper()
	found, about := map[string]fakeserver.Exchange{}, false
	for _, e := range a.server.Transcript().Exchanges(fakeserver.Is(q.op)) {
		event := gjson.GetBytes(e.RequestBody, "event")
		found[eventID(event)] = e
		about = about || a.server.UserByID(matrix.UserID(event.Get("state_key").Str)) == target
		if e.Status != http.StatusOK {
			conform.HarnessError(t, "the fake server cannot answer as it should: %s", e.ResponseBody)
		}
	}
	if !about {
		conform.Inconclusive(t, "%s was not asked about %s", a.server.Name(), target.NameID())
	}
	return found
}

// eventID is the ID of an event; empty for what is none.
func eventID(event gjson.Result) string {
	hash, err := matrix.ReferenceHash([]byte(event.Raw))
	if err != nil {
		return ""
	}
	return "$" + matrix.EncodeURLBase64(hash[:])
}

// mustNotSign asks about one user, which the server answers honestly, and about another, which it
// answers as the row says. After that the client must have been told of a failure, there must be nothing
// with alice's signature but what she has said herself, and the event that was returned must have had no
// effect. It returns what the client was told.
func (a afar) mustNotSign(t *testing.T, q cosigned, row tampering, requirement string) *csapi.Response {
	t.Helper()
	setup := conform.Setup(t)
	control := a.server.Member(t, "control")
	if answer := q.ask(a.Alice, setup, a.ID, string(control.NameID())); q.membership == "ban" && !answer.OK() {
		conform.Skip(t, "the homeserver bans nobody whose key it does not know: %s", answer)
	} else {
		answer.MustOK(setup)
	}
	a.MustReceiveMember(setup, string(control.KeyID()), q.membership)
	before := a.SignedEvents(a.alice)

	target := a.server.Member(t, "target")
	a.tamper(q, target, row)
	answer := q.ask(a.Alice, t, a.ID, string(target.NameID()))
	if answer.OK() {
		conform.Violation(t, requirement, "the client to be told of a failure", answer.String())
	}
	fence := a.Next(t)
	asked := a.asked(t, q, target)
	for id, event := range a.SignedEvents(a.alice) {
		if _, request := asked[id]; !request && before[id] == nil && id != fence.ID() {
			conform.Violation(t, requirement, "nothing to be signed with alice's key", string(event))
		}
	}
	for _, e := range asked {
		returned := fakeserver.Forged{Version: a.Version, EventID: eventID(gjson.GetBytes(e.ResponseBody, "event"))}
		if returned.EventID == "" || before[returned.EventID] != nil {
			continue
		}
		if got := a.Observe(t, returned); got.Effective() {
			conform.Violation(t, requirement, "what was returned to have no effect", got.String())
		}
	}
	return answer
}

// Proposal, on /invite: the invited user's server puts the account key in and signs; then the inviter's
// server signs, too. It signs what another server has sent it. If it signs anything but the invite that
// it asked for, with a key of the server that it asked, then that server can have it sign what it likes.
func TestInvite_TamperedAnswersAreNotSigned(t *testing.T) {
	t.Parallel()
	for _, row := range tamperings() {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, row.requirement)
			fromAfar(t).mustNotSign(t, invites(), row, row.requirement)
		})
	}
}

// Room version 12, rule 5.4.3: who is joined or banned cannot be invited. Whether the account name
// stands for such a user is known only when the answer names the key.
func TestInvite_RulesHoldForTheKeyThatIsReturned(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(t testing.TB, r *blueprints.Room, key *fakeserver.User){
		"joined": func(testing.TB, *blueprints.Room, *fakeserver.User) {},
		"banned": func(t testing.TB, r *blueprints.Room, key *fakeserver.User) {
			r.Alice.MustBan(t, r.ID, r.ClientID(key))
			r.MustReceiveMember(t, string(key.KeyID()), "ban")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-INV-10")
			r := hosting(t)
			key := r.Join(t, "known")
			before(conform.Setup(t), r, key)
			a := afar{r, r.Room.State("m.room.create", "").Sender(), r.Peer}
			row := tampering{
				forgery: fakeserver.Forgery{StateKey: "{other}", SignWith: fakeserver.OtherKey, SignatureEntity: "{other-key}"},
				cast:    fakeserver.Cast{Other: key},
			}
			if answer := a.mustNotSign(t, invites(), row, "MSC4243-INV-10"); answer.Status != http.StatusForbidden {
				conform.Info(t, "MSC4243-INV-10", "the client is answered with "+answer.String())
			}
		})
	}
}

// Room version 12, rule 2: the membership of the invited user is among the auth events. When the request
// is made nobody but the user's server knows that there is one; what becomes of it is recorded.
func TestInvite_OfKeyThatHasLeft(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-INV-10")
	r := hosting(t)
	setup := conform.Setup(t)
	gil := r.JoinUnverified(t, "gil")
	left := r.MustHide(t, gil, fakeserver.Membership(gil.KeyID(), "leave"))
	gil.AnswerWith(fakeserver.AccountAnswer{})

	if answer := r.Alice.Invite(setup, r.ID, string(gil.NameID())); !answer.OK() {
		conform.Info(t, "MSC4243-INV-10", "a user whose key was in the room before, unverified, cannot be invited: "+answer.String())
		return
	}
	invite := r.MustReceiveMember(t, string(gil.KeyID()), "invite")
	cites := "does not cite"
	for _, id := range invite.AuthEvents() {
		if id == left.ID() {
			cites = "cites"
		}
	}
	conform.Info(t, "MSC4243-INV-10", "the invite of a key that has left "+cites+" the leave as an auth event")
}
