package matrix

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// urlSafeAccount is an account whose key's text has both characters in which the alphabets differ.
func urlSafeAccount(t testing.TB) Account {
	for i := range 10000 {
		seed := make([]byte, 32)
		seed[0], seed[1] = byte(i), byte(i>>8)
		if a := AccountFromSeed(seed); strings.Contains(a.Key().String(), "-") && strings.Contains(a.Key().String(), "_") {
			return a
		}
	}
	t.Fatal("no such key")
	return Account{}
}

// Only one spelling of an account key is an account key. The comments say who reads the others as the
// same key.
func TestAccountKeySpellings(t *testing.T) {
	a := urlSafeAccount(t)
	key := a.Key()
	text := key.String()
	require.Len(t, text, AccountKeyLength)
	parsed, err := ParseAccountKey(text)
	require.NoError(t, err)
	require.Equal(t, key, parsed)

	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, text[42])
	standard := EncodeBase64(key[:])
	at := strings.IndexByte(text, '-')
	for name, alias := range map[string]string{
		"trailing bits +1":   text[:42] + string(alphabet[last+1]), // every lenient decoder
		"trailing bits +2":   text[:42] + string(alphabet[last+2]),
		"trailing bits +3":   text[:42] + string(alphabet[last+3]),
		"standard alphabet":  standard, // Python, decoders that guess the alphabet
		"mixed alphabets":    text[:at] + "+" + text[at+1:],
		"padded":             text + "=",
		"padded twice":       text + "==",
		"padding and more":   text + "=AAAA",
		"junk":               "...." + text, // Python
		"junk inside":        text[:20] + "...." + text[20:],
		"space":              " " + text,
		"four line feeds":    text + "\n\n\n\n", // Python and Go
		"line feed":          text + "\n",       // Go, even in strict mode
		"carriage return":    text[:10] + "\r" + text[10:],
		"newline for a char": text[:42] + "\n",
		"42 characters":      text[:42],
		"44 characters":      text + "A",
		"empty":              "",
		"one character":      "A",
		"lower case":         strings.ToLower(text),
		"upper case":         strings.ToUpper(text),
		"NUL":                text[:42] + "\x00",
		"not ASCII":          text[:41] + "é",
		"33 bytes":           EncodeURLBase64(make([]byte, 33)),
		"64 bytes":           EncodeURLBase64(make([]byte, 64)),
		"hexadecimal":        strings.Repeat("ab", 32),
		"with its sigil":     "@" + text,
		"small order":        strings.Repeat("A", 43),
		"identity":           EncodeURLBase64(append([]byte{1}, make([]byte, 31)...)),
		"all ones":           EncodeURLBase64(bytes.Repeat([]byte{0xff}, 32)),
		"not on the curve":   EncodeURLBase64(append([]byte{2}, make([]byte, 31)...)),
	} {
		if name == "lower case" || name == "upper case" {
			// Another key, if it is one at all.
			other, err := ParseAccountKey(alias)
			require.False(t, err == nil && other == key, name)
			continue
		}
		_, err := ParseAccountKey(alias)
		require.Error(t, err, "%s: %q", name, alias)
		_, _, err = ParseAccountKeyUserID("@" + alias + ":example.org")
		require.Error(t, err, "%s: %q", name, alias)
	}
}

func TestAccountKeyUserIDs(t *testing.T) {
	a := urlSafeAccount(t)
	u, key, err := ParseAccountKeyUserID("@" + a.Key().String() + ":example.org:8448")
	require.NoError(t, err)
	require.Equal(t, a.Key(), key)
	require.Equal(t, a.Key().UserID("example.org:8448"), u)
	require.Equal(t, ServerName("example.org:8448"), u.Domain())
	require.Equal(t, a.Key().String(), u.Localpart())
	for _, bad := range []string{"", "@", "@:example.org", a.Key().String() + ":example.org", "@" + a.Key().String(), "@" + a.Key().String() + ":", "@alice:example.org"} {
		_, _, err := ParseAccountKeyUserID(bad)
		require.Error(t, err, "%q", bad)
	}
}

func TestAccounts(t *testing.T) {
	a, err := NewAccount()
	require.NoError(t, err)
	b, err := NewAccount()
	require.NoError(t, err)
	require.NotEqual(t, a.Key(), b.Key())
	require.Equal(t, a, AccountFromSeed(a.Seed()))
	s := a.Signer()
	require.Equal(t, a.Key().String(), s.Entity)
	require.Equal(t, AccountKeyID, s.KeyID)
}

// An event signed under an alias of a key is not signed by the key.
func TestSignatureUnderAnAlias(t *testing.T) {
	a := urlSafeAccount(t)
	alias := EncodeBase64(a.Key().PublicKey())
	for _, sender := range []string{"@" + alias + ":example.org", "@" + alias + "=:example.org"} {
		e, err := ProtoEvent{Type: "m.x", Sender: UserID(sender), RoomID: "!r", Content: []byte(`{}`)}.Build(RoomVersionMSC4243(),
			Signer{Entity: UserID(sender).Localpart(), KeyID: AccountKeyID, Key: a.Signer().Key})
		require.NoError(t, err)
		require.ErrorIs(t, e.VerifyAccountKey(e.Sender()), ErrBadSignature)
	}
}
