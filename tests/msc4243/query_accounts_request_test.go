package msc4243

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Unstable prefix: the endpoint's path. Server-server API, "Request Authentication": a request that is
// not validly signed is answered with 401.
func TestQueryAccounts_NeedsASignature(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		edit func(r *blueprints.Room, q *fakeserver.Request)
	}{
		{"no signature", func(_ *blueprints.Room, q *fakeserver.Request) { q.Unsigned = true }},
		{"no signature but a scheme", func(_ *blueprints.Room, q *fakeserver.Request) { q.Authorization = "X-Matrix" }},
		{"a bearer token", func(r *blueprints.Room, q *fakeserver.Request) { q.Authorization = "Bearer " + r.Alice.AccessToken }},
		{"signed for another destination", func(_ *blueprints.Room, q *fakeserver.Request) { q.SignedFor = "elsewhere.example" }},
		{"another body than was signed", func(_ *blueprints.Room, q *fakeserver.Request) { q.SignedBody = []byte(`{"account_keys":[]}`) }},
		{"signed by an account key", func(r *blueprints.Room, q *fakeserver.Request) {
			q.Signer = &matrix.Signer{Entity: string(r.Peer.Name()), KeyID: r.Peer.Signer().KeyID, Key: r.Fay.Account().Signer().Key}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QA-01")
			r := hosting(t)
			body, err := json.Marshal(asking(keyOf(t, r, r.Alice)))
			must.NoError(conform.Setup(t), "writing a request", err)
			q := fakeserver.Request{Destination: r.At, Method: http.MethodPost, URI: fakeserver.AccountsPath, Body: body}
			control, err := r.Peer.DoRequest(t.Context(), q)
			must.NoError(conform.Setup(t), "asking with a good signature", err)
			must.Equal(t, "status of the answer to a request with a good signature", control.Status, http.StatusOK)

			c.edit(r, &q)
			answer, err := r.Peer.DoRequest(t.Context(), q)
			must.NoError(conform.Setup(t), "asking", err)
			must.Equal(t, "status of the answer to a request with "+c.name, answer.Status, http.StatusUnauthorized)
			must.Be(t, !strings.Contains(string(answer.Body), nameOf(r.Alice)), "no account name in a refusal, got:\n%s", answer.Body)
		})
	}
}

// Proposal: keys are asked for in a list, which in a request for erasures only is not there.
func TestQueryAccounts_TakesNoKeys(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{}`, `{"account_keys":[]}`} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QA-08")
			r := hosting(t)
			departed(t, r, "erin")
			answer := question(t, r, body)
			if told := answer.JSON().Get("account_keys"); answer.StatusCode() != http.StatusOK || len(told.Map()) > 0 {
				conform.Violation(t, "MSC4243-QA-08", "200 without any account key", answer.String())
			}
		})
	}
}

// Proposal, the example of a request. Server-server API: what is not such a request gets a standard
// error with status 400.
func TestQueryAccounts_RefusesMalformedRequests(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"account_keys":"KEY"}`, `{"account_keys":{"KEY":{}}}`, `{"account_keys":null}`, `{"account_keys":7}`,
		`{"account_keys":["KEY",7]}`, `{"account_keys":["KEY",null]}`, `{"account_keys":[["KEY"]]}`,
		`["KEY"]`, `"KEY"`, `null`,
		`{"account_keys":["KEY"],"erasure":[]}`, `{"account_keys":["KEY"],"erasure":"17"}`, `{"account_keys":["KEY"],"erasure":17}`,
		`{"erasure":{"id":-1,"limit":3}}`, `{"erasure":{"id":"0","limit":3}}`, `{"erasure":{"id":0.5,"limit":3}}`,
		`{"erasure":{"id":9007199254740993,"limit":3}}`, `{"erasure":{"id":null,"limit":3}}`,
		`{"erasure":{"id":0,"limit":-1}}`, `{"erasure":{"id":0,"limit":"3"}}`, `{"erasure":{"id":0,"limit":1.5}}`, `{"erasure":{"id":0,"limit":{}}}`,
	} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QA-09")
			r := hosting(t)
			key := keyOf(t, r, r.Alice)
			answer := question(t, r, keyed(body, key))
			if answer.StatusCode() != http.StatusBadRequest || answer.JSON().Get("errcode").Type != gjson.String {
				conform.Violation(t, "MSC4243-QA-09", "400 with an errcode", answer.String())
			}
			must.Field(t, entryOf(t, r, key), "account_name", nameOf(r.Alice)) // it still answers
		})
	}
}

// The same, of what cannot be signed because it is not JSON: 401 is as good an answer.
func TestQueryAccounts_RefusesWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"account_keys":["KEY"]`, `{"account_keys":["KEY"]}}`, `{"account_keys":["KEY",]}`, `certainly not JSON`, "\x00\xff"} {
		t.Run(fmt.Sprintf("%q", body), func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QA-09")
			r := hosting(t)
			key := keyOf(t, r, r.Alice)
			answer, err := r.Peer.DoRequest(t.Context(), fakeserver.Request{
				Destination: r.At, Method: http.MethodPost, URI: fakeserver.AccountsPath,
				Body: []byte(keyed(body, key)), SignedBody: []byte(keyed(`{"account_keys":["KEY"]}`, key)),
			})
			must.NoError(t, "asking", err)
			if answer.Status != http.StatusBadRequest && answer.Status != http.StatusUnauthorized {
				conform.Violation(t, "MSC4243-QA-09", "400 or 401", fmt.Sprintf("%d %s", answer.Status, answer.Body))
			}
			must.Field(t, entryOf(t, r, key), "account_name", nameOf(r.Alice)) // it still answers
		})
	}
}

// Proposal: the examples have keys in standard base64, the text wants them in the URL-safe alphabet
// (D-01). A server may understand other spellings, but not mix them up.
func TestQueryAccounts_OtherSpellingsOfAKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spell func(key string) string
	}{
		{"standard alphabet", strings.NewReplacer("-", "+", "_", "/").Replace},
		{"padded", func(key string) string { return key + "=" }},
		{"unused bits set", func(key string) string { return key[:42] + string(key[42]+1) }},
		{"a line break after it", func(key string) string { return key + "\n" }},
		{"a blank before it", func(key string) string { return " " + key }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QA-10")
			r := hosting(t)
			key := spellable(t, r)
			text := c.spell(key)
			answer := question(t, r, asking(text))
			told := answer.JSON().Get("account_keys").Map()
			switch entry := told[text]; {
			case answer.StatusCode() == http.StatusBadRequest:
			case answer.StatusCode() != http.StatusOK:
				conform.Violation(t, "MSC4243-QA-10", "an answer, or 400", answer.String())
			case !entry.Exists() || len(told) != 1:
				conform.Violation(t, "MSC4243-QA-10", "one entry, under the text that was asked for", answer.String())
			case entry.Get("account_name").Exists():
				conform.Info(t, "MSC4243-QA-10", "a key is understood that is spelled otherwise: "+c.name)
			}
		})
	}
}

// spellable is the account key of a local user that has a '-' or '_', in which the alphabets of base64
// differ.
func spellable(t testing.TB, r *blueprints.Room) string {
	t.Helper()
	key := keyOf(t, r, r.Alice)
	for !strings.ContainsAny(key, "-_") {
		key = keyOf(t, r, local(t, r, "spell"))
	}
	return key
}

// Proposal: "A generic bulk lookup function would be prone to abuse", which is why there is none from
// names to keys.
func TestQueryAccounts_LooksUpNoNames(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"@KEY:DOMAIN", "@NAME:DOMAIN", "NAME:DOMAIN", "@NAME", "NAME", ""} {
		t.Run(fmt.Sprintf("%q", text), func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QA-11")
			r := hosting(t)
			key := keyOf(t, r, r.Alice)
			must.Field(conform.Setup(t), entryOf(t, r, key), "account_name", nameOf(r.Alice))

			asked := strings.NewReplacer("KEY", key, "NAME", nameOf(r.Alice), "DOMAIN", string(r.At)).Replace(text)
			answer := question(t, r, asking(asked))
			if answer.StatusCode() == http.StatusBadRequest {
				return
			}
			for told, entry := range entries(t, answer) {
				must.Equal(t, "text of an entry", told, asked)
				must.Be(t, entry.Get("errcode").Type == gjson.String && !entry.Get("signatures").Exists(), "%q to be unknown, got:\n%s", asked, answer)
			}
			rest := strings.ReplaceAll(answer.JSON().Raw, asked, "")
			must.Be(t, asked == "" || !strings.Contains(rest, key), "no key for what is none, got:\n%s", answer)
		})
	}
}

// Proposal: the domain says which keys are its own. Footnote 1: handing on what other domains have
// signed is left to the future.
func TestQueryAccounts_SpeaksForItsOwnDomain(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-QA-12")
	r := hosting(t) // fay's key is verified
	witness := r.Scene.Peer(t)
	entry := must.Succeed(t, witness.Ask(t, r.At, http.MethodPost, fakeserver.AccountsPath, asking(r.Fay.Key()))).Get("account_keys").Map()[r.Fay.Key()]
	if entry.Get("errcode").Type == gjson.String && !entry.Get("account_name").Exists() {
		return
	}
	signed := matrix.VerifyJSON([]byte(entry.Raw), r.Fay.Key(), matrix.AccountKeyID, r.Fay.Account().Key().PublicKey()) == nil
	if !signed || entry.Get("domain").Str != string(r.Peer.Name()) {
		conform.Violation(t, "MSC4243-QA-12", "a key of another domain is unknown, or told with its own signature and domain", entry.Raw)
	}
}

// Server-server API: fields that a server does not know are ignored.
func TestQueryAccounts_IgnoresUnknownFields(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"account_keys":["KEY"],"foo":{"bar":1}}`,
		`{"account_keys":["KEY"],"erasure":{"id":0,"limit":3,"foo":[null]}}`,
	} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QA-16")
			r := hosting(t)
			key := keyOf(t, r, r.Alice)
			answer := question(t, r, keyed(body, key))
			must.Field(t, entries(t, answer)[key], "account_name", nameOf(r.Alice))
		})
	}
}

// Server-server API, "Unsupported endpoints".
func TestQueryAccounts_OtherMethodsAndPaths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ method, path string }{
		{http.MethodGet, fakeserver.AccountsPath},
		{http.MethodPut, fakeserver.AccountsPath},
		{http.MethodDelete, fakeserver.AccountsPath},
		{http.MethodPost, fakeserver.AccountsPath + "/"},
		{http.MethodPost, fakeserver.AccountsPath + "/everybody"},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-QA-20")
			r := hosting(t)
			answer := r.Peer.Ask(t, r.At, c.method, c.path, []byte("{}"))
			status, code := answer.StatusCode(), answer.JSON().Get("errcode").Str
			if status != http.StatusNotFound && status != http.StatusMethodNotAllowed || code != "M_UNRECOGNIZED" {
				conform.Violation(t, "MSC4243-QA-20", "404 or 405 M_UNRECOGNIZED", answer.String())
			}
		})
	}
}
