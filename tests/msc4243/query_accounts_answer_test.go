package msc4243

import (
	"fmt"
	"net/http"
	"slices"
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

// question asks the homeserver about account keys, as the fake server. The body is JSON text, or
// something to be marshalled.
func question(t testing.TB, r *blueprints.Room, body any) blueprints.Reply {
	t.Helper()
	if text, ok := body.(string); ok {
		body = []byte(text)
	}
	return r.Peer.Ask(t, r.At, http.MethodPost, fakeserver.AccountsPath, body)
}

// asking is a request for the accounts of keys.
func asking(keys ...string) any { return map[string]any{"account_keys": keys} }

// keyed is a request in JSON text, with an account key in the place of KEY.
func keyed(body, key string) string { return strings.ReplaceAll(body, "KEY", key) }

// entries are what an answer, which must succeed, says about keys, by the text of the key.
func entries(t testing.TB, answer blueprints.Reply) map[string]gjson.Result {
	t.Helper()
	keys := must.Succeed(t, answer).Get("account_keys")
	must.Be(t, keys.IsObject() || !keys.Exists(), "account_keys to be an object, got:\n%s", answer)
	return keys.Map()
}

// entryOf is what the homeserver says about one key.
func entryOf(t testing.TB, r *blueprints.Room, key string) gjson.Result {
	t.Helper()
	answer := question(t, r, asking(key))
	entry := entries(t, answer)[key]
	must.Be(t, entry.IsObject(), "an entry for %s, got:\n%s", key, answer)
	return entry
}

// keyOf is the account key under which a client acts in the room.
func keyOf(t testing.TB, r *blueprints.Room, client *csapi.Client) string {
	t.Helper()
	return idOf(t, r, client).Localpart()
}

// nameOf is the account name of a client.
func nameOf(client *csapi.Client) string { return matrix.UserID(client.UserID).Localpart() }

// nobodys are account keys that belong to nobody.
func nobodys(t testing.TB, count int) (keys []string) {
	t.Helper()
	for range count {
		account, err := matrix.NewAccount()
		if err != nil {
			conform.HarnessError(t, "%v", err)
		}
		keys = append(keys, account.Key().String())
	}
	return keys
}

// Proposal, the answer to the example: "account_name": "kegan", "domain": "matrix.org", "signatures".
func TestQueryAccounts_TellsNameAndDomain(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QA-02")
	r := hosting(t)
	entry := entryOf(t, r, keyOf(t, r, r.Alice))
	must.Field(t, entry, "account_name", nameOf(r.Alice))
	must.Field(t, entry, "domain", string(r.At))
	must.Be(t, entry.Get("signatures").IsObject(), "signatures to be an object, got:\n%s", entry.Raw)
}

// Proposal: "This JSON object is signed with the account key to allow changes in the account name/domain
// to be detected."
func TestQueryAccounts_IsSignedByTheAccountKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QA-03")
	r := hosting(t)
	key := keyOf(t, r, r.Alice)
	blueprints.MustHaveSigned(t, "MSC4243-QA-03", key, entryOf(t, r, key))
}

// Proposal: "This JSON object is extensible." Whatever else a server says about a user is signed too.
func TestQueryAccounts_SignsAllThatItTells(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QA-17")
	r := hosting(t)
	setup := conform.Setup(t)
	r.Alice.SetProfile(setup, "displayname", "Alice").MustOK(setup)
	key := keyOf(t, r, r.Alice)
	entry := entryOf(t, r, key)
	blueprints.MustHaveSigned(t, "MSC4243-QA-17", key, entry)
	entry.ForEach(func(field, _ gjson.Result) bool {
		if !slices.Contains([]string{"account_name", "domain", "signatures"}, field.Str) {
			conform.Info(t, "MSC4243-QA-17", "the answer has a field of its own, "+field.Str)
		}
		return true
	})
}

// Proposal: "Unknown account keys are explicitly marked as unknown." One that is known and one that was
// erased are told beside it, each in its own way.
func TestQueryAccounts_MarksUnknownKeys(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QA-04")
	r := hosting(t)
	known, erased, unknown := keyOf(t, r, r.Alice), departed(t, r, "erin"), nobodys(t, 2)

	answer := question(t, r, asking(append(unknown, known, erased)...))
	told := entries(t, answer)
	must.Field(t, told[known], "account_name", nameOf(r.Alice))
	must.Field(t, told[erased], "errcode", "M_ERASED")
	for _, key := range unknown {
		code := told[key].Get("errcode")
		must.Be(t, code.Type == gjson.String && code.Str != "M_ERASED", "%s to be marked as unknown, got:\n%s", key, answer)
		must.Lack(t, told[key], "account_name")
	}
	must.Equal(t, "number of entries", len(told), 4)
}

// Proposal: "a new bulk federation endpoint".
func TestQueryAccounts_AnswersForManyKeys(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QA-05")
	r := hosting(t)
	names := map[string]string{}
	for range 12 {
		user := local(t, r, "one-of-many")
		names[keyOf(t, r, user)] = nameOf(user)
	}
	keys := slices.Collect(mapKeys(names))
	answer := question(t, r, asking(keys...))
	for key, entry := range entries(t, answer) {
		must.Field(t, entry, "account_name", names[key])
		blueprints.MustHaveSigned(t, "MSC4243-QA-05", key, entry)
		delete(names, key)
	}
	must.Be(t, len(names) == 0, "an entry for each of %d keys; these are missing: %v", len(keys), names)
}

func mapKeys(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

// Server behaviour: "keys for the same domain SHOULD be batched into groups of 2048 keys". So many must
// be answered; of more than that, a server may want to hear nothing.
func TestQueryAccounts_TakesBatchesOf2048(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		keys    int
		refusal []int // statuses that are as good as an answer
	}{
		{2048, nil},
		{2049, []int{400, 413}},
		{10_000, []int{400, 413}},
	} {
		t.Run(fmt.Sprintf("%d keys", c.keys), func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QA-06")
			r := hosting(t)
			known := keyOf(t, r, r.Alice)
			keys := append(nobodys(t, c.keys-1), known)
			answer := question(t, r, asking(keys...))
			switch told := answer.JSON().Get("account_keys").Map(); {
			case slices.Contains(c.refusal, answer.StatusCode()):
			case answer.StatusCode() != http.StatusOK || len(told) != c.keys || told[known].Get("account_name").Str != nameOf(r.Alice):
				conform.Violation(t, "MSC4243-QA-06", fmt.Sprintf("an answer for each of %d keys", c.keys),
					fmt.Sprintf("status %d with %d entries, of a known key: %s", answer.StatusCode(), len(told), told[known].Raw))
			}
		})
	}
}

// Proposal: the answer is an object, in which every key is once.
func TestQueryAccounts_AnswersOnceForAKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		key  func(t testing.TB, r *blueprints.Room) string
		body string
	}{
		{"a known key twice", aliceKey, `{"account_keys":["KEY","KEY"]}`},
		{"an unknown key twice", func(t testing.TB, _ *blueprints.Room) string { return nobodys(t, 1)[0] }, `{"account_keys":["KEY","KEY"]}`},
		{"an erased key among the erased", func(t testing.TB, r *blueprints.Room) string { return departed(t, r, "erin") },
			`{"account_keys":["KEY"],"erasure":{"id":0,"limit":1000}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QA-07")
			r := hosting(t)
			key := c.key(t, r)
			answer := question(t, r, keyed(c.body, key))
			must.Be(t, entries(t, answer)[key].Exists(), "an entry for %s, got:\n%s", key, answer)
			// A parser would hide a member that is there twice.
			found := 0
			answer.JSON().Get("account_keys").ForEach(func(member, _ gjson.Result) bool {
				if member.Str == key {
					found++
				}
				return true
			})
			must.Equal(t, "number of entries for one key", found, 1)
		})
	}
}

func aliceKey(t testing.TB, r *blueprints.Room) string { return keyOf(t, r, r.Alice) }

// Proposal: "The account_name MUST NOT change upon subsequent requests for the same account key."
func TestQueryAccounts_NameNeverChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		event func(t testing.TB, r *blueprints.Room, bob *csapi.Client)
	}{
		{"after a change of display name", func(t testing.TB, _ *blueprints.Room, bob *csapi.Client) {
			bob.SetProfile(t, "displayname", "Robert").MustOK(t)
		}},
		{"after leaving the room", func(t testing.TB, r *blueprints.Room, bob *csapi.Client) { bob.MustLeave(t, r.ID) }},
		{"after a restart", func(t testing.TB, r *blueprints.Room, _ *csapi.Client) {
			r.Restart(t, r.HS)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QA-13")
			r := hostingAlone(t)
			bob := local(t, r, "bob")
			key := keyOf(t, r, bob)
			before := entryOf(conform.Setup(t), r, key)
			must.Field(conform.Setup(t), before, "account_name", nameOf(bob))

			c.event(conform.Setup(t), r, bob)
			must.Field(t, entryOf(t, r, key), "account_name", nameOf(bob))
		})
	}
}

// hostingAlone is [hosting] on a homeserver that no other test uses.
func hostingAlone(t testing.TB, list ...blueprints.Setting) *blueprints.Room {
	t.Helper()
	scene := blueprints.NewSceneOn(t, conform.FreshDeployment(t, 1))
	r := blueprints.HostedOn(t, scene, conform.AccountKeyVersion(t), list...)
	r.FayJoins(t)
	return r
}

// Proposal: a name is told for a key as long as the key is not erased; the text does not speak of
// accounts that are closed without that.
func TestQueryAccounts_KnowsClosedAccounts(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QA-14")
	r := hosting(t)
	bob := local(t, r, "bob")
	key := keyOf(t, r, bob)
	must.Field(conform.Setup(t), entryOf(t, r, key), "account_name", nameOf(bob))
	said := bob.MustSay(conform.Setup(t), r.ID, "goodbye")
	r.Alice.MustSee(conform.Setup(t), r.ID, said)
	bob.MustDeactivate(conform.Setup(t), false)
	if shown := r.Alice.Event(t, r.ID, said); shown.Get("sender").Str != bob.UserID {
		conform.Violation(t, "MSC4243-QA-14", "what a user has said who has closed the account, without erasure, under the account name", shown.String())
	}
	if entry := entryOf(t, r, key); entry.Get("account_name").Str != nameOf(bob) {
		conform.Violation(t, "MSC4243-QA-14", "the account name of a user who has closed the account, without erasure", entry.Raw)
	}
}

// Proposal: nothing is said about who may ask; MSC4348 lets only those who share a room.
func TestQueryAccounts_WhoMayAsk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		who string
		ask func(t testing.TB, r *blueprints.Room) *blueprints.Peer
	}{
		{"a server that shares no room", func(t testing.TB, r *blueprints.Room) *blueprints.Peer { return r.Scene.Peer(t) }},
		{"a server that the room's ACL denies", func(t testing.TB, r *blueprints.Room) *blueprints.Peer {
			r.Alice.MustSendState(t, r.ID, "m.room.server_acl", "", map[string]any{
				"allow": []string{"*"}, "deny": []string{strings.Split(string(r.Peer.Name()), ":")[0]},
			})
			return r.Peer
		}},
	} {
		t.Run(c.who, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QA-15")
			r := hosting(t)
			setup := conform.Setup(t)
			key := keyOf(t, r, r.Alice)
			peer := c.ask(setup, r)
			answer := peer.Ask(setup, r.At, http.MethodPost, fakeserver.AccountsPath, asking(key))
			said := map[bool]string{true: "is told", false: "is not told"}[answer.JSON().Get("account_keys."+key+".account_name").Exists()]
			conform.Info(t, "MSC4243-QA-15", fmt.Sprintf("%s %s whose key it is (%d)", c.who, said, answer.StatusCode()))
		})
	}
}
