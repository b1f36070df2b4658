package matrix

import (
	"crypto/ed25519"
	"testing"

	"github.com/stretchr/testify/require"
)

// Appendices, "Unpadded Base64".
func TestBase64Vectors(t *testing.T) {
	for plain, encoded := range map[string]string{
		"": "", "f": "Zg", "fo": "Zm8", "foo": "Zm9v", "foob": "Zm9vYg", "fooba": "Zm9vYmE", "foobar": "Zm9vYmFy",
	} {
		require.Equal(t, encoded, EncodeBase64([]byte(plain)))
		for _, decode := range []func(string) ([]byte, error){DecodeBase64, DecodeURLBase64, DecodeBase64Padded, DecodeBase64Loose} {
			b, err := decode(encoded)
			require.NoError(t, err)
			require.Equal(t, plain, string(b))
		}
	}
}

// Appendices, "Canonical JSON", "Examples".
func TestCanonicalJSONVectors(t *testing.T) {
	for in, want := range map[string]string{
		`{}`: `{}`,
		"{\n    \"one\": 1,\n    \"two\": \"Two\"\n}": `{"one":1,"two":"Two"}`,
		"{\n    \"b\": \"2\",\n    \"a\": \"1\"\n}":   `{"a":"1","b":"2"}`,
		`{"b":"2","a":"1"}`:                           `{"a":"1","b":"2"}`,
		`{
    "auth": {
        "success": true,
        "mxid": "@john.doe:example.com",
        "profile": {
            "display_name": "John Doe",
            "three_pids": [
                {
                    "medium": "email",
                    "address": "john.doe@example.org"
                },
                {
                    "medium": "msisdn",
                    "address": "123456789"
                }
            ]
        }
    }
}`: `{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}`,
		`{"a": "日本語"}`:         `{"a":"日本語"}`,
		`{"本": 2, "日": 1}`:     `{"日":1,"本":2}`,
		"{\"a\": \"\\u65E5\"}": `{"a":"日"}`,
		`{"a": null}`:          `{"a":null}`,
	} {
		for _, canonicalise := range []func([]byte) ([]byte, error){CanonicalJSON, LenientCanonicalJSON} {
			got, err := canonicalise([]byte(in))
			require.NoError(t, err, in)
			require.Equal(t, want, string(got))
		}
	}
	// The last example has numbers that events may not have since room version 6.
	const old = `{"a": -0, "b": 1e10}`
	got, err := LenientCanonicalJSON([]byte(old))
	require.NoError(t, err)
	require.Equal(t, `{"a":0,"b":10000000000}`, string(got))
	_, err = CanonicalJSON([]byte(old))
	require.ErrorIs(t, err, ErrNotCanonical)
}

// vectorSigner is the key of the appendices, "Cryptographic Test Vectors". The base64 of its seed has
// set trailing bits.
func vectorSigner(t testing.TB) Signer {
	seed, err := DecodeBase64Loose("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
	require.NoError(t, err)
	return Signer{Entity: "domain", KeyID: "ed25519:1", Key: ed25519.NewKeyFromSeed(seed)}
}

// Appendices, "Cryptographic Test Vectors", "JSON Signing".
func TestJSONSigningVectors(t *testing.T) {
	s := vectorSigner(t)
	for in, want := range map[string]string{
		`{}`:                       `{"signatures":{"domain":{"ed25519:1":"K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"}}}`,
		`{"one": 1, "two": "Two"}`: `{"one":1,"signatures":{"domain":{"ed25519:1":"KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"}},"two":"Two"}`,
	} {
		got, err := SignJSON([]byte(in), s)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		require.NoError(t, VerifyJSON([]byte(want), s.Entity, s.KeyID, s.Key.Public().(ed25519.PublicKey)))
	}
}

// Appendices, "Cryptographic Test Vectors", "Event Signing". The vectors are of room version 1: their
// content hashes hold here too, but their signatures cover the redaction of version 1, which keeps
// "origin", so each vector comes with its redacted form by hand.
func TestEventSigningVectors(t *testing.T) {
	s := vectorSigner(t)
	for _, c := range []struct{ name, event, hash, redacted, signature string }{
		{
			"minimal",
			`{"room_id":"!x:domain","sender":"@a:domain","origin":"domain","origin_server_ts":1000000,"signatures":{},"hashes":{},"type":"X","content":{},"prev_events":[],"auth_events":[],"depth":3,"unsigned":{"age_ts":1000000}}`,
			"5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
			`{"auth_events":[],"content":{},"depth":3,"hashes":{"sha256":"5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"},"origin":"domain","origin_server_ts":1000000,"prev_events":[],"room_id":"!x:domain","sender":"@a:domain","type":"X"}`,
			"KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
		},
		{
			"redactable content",
			`{"content":{"body":"Here is the message content"},"event_id":"$0:domain","origin":"domain","origin_server_ts":1000000,"type":"m.room.message","room_id":"!r:domain","sender":"@u:domain","signatures":{},"unsigned":{"age_ts":1000000}}`,
			"onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
			`{"content":{},"event_id":"$0:domain","hashes":{"sha256":"onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"},"origin":"domain","origin_server_ts":1000000,"room_id":"!r:domain","sender":"@u:domain","type":"m.room.message"}`,
			"Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			sum, err := ContentHash([]byte(c.event))
			require.NoError(t, err)
			require.Equal(t, c.hash, EncodeBase64(sum[:]))
			hashed, err := PutContentHash([]byte(c.event))
			require.NoError(t, err)
			require.Equal(t, `{"sha256":"`+c.hash+`"}`, string(lookup(hashed, "hashes")))

			signed, err := SignJSON([]byte(c.redacted), s)
			require.NoError(t, err)
			require.Contains(t, string(signed), c.signature)

			// Version 12 signs the same without "origin".
			message, err := EventSigningBytes(hashed)
			require.NoError(t, err)
			withoutOrigin := removeMember(c.redacted, "origin")
			require.Equal(t, withoutOrigin, string(message))
		})
	}
}

// removeMember removes a top-level member from canonical JSON.
func removeMember(doc, key string) string {
	b := newObject(len(doc))
	for f := range fields([]byte(doc)) {
		if string(f.key) != key {
			b.raw(f.text)
		}
	}
	return string(b.close())
}
