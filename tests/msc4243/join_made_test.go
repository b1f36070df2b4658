package msc4243

import (
	"fmt"
	"strings"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Footnote urlsafe: account key user IDs are in the path of make_join. The version of a room is not
// known before its answer, unless an invite has told it; so the homeserver may begin with the account
// name, if it ends right.
func TestJoin_AsksForATemplate(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(testing.TB, *blueprints.Room){
		"of which nothing is known": func(testing.TB, *blueprints.Room) {},
		"after an invite": func(t testing.TB, r *blueprints.Room) {
			inviteAlice(t, r)
			r.Alice.MustSeeInvite(t, r.ID)
		},
	} {
		t.Run("to a room "+name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-JOIN-01")
			r := blueprints.Visited(t, conform.AccountKeyVersion(t))
			before(conform.Setup(t), r)
			judge := conform.Judge(t, "MSC4243-JOIN-01")
			r.Alice.Join(t, r.ID, string(r.Peer.Name())).MustOK(judge)

			var forms []string
			var last matrix.UserID
			for _, e := range r.Peer.Transcript().Exchanges(fakeserver.Is(fakeserver.OpMakeJoin)) {
				last = matrix.UserID(strings.TrimPrefix(path(e, 0), "/_matrix/federation/v1/make_join/"+r.ID+"/"))
				switch _, err := last.AccountKey(); {
				case err == nil:
					forms = append(forms, "the account key user ID")
				case string(last) == r.Alice.UserID:
					forms = append(forms, "the account name user ID")
				default:
					forms = append(forms, string(last))
				}
			}
			conform.Info(t, "MSC4243-JOIN-01", "to join a room "+name+", make_join names "+strings.Join(forms, ", then "))
			must.Equal(judge, "user ID in the last request", last, joinOf(judge, r).Sender())
		})
	}
}

// joinOf is the join of alice as it was submitted to fay's server.
func joinOf(t testing.TB, r *blueprints.Room) *matrix.Event {
	t.Helper()
	return blueprints.MustParse(t, r.Version, r.Peer.MustBeAsked(t, fakeserver.OpSendJoin).RequestBody)
}

// Proposal: in the room a user is the account key, so the join is about it and by it.
func TestJoin_IsByTheAccountKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-JOIN-02")
	conform.Scenario(t, "A user joins a room of another server, and is an account key there")
	r := visiting(t)
	join := joinOf(t, r)
	sender, _, err := matrix.ParseAccountKeyUserID(string(join.Sender()))
	must.NoError(t, "reading the sender of the join", err)
	must.Equal(t, "server of the sender", sender.Domain(), r.At)
	must.Be(t, join.IsState("m.room.member", string(sender)) && join.Membership() == "join", "a join of the sender's own, got %s", join.JSON())
	r.Peer.MustVerify(t, join)
}

// silentServers is how many servers have members in a room and do not answer.
const silentServers = 100

// Server behaviour: nobody need be asked to check a room, and those who could say who is in it are asked
// no longer than is reasonable. The bound, that of every request of a client, is the suite's own.
func TestJoin_DoesNotWaitForServersThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-JOIN-05")
	r := blueprints.Visited(t, conform.AccountKeyVersion(t), blueprints.Before(func(r *blueprints.Room) {
		for i := range silentServers {
			// Each is another server, and none of them listens.
			domain := matrix.ServerName(fmt.Sprintf("127.0.0.%d:1", i+2))
			member := fakeserver.Membership(r.Fay.KeyID(), "join")
			r.Keep(t, r.Forge(t, r.Fay, member, fakeserver.Forgery{Sender: "@{key}:" + string(domain)}))
			r.Room.Ignore(domain)
		}
	}))
	judge := conform.Judge(t, "MSC4243-JOIN-05")
	conform.Expect(t, "a room with members of %d servers that do not answer to be joined within the time of a request", silentServers)
	joined := r.Alice.Join(judge, r.ID, string(r.Peer.Name()))
	joined.MustOK(judge)
	conform.Observed(t, "joining took %v", joined.Elapsed)
	r.Alice.MustSeeMember(judge, r.ID, r.Alice.UserID, "join")
	r.Alice.MustSeeMember(judge, r.ID, r.ClientID(r.Fay), "join")
	r.Fence(t)
}
