package msc4345

import (
	"fmt"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Requested participation: a request "MUST be cosigned by a previously accepted participant key". Every
// standing of the server that is named, with its signature and without.
func TestRequest_NeedsAnAcceptedCosigner(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-AUTH-03", "MSC4345-AUTH-04")
	r := visiting(t)
	for _, p := range []matrix.Participation{"", matrix.Requested, matrix.Accepted, matrix.Revoked} {
		cosigner := r.AnotherServer(t, p)
		for _, signed := range []bool{true, false} {
			d := r.Room.Asks(r.Peer.MintServerKey()).AuthorisedBy(cosigner)
			if !signed {
				d.Authorising = matrix.ServerKeyPair{}
			}
			want, requirement := p == matrix.Accepted && signed, "MSC4345-AUTH-03"
			if want {
				requirement = "MSC4345-AUTH-04"
			}
			if _, got := try(t, r, r.Fay, d, fakeserver.Forgery{}); got.Effective() != want {
				conform.Violation(t, requirement, fmt.Sprintf("a request counts that a server with participation %q is to authorise, and has signed (%t): %t", p, signed, want), got.String())
			}
		}
	}
}

// Accepted participation: unverified_domain "SHOULD be identical to its prior value ... And this is
// enforced by authorization rules", of which none does (D-32e).
func TestAccept_KeepsTheDomain(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-AUTH-16")
	r := visiting(t)
	for _, domain := range []string{`"elsewhere.invalid"`, ``} {
		key := r.AnotherServer(t, matrix.Requested).Key().Name()
		_, got := try(t, r, r.Fay, r.Room.Accepts(key), fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "content.unverified_domain", JSON: domain}}})
		conform.Info(t, "MSC4345-AUTH-16", fmt.Sprintf("accepted with the domain %s in place of the requested one: %s", orNone(domain), textOf(!got.Effective())))
		if got.Effective() {
			conform.Violation(t, "MSC4345-AUTH-16", "a server is accepted with the domain that it has requested with, and not with "+orNone(domain), got.String())
		}
	}
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// textOf says which text a homeserver follows.
func textOf(prose bool) string {
	if prose {
		return "as the prose has it"
	}
	return "as the rules have it, word by word"
}

// Accepted and Revoked participation speak of users of the room. The rules decide before they look at the
// sender's membership and server (D-32f).
func TestDecisions_ByOutsiders(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, requirement, membership string }{
		{"who-was-never-in-the-room", "MSC4345-AUTH-18", ""},
		{"who-has-left", "MSC4345-AUTH-18", "leave"},
		{"who-was-banned", "MSC4345-AUTH-18", "ban"},
		{"on-a-requested-server", "MSC4345-AUTH-17", "requested"},
		{"on-a-revoked-server", "MSC4345-AUTH-17", "revoked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, c.requirement)
			r := visiting(t)
			setup := conform.Setup(t)
			admin, key := r.Peer.Member(t, "admin"), r.AnotherServer(t, matrix.Accepted)
			if c.membership == "requested" {
				key = r.AnotherServer(t, matrix.Requested)
			}
			id := admin.IDThrough(r.Version, key)
			blueprints.MustSend(setup, r.Room, r.Fay, powers(nil, map[matrix.UserID]int{id: 100}))
			if c.membership != "" && c.membership != "requested" {
				blueprints.MustSend(setup, r.Room, admin, fakeserver.Membership(id, "join").Through(key))
			}
			switch c.membership {
			case "leave":
				blueprints.MustSend(setup, r.Room, admin, fakeserver.Membership(id, "leave").Through(key))
			case "ban":
				blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Membership(id, "ban"))
			case "revoked":
				// By itself: fay's server could not do it to one of equal power.
				blueprints.MustSend(setup, r.Room, admin, r.Room.Revokes(key.Key().Name()).Through(key))
			}
			requested, accepted := r.AnotherServer(t, matrix.Requested).Key().Name(), r.AnotherServer(t, matrix.Accepted).Key().Name()
			for _, d := range []fakeserver.Draft{r.Room.Accepts(requested), r.Room.Revokes(accepted)} {
				event, got := try(t, r, admin, d.Through(key), fakeserver.Forgery{})
				conform.Info(t, c.requirement, fmt.Sprintf("a decision of a user %s: %s", c.name, textOf(!got.Effective())))
				if got.Effective() {
					conform.Violation(t, c.requirement, "a decision of a user "+c.name+" has no effect", got.String()+"\n"+string(event.PDU))
				}
			}
		})
	}
}

// Rule 2: "If the sender's current participation state is not accepted, reject."
func TestServers_ActOnlyWhenAccepted(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-AUTH-19")
	r := visiting(t)
	said := blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, fakeserver.Message("to be redacted"))
	for _, p := range []matrix.Participation{"", matrix.Requested, matrix.Revoked, matrix.Accepted} {
		key := r.AnotherServer(t, matrix.Accepted)
		if p == "" || p == matrix.Requested {
			key = r.AnotherServer(t, p)
		}
		id := r.Fay.IDThrough(r.Version, key)
		blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, powers(nil, map[matrix.UserID]int{id: 90}))
		drafts := []fakeserver.Draft{fakeserver.Membership(id, "join")}
		if p == matrix.Revoked || p == matrix.Accepted {
			blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, drafts[0].Through(key))
			drafts[0] = drafts[0].With("displayname", "Fay")
		}
		if p == matrix.Revoked {
			r.FayRevokes(conform.Setup(t), key.Key().Name())
		}
		drafts = append(drafts, fakeserver.Message("hello"), blueprints.Probe(), fakeserver.Redaction(said.ID()),
			powers(nil, map[matrix.UserID]int{id: 89}))
		for _, d := range drafts {
			if _, got := try(t, r, r.Fay, d.Through(key), fakeserver.Forgery{}); got.Effective() != (p == matrix.Accepted) {
				conform.Violation(t, "MSC4345-AUTH-19", fmt.Sprintf("%s by a server with participation %q has an effect: %t", d.Type, p, p == matrix.Accepted), got.String())
			}
		}
		if content := r.Alice.Event(t, r.ID, said.ID()).MustOK(t).Get("content.body"); p != matrix.Accepted && !content.Exists() {
			conform.Violation(t, "MSC4345-AUTH-19", fmt.Sprintf("a redaction by a server with participation %q redacts nothing", p), "the message has no content any more")
		}
	}
}

// Room version 12, rule 4: in a room with m.federate false nobody of another server acts. The rules on
// participation come after it.
func TestFederate_KeepsOtherKeysOut(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-AUTH-26", "MSC4345-RV-08")
	r := hosted(t, blueprints.Create("creation_content", map[string]any{"m.federate": false}))
	reply := template(t, r, r.Fay)
	if reply.StatusCode() != 200 {
		return // refused at once
	}
	petition := r.Peer.MustAsk(t, r.At, r.Version, r.ID, r.Fay)
	answer := blueprints.HandInRequest(t, petition, forge(t, petition, fakeserver.Forgery{}, fakeserver.Cast{}))
	if p := r.Participation(t, petition.ServerKey.Key().Name()); p != "" {
		conform.Violation(t, "MSC4345-AUTH-26", "no other server requests in a room that does not federate", fmt.Sprintf("it is %s; %s", p, answer))
	}
}

// Room version 12, redactions: users redact what users of the same server sent. Servers are keys.
func TestRedaction_BySameKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-RV-08")
	r := visiting(t)
	setup := conform.Setup(t)
	key := r.AnotherServer(t, matrix.Accepted)
	fellow, stranger := r.Peer.Member(t, "fellow"), r.Peer.Member(t, "stranger")
	join := func(user *fakeserver.User, through matrix.ServerKeyPair) {
		blueprints.MustSend(setup, r.Room, user, fakeserver.Membership(user.IDThrough(r.Version, through), "join").Through(through))
	}
	join(fellow, r.Room.Key())
	join(stranger, key)
	kept := blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Message("kept"))
	gone := blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Message("gone"))
	blueprints.MustSend(setup, r.Room, stranger, fakeserver.Redaction(kept.ID()).Through(key))
	blueprints.MustSend(setup, r.Room, fellow, fakeserver.Redaction(gone.ID()))
	r.Fence(t)
	for event, redacted := range map[*matrix.Event]bool{kept: false, gone: true} {
		content := r.Alice.Event(t, r.ID, event.ID()).MustOK(t).Get("content").Raw
		if (content == "{}") != redacted {
			conform.Violation(t, "MSC4345-RV-08", fmt.Sprintf("the message is redacted: %t", redacted), content)
		}
	}
}

// Participation semantics: whether a user is banned and whether a server participates are two things.
func TestBan_LeavesTheServerAlone(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-AUTH-27")
	r := hosting(t)
	other := r.Join(t, "other")
	r.Alice.MustBan(conform.Setup(t), r.ID, r.ClientID(other))
	r.MustSeeUser(t, other, "ban")
	must.Equal(t, "the participation of the server", r.Participation(t, r.Room.Key().Key().Name()), matrix.Accepted)
	r.Fence(t)
	if _, got := try(t, r, other, fakeserver.Message("not me"), fakeserver.Forgery{}); got.Effective() {
		t.Fatalf("a banned user speaks: %s", got)
	}
}
