package msc4348

import (
	"fmt"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// hostingAlone is a room that alice made and fay joined, on a homeserver that can be restarted: no other test
// uses it.
func hostingAlone(t testing.TB) *blueprints.Room {
	t.Helper()
	version := conform.PortableVersion(t)
	r := blueprints.HostedOn(t, blueprints.NewSceneAlone(t, version), version)
	r.FayJoins(t)
	return r
}

// elsewhere is an accepted server of another fake server's, for which fay's speaks.
func elsewhere(t testing.TB, r *blueprints.Room) (*blueprints.Peer, matrix.ServerKeyPair) {
	t.Helper()
	t = conform.Setup(t)
	other := r.Scene.Peer(t)
	key := other.MintServerKey()
	other.HoldServerKey(key)
	r.Room.Ignore(other.Name())
	request := fakeserver.Participates(key.Key().Name(), matrix.Requested).With("unverified_domain", other.Name())
	blueprints.MustSend(t, r.Room, r.Fay, request.Through(key).AuthorisedBy(r.Room.Key()))
	r.MustSeeParticipation(t, key.Key().Name(), matrix.Requested)
	r.AliceAccepts(t, key.Key().Name())
	return other, key
}

// MSC4348, "Proposal": the account key signs, and a participating server co-signs. After a restart both are those of
// before, and the homeserver tells whose they are as it did.
func TestRestart_KeepsBothKeys(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ID-03", "MSC4348-ID-04", "MSC4348-ACCT-02")
	r := hostingAlone(t)
	alice, server := r.AliceID(t), r.ServerKey(t)
	path := answers(t, r, keyOf(alice))
	r.Restart(t, r.HS)
	r.Fence(t) // so that a homeserver which sends to confirmed domains only (D-81) can ask for this one again

	judge := conform.Judge(t, "MSC4348-ID-04")
	said := r.Received(judge, r.Alice.MustSay(judge, r.ID, "still here"))
	if said.Sender() != alice {
		conform.Violation(t, "MSC4348-ID-03", "the account key "+string(alice)+" after a restart", string(said.Sender()))
	}
	if err := r.Signatures(said); err != nil {
		conform.Violation(t, "MSC4348-ID-04", "both signatures after a restart", err.Error())
	}
	if err := said.VerifyServerKey(server); err != nil {
		conform.Violation(t, "MSC4348-ID-04", "the co-signature of the same server as before the restart, "+string(server), err.Error())
	}
	must.Field(conform.Judge(t, "MSC4348-ACCT-02"), entryOf(ask(t, r, r.Peer, path, keyOf(alice)), keyOf(alice)), "account_name", nameOf(r.Alice))
	if told := entryOf(ask(t, r, r.Scene.Peer(t), path, keyOf(alice)), keyOf(alice)); told.Get("account_name").Exists() {
		conform.Violation(t, "MSC4348-ACCT-02", "a stranger is told nothing after a restart", told.Raw)
	}
}

// MSC4348, "User accounts can move servers": where an account is, and which server is revoked, does not change when
// the homeserver is restarted. The account has moved from one server to another.
func TestRestart_AccountsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-MIG-01", "MSC4348-MIG-03", "MSC4348-COSIG-01", "MSC4348-COSIG-02", "MSC4348-COSIG-03", "MSC4348-ACCT-05")
	r := hostingAlone(t)
	setup := conform.Setup(t)
	old := r.AnotherServer(t, matrix.Accepted)
	other, now := elsewhere(t, r)
	mia := r.Peer.Member(t, "mia")
	id := mia.ID(r.Version)
	if _, err := other.Carry(mia); err != nil {
		conform.HarnessError(t, "%v", err)
	}
	join := func(key matrix.ServerKeyPair) {
		blueprints.MustSend(setup, r.Room, mia, fakeserver.Membership(id, "join").Through(key))
	}
	says := func(requirement, what string, key matrix.ServerKeyPair, counts bool) {
		event := r.Forge(t, mia, fakeserver.Message(what).Through(key), fakeserver.Forgery{})
		blueprints.MustDeliver(setup, r.Room, event.PDU)
		r.Fence(t)
		got := r.Observe(t, event)
		if got.Effective() {
			r.Keep(t, event)
		}
		if got.Effective() != counts {
			conform.Violation(t, requirement, fmt.Sprintf("after a restart a message %s counts: %t", what, counts), got.String())
		}
	}
	join(old)
	before := blueprints.MustSend(setup, r.Room, mia, fakeserver.Message("before").Through(old))
	r.Alice.MustSee(setup, r.ID, before.ID())
	join(now)
	moved := blueprints.MustSend(setup, r.Room, mia, fakeserver.Message("moved").Through(now))
	r.Alice.MustSee(setup, r.ID, moved.ID())
	r.Restart(t, r.HS)

	says("MSC4348-COSIG-02", "through the server that the account has left", old, false)
	says("MSC4348-MIG-01", "through the server that the account has moved to", now, true)
	for event, domain := range map[*matrix.Event]matrix.ServerName{before: r.Peer.Name(), moved: other.Name()} {
		if shown := shownLater(t, r, event.ID()).Get("unsigned.server_domain").Str; shown != string(domain) {
			conform.Violation(t, "MSC4348-ACCT-05", "after a restart the domain of the event's own co-signer, "+string(domain), shown)
		}
	}

	r.AliceRevokes(setup, now.Key().Name())
	r.Restart(t, r.HS)
	says("MSC4348-COSIG-01", "through a server that was revoked", now, false)
	says("MSC4348-COSIG-03", "that a membership through a revoked server has to authorise", old, false)
	join(old)
	says("MSC4348-MIG-03", "through the accepted server that the account has gone back to", old, true)
}

// MSC4348, "Obtaining account and profile information as a client". A name that was confirmed is shown after a restart,
// when its server confirms it again at the latest; whether it is remembered until then the text does not say.
func TestRestart_Names(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ACCT-04")
	r := hostingAlone(t)
	old := r.Fence(t)
	must.Field(conform.Judge(t, "MSC4348-ACCT-04"), shownLater(t, r, old.ID()), "unsigned.account", r.Fay.Name())
	r.Restart(t, r.HS)
	must.Field(conform.Judge(t, "MSC4348-ACCT-04"), shownLater(t, r, r.Fence(t).ID()), "unsigned.account", r.Fay.Name())

	must.NoError(conform.Setup(t), "closing the fake server", r.Peer.Close())
	r.Restart(t, r.HS)
	shown := r.Alice.Event(t, r.ID, old.ID()).MustOK(t).Get("unsigned")
	conform.Info(t, "MSC4348-ACCT-04", fmt.Sprintf("after a restart, when nobody can be asked: the name is shown: %t, the domain: %t",
		shown.Get("account").Exists(), shown.Get("server_domain").Exists()))
}
