package msc4243

import (
	"fmt"
	"net/http"
	"testing"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Proposal, on /ban: the banned user's server puts the account key in and signs, as for an invite. It
// has nothing to tell its user. The fence is an invite, which it does tell.
func TestBan_AnswerHasTheAccountKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-BAN-03")
	r := secluded(t)
	judge := conform.Judge(t, "MSC4243-BAN-03")
	q := r.CosignRequest(t, "ban", matrix.UserID(r.Alice.UserID), fakeserver.Forgery{})
	event, banned := mustCosign(judge, r, q)
	mustBeSignedByKeyAlone(t, "MSC4243-BAN-03", r, event, banned)
	must.Be(judge, event.HashOK(), "the content hash of the event with the account key in it, got %s", event.JSON())
	must.Equal(judge, "what is not replaced", unsignedObject(t, event.JSON(), "state_key", "hashes"), unsignedObject(t, q.Event, "state_key", "hashes"))

	another := r.Another(t)
	invited := inviteAlice(t, another)
	r.Alice.MustSeeInvite(conform.Setup(t), another.ID)
	must.Equal(judge, "section of /sync with a room that has banned the user beforehand", r.Alice.View().Room(r.ID).Section, "")
	conform.Info(t, "MSC4243-KEY-01", fmt.Sprintf("a user who is banned in one room and invited to another has one key in both: %t", banned == invited))
}

// Proposal, on /ban: the request is as for an invite, and so is what it may be signed with.
func TestBan_RequestNeedNotBeSigned(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-BAN-03")
	mustTakeSomeForm(t, "MSC4243-BAN-03", "ban")
}

// Proposal, on /ban; server-server API, "Inviting to a room": whoever signs what others have written
// sees to it that it is what the endpoint is for.
func TestBan_NothingElseIsSigned(t *testing.T) {
	t.Parallel()
	for _, row := range misuses("ban") {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-BAN-04")
			row.mustRefuse(t, "ban")
		})
	}
}

// Proposal, the note on lookups: bans that nobody asked for should be rare, and can be limited strictly.
func TestBan_GuessesAreLimited(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-BAN-09")
	if !limit(t, secluded(t), "ban") {
		conform.Violation(t, "MSC4243-BAN-09", "status 429 for a server that bans 200 users who do not exist", "each is answered")
	}
}

// Server-server API, "Server Access Control Lists": a server that a room denies may not act in it. The
// list of endpoints has not got that for bans; it has that for invites.
func TestBan_ServerACLApplies(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-BAN-10")
	r := hosting(t)
	setup := conform.Setup(t)
	mustCosignHonestly(t, r, "ban")
	host, _ := r.Peer.Name().HostPort()
	r.Alice.MustSendState(setup, r.ID, "m.room.server_acl", "", map[string]any{
		"allow": []string{"*"}, "deny": []string{host}, "allow_ip_literals": true,
	})
	answer := r.AskToCosign(t, r.CosignRequest(t, "ban", matrix.UserID(r.User(t, r.HS.Alias(), "bob").UserID), fakeserver.Forgery{}))
	must.Refuse(conform.Judge(t, "MSC4243-BAN-10"), answer, http.StatusForbidden, "M_FORBIDDEN")
}
