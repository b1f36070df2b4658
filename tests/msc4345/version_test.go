package msc4345

import (
	"net/http"
	"testing"
	"time"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Proposal: "eliminates the need for notaries in public key discovery". The domain that a server names
// answers no questions about keys, or does not exist; its events count.
func TestKeys_NeedNoKeyServer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-RV-05")
	r := visiting(t)
	r.Peer.Override(fakeserver.OpServerKeyQuery, fakeserver.With(fakeserver.Errorf(http.StatusInternalServerError, "M_UNKNOWN", "no")))
	r.Peer.Override(fakeserver.OpNotary, fakeserver.With(fakeserver.Errorf(http.StatusInternalServerError, "M_UNKNOWN", "no")))
	key := r.Peer.MintServerKey()
	r.Room.Ignore("nowhere.invalid")
	for _, d := range []fakeserver.Draft{
		r.Room.Asks(key).With("unverified_domain", "nowhere.invalid"),
		r.Room.Accepts(key.Key().Name()).With("unverified_domain", "nowhere.invalid"),
		fakeserver.Membership(r.Fay.IDThrough(r.Version, key), "join").Through(key),
		fakeserver.Message("from nowhere").Through(key),
	} {
		event, got := try(t, r, r.Fay, d, fakeserver.Forgery{})
		must.Be(t, got.Effective(), "%s counts whose server nobody can ask about its key: %s\n%s", d.Type, got, event.PDU)
	}
}

// Introducing /_matrix/key/v3/query: "Keys are never time-bounded".
func TestKeys_DoNotExpire(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-RV-06")
	r := visiting(t)
	for _, at := range []time.Time{time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC)} {
		d := blueprints.Probe()
		d.Time = at
		_, got := try(t, r, r.Fay, d, fakeserver.Forgery{})
		must.Be(t, got.Effective(), "an event of %d counts: %s", at.Year(), got)
	}
}

// Participation semantics: "Server refers to the controller of a ed25519 keypair, not a particular domain or
// deployment."
func TestKeys_AreServers(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-RV-01", "MSC4345-RV-07")
	r := visiting(t)
	conform.Info(t, "MSC4345-RV-01", "rooms of MSC4345 have version "+r.Version.ID)
	one, two := r.AnotherServer(t, matrix.Accepted), r.AnotherServer(t, matrix.Accepted)
	join := func(key matrix.ServerKeyPair) fakeserver.Draft {
		return fakeserver.Membership(r.Fay.IDThrough(r.Version, key), "join").Through(key)
	}
	for _, key := range []matrix.ServerKeyPair{one, two} {
		blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, join(key))
	}
	r.FayRevokes(conform.Setup(t), one.Key().Name())
	_, got := try(t, r, r.Fay, fakeserver.Message("another key behind the same domain").Through(two), fakeserver.Forgery{})
	must.Be(t, got.Effective(), "a server acts when another key behind its domain was revoked: %s", got)

	// The revoked key, brought by another domain that holds it as well.
	elsewhere := r.Scene.Peer(t)
	elsewhere.HoldServerKey(one)
	event := r.Forge(t, r.Fay, fakeserver.Message("the same key behind another domain").Through(one), fakeserver.Forgery{})
	must.Succeed(conform.Setup(t), elsewhere.SendPDUs(t, r.At, event.PDU))
	r.Fence(t)
	got = r.Observe(t, event)
	must.Be(t, !got.Effective(), "a revoked key is revoked behind every domain: %s", got)
}
