package rules

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
)

func identityKey(seed byte) ed25519.PrivateKey {
	b := make([]byte, ed25519.SeedSize)
	b[0] = seed
	return ed25519.NewKeyFromSeed(b)
}

func publicText(k ed25519.PrivateKey) string {
	return matrix.EncodeBase64(k.Public().(ed25519.PublicKey))
}

// Rule 5.4.1.
func TestThirdPartyInvite(t *testing.T) {
	key, second, stranger := identityKey(1), identityKey(2), identityKey(3)
	sign := func(object string, k ed25519.PrivateKey) string {
		signed, err := matrix.SignJSON([]byte(object), matrix.Signer{Entity: "identity.example", KeyID: "ed25519:0", Key: k})
		require.NoError(t, err)
		return string(signed)
	}
	invite := func(third string) ev {
		return member(alice, bob, `{"membership":"invite","third_party_invite":`+third+`}`)
	}
	signed := func(object string, k ed25519.PrivateKey) ev {
		return invite(`{"display_name":"b","signed":` + sign(object, k) + `}`)
	}
	const object = `{"mxid":"@bob:two","token":"token"}`
	event := state(alice, "m.room.third_party_invite", "token",
		`{"public_key":"`+publicText(key)+`","public_keys":[{"public_key":"`+publicText(second)+`"},{"public_key":5},"x",{}]}`)
	given := []ev{joined(carol), joined(alice), event}
	with := func(more ...ev) []ev { return append(append([]ev{}, given...), more...) }
	damaged := strings.Replace(sign(object, key), `"ed25519:0":"`, `"ed25519:0":"AAAA`, 1)
	runRows(t, "", []row{
		{"signed by public_key", given, signed(object, key), ""},
		{"signed by one of public_keys", given, signed(object, second), ""},
		{"the inviter need not be joined any more", with(left(alice)), signed(object, key), ""},
		{"the invited user is joined (literal reading)", with(joined(bob)), signed(object, key), ""},
		{"two signatures, one good", given, invite(`{"signed":` + sign(sign(object, stranger), key) + `}`), ""},
		{"banned", with(banned(bob)), signed(object, key), "5.4.1.1"},
		{"nothing signed", given, invite(`{}`), "5.4.1.2"},
		{"not an object", given, invite(`"x"`), "5.4.1.2"},
		{"null", given, invite(`null`), "5.4.1.2"},
		{"an array", given, invite(`[{"signed":{}}]`), "5.4.1.2"},
		{"signed is a string", given, invite(`{"signed":"x"}`), "5.4.1.3"},
		{"no token", given, signed(`{"mxid":"@bob:two"}`, key), "5.4.1.3"},
		{"no mxid", given, signed(`{"token":"token"}`, key), "5.4.1.3"},
		{"another mxid", given, signed(`{"mxid":"@dave:two","token":"token"}`, key), "5.4.1.4"},
		{"mxid is a number", given, signed(`{"mxid":1,"token":"token"}`, key), "5.4.1.4"},
		{"another token", given, signed(`{"mxid":"@bob:two","token":"other"}`, key), "5.4.1.5"},
		{"token is an array", given, signed(`{"mxid":"@bob:two","token":["token"]}`, key), "5.4.1.5"},
		{"no event", given[:2], signed(object, key), "5.4.1.5"},
		{"event by someone else", []ev{joined(alice), state(carol, "m.room.third_party_invite", "token", event.Content)}, signed(object, key), "5.4.1.6"},
		{"signed by a stranger", given, signed(object, stranger), "5.4.1.8"},
		{"not signed", given, invite(`{"signed":` + object + `}`), "5.4.1.8"},
		{"damaged signature", given, invite(`{"signed":` + damaged + `}`), "5.4.1.8"},
		{"signatures of odd types", given, invite(`{"signed":{"mxid":"@bob:two","token":"token","signatures":{"a":5,"b":{"ed25519:0":5,"rsa:0":"x"},"c":[]}}}`), "5.4.1.8"},
		{"signatures are an array", given, invite(`{"signed":{"mxid":"@bob:two","token":"token","signatures":[1]}}`), "5.4.1.8"},
		{"event without keys", []ev{joined(alice), state(alice, "m.room.third_party_invite", "token", `{"public_key":"short","public_keys":{"public_key":"x"}}`)}, signed(object, key), "5.4.1.8"},
	})
}

// The product of signatures and keys is bounded: a good signature behind too many bad ones is not found.
func TestThirdPartyInviteIsBounded(t *testing.T) {
	key := identityKey(255)
	for _, c := range []struct {
		decoys int
		rule   string
	}{{maxThirdPartyVerifications - 1, ""}, {maxThirdPartyVerifications, "5.4.1.8"}} {
		object := []byte(`{"mxid":"@bob:two","token":"token"}`)
		for i := range c.decoys {
			var err error
			object, err = matrix.PutSignature(object, fmt.Sprintf("decoy%03d", i), "ed25519:0", strings.Repeat("A", 86))
			require.NoError(t, err)
		}
		object, err := matrix.SignJSON(object, matrix.Signer{Entity: "honest", KeyID: "ed25519:0", Key: key})
		require.NoError(t, err)
		r := newTestRoom(t, "")
		e := r.build(member(alice, bob, `{"membership":"invite","third_party_invite":{"signed":`+string(object)+`}}`))
		given := r.state([]ev{state(alice, "m.room.third_party_invite", "token", `{"public_key":"`+publicText(key)+`"}`)})
		requireRule(t, c.rule, r.Authorise(e, given))
	}
}
