package msc4243

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
)

// Proposal, on /ban: it is identical to /invite, for bans of users whose account key is not known, and
// has no invite_room_state.
func TestBan_OfAUserWhoseKeyIsNotKnown(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-BAN-01", "MSC4243-BAN-02")
	a := fromAfar(t)
	spam := a.server.Member(t, "spam")
	judge := conform.Judge(t, "MSC4243-BAN-01")
	a.Alice.Ban(t, a.ID, string(spam.NameID())).MustOK(judge)

	asked := a.server.MustBeAsked(judge, fakeserver.OpBan)
	conform.Info(t, "MSC4243-BAN-01", "the request is "+asked.Method+" "+strings.NewReplacer(a.ID, "{roomId}").Replace(path(asked, 0)))
	request := gjson.ParseBytes(asked.RequestBody)
	must.Field(judge, request, "event.type", "m.room.member")
	must.Field(judge, request, "event.content.membership", "ban")
	must.Field(judge, request, "event.sender", string(a.alice))
	must.Field(judge, request, "event.state_key", string(spam.NameID()))
	var members []string
	request.ForEach(func(name, _ gjson.Result) bool { members = append(members, name.Str); return true })
	must.SameSet(conform.Judge(t, "MSC4243-BAN-02"), "members of the request", members, []string{"event", "room_version"})
	must.Field(conform.Judge(t, "MSC4243-BAN-02"), request, "room_version", a.Version.ID)

	ban := a.MustReceiveMember(judge, string(spam.KeyID()), "ban")
	must.NoError(judge, "checking the moderator's signature", ban.VerifyAccountKey(a.alice))
	must.NoError(judge, "checking the banned user's signature", ban.VerifyAccountKey(spam.KeyID()))

	// The ban holds: the user cannot join.
	must.Refuse(judge, a.server.Make(judge, a.At, "join", a.ID, string(spam.KeyID()), a.Version.ID), http.StatusForbidden)
}

// Proposal, on /ban: the endpoint is for bans of users whose account key is not known. One that is known
// can be banned whatever the user's server says.
func TestBan_OfAUserWhoseKeyIsKnown(t *testing.T) {
	t.Parallel()
	for _, has := range []string{"joined", "left"} {
		t.Run("who has "+has, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-BAN-05")
			r := hosting(t)
			setup := conform.Setup(t)
			gil := r.Join(t, "gil")
			if has == "left" {
				blueprints.MustSend(setup, r.Room, gil, fakeserver.Membership(gil.KeyID(), "leave"))
				r.Alice.MustSeeMember(setup, r.ID, r.ClientID(gil), "leave")
			}
			r.Peer.Override(fakeserver.OpBan, fakeserver.With(fakeserver.Errorf(http.StatusForbidden, "M_FORBIDDEN", "hands off")))

			judge := conform.Judge(t, "MSC4243-BAN-05")
			r.Alice.Ban(t, r.ID, r.ClientID(gil)).MustOK(judge)
			r.MustReceiveMember(judge, string(gil.KeyID()), "ban") // whose sender has signed it
			must.Equal(judge, "membership of the banned user", r.Member(t, r.ClientID(gil)), "ban")
			asked := r.Peer.Transcript().Exchanges(fakeserver.Is(fakeserver.OpBan))
			must.Be(judge, len(asked) == 0, "no request to the server of a user whose key is known, got %s %s", first(asked).Method, first(asked).URI)
		})
	}
}

// first is the first of a list of exchanges, or none.
func first(list []fakeserver.Exchange) (e fakeserver.Exchange) {
	if len(list) > 0 {
		e = list[0]
	}
	return e
}

// Proposal, on /ban: only the user's server can tell the key. If it does not, there is nobody to ban,
// and an account name in the place of the key would ban nobody.
func TestBan_NeedsTheServersHelp(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]fakeserver.Answer{
		"forbidden":         fakeserver.Errorf(http.StatusForbidden, "M_FORBIDDEN", "hands off"),
		"not found":         fakeserver.Errorf(http.StatusNotFound, "M_NOT_FOUND", "who is that?"),
		"unrecognised":      fakeserver.Errorf(http.StatusNotFound, "M_UNRECOGNIZED", "what is that?"),
		"rate limited":      fakeserver.Errorf(http.StatusTooManyRequests, "M_LIMIT_EXCEEDED", "later"),
		"an internal error": fakeserver.Errorf(http.StatusInternalServerError, "M_UNKNOWN", "oops"),
		"no JSON":           {Status: http.StatusBadGateway, Body: []byte("<html>bad gateway</html>")},
		"no answer":         {Manner: fakeserver.Reset},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-BAN-06")
			a := fromAfar(t)
			before := a.SignedEvents(a.alice)
			spam := a.server.Member(t, "spam")
			a.server.Override(fakeserver.OpBan, fakeserver.With(answer))
			told := a.Alice.Ban(t, a.ID, string(spam.NameID()))
			must.Be(t, !told.OK(), "a ban that is not possible to fail: %s", told)

			fence := a.Next(t)
			for id, event := range a.SignedEvents(a.alice) {
				request := gjson.GetBytes(event, "state_key").Str == string(spam.NameID()) && !inTransaction(a.Room, id)
				must.Be(t, before[id] != nil || id == fence.ID() || request, "no event of alice's in the room, got %s", event)
			}
			for _, id := range []string{string(spam.NameID()), string(spam.KeyID())} {
				must.Equal(t, "membership of the user who could not be banned", a.Member(t, id), "")
			}
			// Control: nothing but the answer was in the way. That server may be left alone for a while.
			control := a.Scene.Peer(t).Member(t, "control")
			if answer := a.Alice.Ban(t, a.ID, string(control.NameID())); !answer.OK() {
				conform.Skip(t, "the homeserver bans nobody whose key it does not know: %s", answer)
			}
		})
	}
}

// inTransaction reports whether an event was sent to fay's server as one of the room.
func inTransaction(r *blueprints.Room, eventID string) bool {
	return slices.ContainsFunc(r.Peer.PDUs(), func(pdu fakeserver.PDU) bool {
		return pdu.Via == fakeserver.OpSend && pdu.Event != nil && pdu.Event.ID() == eventID
	})
}

// Proposal, on /ban: what comes back is signed, too; see TestInvite_TamperedAnswersAreNotSigned. What a
// hostile server can do is to name another of its own keys, which nobody can tell.
func TestBan_TamperedAnswersAreNotSigned(t *testing.T) {
	t.Parallel()
	for _, row := range tamperings() {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-BAN-07")
			fromAfar(t).mustNotSign(t, bans(), row, "MSC4243-BAN-07")
		})
	}
}

// Security Considerations: a server that gives a name a second key evades a ban by name. The ban of the
// first key stays.
func TestBan_HoldsForTheKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-BAN-08")
	a := fromAfar(t)
	spam, second := a.server.Member(t, "spam"), a.server.Member(t, "second")
	second.AnswerWith(fakeserver.AccountAnswer{Edits: []fakeserver.Edit{{Path: "account_name", JSON: `"` + spam.Name() + `"`}}})
	a.Alice.MustBan(conform.Setup(t), a.ID, string(spam.NameID()))
	a.MustReceiveMember(conform.Setup(t), string(spam.KeyID()), "ban")

	may := "may not join"
	if answer := a.server.Make(t, a.At, "join", a.ID, string(second.KeyID()), a.Version.ID); answer.StatusCode() == http.StatusOK {
		a.server.MustJoin(conform.Setup(t), a.At, a.Version, a.ID, second)
		may = "may join"
	}
	conform.Info(t, "MSC4243-BAN-08", "a second key of the name of a banned user "+may)
	judge := conform.Judge(t, "MSC4243-BAN-08")
	must.Refuse(judge, a.server.Make(judge, a.At, "join", a.ID, string(spam.KeyID()), a.Version.ID), http.StatusForbidden)
	banned := a.MustReceiveMember(conform.Setup(t), string(spam.KeyID()), "ban").ID()
	must.Contain(judge, "state of the room", a.StateBefore(t, a.Next(t)), banned)
}
