package matrix

import (
	"crypto/ed25519"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParseXMatrix(t *testing.T) {
	want := XMatrix{Origin: "a.example:8448", Destination: "b.example", KeyID: "ed25519:1", Signature: "AB+/="}
	for _, header := range []string{
		`X-Matrix origin="a.example:8448",destination="b.example",key="ed25519:1",sig="AB+/="`,
		`X-Matrix origin=a.example:8448,destination=b.example,key=ed25519:1,sig=AB+/=`,
		`x-mAtRiX   origin="a.example:8448" , DESTINATION="b.example",	Key="ed25519:1" ,sig="AB+/="`,
		`X-Matrix sig="AB+/=",key="ed25519:1",destination="b.example",origin="a.example:8448",unknown="x, y=\"z\"",also=1`,
		`X-Matrix origin="a.ex\ample:8448",destination="b.example",key="ed\25519:1",signature="AB+/="`,
		`X-Matrix ,origin="a.example:8448",,destination="b.example",key="ed25519:1",sig="AB+/=",`,
	} {
		got, err := ParseXMatrix(header)
		require.NoError(t, err, header)
		require.Equal(t, want, got, header)
	}
	require.Equal(t, `X-Matrix origin="a.example:8448",destination="b.example",key="ed25519:1",sig="AB+/="`, want.String())
	for _, bad := range []string{
		``, `X-Matrix`, `X-Matrix `, `Bearer abc`, `X-Matrixorigin=a,key=k,sig=s`,
		`X-Matrix origin="a",key="k"`, `X-Matrix origin="a",sig="s"`, `X-Matrix key="k",sig="s"`, `X-Matrix origin="",key="k",sig="s"`,
		`X-Matrix origin="a b",key="k",sig="s"`, `X-Matrix origin="a`, `X-Matrix origin="a\`, `X-Matrix origin`, `X-Matrix origin="a"key="k",sig="s"`,
		`X-Matrix origin="a",key,sig="s"`, `X-Matrix origin="a/../b",key="k",sig="s"`,
	} {
		_, err := ParseXMatrix(bad)
		require.ErrorIs(t, err, ErrRequestAuth, bad)
	}
	_, err := RequestAuth(http.Header{})
	require.ErrorIs(t, err, ErrRequestAuth)
	got, err := RequestAuth(http.Header{"Authorization": {want.String()}})
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestRequestSignatures(t *testing.T) {
	s := vectorSigner(t)
	key := s.Key.Public().(ed25519.PublicKey)
	r := FederationRequest{Method: "PUT", URI: "/_matrix/federation/v1/send/1?a=b", Origin: "domain", Destination: "other.example", Content: []byte(`{"pdus":[1e3],"a":1}`)}
	header, err := r.Authorization(s)
	require.NoError(t, err)
	x, err := ParseXMatrix(header)
	require.NoError(t, err)
	verify := func(change func(*XMatrix, *FederationRequest)) error {
		x, r := x, r
		change(&x, &r)
		return x.Verify(r, "other.example", key)
	}
	require.NoError(t, verify(func(*XMatrix, *FederationRequest) {}))
	require.NoError(t, verify(func(_ *XMatrix, r *FederationRequest) { r.Content = []byte(`{ "a": 1, "pdus": [1000] }`) }), "the spelling of the body does not matter")
	for name, change := range map[string]func(*XMatrix, *FederationRequest){
		"method":             func(_ *XMatrix, r *FederationRequest) { r.Method = "POST" },
		"path":               func(_ *XMatrix, r *FederationRequest) { r.URI = "/_matrix/federation/v1/send/2?a=b" },
		"query":              func(_ *XMatrix, r *FederationRequest) { r.URI = "/_matrix/federation/v1/send/1?a=c" },
		"body":               func(_ *XMatrix, r *FederationRequest) { r.Content = []byte(`{"a":1,"pdus":[1001]}`) },
		"no body":            func(_ *XMatrix, r *FederationRequest) { r.Content = nil },
		"body is not JSON":   func(_ *XMatrix, r *FederationRequest) { r.Content = []byte(`{`) },
		"origin":             func(x *XMatrix, _ *FederationRequest) { x.Origin = "else.example" },
		"destination":        func(x *XMatrix, _ *FederationRequest) { x.Destination = "else.example" },
		"no destination":     func(x *XMatrix, _ *FederationRequest) { x.Destination = "" },
		"signature":          func(x *XMatrix, _ *FederationRequest) { x.Signature = strings.Repeat("A", 86) },
		"signature is short": func(x *XMatrix, _ *FederationRequest) { x.Signature = "AAAA" },
		"not base64":         func(x *XMatrix, _ *FederationRequest) { x.Signature = "!" },
	} {
		require.ErrorIs(t, verify(change), ErrRequestAuth, name)
	}
	require.ErrorContains(t, x.Verify(r, "third.example", key), "the request is for")
	// Old servers do not name the destination.
	r.Destination = ""
	header, err = r.Authorization(s)
	require.NoError(t, err)
	require.NotContains(t, header, "destination")
	x, err = ParseXMatrix(header)
	require.NoError(t, err)
	require.NoError(t, x.Verify(r, "other.example", key))
	_, err = FederationRequest{Content: []byte("x")}.Authorization(s)
	require.ErrorIs(t, err, ErrNotCanonical)
}

func TestXMatrixRoundTrip(t *testing.T) {
	text := rapid.StringMatching(`[ -~]{1,20}`)
	rapid.Check(t, func(t *rapid.T) {
		x := XMatrix{
			Origin: ServerName(rapid.SampledFrom([]string{"a.example", "[::1]:1"}).Draw(t, "origin")), Destination: ServerName(text.Draw(t, "destination")),
			KeyID: KeyID(text.Draw(t, "key")), Signature: text.Draw(t, "sig"),
		}
		got, err := ParseXMatrix(x.String())
		if err != nil || got != x {
			t.Fatalf("%s\n%+v\n%+v, %v", x, x, got, err)
		}
	})
}

func TestServerKeys(t *testing.T) {
	s := vectorSigner(t)
	old := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	k := ServerKeys{
		ServerName: "domain", VerifyKeys: map[KeyID]ed25519.PublicKey{s.KeyID: s.Key.Public().(ed25519.PublicKey)},
		OldVerifyKeys: map[KeyID]OldVerifyKey{"ed25519:old": {Key: old, Expired: time.UnixMilli(5)}, "ed25519:a": {Key: old, Expired: time.UnixMilli(6)}},
		ValidUntil:    time.UnixMilli(1700000000000),
	}
	doc, err := k.Sign(s)
	require.NoError(t, err)
	c, err := CanonicalJSON(doc)
	require.NoError(t, err)
	require.Equal(t, string(c), string(doc))
	got, err := ParseServerKeys(doc)
	require.NoError(t, err)
	require.Equal(t, k, got)

	unsigned, err := k.Sign()
	require.NoError(t, err)
	otherSigner, err := k.Sign(Signer{Entity: "domain", KeyID: "ed25519:1", Key: ed25519.NewKeyFromSeed(make([]byte, 32))})
	require.NoError(t, err)
	resign := func(key, value string) []byte {
		signed, err := SignJSON(mergeMember(unsigned, key, []byte(value)), s)
		require.NoError(t, err)
		return signed
	}
	for name, bad := range map[string][]byte{
		"unsigned":              unsigned,
		"signed by another key": otherSigner,
		"not JSON":              []byte(`{`),
		"array":                 []byte(`[]`),
		"empty":                 []byte(`{}`),
		"tampered":              mergeMember(doc, "valid_until_ts", []byte("1")),
		"no keys":               resign("verify_keys", `{}`),
		"keys are an array":     resign("verify_keys", `[]`),
		"other algorithms only": resign("verify_keys", `{"rsa:1":{"key":"x"}}`),
		"short key":             resign("verify_keys", `{"ed25519:1":{"key":"AAAA"}}`),
		"key is a number":       resign("verify_keys", `{"ed25519:1":{"key":5}}`),
		"key is no object":      resign("verify_keys", `{"ed25519:1":5}`),
		"bad server name":       resign("server_name", `"not a name"`),
		"server name missing":   resign("server_name", `null`),
		"server name a number":  resign("server_name", `5`),
		"valid_until_ts text":   resign("valid_until_ts", `"5"`),
		"old key without time":  resign("old_verify_keys", `{"ed25519:0":{"key":"`+EncodeBase64(old)+`"}}`),
		"bad old key":           resign("old_verify_keys", `{"ed25519:0":{"key":"!","expired_ts":1}}`),
	} {
		_, err := ParseServerKeys(bad)
		require.Error(t, err, name)
	}
}

func TestBase64IsStrict(t *testing.T) {
	for _, bad := range []string{"Zg=", "Zg==", "Zh", "Z", "Zm8\n", "Zm\r8", "Zm8 ", "-_", "Zm9v.", "Zm9vé"} {
		_, err := DecodeBase64(bad)
		require.Error(t, err, "%q", bad)
	}
	for _, good := range []string{"Zg", "Zg==", "Zm8=", "Zm9v", "Zm8"} {
		_, err := DecodeBase64Padded(good)
		require.NoError(t, err, "%q", good)
	}
	for _, bad := range []string{"=", "==", "====", "Zg=", "Zg===", "Zm9v=", "Zm9v====", "Zh==", "Zg=\n=", "Zg==Zg=="} {
		_, err := DecodeBase64Padded(bad)
		require.Error(t, err, "%q", bad)
	}
	_, err := DecodeURLBase64("+/")
	require.Error(t, err)
	_, err = DecodeBase64Loose("Z!")
	require.Error(t, err)
}
