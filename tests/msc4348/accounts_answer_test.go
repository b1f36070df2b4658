package msc4348

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/matrix"
)

// spellings are the paths at which a homeserver may answer (D-51), the text's own first.
func spellings() []string {
	return []string{
		fakeserver.PortableAccountsPath, "/_matrix/federation/unstable/org.matrix.msc4348/query/accounts",
		"/_matrix/federation/unstable/org.matrix.4348.accounts/query/accounts", msc4243Path, fakeserver.AccountsPath,
	}
}

// msc4243Path is the stable path of MSC4243, and of MSC4348 as well; fakeserver.AccountsPath is the unstable one.
const msc4243Path = "/_matrix/federation/v1/query/accounts"

// ask asks the homeserver about account keys at a path.
func ask(t testing.TB, r *blueprints.Room, peer *blueprints.Peer, path string, keys ...string) blueprints.Reply {
	t.Helper()
	return peer.Ask(t, r.At, http.MethodPost, path, map[string]any{"account_keys": keys})
}

// answers is the first of the spellings at which the homeserver tells fay's server a name that it must.
func answers(t testing.TB, r *blueprints.Room, key string) (path string) {
	t.Helper()
	for _, path := range spellings() {
		if entryOf(ask(t, r, r.Peer, path, key), key).Get("account_name").Exists() {
			return path
		}
	}
	conform.Inconclusive(t, "a server that is in a room with an account is not told its name at any of %v", spellings())
	return ""
}

// entryOf is what an answer says of a key; absent when it says nothing.
func entryOf(answer blueprints.Reply, key string) gjson.Result {
	return answer.JSON().Get("account_keys").Map()[key]
}

// keyOf is the account key of a user ID.
func keyOf(id matrix.UserID) string { return strings.TrimPrefix(string(id), "@") }

// nameOf is the account name of a client.
func nameOf(client *csapi.Client) string { return matrix.UserID(client.UserID).Localpart() }

// MSC4348, "Obtaining account and profile information as a server": "We use the same POST
// /_matrix/federation/v1/query/accounts endpoint from MSC4243"; "Unstable prefix".
func TestQueryAccounts_Path(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ACCT-01")
	r := hosting(t)
	key := keyOf(r.AliceID(t))
	for i, path := range spellings() {
		answer := ask(t, r, r.Peer, path, key)
		known := answer.StatusCode() == http.StatusOK && entryOf(answer, key).Get("account_name").Str == nameOf(r.Alice)
		conform.Info(t, "MSC4348-ACCT-01", fmt.Sprintf("accounts are told at %s: %t", path, known))
		if i == 0 && !known {
			conform.Violation(t, "MSC4348-ACCT-01", "accounts are told at the path that the text gives", answer.String())
		}
	}
}

// MSC4243, "Proposal": name and domain, signed by the account key.
func TestQueryAccounts_Answer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		room func(testing.TB, ...blueprints.Setting) *blueprints.Room
	}{{"in the homeserver's own room", hosting}, {"in another server's room", visiting}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-ACCT-01", "MSC4348-ACCT-02")
			r := c.room(t)
			key := keyOf(r.AliceID(t))
			entry := entryOf(ask(t, r, r.Peer, answers(t, r, key), key), key)
			must.Field(t, entry, "account_name", nameOf(r.Alice))
			must.Field(t, entry, "domain", string(r.At))
			blueprints.MustHaveSigned(t, "MSC4348-ACCT-01", key, entry)
		})
	}
}

// MSC4348, "Obtaining account and profile information as a server": "the requested server must verify that the
// requesting server is participating in common rooms to those of the queried account key".
func TestQueryAccounts_OnlyForAcquaintances(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// asker brings about what the name says and returns who asks.
		asker func(t testing.TB, r *blueprints.Room) *blueprints.Peer
	}{
		{"a stranger", func(t testing.TB, r *blueprints.Room) *blueprints.Peer { return r.Scene.Peer(t) }},
		{"a server that has requested only", func(t testing.TB, r *blueprints.Room) *blueprints.Peer {
			other := r.Scene.Peer(t)
			other.MustRequest(t, r.At, r.Version, r.ID, other.Member(t, "gil"))
			return other
		}},
		{"a server that was revoked before it was accepted", func(t testing.TB, r *blueprints.Room) *blueprints.Peer {
			other := r.Scene.Peer(t)
			key := other.MustRequest(t, r.At, r.Version, r.ID, other.Member(t, "gil")).ServerKey.Key().Name()
			if answer := r.Decide(t, r.Alice, key, matrix.Revoked); !answer.OK() {
				conform.Skip(t, "the homeserver goes by rule 1.2 as it is written, and does not revoke a server that has only requested: %s", answer)
			}
			return other
		}},
		{"a server that was revoked", func(t testing.TB, r *blueprints.Room) *blueprints.Peer {
			r.AliceRevokes(t, r.Room.Key().Key().Name())
			return r.Peer
		}},
		{"a server in another room of the homeserver", func(t testing.TB, r *blueprints.Room) *blueprints.Peer {
			other := *r
			other.Peer = r.Scene.Peer(t)
			other.Fay = other.Peer.Member(t, "gil")
			return other.AnotherHosted(t).Peer
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-ACCT-02", "MSC4348-ACCT-10")
			r := hosting(t)
			_, id := local(t, r, "bob")
			answers(t, r, keyOf(id))

			asker := c.asker(conform.Setup(t), r)
			for _, path := range spellings() {
				answer := ask(t, r, asker, path, keyOf(id))
				conform.Observed(t, "%s is answered %d at %s", c.name, answer.StatusCode(), path)
				requirement := "MSC4348-ACCT-02"
				if path == fakeserver.AccountsPath || path == msc4243Path {
					requirement = "MSC4348-ACCT-10" // D-79: MSC4243 has anybody told there
				}
				if entryOf(answer, keyOf(id)).Get("account_name").Exists() {
					conform.Violation(t, requirement, c.name+" is told nothing of an account that is in rooms of MSC4348 only", answer.String())
				}
			}
		})
	}
}

// MSC4348, "Obtaining account and profile information as a server": the rooms in common are "those of the queried account
// key", of each: one account that may be told of does not open the door to others in the same question.
func TestQueryAccounts_EachKeyByItself(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ACCT-02")
	r := hosting(t)
	elsewhere := *r
	elsewhere.Peer = r.Scene.Peer(t)
	elsewhere.Fay = elsewhere.Peer.Member(t, "gil")
	other := elsewhere.AnotherHosted(t)
	alice := keyOf(r.AliceID(t))
	_, bob := local(t, r, "bob") // who is not in the other room
	answers(t, r, keyOf(bob))
	path := answers(t, other, alice)
	answer := ask(t, r, other.Peer, path, alice, keyOf(bob))
	must.Field(t, entryOf(answer, alice), "account_name", nameOf(r.Alice))
	if entryOf(answer, keyOf(bob)).Get("account_name").Exists() {
		conform.Violation(t, "MSC4348-ACCT-02", "of two keys only that of an account in a common room is answered for", answer.String())
	}
}

// MSC4348, "Obtaining account and profile information as a server": what is common are rooms, and who has left one is
// in it no more. That a server without users in a room still participates in it is one reading; the other one is
// recorded.
func TestQueryAccounts_AfterLeaving(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ACCT-02")
	r := hosting(t)
	setup := conform.Setup(t)
	bob, id := local(t, r, "bob")
	key := keyOf(id)
	path := answers(t, r, key)
	bob.MustLeave(setup, r.ID)
	membership(setup, r, id, "leave")
	said := map[bool]string{true: "is told", false: "is not told"}
	told := entryOf(ask(t, r, r.Peer, path, key), key).Get("account_name").Exists()
	conform.Info(t, "MSC4348-ACCT-02", "a server in a room that an account has left "+said[told]+" its name")

	alice := keyOf(r.AliceID(t))
	blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Membership(r.UserID(r.Fay), "leave"))
	r.Alice.MustSyncUntil(setup, "fay to have left", func(v *csapi.View) bool { return v.Room(r.ID).Membership(r.ClientID(r.Fay)) == "leave" })
	told = entryOf(ask(t, r, r.Peer, path, alice), alice).Get("account_name").Exists()
	conform.Info(t, "MSC4348-ACCT-02", "an accepted server without users in the room "+said[told]+" the names of accounts there")
}

// MSC4348, "Obtaining account and profile information as a server"; MSC4243: a key that is nobody's is unknown.
func TestQueryAccounts_UnknownKeys(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-ACCT-01")
	r := hosting(t)
	known := keyOf(r.AliceID(t))
	nobody, err := matrix.NewAccount()
	must.NoError(conform.Setup(t), "minting an account key", err)
	unknown := nobody.Key().String()
	answer := ask(t, r, r.Peer, answers(t, r, known), known, unknown)
	must.Field(t, entryOf(answer, known), "account_name", nameOf(r.Alice))
	must.Be(t, entryOf(answer, unknown).Get("errcode").Exists() && !entryOf(answer, unknown).Get("account_name").Exists(),
		"%s to be marked as unknown, got:\n%s", unknown, answer)
}
