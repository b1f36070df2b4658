package msc4348

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/helpers/wait"
)

// MSC4348, "Obtaining account and profile information as a server"; MSC4345, "The unverified_domain property": the
// participation of the co-signing server says whom to ask. D-51: at which path is recorded.
func TestAccounts_AreAskedForAtTheCoSigner(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ACCT-01", "MSC4348-ACCT-03")
	r := hosting(t)
	asked := r.Peer.MustBeAsked(conform.Judge(t, "MSC4348-ACCT-03"), fakeserver.OpQueryAccounts, fakeserver.AsksFor(r.Fay.Key()))
	conform.Info(t, "MSC4348-ACCT-01", "accounts are asked for by "+asked.Method+" "+asked.URI)
	if asked.URI != fakeserver.PortableAccountsPath || asked.Method != "POST" {
		conform.Violation(t, "MSC4348-ACCT-01", "a request to "+fakeserver.PortableAccountsPath, asked.Method+" "+asked.URI)
	}
}

// MSC4348, "Obtaining account and profile information as a client": "The account name is annotated in
// unsigned.account. This is the account name only and not the account name user ID."
func TestAccounts_NameIsShown(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ACCT-04", "MSC4348-ACCT-05")
	r := hosting(t)
	theirs := blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, fakeserver.Message("hello"))
	r.Alice.MustSee(conform.Setup(t), r.ID, theirs.ID())
	own := r.Alice.MustSay(conform.Setup(t), r.ID, "hello")
	for id, want := range map[string]struct{ name, domain string }{
		theirs.ID(): {r.Fay.Name(), string(r.Peer.Name())}, own: {nameOf(r.Alice), string(r.At)},
	} {
		event := shownLater(t, r, id)
		must.Field(t, event, "unsigned.account", want.name)
		if domain := event.Get("unsigned.server_domain").Str; domain != want.domain {
			conform.Violation(t, "MSC4348-ACCT-05", "server_domain is "+want.domain, event.Raw)
		}
	}
	// Wherever clients are shown the event, they are shown the name.
	for _, event := range r.Alice.MustHistory(conform.Setup(t), r.ID) {
		if event.Get("event_id").Str == theirs.ID() {
			must.Field(t, event, "unsigned.account", r.Fay.Name())
		}
	}
}

// MSC4348, "Obtaining account and profile information as a client"; server-server API, "PDUs": what an event brings
// along in unsigned its server has made up.
func TestAccounts_InboundAnnotationsAreDropped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, unsigned string
		answer         fakeserver.AccountAnswer // of the accounts query
	}{
		{"of a user who has another name", `{"account":"admin","server_domain":"{victim-domain}"}`, fakeserver.AccountAnswer{}},
		{"of a user who has no name", `{"account":"admin","server_domain":"{victim-domain}"}`, blueprints.Unknown()},
		{"that are no strings", `{"account":{"name":"admin"},"server_domain":5}`, fakeserver.AccountAnswer{}},
		{"of MSC4243", `{"sender_account":{"user_id":"@admin:{victim-domain}","key":"{key}"}}`, fakeserver.AccountAnswer{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-ACCT-06")
			r := blueprints.Hosted(t, conform.PortableVersion(t))
			r.Fay.AnswerWith(c.answer)
			r.FayJoins(t)
			r.Fence(t)
			unsigned := strings.ReplaceAll(c.unsigned, "{victim-domain}", string(r.At))
			spoofed := r.Forge(t, r.Fay, fakeserver.Message("I am the admin"), fakeserver.Forgery{Unsigned: unsigned})
			blueprints.MustDeliver(conform.Setup(t), r.Room, spoofed.PDU)
			event := r.Alice.MustSee(conform.Setup(t), r.ID, spoofed.EventID)
			r.Fence(t)
			for _, shown := range []gjson.Result{event, r.Alice.Event(t, r.ID, spoofed.EventID).MustOK(t)} {
				for _, field := range []string{"account", "server_domain", "sender_account"} {
					if got := shown.Get("unsigned." + field).Raw; got != "" && strings.Contains(unsigned, got) {
						conform.Violation(t, "MSC4348-ACCT-06", "nothing of unsigned comes from another server", shown.Raw)
					}
				}
			}
		})
	}
}

// MSC4243, "Proposal", which MSC4348 refers to: a name needs the account key's signature. D-58: MSC4348 does not say
// that events of accounts without a name are hidden.
func TestAccounts_NoNameWithoutSignature(t *testing.T) {
	t.Parallel()
	for _, row := range fakeserver.AccountAnswers() {
		if !slices.Contains([]string{"S3", "S4", "S5", "S6", "S10", "S12", "S20", "S22", "S23"}, row.Case) || row.Answer.Manner != fakeserver.Plain {
			continue
		}
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-ACCT-07")
			r := blueprints.Hosted(t, conform.PortableVersion(t))
			r.Fay.AnswerWith(row.Answer)
			r.FayJoins(t)
			r.Peer.MustBeAsked(conform.Setup(t), fakeserver.OpQueryAccounts, fakeserver.AsksFor(r.Fay.Key()))
			said := blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, fakeserver.Message("who am I?"))
			judge := conform.Judge(t, "MSC4348-ACCT-07")
			r.Alice.MustSee(judge, r.ID, said.ID())
			r.Fence(t)
			if name := r.Alice.Event(t, r.ID, said.ID()).MustOK(t).Get("unsigned.account"); name.Exists() {
				conform.Violation(t, "MSC4348-ACCT-07", "no name that the account key has not signed", "the name shown is "+name.Raw)
			}
		})
	}
}

// MSC4243, "Handling GDPR erasure", which MSC4348 does not speak of (D-58): a name that was shown is gone when the
// homeserver has heard that the account was erased. When it asks is its own affair.
func TestAccounts_ErasureRemovesTheName(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ACCT-08")
	r := hosting(t)
	gil := r.Join(t, "gil")
	said := blueprints.MustSend(conform.Setup(t), r.Room, gil, fakeserver.Message("forget me"))
	r.Alice.MustSee(conform.Setup(t), r.ID, said.ID())
	must.Field(conform.Setup(t), shownLater(t, r, said.ID()), "unsigned.account", gil.Name())

	gil.Erase()
	blueprints.MustSend(conform.Setup(t), r.Room, gil, fakeserver.Membership(r.UserID(gil), "leave"))
	newcomer := r.Join(t, "newcomer")
	asked := r.Peer.MustBeAsked(conform.Setup(t), fakeserver.OpQueryAccounts, fakeserver.AsksFor(newcomer.Key()))
	if !asked.AsksForErasures() && !slices.Contains(asked.AskedKeys(), gil.Key()) {
		conform.Info(t, "MSC4348-ACCT-08", "the homeserver does not ask which accounts of rooms of MSC4348 were erased")
		return
	}
	var shown gjson.Result
	err := wait.Until(wait.Context(t), wait.Limit(), "the name to be gone", func(context.Context) (bool, error) {
		shown = r.Alice.Event(t, r.ID, said.ID()).MustOK(t)
		return !shown.Get("unsigned.account").Exists(), nil
	})
	if err != nil {
		conform.Violation(t, "MSC4348-ACCT-08", "an erased account has no name", fmt.Sprintf("%v: %s", err, shown.Raw))
	}
}

// MSC4243, "Handling GDPR erasure": an account that was erased before the homeserver heard of it never has a name.
func TestAccounts_ErasedFromTheBeginning(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ACCT-08")
	r := blueprints.Hosted(t, conform.PortableVersion(t))
	r.Fay.Erase()
	r.FayJoins(t)
	said := r.Fence(t)
	r.Peer.MustBeAsked(conform.Setup(t), fakeserver.OpQueryAccounts, fakeserver.AsksFor(r.Fay.Key()))
	r.Fence(t)
	if shown := r.Alice.Event(t, r.ID, said.ID()).MustOK(t); shown.Get("unsigned.account").Exists() {
		conform.Violation(t, "MSC4348-ACCT-08", "an erased account has no name", shown.Raw)
	}
}
