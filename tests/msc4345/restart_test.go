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

// hostingAlone is a room that alice made and fay joined, on a homeserver that can be restarted: no other test
// uses it.
func hostingAlone(t testing.TB) *blueprints.Room {
	t.Helper()
	version := conform.ServerKeyVersion(t)
	r := blueprints.HostedOn(t, blueprints.NewSceneAlone(t, version), version)
	r.FayJoins(t)
	return r
}

// keysAt are the server keys of a domain in fay's copy of the room, whatever the room says of them.
func keysAt(r *blueprints.Room, domain matrix.ServerName) (keys []string) {
	for _, key := range r.Room.Participants() {
		if at, _ := r.Room.State(matrix.ParticipationType, string(key)).UnverifiedDomain(); at == domain {
			keys = append(keys, string(key))
		}
	}
	return keys
}

// Proposal: "the server's identity within a room solely a long lived ed25519 public key". A restart does not end
// it: the homeserver acts with the same key, asks for no other, and says of that key that it is its own.
func TestRestart_KeepsTheServerKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-RV-07", "MSC4345-KEYQ-03")
	r := hostingAlone(t)
	key := r.ServerKey(t)
	must.Equal(conform.Setup(t), "the server in the sender before the restart", r.Next(t).Sender().Domain(), key)
	r.Restart(t, r.HS)
	r.Fence(t) // so that a homeserver which sends to confirmed domains only (D-81) can ask for this one again

	judge := conform.Judge(t, "MSC4345-RV-07")
	said := r.Peer.MustReceiveEvent(judge, r.Alice.MustSay(judge, r.ID, "still here"))
	must.Equal(judge, "the server in the sender after a restart", said.Sender().Domain(), key)
	must.SameSet(judge, "the homeserver's keys in the room", keysAt(r, r.At), []string{string(key)})
	if len(askForKeys(t, r, r.Peer, key)) == 0 {
		conform.Violation(t, "MSC4345-KEYQ-03", "a server in the room is told after a restart that the key is the homeserver's", "in no form")
	}
	for form, answer := range askForKeys(t, r, r.Scene.Peer(t), key) {
		conform.Violation(t, "MSC4345-KEYQ-03", "a stranger is not told after a restart whose the key is", form+": "+string(answer.Body))
	}
}

// Room join flow: a homeserver that is restarted while its request waits joins by that request, and does not begin
// again with another key.
func TestRestart_WhileARequestWaits(t *testing.T) {
	t.Parallel()
	version := conform.ServerKeyVersion(t)
	conform.Covers(t, "MSC4345-RV-07", "MSC4345-FLOW-13")
	r := blueprints.VisitedOn(t, blueprints.NewSceneAlone(t, version), version)
	key := r.Requests(conform.Setup(t), r.Alice)
	r.Restart(t, r.HS)

	r.Alice.Join(t, r.ID, string(r.Peer.Name())) // too early
	r.FayAccepts(t, key)
	r.MustEnter(conform.Judge(t, "MSC4345-FLOW-13"), r.Alice)
	judge := conform.Judge(t, "MSC4345-RV-07")
	must.SameSet(judge, "the homeserver's keys in the room", keysAt(r, r.At), []string{string(key)})
	must.Equal(judge, "the server in the sender", r.Next(t).Sender().Domain(), key)
}

// The m.server.participation authorization rule: what the room says of servers counts after a restart as it did
// before. Of each there is a user who was in the room, or would join it.
func TestRestart_KeepsParticipation(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-AUTH-13", "MSC4345-AUTH-14", "MSC4345-AUTH-19")
	r := hostingAlone(t)
	setup := conform.Setup(t)
	type server struct {
		matrix.ServerKeyPair
		name string
		user *fakeserver.User
		says matrix.Participation
	}
	join := func(s server) fakeserver.Draft {
		return fakeserver.Membership(s.user.IDThrough(r.Version, s.ServerKeyPair), "join").Through(s.ServerKeyPair)
	}
	var servers []server
	for _, c := range []struct {
		name     string
		at, then matrix.Participation
	}{
		{"unknown", "", ""}, {"requested", matrix.Requested, matrix.Requested},
		{"accepted", matrix.Accepted, matrix.Accepted}, {"revoked", matrix.Accepted, matrix.Revoked},
	} {
		s := server{r.AnotherServer(t, c.at), c.name, r.Peer.Member(t, "guest"), c.then}
		if c.at == matrix.Accepted {
			blueprints.MustSend(setup, r.Room, s.user, join(s))
		}
		if c.then == matrix.Revoked {
			r.Fence(t)
			r.AliceRevokes(setup, s.Key().Name())
		}
		servers = append(servers, s)
	}
	r.Fence(t)
	r.Restart(t, r.HS)

	for _, s := range servers {
		if got := r.Participation(t, s.Key().Name()); got != s.says {
			conform.Violation(t, "MSC4345-AUTH-19", "alice is told after a restart of a server that is "+s.name, fmt.Sprintf("%q", got))
		}
		draft := fakeserver.Message("after the restart").Through(s.ServerKeyPair)
		if s.says == "" || s.says == matrix.Requested {
			draft = join(s)
		}
		if _, got := try(t, r, s.user, draft, fakeserver.Forgery{}); got.Effective() != (s.says == matrix.Accepted) {
			conform.Violation(t, "MSC4345-AUTH-19", fmt.Sprintf("what a server that is %s sends after a restart counts: %t", s.name, s.says == matrix.Accepted), got.String())
		}
		switch answer := r.Decide(t, r.Alice, s.Key().Name(), matrix.Accepted); {
		case s.says == matrix.Requested && !answer.OK():
			conform.Violation(t, "MSC4345-AUTH-14", "alice accepts after a restart who had requested before", answer.String())
		case s.says == matrix.Revoked && answer.OK():
			conform.Violation(t, "MSC4345-AUTH-13", "a revocation is final after a restart, too", answer.String())
		}
	}
}

// Introducing /_matrix/key/v3/query: what is cached of a domain is the homeserver's affair, and "may not" be
// permanent. After a restart the domain is verified as before, as long as it answers.
func TestRestart_Domains(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-KEYQ-01", "MSC4345-KEYQ-04")
	r := hostingAlone(t)
	old := r.Fence(t)
	mustShowDomain(conform.Setup(t), r, old.ID(), r.Peer.Name())
	r.Restart(t, r.HS)
	mustShowDomain(conform.Judge(t, "MSC4345-KEYQ-01"), r, r.Fence(t).ID(), r.Peer.Name())

	r.Peer.AnswerServerKeys(fakeserver.KeyAnswer{Omit: true})
	r.Restart(t, r.HS)
	r.Fence(t)
	conform.Info(t, "MSC4345-KEYQ-04", fmt.Sprintf("after the domain has withdrawn the key, and a restart, it is still shown: %t", domainShown(t, r, old.ID()).Exists()))
}
