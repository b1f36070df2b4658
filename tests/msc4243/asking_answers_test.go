package msc4243

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// What an answer does to a key of each state, form by form, is the table of the state machine. Here a
// homeserver joins rooms with members of whom it is told all sorts of things.

// display is all that alice is shown of a room, as text.
type display string

// everythingShown asks for the room on each surface that tells of members and messages.
func everythingShown(t testing.TB, r *blueprints.Room) display {
	t.Helper()
	setup := conform.Setup(t)
	var all strings.Builder
	for _, answer := range []*csapi.Response{
		r.Alice.Sync(setup, csapi.SyncRequest{Filter: longTimeline}),
		r.Alice.Sync(setup, csapi.SyncRequest{Filter: shortTimeline, StateAfter: true}),
		r.Alice.AllState(setup, r.ID), r.Alice.Members(setup, r.ID), r.Alice.JoinedMembers(setup, r.ID),
		r.Alice.Messages(setup, r.ID, "b", "", 200),
	} {
		all.WriteString(answer.MustOK(setup).Raw)
	}
	return display(all.String())
}

// has reports whether a text, such as an event ID, is shown anywhere.
func (d display) has(text string) bool { return strings.Contains(string(d), text) }

// member is a user of a fake server about whose account key something is answered.
type member struct {
	name        string
	requirement string
	answer      fakeserver.AccountAnswer
	// verified is whether the answer confirms the key, and open that it may or may not.
	verified, open bool

	user          *fakeserver.User
	join, message *matrix.Event
}

// forms are the forms of what is said of one key that do not concern others, by their case in the table
// of answers.
var forms = map[string]member{
	"S1":  {requirement: "MSC4243-QC-05", verified: true},
	"S3":  {requirement: "MSC4243-QC-06"},
	"S4":  {requirement: "MSC4243-QC-06"},
	"S5":  {requirement: "MSC4243-QC-06"},
	"S6":  {requirement: "MSC4243-QC-07"},
	"S7":  {requirement: "MSC4243-QC-08"},
	"S8":  {requirement: "MSC4243-QC-05", verified: true},
	"S9":  {requirement: "MSC4243-QC-06"},
	"S10": {requirement: "MSC4243-QC-10"},
	"S11": {requirement: "MSC4243-QC-10"},
}

// historical are account names that make no user ID of today, but one that servers must accept all the
// same (appendices, "Historical User IDs").
var historical = []string{"name-empty", "name-newline", "name-right-to-left"}

// unreadable are forms of another type than the proposal's. A homeserver may find that it cannot decode
// the whole answer, so each of them is a room's only member besides fay.
var unreadable = []string{"signature-is-a-number", "name-a-number", "name-an-object", "entry-null", "entry-array", "entry-string", "entry-error-a-number"}

// membersOfOneAnswer are members of whom a homeserver is told something in each readable form.
func membersOfOneAnswer(at matrix.ServerName) (members []*member) {
	for _, row := range fakeserver.AccountAnswers() {
		form, ok := forms[row.Case]
		if !ok || slices.Contains(unreadable, row.Name) {
			continue
		}
		form.name, form.answer, form.open = row.Name, row.Answer, slices.Contains(historical, row.Name)
		members = append(members, &form)
	}
	edit := func(path, json string) []fakeserver.Edit { return []fakeserver.Edit{{Path: path, JSON: json}} }
	return append(members,
		&member{name: "domain-of-the-asking-server", requirement: "MSC4243-QC-07", answer: fakeserver.AccountAnswer{Edits: edit("domain", fmt.Sprintf("%q", at))}},
		&member{name: "domain-in-upper-case", requirement: "MSC4243-QC-07", open: true, answer: fakeserver.AccountAnswer{Edits: edit("domain", `"LOCALHOST"`)}},
		&member{name: "signed-before-the-domain-was-added", requirement: "MSC4243-QC-06", answer: fakeserver.AccountAnswer{
			Edits: edit("domain", ""), LateEdits: edit("domain", `"{domain}"`)}},
		&member{name: "left-out", requirement: "MSC4243-QC-10", answer: fakeserver.AccountAnswer{Omit: true}},
		&member{name: "name-in-upper-case", requirement: "MSC4243-QC-08", open: true, answer: fakeserver.AccountAnswer{Edits: edit("account_name", `"BOB"`)}},
	)
}

// Server behaviour: verified is a key that "was contained in the response", as a JSON that "has been
// correctly signed by the account key"; unverified is every other. One answer is about all the members
// of a room, good and bad: each key is judged by itself.
func TestAnswers_AreJudgedKeyByKey(t *testing.T) {
	t.Parallel()
	var members []*member
	r := visiting(t, blueprints.Before(func(r *blueprints.Room) {
		elsewhere := r.Scene.Peer(t) // so that fay is verified whatever becomes of the answer
		members = membersOfOneAnswer(r.At)
		for _, m := range members {
			m.user = elsewhere.Member(t, "member")
			m.user.AnswerWith(m.answer)
			m.join = r.Place(t, m.user)
		}
	}))
	// The answer has been dealt with when its best part has. If that never comes, it is judged below.
	if err := r.Alice.SyncUntil(t.Context(), "a member", func(v *csapi.View) bool { return v.Room(r.ID).Membership(r.ClientID(members[0].user)) == "join" }); err != nil {
		t.Log(err)
	}
	var said []*matrix.Event
	for _, m := range members {
		m.message = blueprints.NewEvent(t, r.Room, m.user, fakeserver.Message(m.name))
		r.Room.Add(m.message)
		said = append(said, m.message)
	}
	r.Relay(conform.Setup(t), said)
	r.Fence(t)
	shown := everythingShown(t, r)
	state := r.StateBefore(t, r.Next(t))
	for _, m := range members {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, m.requirement)
			must.Contain(conform.Setup(t), "events in the state over federation", state, m.join.ID())
			m.judge(t, shown)
		})
	}
	t.Run("the others beside an error", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-QC-10")
		for _, m := range members {
			must.Be(t, !m.verified || shown.has(m.join.ID()), "a member to be shown whose key was confirmed (%s), in an answer that says of other keys that they are unknown", m.name)
		}
	})
}

// judge compares what is shown of the member with what the answer about them is worth.
func (m *member) judge(t testing.TB, shown display) {
	t.Helper()
	join, message := shown.has(m.join.ID()), shown.has(m.message.ID())
	seen := fmt.Sprintf("join shown: %t, message shown: %t", join, message)
	switch {
	case m.open:
		conform.Info(t, m.requirement, m.name+": "+seen)
	case m.verified && (!join || !message || !shown.has(string(m.user.NameID()))):
		conform.Violation(t, m.requirement, fmt.Sprintf("a member whose key was confirmed (%s) and a message of theirs to be shown, as %s", m.name, m.user.NameID()), seen)
	case !m.verified && (join || message):
		conform.Violation(t, m.requirement, fmt.Sprintf("nothing to be shown of a member whose key was not confirmed (%s)", m.name), seen)
	}
}

// The same for what does not have the types of the proposal. The whole answer may then be unusable.
func TestAnswers_OfOtherTypes(t *testing.T) {
	t.Parallel()
	for _, row := range fakeserver.AccountAnswers() {
		if !slices.Contains(unreadable, row.Name) {
			continue
		}
		requirement := forms[row.Case].requirement
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, requirement)
			r := visiting(t)
			m := &member{name: row.Name, requirement: requirement, user: r.Peer.Member(t, "member")}
			m.user.AnswerWith(row.Answer)
			m.join = r.MustHide(t, m.user, fakeserver.Membership(m.user.KeyID(), "join"))
			r.Peer.MustBeAsked(conform.Setup(t), fakeserver.OpQueryAccounts, fakeserver.AsksFor(m.user.Key()))
			m.message = r.MustHide(t, m.user, fakeserver.Message("can anybody see me?"))
			m.judge(t, everythingShown(t, r))
		})
	}
}

// Server behaviour: unverified is a key whose domain "is unreachable, returned a non 2xx status, or the
// server cannot decode the response body". A room has members of many domains, all but fay's of which
// fail in one way or another. The ones that make a homeserver wait have tests of their own.
func TestFailingDomains_HaveUnverifiedMembers(t *testing.T) {
	t.Parallel()
	type failing struct {
		name string
		peer *blueprints.Peer // nil when nothing there could be asked
		join *matrix.Event
		open bool
	}
	var domains []failing
	r := blueprints.Visited(t, conform.AccountKeyVersion(t), blueprints.Before(func(r *blueprints.Room) {
		answers := []fakeserver.NamedAnswer{
			{Name: "error-with-a-good-body", Case: "S22", Answer: fakeserver.AccountAnswer{Status: http.StatusInternalServerError}},
			{Name: "refusal-with-a-good-body", Case: "S22", Answer: fakeserver.AccountAnswer{Status: http.StatusForbidden}},
			{Name: "no-content", Case: "S22", Answer: fakeserver.AccountAnswer{Status: http.StatusNoContent, Body: " "}},
			{Name: "another-content-type", Case: "open", Answer: fakeserver.AccountAnswer{Header: http.Header{"Content-Type": {"text/html"}}}},
		}
		for _, row := range append(answers, fakeserver.AccountAnswers()...) {
			switch row.Case {
			case "S22", "S23", "S24", "open":
			default:
				continue
			}
			switch row.Answer.Manner {
			case fakeserver.Hang, fakeserver.Trickle, fakeserver.Endless, fakeserver.GzipBomb:
				continue
			}
			peer := r.Scene.Peer(t)
			peer.AnswerAccounts(row.Answer)
			domains = append(domains, failing{row.Name, peer, r.Place(t, peer.Member(t, "gil")), row.Case == "open"})
		}
		refusing := r.Scene.Peer(t)
		domains = append(domains, failing{"refuses-connections", nil, r.Place(t, refusing.Member(t, "gil")), false})
		must.NoError(conform.Setup(t), "closing a fake server", refusing.Close())
		mute := r.Scene.Mute(t, true)
		joins, err := r.Room.Crowd(mute.Name(), 1)
		must.NoError(conform.Setup(t), "making a member of a domain that hangs up", err)
		r.Room.Ignore(mute.Name())
		domains = append(domains, failing{"hangs-up", nil, joins[0], false})
	}))
	setup := conform.Setup(t)
	must.Succeed(setup, joinPatiently(t, r))
	for _, d := range domains {
		if d.peer != nil {
			d.peer.MustBeAsked(setup, fakeserver.OpQueryAccounts)
		}
	}
	r.Fence(t)
	shown := everythingShown(t, r)
	must.Be(setup, shown.has(r.ClientID(r.Fay)), "fay, whose server answers, to be shown")
	state := r.StateBefore(t, r.Next(t))
	for _, d := range domains {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QC-11")
			must.Contain(conform.Setup(t), "events in the state over federation", state, d.join.ID())
			if d.open {
				conform.Info(t, "MSC4243-QC-11", fmt.Sprintf("%s: the member is shown: %t", d.name, shown.has(d.join.ID())))
				return
			}
			must.Be(t, !shown.has(d.join.ID()), "nothing to be shown of a member whose domain fails")
		})
	}
}

// Proposal: "By responding to the endpoint with that account key, the domain claims to own that
// particular account key." No domain can speak for another.
func TestAnswers_AboutTheKeysOfOthersAreIgnored(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QC-12")
	var join *matrix.Event
	r := visiting(t, blueprints.Before(func(r *blueprints.Room) {
		gil := r.Scene.Peer(t).Member(t, "gil")
		gil.AnswerWith(blueprints.Unknown())
		join = r.Place(t, gil)
		r.Fay.AnswerWith(fakeserver.AccountAnswer{AnswerEdits: []fakeserver.Edit{{Path: "account_keys." + gil.Key(), JSON: accountObject(t, gil)}}})
	}))
	r.Fence(t)
	shown := everythingShown(t, r)
	must.Be(conform.Setup(t), shown.has(r.ClientID(r.Fay)), "fay, with whose key the answer came, to be shown")
	must.Be(t, !shown.has(join.ID()), "a key for which only another domain vouches not to be verified")
}

// accountObject is what a user's own server would honestly answer about them.
func accountObject(t testing.TB, user *fakeserver.User) string {
	t.Helper()
	return signedBy(t, user, map[string]any{"account_name": user.Name(), "domain": user.NameID().Domain()})
}

// signedBy is a JSON object with the signature of a user's account key.
func signedBy(t testing.TB, user *fakeserver.User, object map[string]any) string {
	t.Helper()
	signed, err := matrix.SignJSON(marshal(t, object), user.Account().Signer())
	must.NoError(conform.Setup(t), "signing what is said of an account", err)
	return string(signed)
}

func marshal(t testing.TB, object map[string]any) []byte {
	t.Helper()
	content, err := json.Marshal(object)
	must.NoError(conform.Setup(t), "writing what is said of an account", err)
	return content
}

// Footnote tls: "the bidirectional link is created only when the requesting server verifies the TLS
// certificate of the responding server and confirms it is valid."
func TestAnswers_NeedAValidCertificate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		present func(t *testing.T, r *blueprints.Room, peer *blueprints.Peer)
	}{
		{"of another name", func(t *testing.T, r *blueprints.Room, peer *blueprints.Peer) {
			peer.UseCertificate(r.CertificateFor(t, "elsewhere.invalid"))
		}},
		{"of an unknown authority", func(t *testing.T, r *blueprints.Room, peer *blueprints.Peer) {
			peer.UseCertificate(r.UntrustedCertificate(t))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QC-13")
			var doubtful *blueprints.Peer
			var join *matrix.Event
			r := visiting(t, blueprints.Before(func(r *blueprints.Room) {
				doubtful = r.Scene.Peer(t)
				c.present(t, r, doubtful)
				join = r.Place(t, doubtful.Member(t, "gil"))
			}))
			r.Fence(t)
			if !everythingShown(t, r).has(join.ID()) {
				return
			}
			r.Next(t) // which a homeserver that does not check certificates at all sends to the doubtful server, too
			ctx, cancel := context.WithTimeout(t.Context(), wait.Limit())
			defer cancel()
			if _, err := doubtful.WaitRequest(ctx, fakeserver.Is(fakeserver.OpSend)); err == nil {
				conform.Skip(t, "the homeserver sends transactions to a server with a certificate %s: this deployment does not check certificates", c.name)
			}
			conform.Violation(t, "MSC4243-QC-13", "nothing to be shown of a member whose server has a certificate "+c.name, "the join is shown")
		})
	}
}

// Proposal: an answer is filed under the key that was asked for. What another spelling of it does is
// recorded; it must not confirm anybody else.
func TestAnswers_UnderOtherSpellings(t *testing.T) {
	t.Parallel()
	for _, spelling := range []string{"{std-key}", "{key}=", "{alias-1}"} {
		t.Run(spelling, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QC-14")
			var carol, bob *matrix.Event
			var name string
			r := visiting(t, blueprints.Before(func(r *blueprints.Room) {
				user := r.Peer.Member(t, "bob")
				user.AnswerWith(fakeserver.AccountAnswer{MapKey: spelling})
				bob, name = r.Place(t, user), user.Name()
				other := r.Peer.Member(t, "carol")
				other.AnswerWith(fakeserver.AccountAnswer{Omit: true})
				carol = r.Place(t, other)
			}))
			r.Fence(t)
			shown := everythingShown(t, r)
			if shown.has(carol.ID()) {
				conform.Violation(t, "MSC4243-QC-14", "a key that was left out not to be verified by the object of another key, filed under "+spelling, "it is shown")
			}
			conform.Info(t, "MSC4243-QC-14", fmt.Sprintf("an object filed under %s confirms the key: %t, with its name: %t", spelling, shown.has(bob.ID()), shown.has(name)))
		})
	}
}
