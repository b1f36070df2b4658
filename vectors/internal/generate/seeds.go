package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"strings"

	"countersign/matrix"
)

// domain is the server of the users in the vectors.
const domain = "evil.example"

// seed is the seed of the key that a name stands for.
func seed(name string) []byte {
	sum := sha256.Sum256([]byte("countersign vectors: " + name))
	return sum[:]
}

// privateKey is the key that a name stands for.
func privateKey(name string) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(seed(name)) }

// account is the account that a name stands for.
func account(name string) matrix.Account { return matrix.AccountFromSeed(seed(name)) }

// id is an event ID or room ID that a name stands for.
func id(sigil, name string) string { return sigil + matrix.EncodeURLBase64(seed("event "+name)) }

// bothAlphabets is an account whose key's text has a character of each kind in which the alphabets of
// base64 differ, so that every spelling of it is another text.
func bothAlphabets() matrix.Account {
	for i := 0; ; i++ {
		a := account(fmt.Sprintf("an account with both alphabets %d", i))
		if text := a.Key().String(); strings.Contains(text, "-") && strings.Contains(text, "_") && strings.ContainsAny(text[:20], "-_") {
			return a
		}
	}
}

// base64Alphabet is the URL-safe alphabet in order.
const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// withTrailingBits adds to the value of the last character of a text, of which only the upper bits
// encode anything.
func withTrailingBits(text string, add int) string {
	last := len(text) - 1
	return text[:last] + string(base64Alphabet[strings.IndexByte(base64Alphabet, text[last])+add])
}

var (
	toStandard = strings.NewReplacer("-", "+", "_", "/")
	toURLSafe  = strings.NewReplacer("+", "-", "/", "_")
)
