package msc4243

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// secluded is a room that fay made, which only the invited can join; nobody else is in it.
func secluded(t testing.TB) *blueprints.Room {
	t.Helper()
	return blueprints.Visited(t, conform.AccountKeyVersion(t), blueprints.Options(func(o *fakeserver.RoomOptions) { o.JoinRule = "invite" }))
}

// mustCosign makes a request and returns the event of the answer, which must be signed by an account key
// of the homeserver's that is its state key.
func mustCosign(t testing.TB, r *blueprints.Room, q *blueprints.CosignRequest) (event *matrix.Event, invited matrix.UserID) {
	t.Helper()
	answer := must.Succeed(t, r.AskToCosign(t, q))
	event = blueprints.MustParse(t, r.Version, []byte(must.Have(t, answer, "event").Raw))
	key, _ := event.StateKey()
	invited, _, err := matrix.ParseAccountKeyUserID(key)
	must.NoError(t, "reading the state key of the answer", err)
	must.Equal(t, "domain of the invited user", invited.Domain(), r.At)
	must.NoError(t, "checking the invited user's signature", event.VerifyAccountKey(invited))
	return event, invited
}

// Proposal, on /invite: the receiver replaces the account name user ID by the account key user ID, and
// signs. The content hash covers the state key, so it is made anew; what nobody replaces stays
// (server-server API, "Inviting to a room").
func TestInvite_AnswerHasTheAccountKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-INV-02", "MSC4243-INV-03")
	r := secluded(t)
	q := r.CosignRequest(t, "invite", matrix.UserID(r.Alice.UserID), fakeserver.Forgery{})
	event, invited := mustCosign(t, r, q)

	mustBeSignedByKeyAlone(t, "MSC4243-INV-02", r, event, invited)
	if !event.HashOK() {
		conform.Violation(t, "MSC4243-INV-03", "the content hash of the event with the account key in it", string(event.JSON()))
	}
	must.Equal(t, "what is not replaced", unsignedObject(t, event.JSON(), "state_key", "hashes"), unsignedObject(t, q.Event, "state_key", "hashes"))

	// The key is alice's: she can join by it.
	setup := conform.Setup(t)
	r.Room.Add(event.WithSignature(r.Fay.Account().Signer()))
	r.Alice.MustJoin(setup, r.ID, string(r.Peer.Name()))
	must.Equal(t, "user ID under which the invited user joins", idOf(t, r, r.Alice), invited)
}

// mustBeSignedByKeyAlone judges the signatures that the homeserver added for its user: one, by the
// account key, with the key ID "ed25519:1", and none by the server.
func mustBeSignedByKeyAlone(t *testing.T, requirement string, r *blueprints.Room, event *matrix.Event, user matrix.UserID) {
	t.Helper()
	if ids := event.SignatureKeyIDs(user.Localpart()); len(ids) != 1 || ids[0] != matrix.AccountKeyID {
		conform.Violation(t, requirement, "a signature by the account key with the key ID ed25519:1 alone", string(event.JSON()))
	}
	if slices.Contains(event.SignatureEntities(), string(r.At)) {
		conform.Violation(t, requirement, "no signature by the server", string(event.JSON()))
	}
}

// requestForms are the ways in which the event of a request can be signed by the side that asks. The
// text does not say which is right: the base specification demands a signature, which the replacement
// then breaks.
func requestForms() map[string]fakeserver.Forgery {
	return map[string]fakeserver.Forgery{
		"without signatures":                          {OmitSignatures: true},
		"with an empty list of signatures":            {EmptySignatures: true},
		"signed with the account name user ID in it":  {},
		"signed by the server, as in room version 12": {SignWithServerKeyOnly: true},
	}
}

// Proposal, on /invite: the sender signs after the receiver has put the account key in.
func TestInvite_RequestNeedNotBeSigned(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-INV-05")
	mustTakeSomeForm(t, "MSC4243-INV-05", "invite")
}

// mustTakeSomeForm judges that a request of one of the forms that the proposal leaves open is taken, and records
// which are.
func mustTakeSomeForm(t testing.TB, requirement, endpoint string) {
	t.Helper()
	r := secluded(t)
	var taken []string
	for form, f := range requestForms() {
		bob := r.User(t, r.HS.Alias(), "bob")
		if r.AskToCosign(t, r.CosignRequest(t, endpoint, matrix.UserID(bob.UserID), f)).StatusCode() == http.StatusOK {
			taken = append(taken, form)
		}
	}
	slices.Sort(taken)
	conform.Info(t, requirement, "events that are taken in the request: "+strings.Join(taken, "; "))
	if !slices.ContainsFunc(taken, func(form string) bool { return !strings.HasPrefix(form, "signed by the server") }) {
		conform.Violation(t, requirement, "an event that is unsigned, or signed with the account name user ID in it, to be taken", "none is")
	}
}

// Server-server API, "Inviting to a room": the path has the event ID. That of the request is not that of
// the answer, so that there is nothing that it could be compared with.
func TestInvite_IDInThePathDoesNotMatter(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-INV-06")
	r := secluded(t)
	q := r.CosignRequest(t, "invite", matrix.UserID(r.Alice.UserID), fakeserver.Forgery{})
	requested := eventID(gjson.ParseBytes(q.Event))
	answer := r.AskToCosign(t, q)
	if final := eventID(answer.JSON().Get("event")); answer.StatusCode() != http.StatusOK || final == requested {
		conform.Violation(t, "MSC4243-INV-06", "an event with another ID than the one in the path", answer.String())
	}

	other := strings.Replace(q.Path, url.PathEscape(requested), url.PathEscape("$"+strings.Repeat("A", 43)), 1)
	q = r.CosignRequest(t, "invite", matrix.UserID(r.User(t, r.HS.Alias(), "bob").UserID), fakeserver.Forgery{})
	q.Path = other
	answer = r.AskToCosign(t, q)
	conform.Info(t, "MSC4243-INV-06", "a request whose path has an ID that is not the event's is answered with "+http.StatusText(answer.StatusCode()))
}

// Server-server API, "Inviting to a room": a homeserver signs for its own users. For others it has no
// key, and makes none.
func TestInvite_OfNobodyIsRefused(t *testing.T) {
	t.Parallel()
	for name, user := range map[string]string{
		"an unknown name":                "@{ghost}:{hs}",
		"a name of another server":       "@{ghost}:third.invalid",
		"a known name of another server": "@{alice}:third.invalid",
		"an unknown key":                 "@AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE:{hs}",
		"an empty name":                  "@:{hs}",
		"a known name without the sigil": "{alice}:{hs}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-INV-13")
			r := secluded(t)
			names := strings.NewReplacer("{ghost}", blueprints.Unique("ghost"), "{alice}", matrix.UserID(r.Alice.UserID).Localpart(), "{hs}", string(r.At))
			answer := r.AskToCosign(t, r.CosignRequest(t, "invite", matrix.UserID(names.Replace(user)), fakeserver.Forgery{}))
			must.RefuseAny(t, answer)
			must.Lack(t, answer.JSON(), "event")

			// Control: a user whom there is.
			mustCosign(conform.Setup(t), r, r.CosignRequest(t, "invite", matrix.UserID(r.Alice.UserID), fakeserver.Forgery{}))
		})
	}
}

// misuse is a request for a signature under something else than the endpoint is for.
type misuse struct {
	name    string
	forgery fakeserver.Forgery
	// change, unless nil, changes the request around the event.
	change func(q *blueprints.CosignRequest)
}

// misuses of the endpoint for a membership. The events are hashed and signed as the forgery leaves them.
func misuses(membership string) []misuse {
	edit := func(name string, edits ...fakeserver.Edit) misuse {
		return misuse{name: name, forgery: fakeserver.Forgery{Edits: edits}}
	}
	rows := []misuse{
		edit("state of another type", fakeserver.Edit{Path: "type", JSON: `"m.room.topic"`}),
		edit("a message", fakeserver.Edit{Path: "type", JSON: `"m.room.message"`}, fakeserver.Edit{Path: "state_key"}),
		edit("a membership without a target", fakeserver.Edit{Path: "state_key"}),
		edit("no membership", fakeserver.Edit{Path: "content.membership"}),
		{name: "a sender of another server", forgery: fakeserver.Forgery{Sender: "@{key}:{elsewhere}"}},
		{name: "a sender of the homeserver itself", forgery: fakeserver.Forgery{Sender: "@{key}:{victim-domain}"}},
		{name: "the target as the sender", forgery: fakeserver.Forgery{Sender: "{victim}"}},
		{name: "a sender without an account key", forgery: fakeserver.Forgery{Sender: "@{name}:{domain}"}},
		{name: "a sender without an account key, signed by the server", forgery: fakeserver.Forgery{Sender: "@{name}:{domain}", SignWithServerKeyOnly: true}},
		{name: "another room version than the event's", change: func(q *blueprints.CosignRequest) { q.RoomVersion = "12" }},
		{name: "an unknown room version", change: func(q *blueprints.CosignRequest) { q.RoomVersion = "org.countersign.unknown" }},
		{name: "no room version", change: func(q *blueprints.CosignRequest) { q.RoomVersion = "" }},
		{name: "no event", change: func(q *blueprints.CosignRequest) { q.Event = json.RawMessage("{}") }},
	}
	for _, m := range []string{"join", "invite", "leave", "knock", "ban"} {
		if m != membership {
			rows = append(rows, edit("a membership of "+m, fakeserver.Edit{Path: "content.membership", JSON: `"` + m + `"`}))
		}
	}
	return rows
}

// mustRefuse makes a request that is misuse, and then an honest one for the same user.
func (m misuse) mustRefuse(t *testing.T, membership string) {
	t.Helper()
	r := secluded(t)
	r.Room.SetCast(fakeserver.Cast{Victim: r.Alice.UserID})
	q := r.CosignRequest(t, membership, matrix.UserID(r.Alice.UserID), m.forgery)
	if m.change != nil {
		m.change(q)
	}
	answer := r.AskToCosign(t, q)
	must.RefuseAny(t, answer)
	must.Lack(t, answer.JSON(), "event")
	mustCosignHonestly(t, r, membership)
}

// mustCosignHonestly is the control of a test in which a request is refused: an honest one for alice.
// Without the endpoint for bans, which a homeserver can do without, there is nothing to judge.
func mustCosignHonestly(t *testing.T, r *blueprints.Room, membership string) {
	t.Helper()
	q := r.CosignRequest(t, membership, matrix.UserID(r.Alice.UserID), fakeserver.Forgery{})
	if answer := r.AskToCosign(t, q); membership == "ban" && answer.StatusCode() == http.StatusNotFound {
		conform.Skip(t, "the homeserver has no endpoint for bans: %s", answer)
	}
	mustCosign(conform.Setup(t), r, q)
}

// Server-server API, "Inviting to a room": servers must see to it that they sign nothing but invites by
// users of the server that asks.
func TestInvite_NothingElseIsSigned(t *testing.T) {
	t.Parallel()
	for _, row := range misuses("invite") {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-INV-14")
			row.mustRefuse(t, "invite")
		})
	}
}

// guesses is how often a test guesses the name of an account. Who guesses that often is limited, if
// anybody is.
const guesses = 200

// limit guesses names until the homeserver has had enough, and reports whether it ever has.
func limit(t testing.TB, r *blueprints.Room, membership string) bool {
	t.Helper()
	for range guesses {
		q := r.CosignRequest(t, membership, matrix.UserID("@"+blueprints.Unique("guess")+":"+string(r.At)), fakeserver.Forgery{})
		if r.AskToCosign(t, q).StatusCode() == http.StatusTooManyRequests {
			return true
		}
	}
	return false
}

// Proposal, the note on lookups: these requests can be limited, so that nobody finds out all accounts by
// guessing.
func TestInvite_GuessesAreLimited(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-INV-15")
	if !limit(t, secluded(t), "invite") {
		conform.Violation(t, "MSC4243-INV-15", "status 429 for a server that invites 200 users who do not exist", "each is answered")
	}
}

// Server behaviour: clients are shown account names, in the stripped state of an invite, too.
func TestInvite_IsShownWithAccountNames(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-INV-16")
	r := secluded(t)
	inviteAlice(t, r)

	stripped := r.Alice.MustSeeInvite(t, r.ID)
	i := slices.IndexFunc(stripped, func(e gjson.Result) bool {
		return e.Get("type").Str == "m.room.member" && e.Get("content.membership").Str == "invite"
	})
	must.Be(t, i >= 0, "the invite in the stripped state %s", stripped)
	must.Field(t, stripped[i], "state_key", r.Alice.UserID)
	must.Field(t, stripped[i], "sender", r.ClientID(r.Fay))
	for _, e := range stripped {
		if e.Get("type").Str == "m.room.create" {
			must.Field(t, e, "sender", r.ClientID(r.Fay))
		}
	}
}

// inviteAlice has fay invite alice, who is then invited in fay's copy of the room, and returns alice's
// account key user ID.
func inviteAlice(t testing.TB, r *blueprints.Room) matrix.UserID {
	t.Helper()
	t = conform.Setup(t)
	event, alice := mustCosign(t, r, r.CosignRequest(t, "invite", matrix.UserID(r.Alice.UserID), fakeserver.Forgery{}))
	r.Room.Add(event.WithSignature(r.Fay.Account().Signer()))
	return alice
}

// Server behaviour: what unverified users send is not shown. The text does not say so of invites; but
// nobody may be shown as the inviter of whom nobody knows. The fence is the invite of a verified user.
func TestInvite_ByAnUnverifiedUser(t *testing.T) {
	t.Parallel()
	for name, doubt := range map[string]fakeserver.AccountAnswer{
		"whose key is unknown":       blueprints.Unknown(),
		"whose server is of no help": {Status: http.StatusInternalServerError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-INV-17")
			r := secluded(t)
			r.Fay.AnswerWith(doubt)
			inviteAlice(t, r)
			setup := conform.Setup(t)
			other := *r
			other.Peer = r.Scene.Peer(t)
			other.Fay = other.Peer.Member(t, "gil")
			var err error
			other.Room, err = other.Peer.CreateRoom(other.Fay, fakeserver.RoomOptions{Version: r.Version})
			must.NoError(setup, "making a room", err)
			other.ID = other.Room.ID()
			inviteAlice(t, &other)
			r.Alice.MustSeeInvite(setup, other.ID)

			held := "is held back"
			if seen := r.Alice.View().Room(r.ID); seen.Section == "invite" {
				held = "is shown"
				for _, e := range seen.Stripped {
					if ids := blueprints.KeyUserIDs(e.Raw); len(ids) > 0 {
						conform.Violation(t, "MSC4243-INV-17", "no account key user ID of an unverified inviter", e.Raw)
					}
					if e.Get("sender").Str == r.ClientID(r.Fay) {
						conform.Violation(t, "MSC4243-INV-17", "no inviter whom nobody has confirmed", e.Raw)
					}
				}
			}
			conform.Info(t, "MSC4243-INV-17", "the invite by a user "+name+" "+held)
		})
	}
}

// Server-server API, "Inviting to a room": the events of invite_room_state are complete and signed, the
// create event is among them, and all are of one room; a server should refuse others.
func TestInvite_RoomStateIsChecked(t *testing.T) {
	t.Parallel()
	const create, rules = 0, 1 // where they are in an honest request
	type request = blueprints.CosignRequest
	unsigned := func(i int, by string) func(testing.TB, *blueprints.Room, *request) {
		return func(t testing.TB, r *blueprints.Room, q *request) {
			var err error
			q.RoomState[i], err = sjson.SetRawBytes(q.RoomState[i], "signatures", []byte(strings.ReplaceAll(by, "{key}", r.Fay.Key())))
			must.NoError(t, "changing a signature", err)
		}
	}
	noSignature := `"` + strings.Repeat("A", 86) + `"`
	for _, c := range []struct {
		name   string
		change func(t testing.TB, r *blueprints.Room, q *request)
	}{
		{"no create event", func(_ testing.TB, _ *blueprints.Room, q *request) { q.RoomState = q.RoomState[rules:] }},
		{"no events", func(_ testing.TB, _ *blueprints.Room, q *request) { q.RoomState = []json.RawMessage{} }},
		{"a create event without signatures", unsigned(create, `{}`)},
		{"a create event that its sender has not signed", unsigned(create, `{"{key}":{"ed25519:1":`+noSignature+`}}`)},
		{"join rules without signatures", unsigned(rules, `{}`)},
		{"join rules that their sender has not signed", unsigned(rules, `{"{key}":{"ed25519:1":`+noSignature+`}}`)},
		{"join rules that the server has signed", func(t testing.TB, r *blueprints.Room, q *request) {
			d := fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": "invite"})
			q.RoomState[rules] = r.Forge(t, r.Fay, d, fakeserver.Forgery{SignWithServerKeyOnly: true}).PDU
		}},
		{"the create event of another room", func(t testing.TB, r *blueprints.Room, q *request) {
			q.RoomState[create] = r.Another(t).Room.State("m.room.create", "").JSON()
		}},
		{"stripped state", func(_ testing.TB, _ *blueprints.Room, q *request) {
			for i, e := range q.RoomState {
				q.RoomState[i] = json.RawMessage(gjson.GetBytes(e, "{type,state_key,sender,content}").Raw)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-INV-18")
			r := secluded(t)
			q := r.CosignRequest(t, "invite", matrix.UserID(r.Alice.UserID), fakeserver.Forgery{})
			mustCosign(conform.Setup(t), r, r.CosignRequest(t, "invite", matrix.UserID(r.User(t, r.HS.Alias(), "control").UserID), fakeserver.Forgery{}))
			c.change(conform.Setup(t), r, q)
			if answer := r.AskToCosign(t, q); answer.StatusCode()/100 != 4 {
				conform.Violation(t, "MSC4243-INV-18", "an invite_room_state with "+c.name+" to be refused", answer.String())
			}
		})
	}
}

// Server-server API, "Leaving Rooms": who is invited, or has knocked, leaves by a handshake with a
// server in the room.
func TestInvite_IsRejectedByTheAccountKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, rule string
		enter      func(t testing.TB, r *blueprints.Room)
	}{
		{"an invite", "invite", func(t testing.TB, r *blueprints.Room) {
			inviteAlice(t, r)
			r.Alice.MustSeeInvite(t, r.ID)
		}},
		{"a knock", "knock", func(t testing.TB, r *blueprints.Room) {
			r.Alice.MustKnock(t, r.ID, string(r.Peer.Name()))
			r.Alice.MustSyncUntil(t, "the knock", func(v *csapi.View) bool { return v.Room(r.ID).Section == "knock" })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-INV-19")
			r := blueprints.Visited(t, conform.AccountKeyVersion(t), blueprints.Options(func(o *fakeserver.RoomOptions) { o.JoinRule = c.rule }))
			c.enter(conform.Setup(t), r)
			r.Alice.MustLeave(t, r.ID)

			asked := r.Peer.MustBeAsked(t, fakeserver.OpMakeLeave)
			leave := blueprints.MustParse(t, r.Version, r.Peer.MustBeAsked(t, fakeserver.OpSendLeave).RequestBody)
			must.Equal(t, "path of make_leave", path(asked, 0), "/_matrix/federation/v1/make_leave/"+r.ID+"/"+string(leave.Sender()))
			must.Be(t, leave.IsState("m.room.member", string(leave.Sender())) && leave.Membership() == "leave", "a leave, got %s", leave.JSON())
			must.Equal(t, "server of the user who leaves", leave.Sender().Domain(), r.At)
			must.NoError(t, "checking the signature of the user who leaves", leave.VerifyAccountKey(leave.Sender()))
			r.Alice.MustSyncUntil(t, "the room to be left", func(v *csapi.View) bool { return v.Room(r.ID).Section == "leave" })
		})
	}
}

// Server-server API, "Inviting to a room": the first version of the endpoint is for the room versions 1
// and 2.
func TestInvite_ByTheFirstVersionIsRefused(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-INV-20")
	r := secluded(t)
	q := r.CosignRequest(t, "invite", matrix.UserID(r.Alice.UserID), fakeserver.Forgery{})
	answer := r.Peer.Ask(t, r.At, http.MethodPut, strings.Replace(q.Path, "/v2/", "/v1/", 1), q.Event)
	if answer.StatusCode() < 400 || answer.StatusCode() > 499 {
		conform.Violation(t, "MSC4243-INV-20", "a refusal of /v1/invite", answer.String())
	}
	mustCosign(conform.Setup(t), r, q)
}

// The same when the inviter becomes verified: the invite is as good as another.
func TestInvite_ByAUserWhoBecomesVerified(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-INV-17")
	r := secluded(t)
	r.Fay.AnswerWith(blueprints.Unknown())
	inviteAlice(t, r)
	setup := conform.Setup(t)
	r.Fay.AnswerWith(fakeserver.AccountAnswer{})
	confirmed := time.Now()
	ctx, cancel := context.WithTimeout(wait.Context(t), wait.Limit())
	defer cancel()
	_, err := r.Peer.WaitRequest(ctx, func(e fakeserver.Exchange) bool {
		return e.Started.After(confirmed) && e.Answered() && fakeserver.AsksFor(r.Fay.Key())(e)
	})
	if err != nil {
		conform.Skip(t, "the homeserver has not asked again for an inviter whom nobody had confirmed, which is its own affair: %v", err)
	}
	err = r.Alice.SyncUntil(wait.Context(t), "the invite", func(v *csapi.View) bool {
		return v.Room(r.ID).Section == "invite" && v.Room(r.ID).StrippedMembership(r.Alice.UserID) == "invite"
	})
	if err != nil {
		conform.Violation(t, "MSC4243-INV-17", "the invite to be shown once its sender is verified", err.Error())
	}
	r.Alice.MustJoin(setup, r.ID, string(r.Peer.Name()))
}
