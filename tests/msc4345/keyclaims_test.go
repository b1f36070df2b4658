package msc4345

import (
	"slices"
	"strings"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Introducing /_matrix/key/v3/query: what is verified is that one key belongs to one domain. A domain with which a key
// was verified in one room says nothing of another domain that the same key names in another room.
func TestDomain_OfTheSameKeyInAnotherRoom(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-KEYQ-01", "MSC4345-KEYQ-07")
	r := visiting(t)
	victim, key := r.Scene.Peer(t), r.Peer.MintServerKey()
	introduce(t, r, key, r.Peer.Name())
	honest := blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Message("this is where I am").Through(key))
	r.Alice.MustSee(t, r.ID, honest.ID())
	mustShowDomain(conform.Setup(t), r, honest.ID(), r.Peer.Name())

	other := r.Another(t)
	other.AliceJoins(t)
	introduce(t, other, key, victim.Name())
	said := blueprints.MustSend(t, other.Room, other.Fay, fakeserver.Message("and this is not").Through(key))
	other.Alice.MustSee(t, other.ID, said.ID())
	mustVerifyAnother(t, other)
	if domain := domainShown(t, other, said.ID()); domain.Exists() {
		conform.Violation(t, "MSC4345-KEYQ-01", "no server_domain that has not confirmed the key, whoever else has", domain.Raw)
	}
}

// Introducing /_matrix/key/v3/query, step 3. A key that names the homeserver's own domain is not one of its keys.
func TestDomain_OfTheHomeserverItself(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-KEYQ-01", "MSC4345-KEYQ-07")
	r := visiting(t)
	setup := conform.Setup(t)
	key := r.Peer.MintServerKey()
	request := r.Room.Asks(key).With("unverified_domain", r.At)
	blueprints.MustSend(setup, r.Room, r.Fay, request)
	r.FayAccepts(setup, key.Key().Name())
	blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Membership(r.Fay.IDThrough(r.Version, key), "join").Through(key))
	said := blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Message("I am one of yours").Through(key))
	r.Alice.MustSee(setup, r.ID, said.ID())
	mustVerifyAnother(t, r)
	if domain := domainShown(t, r, said.ID()); domain.Exists() {
		conform.Violation(t, "MSC4345-KEYQ-07", "no server_domain for a key that is not the homeserver's, although it names its domain", domain.Raw)
	}
}

// Impositions on Client UI: what other servers write in unsigned counts for nothing, on whichever way an event comes.
// Here it is in the history, and in the state, of a room that the homeserver joins.
func TestDomain_OfFetchedEventsIsNotBelieved(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-KEYQ-06")
	r := visited(t)
	setup := conform.Setup(t)
	const spoofed = "spoofed.invalid"
	with := func(d fakeserver.Draft) *matrix.Event {
		d.Unsigned = []byte(`{"server_domain":"` + spoofed + `"}`)
		return blueprints.MustSend(setup, r.Room, r.Fay, d)
	}
	said, set := with(fakeserver.Message("before you came")), with(blueprints.Probe())
	r.AliceJoins(t)
	r.Fence(t)
	seen := map[string]bool{}
	for _, event := range append(r.Alice.MustHistory(setup, r.ID), r.Alice.AllState(setup, r.ID).MustOK(setup).Array()...) {
		seen[event.Get("event_id").Str] = true
		if strings.Contains(event.Get("unsigned").Raw, spoofed) {
			conform.Violation(t, "MSC4345-KEYQ-06", "nothing of unsigned comes from another server", event.Raw)
		}
	}
	must.Be(setup, seen[said.ID()] && seen[set.ID()], "alice to be shown the history and the state from before her join")
}

// Introducing /_matrix/key/v3/query: "only admit ownership of keys for which the requesting server can access through
// participation within a room where the requested server is using said keys".
func TestKeyQuery_OnlyWhereBothParticipate(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-KEYQ-03")
	r := hosting(t)
	key := r.ServerKey(t)

	elsewhere := *r
	elsewhere.Peer = r.Scene.Peer(t)
	elsewhere.Fay = elsewhere.Peer.Member(t, "gil")
	other := elsewhere.AnotherHosted(t)
	if other.ServerKey(t) == key {
		conform.Info(t, "MSC4345-KEYQ-03", "the homeserver has one key for all of its rooms")
	} else {
		for form, answer := range askForKeys(t, r, other.Peer, key) {
			conform.Violation(t, "MSC4345-KEYQ-03", "who is in one room with the homeserver is not told of its key in another", form+": "+string(answer.Body))
		}
	}

	strange := r.Peer.MintServerKey()
	answered := askForKeys(t, r, r.Peer, key)
	must.Be(conform.Setup(t), len(answered) > 0, "an accepted server to be told of the key")
	for form, q := range keyQueries(key, strange.Key().Name()) {
		answer, err := r.Peer.QueryServerKeys(t.Context(), r.At, q)
		must.NoError(t, "asking for two server keys", err)
		listed := answer.ServerKeys(r.At)
		if slices.Contains(listed, strange.Key().Name()) {
			conform.Violation(t, "MSC4345-KEYQ-03", "the homeserver admits no key that it does not have", form+": "+string(answer.Body))
		}
		if answered[form] != nil && !slices.Contains(listed, key) {
			conform.Violation(t, "MSC4345-KEYQ-03", "the homeserver admits its key when it is asked for another one as well", form+": "+string(answer.Body))
		}
	}

	for form, q := range keyQueries(key) {
		q.Unsigned = true
		answer, err := r.Peer.QueryServerKeys(t.Context(), r.At, q)
		must.NoError(t, "asking for server keys without a signature", err)
		if strings.Contains(string(answer.Body), string(key)) || len(answer.ServerKeys(r.At)) > 0 {
			conform.Violation(t, "MSC4345-KEYQ-03", "who does not sign the query is told of no key", form+": "+string(answer.Body))
		}
	}

	r.AliceRevokes(t, r.Room.Key().Key().Name())
	for form, answer := range askForKeys(t, r, r.Peer, key) {
		conform.Violation(t, "MSC4345-KEYQ-03", "a server that was revoked is not told of the key any more", form+": "+string(answer.Body))
	}
}
