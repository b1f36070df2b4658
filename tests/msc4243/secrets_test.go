package msc4243

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"regexp"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Proposal: "Each user is identified using an ed25519 key", which is none of the server's; footnote
// signing: "The private key still lives on the server". That it never leaves can only be sampled: here in
// what the homeserver answers to a client and to another server.
func TestAccountKeys_AreSecretAndNotTheServers(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SEC-07")
	r := hosting(t)
	setup := conform.Setup(t)
	bob := local(t, r, "bob")
	keys := []matrix.AccountKey{accountKeyOf(t, r, r.Alice), accountKeyOf(t, r, bob)}
	published := must.Succeed(setup, r.Peer.Ask(setup, r.At, http.MethodGet, "/_matrix/key/v2/server", nil))
	for _, list := range []string{"verify_keys", "old_verify_keys"} {
		for id, entry := range published.Get(list).Map() {
			key, err := matrix.DecodeBase64(entry.Get("key").Str)
			must.NoError(setup, "reading the server's key "+id, err)
			for _, account := range keys {
				if bytes.Equal(key, account[:]) {
					conform.Violation(t, "MSC4243-SEC-07", "account keys and the server's keys to be different keys", id+" is "+account.String())
				}
			}
		}
	}

	everythingShown(t, r)
	r.Alice.WhoAmI(t)
	r.Alice.Devices(t)
	r.Alice.Profile(t, r.Alice.UserID)
	r.Alice.QueryKeys(t, r.Alice.UserID)
	r.Alice.AccountData(t, "", "m.direct")
	r.Peer.Ask(t, r.At, http.MethodPost, queryAccounts, map[string]any{"account_keys": []string{keys[0].String(), keys[1].String()}, "erasure": map[string]any{"id": 0, "limit": 10}})
	r.Peer.Ask(t, r.At, http.MethodGet, "/_matrix/federation/v1/user/devices/"+r.Alice.UserID, nil)
	for _, text := range told(r) {
		for _, account := range keys {
			if reveals(text, account.PublicKey()) {
				conform.Violation(t, "MSC4243-SEC-07", "the private half of an account key not to leave the homeserver", string(text))
			}
		}
	}
}

// accountKeyOf is the account key of a client.
func accountKeyOf(t testing.TB, r *blueprints.Room, client *csapi.Client) matrix.AccountKey {
	t.Helper()
	key, err := idOf(t, r, client).AccountKey()
	must.NoError(conform.Setup(t), "reading an account key", err)
	return key
}

// told is all that the homeserver has said in the test.
func told(r *blueprints.Room) (texts [][]byte) {
	for _, answer := range r.Alice.Transcript().Exchanges() {
		texts = append(texts, answer.Body)
	}
	for _, e := range r.Peer.Transcript().Exchanges(nil) {
		if e.Direction == fakeserver.Inbound {
			texts = append(texts, e.RequestBody)
		} else {
			texts = append(texts, e.ResponseBody)
		}
	}
	return texts
}

// codes are texts that may be 32 or 64 bytes in base64, in any alphabet, or in hexadecimal.
var codes = regexp.MustCompile(`[A-Za-z0-9+/_-]{43,128}`)

// reveals reports whether a text holds the seed of a key, or its private key.
func reveals(text []byte, public ed25519.PublicKey) bool {
	for _, code := range codes.FindAllString(string(text), -1) {
		for _, decode := range []func(string) ([]byte, error){base64.RawStdEncoding.DecodeString, base64.RawURLEncoding.DecodeString, hex.DecodeString} {
			secret, err := decode(code)
			if err != nil || len(secret) != ed25519.SeedSize && len(secret) != ed25519.PrivateKeySize {
				continue
			}
			if public.Equal(ed25519.NewKeyFromSeed(secret[:ed25519.SeedSize]).Public()) {
				return true
			}
		}
	}
	return false
}
