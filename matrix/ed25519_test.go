package matrix

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// edgeCase is a complete event of testdata/ed25519-events.json: what is odd about its key or its
// signature, the verdict of the strict rule, and that of Go's standard library. libsodium 1.0.18 and
// dalek's verify_strict give the strict verdict on each of them.
type edgeCase struct {
	ID, What, Expect  string
	GoStandardLibrary string `json:"go_standard_library"`
	Event             json.RawMessage
}

func edgeCases(t testing.TB) (cases []edgeCase) {
	b, err := os.ReadFile("testdata/ed25519-events.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &cases))
	require.Len(t, cases, 33)
	return cases
}

func TestVerifyStrictEdgeCases(t *testing.T) {
	for _, c := range edgeCases(t) {
		t.Run(c.ID, func(t *testing.T) {
			e, err := ParseEvent(RoomVersionMSC4243(), c.Event)
			require.NoError(t, err)
			require.True(t, e.HashOK())
			require.Equal(t, string(c.Event), string(e.JSON()))

			// Decoded without the checks of ParseAccountKey, so that VerifyStrict alone decides.
			key, err := decodeAccountKey(e.Sender().Localpart())
			require.NoError(t, err)
			signature, err := findSignature(e.JSON(), key.String(), AccountKeyID)
			require.NoError(t, err)
			verdict := func(ok bool) string { return map[bool]string{true: "accept", false: "reject"}[ok] }
			require.Equal(t, c.Expect, verdict(VerifyStrict(key[:], e.SigningBytes(), signature) == nil), c.What)
			require.Equal(t, c.Expect, verdict(e.VerifyAccountKey(e.Sender()) == nil), c.What)
			require.Equal(t, c.GoStandardLibrary, verdict(ed25519.Verify(key[:], e.SigningBytes(), signature)), c.What)
			_, keyErr := e.Sender().AccountKey()
			require.False(t, keyErr != nil && c.Expect == "accept", "the key is refused, but its event accepted")
		})
	}
}

// fieldPrime is 2^255 − 19.
func fieldPrime() *big.Int {
	p := new(big.Int).Lsh(big.NewInt(1), 255)
	return p.Sub(p, big.NewInt(19))
}

func encodeY(y *big.Int, sign bool) []byte {
	b := make([]byte, 32)
	for i, c := range y.Bytes() {
		b[len(y.Bytes())-1-i] = c
	}
	if sign {
		b[31] |= 0x80
	}
	return b
}

// Every y from p to 2^255−1 is a second spelling of a small y, and refused with either sign.
func TestNonCanonicalKeys(t *testing.T) {
	for i := range int64(19) {
		y := new(big.Int).Add(fieldPrime(), big.NewInt(i))
		for _, sign := range []bool{false, true} {
			require.Error(t, CheckPublicKey(encodeY(y, sign)), "p+%d", i)
		}
	}
	below := new(big.Int).Sub(fieldPrime(), big.NewInt(1))
	require.True(t, canonicalY(encodeY(below, false)))
	require.False(t, canonicalY(encodeY(fieldPrime(), true)))
}

func TestCheckPublicKey(t *testing.T) {
	honest := ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey)
	require.NoError(t, CheckPublicKey(honest))
	require.ErrorIs(t, CheckPublicKey(honest[:31]), ErrKeyLength)
	require.ErrorIs(t, CheckPublicKey(append(honest[:32:32], 0)), ErrKeyLength)
	require.ErrorIs(t, CheckPublicKey(nil), ErrKeyLength)
	for name, text := range map[string]string{
		"identity":      "0100000000000000000000000000000000000000000000000000000000000000",
		"identity, -0":  "0100000000000000000000000000000000000000000000000000000000000080",
		"order 2":       "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 2, -0":   "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"order 4":       "0000000000000000000000000000000000000000000000000000000000000000",
		"order 4 other": "0000000000000000000000000000000000000000000000000000000000000080",
		"order 8":       "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8 b":     "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"order 8 c":     "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"order 8 d":     "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	} {
		b, err := hex.DecodeString(text)
		require.NoError(t, err)
		require.ErrorIs(t, CheckPublicKey(b), ErrKeySmallOrder, name)
	}
	offCurve := make([]byte, 32)
	offCurve[0] = 2
	require.ErrorIs(t, CheckPublicKey(offCurve), ErrKeyNotCanonical)
	// Mixed order is allowed: libsodium and dalek accept such keys too.
	mixed, err := hex.DecodeString("51f798ec8ccd084f59a3a83ebc849efacfcff7d908d26d0aa3eecac70fd4da54")
	require.NoError(t, err)
	require.NoError(t, CheckPublicKey(mixed))
}

func TestVerifyStrictLengths(t *testing.T) {
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	public, message := private.Public().(ed25519.PublicKey), []byte("message")
	signature := ed25519.Sign(private, message)
	require.NoError(t, VerifyStrict(public, message, signature))
	require.ErrorIs(t, VerifyStrict(public[:31], message, signature), ErrKeyLength)
	require.ErrorIs(t, VerifyStrict(public, message, signature[:63]), ErrSignatureLength)
	require.ErrorIs(t, VerifyStrict(public, message, append(signature[:64:64], 0)), ErrSignatureLength)
	require.ErrorIs(t, VerifyStrict(public, message, nil), ErrSignatureLength)
	require.ErrorIs(t, VerifyStrict(public, []byte("other"), signature), ErrSignature)
}
