package matrix

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
)

// KeyID is a signing key identifier: an algorithm and a key's name, such as "ed25519:1".
type KeyID string

// Algorithm is the part before the colon, empty when there is no colon.
func (id KeyID) Algorithm() string {
	algorithm, _, ok := strings.Cut(string(id), ":")
	if !ok {
		return ""
	}
	return algorithm
}

// Signer signs JSON under a name: a server name with its signing key, or an account key's text with
// the account's key.
type Signer struct {
	Entity string
	KeyID  KeyID
	Key    ed25519.PrivateKey
}

// Errors of signature checks. Both mean that the entity has not signed the object.
var (
	ErrNoSignature  = errors.New("no signature by that entity and key")
	ErrBadSignature = errors.New("bad signature")
)

// SignJSON returns the canonical form of a JSON object with a signature by s added (appendices,
// "Signing JSON"). Signatures of others and the unsigned property stay.
func SignJSON(object []byte, s Signer) ([]byte, error) {
	return signJSON(object, s, CanonicalJSON)
}

func signJSON(object []byte, s Signer, canonicalise func([]byte) ([]byte, error)) ([]byte, error) {
	c, err := requireObject(object, canonicalise)
	if err != nil {
		return nil, err
	}
	return putSignature(c, s.Entity, s.KeyID, EncodeBase64(ed25519.Sign(s.Key, unsignedPart(c)))), nil
}

// PutSignature returns the canonical form of object with a signature value set as it is given,
// valid or not. Other signatures stay.
func PutSignature(object []byte, entity string, id KeyID, value string) ([]byte, error) {
	c, err := requireObject(object, CanonicalJSON)
	if err != nil {
		return nil, err
	}
	return putSignature(c, entity, id, value), nil
}

// VerifyJSON checks that entity has signed a JSON object with a key (appendices, "Checking for a
// Signature"). Correctly padded signature values are accepted, as the appendices ask. The error wraps
// ErrNoSignature or ErrBadSignature, or ErrNotCanonical when object cannot be read.
func VerifyJSON(object []byte, entity string, id KeyID, key ed25519.PublicKey) error {
	c, err := requireObject(object, CanonicalJSON)
	if err != nil {
		return err
	}
	return verifyCanonical(c, unsignedPart(c), entity, id, key)
}

// verifyCanonical finds entity's signature in a canonical object and checks it over message.
func verifyCanonical(object, message []byte, entity string, id KeyID, key ed25519.PublicKey) error {
	signature, err := findSignature(object, entity, id)
	if err != nil {
		return err
	}
	if err := VerifyStrict(key, message, signature); err != nil {
		return fmt.Errorf("%w by %q with %q: %w", ErrBadSignature, abbreviate(entity), abbreviate(string(id)), err)
	}
	return nil
}

// findSignature returns the decoded signature that entity has made with a key.
func findSignature(object []byte, entity string, id KeyID) ([]byte, error) {
	for f := range fields(lookup(object, "signatures")) {
		if !keyEquals(f.key, entity) {
			continue
		}
		for s := range fields(f.value) {
			if !keyEquals(s.key, string(id)) {
				continue
			}
			text, ok := stringValue(s.value)
			if !ok {
				return nil, fmt.Errorf("%w by %q: its value is not a string", ErrBadSignature, abbreviate(entity))
			}
			signature, err := DecodeBase64Padded(text)
			if err != nil {
				return nil, fmt.Errorf("%w by %q: %w", ErrBadSignature, abbreviate(entity), err)
			}
			return signature, nil
		}
	}
	return nil, fmt.Errorf("%w: %q, %q", ErrNoSignature, abbreviate(entity), abbreviate(string(id)))
}

// signatureKeyIDs lists the key IDs under which entity has signed a canonical object.
func signatureKeyIDs(object []byte, entity string) (ids []KeyID) {
	for f := range fields(lookup(object, "signatures")) {
		if keyEquals(f.key, entity) {
			for s := range fields(f.value) {
				ids = append(ids, KeyID(unescapeCanonical(s.key)))
			}
		}
	}
	return ids
}

// keyEquals compares the inside of a canonical key, escapes and all, with a name.
func keyEquals(key []byte, want string) bool {
	return string(unescapeCanonical(key)) == want
}

// unsignedPart is the message that signatures of a canonical object cover: the object without its
// signatures and unsigned properties.
func unsignedPart(c []byte) []byte {
	b := newObject(len(c))
	for f := range fields(c) {
		if k := string(f.key); k != "signatures" && k != "unsigned" {
			b.raw(f.text)
		}
	}
	return b.close()
}

// putSignature rebuilds a canonical object with one signature added or replaced.
func putSignature(c []byte, entity string, id KeyID, value string) []byte {
	var signatures []byte
	b := newObject(len(c) + 192)
	placed := false
	place := func() {
		b.key("signatures")
		b.buf = append(b.buf, mergeSignature(signatures, entity, id, value)...)
		placed = true
	}
	signatures = lookup(c, "signatures")
	for f := range fields(c) {
		if !placed && string(f.key) >= "signatures" {
			place()
		}
		if string(f.key) != "signatures" {
			b.raw(f.text)
		}
	}
	if !placed {
		place()
	}
	return b.close()
}

// mergeSignature puts one value into a signatures object; whatever is not an object on the way is
// replaced.
func mergeSignature(signatures []byte, entity string, id KeyID, value string) []byte {
	leaf := appendString(nil, value)
	return mergeMember(signatures, entity, mergeMember(nestedObject(signatures, entity), string(id), leaf))
}

func nestedObject(object []byte, key string) []byte {
	for f := range fields(object) {
		if keyEquals(f.key, key) {
			return f.value
		}
	}
	return nil
}

// mergeMember sets a member of a canonical object and keeps the order of the keys.
func mergeMember(object []byte, key string, value []byte) []byte {
	b := newObject(len(object) + len(key) + len(value) + 8)
	placed := false
	place := func() {
		b.key(key)
		b.buf = append(b.buf, value...)
		placed = true
	}
	for f := range fields(object) {
		k := string(unescapeCanonical(f.key))
		if !placed && k >= key {
			place()
		}
		if k != key {
			b.raw(f.text)
		}
	}
	if !placed {
		place()
	}
	return b.close()
}
