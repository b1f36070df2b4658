package msc4345

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// keyQueries are the forms in which a server key can be asked for (D-44: the text gives none).
func keyQueries(keys ...matrix.ServerName) map[string]fakeserver.KeyQuery {
	return map[string]fakeserver.KeyQuery{
		"POST at the unstable path": {Keys: keys}, "GET at the unstable path": {Keys: keys, Get: true},
		"POST at the stable path": {Keys: keys, Path: fakeserver.StableServerKeysPath},
		"GET at the stable path":  {Keys: keys, Path: fakeserver.StableServerKeysPath, Get: true},
	}
}

// askForKeys asks the homeserver under test in every form, and returns the answers that list the key.
func askForKeys(t testing.TB, r *blueprints.Room, peer *blueprints.Peer, key matrix.ServerName) map[string]*fakeserver.Response {
	t.Helper()
	found := map[string]*fakeserver.Response{}
	for form, q := range keyQueries(key) {
		answer, err := peer.QueryServerKeys(t.Context(), r.At, q)
		must.NoError(t, "asking for server keys", err)
		must.Be(t, answer.Status < 500, "an answer to %s, got %d: %s", form, answer.Status, answer.Body)
		for _, listed := range answer.ServerKeys(r.At) {
			if listed == key {
				found[form] = answer
			}
		}
	}
	return found
}

// Introducing /_matrix/key/v3/query: "The same public key is advertised", and "valid_until_ts is removed".
func TestKeyQuery_Answers(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-KEYQ-02", "MSC4345-KEYQ-03")
	r := hosting(t)
	found := askForKeys(t, r, r.Peer, r.ServerKey(t))
	if len(found) == 0 {
		conform.Violation(t, "MSC4345-KEYQ-03", "a server in the room is told that the key is the homeserver's, in one form or another", "in none")
		return
	}
	for form, answer := range found {
		conform.Info(t, "MSC4345-KEYQ-02", "server keys can be asked for by "+form)
		if strings.Contains(string(answer.Body), "valid_until_ts") {
			conform.Violation(t, "MSC4345-KEYQ-02", "there is no valid_until_ts", string(answer.Body))
		}
	}
}

// Introducing /_matrix/key/v3/query: "only admit ownership of keys for which the requesting server can access
// through participation within a room".
func TestKeyQuery_Disclosure(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-KEYQ-03")
	r := hosting(t)
	key := r.ServerKey(t)
	stranger, waiting := r.Scene.Peer(t), r.Scene.Peer(t)
	for form, answer := range askForKeys(t, r, stranger, key) {
		conform.Violation(t, "MSC4345-KEYQ-03", "a stranger is not told whose the key is", form+": "+string(answer.Body))
	}
	for form, q := range keyQueries() {
		answer, err := stranger.QueryServerKeys(t.Context(), r.At, q)
		must.NoError(t, "asking for all server keys", err)
		if strings.Contains(string(answer.Body), string(key)) {
			conform.Violation(t, "MSC4345-KEYQ-03", "a stranger who asks for all is not told of the key", form+": "+string(answer.Body))
		}
	}
	// D-39: who has only requested is not in the room, but has to be checked, and may want to check.
	waiting.MustRequest(t, r.At, r.Version, r.ID, waiting.Member(t, "waiting"))
	conform.Info(t, "MSC4345-KEYQ-03", fmt.Sprintf("a server that has only requested is told of the key: %t", len(askForKeys(t, r, waiting, key)) > 0))
}

// domainShown is unsigned.server_domain of an event as alice is shown it.
func domainShown(t testing.TB, r *blueprints.Room, eventID string) gjson.Result {
	t.Helper()
	return r.Alice.Event(t, r.ID, eventID).MustOK(t).Get("unsigned.server_domain")
}

// introduce brings a further server key into fay's room, and fay through it. It names a domain.
func introduce(t testing.TB, r *blueprints.Room, key matrix.ServerKeyPair, domain matrix.ServerName) {
	t.Helper()
	t = conform.Setup(t)
	if domain != r.Peer.Name() {
		r.Room.Ignore(domain) // the fake server has nothing to say there
	}
	blueprints.MustSend(t, r.Room, r.Fay, r.Room.Asks(key).With("unverified_domain", domain))
	r.FayAccepts(t, key.Key().Name())
	blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Membership(r.Fay.IDThrough(r.Version, key), "join").Through(key))
}

// mustVerifyAnother waits until the homeserver has verified the domain of another server, which answers
// honestly: it does verify domains. What it makes of one domain may keep it from asking there again, and
// says nothing about another.
func mustVerifyAnother(t testing.TB, r *blueprints.Room) {
	t.Helper()
	t = conform.Setup(t)
	other := r.Scene.Peer(t)
	key := other.MintServerKey()
	introduce(t, r, key, other.Name())
	said := blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Message("where am I?").Through(key))
	r.Alice.MustSee(t, r.ID, said.ID())
	mustShowDomain(t, r, said.ID(), other.Name())
}

// Introducing /_matrix/key/v3/query, the steps of verification, and Impositions on Client UI. What the domain
// of a server answers decides whether clients are shown it. The events are shown in any case.
func TestDomain_IsShownWhenVerified(t *testing.T) {
	t.Parallel()
	for _, row := range fakeserver.KeyAnswers() {
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4345-KEYQ-01", "MSC4345-KEYQ-05", "MSC4345-KEYQ-08")
			r := visiting(t)
			judged := r.Peer.MintServerKey()
			r.Peer.AnswerServerKey(judged.Key().Name(), row.Answer)
			introduce(t, r, judged, r.Peer.Name())
			said := blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Message("hello").Through(judged))
			shown := r.Alice.MustSee(t, r.ID, said.ID())
			must.Equal(t, "the server in the sender", matrix.UserID(shown.Get("sender").Str).Localpart(), r.Fay.Name())
			if row.Name == "honest" {
				mustShowDomain(conform.Judge(t, "MSC4345-KEYQ-01"), r, said.ID(), r.Peer.Name())
				return
			}
			mustHaveAsked(t, r, judged.Key().Name())
			mustVerifyAnother(t, r)
			domain := domainShown(t, r, said.ID())
			switch {
			case row.Verifies:
				conform.Info(t, "MSC4345-KEYQ-01", fmt.Sprintf("the answer %q verifies the domain: %t", row.Name, domain.Exists()))
			case domain.Exists():
				conform.Violation(t, "MSC4345-KEYQ-01", "no server_domain after the answer "+row.Name, domain.Raw)
			}
		})
	}
}

// mustShowDomain waits until alice is shown a domain with an event.
func mustShowDomain(t testing.TB, r *blueprints.Room, eventID string, domain matrix.ServerName) {
	t.Helper()
	waitFor(t, "the server_domain of "+eventID, func() bool { return domainShown(t, r, eventID).Exists() })
	must.Equal(t, "unsigned.server_domain", domainShown(t, r, eventID).Str, string(domain))
}

// mustHaveAsked waits until the homeserver has asked for a key, whether it was answered or not.
func mustHaveAsked(t testing.TB, r *blueprints.Room, key matrix.ServerName) {
	t.Helper()
	waitFor(conform.Setup(t), "the homeserver to ask about "+string(key), func() bool {
		return len(r.Peer.Transcript().Exchanges(fakeserver.AsksForServerKey(key))) > 0
	})
}

// Impositions on Client UI: "must verify domain ownership before events are annotated". While the domain has
// not answered, nothing is said; what the sender's server says of it counts for nothing.
func TestDomain_IsNotShownBefore(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-KEYQ-05", "MSC4345-KEYQ-06")
	r := visited(t)
	answer := make(chan struct{})
	r.Peer.Override(fakeserver.OpServerKeyQuery, func(q *fakeserver.Inquiry, honest fakeserver.Handler) fakeserver.Answer {
		select {
		case <-answer:
		case <-t.Context().Done():
		}
		return honest(q)
	})
	r.LetIn(conform.Setup(t), r.Alice)
	d := fakeserver.Message("hello")
	d.Unsigned = []byte(`{"server_domain":"` + string(r.Peer.Name()) + `"}`)
	said := blueprints.MustSend(t, r.Room, r.Fay, d)
	shown := r.Alice.MustSee(t, r.ID, said.ID())
	must.Lack(t, shown, "unsigned.server_domain")
	must.Be(t, !domainShown(t, r, said.ID()).Exists(), "no server_domain before the domain has answered")
	close(answer)
	mustShowDomain(t, r, said.ID(), r.Peer.Name())
}

// Impositions on Client UI: "Clients should never use the unverified_domain", and so it is in nothing by which
// the homeserver says where an event is from. An admin has accepted a server that names a victim's domain.
func TestDomain_OfAVictim(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-KEYQ-06", "MSC4345-KEYQ-07")
	r := visiting(t)
	victim, key := r.Scene.Peer(t), r.Peer.MintServerKey()
	introduce(t, r, key, victim.Name())
	d := fakeserver.Message("trust me").Through(key)
	d.Unsigned = []byte(`{"server_domain":"` + string(victim.Name()) + `"}`)
	said := blueprints.MustSend(t, r.Room, r.Fay, d)
	r.Alice.MustSee(t, r.ID, said.ID())
	mustVerifyAnother(t, r)
	must.Be(t, !domainShown(t, r, said.ID()).Exists(), "no server_domain for a key that the domain does not hold")
	event := r.Alice.Event(t, r.ID, said.ID()).MustOK(t)
	must.Be(t, !strings.Contains(event.Get("unsigned").Raw+event.Get("sender").Raw, string(victim.Name())),
		"the victim's domain nowhere in what says whose event it is:\n%s", event.Raw)
}

// Introducing /_matrix/key/v3/query: the mapping may be cached, "not ... permanently". How long is left open.
func TestDomain_IsRemembered(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-KEYQ-01", "MSC4345-KEYQ-04")
	r := visiting(t)
	mustShowDomain(conform.Judge(t, "MSC4345-KEYQ-01"), r, r.Fence(t).ID(), r.Peer.Name())
	r.Peer.AnswerServerKeys(fakeserver.KeyAnswer{Omit: true})
	said := r.Fence(t)
	conform.Info(t, "MSC4345-KEYQ-04", fmt.Sprintf("just after the domain has withdrawn the key it is still shown: %t", domainShown(t, r, said.ID()).Exists()))
}

// Changes to the user ID format: in which form clients are shown user IDs is not said (D-45).
func TestUserIDs_ShownToClients(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-KEYQ-10")
	r := hosting(t)
	own := r.Alice.MustSee(t, r.ID, r.Next(t).ID())
	hers := r.Alice.MustSee(t, r.ID, r.Fence(t).ID())
	form := func(sender string) string {
		if _, err := matrix.ParseServerKey(string(matrix.UserID(sender).Domain())); err == nil {
			return "the server key"
		}
		return "the domain"
	}
	conform.Info(t, "MSC4345-KEYQ-10", fmt.Sprintf("clients are shown their own user ID with %s, others' with %s; whoami has %s",
		form(own.Get("sender").Str), form(hers.Get("sender").Str), form(r.Alice.WhoAmI(t).MustOK(t).Get("user_id").Str)))
	must.Be(conform.Setup(t), r.Alice.View().Room(r.ID).Section == "join", "alice to be in the room")
}
