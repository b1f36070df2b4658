package matrix

import (
	"crypto/ed25519"
	"fmt"
	"strconv"
	"time"
)

// ServerKeys is a homeserver's published signing keys, GET /_matrix/key/v2/server (server-server API,
// "Publishing Keys").
type ServerKeys struct {
	// ServerName is the server that the keys belong to.
	ServerName ServerName
	// VerifyKeys sign requests and events now.
	VerifyKeys map[KeyID]ed25519.PublicKey
	// OldVerifyKeys have signed events in the past.
	OldVerifyKeys map[KeyID]OldVerifyKey
	// ValidUntil is when VerifyKeys should be fetched again.
	ValidUntil time.Time
}

// OldVerifyKey is a key that its server no longer uses.
type OldVerifyKey struct {
	Key     ed25519.PublicKey
	Expired time.Time
}

// Sign returns the document in canonical JSON, signed with every signer.
func (k ServerKeys) Sign(signers ...Signer) ([]byte, error) {
	doc := newObject(512)
	doc.key("old_verify_keys")
	old := []byte("{}")
	for id, o := range k.OldVerifyKeys {
		entry := newObject(96)
		entry.key("expired_ts")
		entry.buf = fmt.Appendf(entry.buf, "%d", o.Expired.UnixMilli())
		entry.key("key")
		entry.buf = appendString(entry.buf, EncodeBase64(o.Key))
		old = mergeMember(old, string(id), entry.close())
	}
	doc.buf = append(doc.buf, old...)
	doc.key("server_name")
	doc.buf = appendString(doc.buf, string(k.ServerName))
	doc.key("valid_until_ts")
	doc.buf = fmt.Appendf(doc.buf, "%d", k.ValidUntil.UnixMilli())
	doc.key("verify_keys")
	current := []byte("{}")
	for id, key := range k.VerifyKeys {
		entry := newObject(64)
		entry.key("key")
		entry.buf = appendString(entry.buf, EncodeBase64(key))
		current = mergeMember(current, string(id), entry.close())
	}
	doc.buf = append(doc.buf, current...)
	out := doc.close()
	for _, s := range signers {
		signed, err := SignJSON(out, s)
		if err != nil {
			return nil, err
		}
		out = signed
	}
	return out, nil
}

// ParseServerKeys reads a key document and checks that the server has signed it with each of its
// verify keys. The error says what is missing or which signature fails.
func ParseServerKeys(doc []byte) (ServerKeys, error) {
	c, err := requireObject(doc, CanonicalJSON)
	if err != nil {
		return ServerKeys{}, fmt.Errorf("server keys: %w", err)
	}
	name, _ := stringValue(lookup(c, "server_name"))
	if err := checkServerName(name); err != nil {
		return ServerKeys{}, fmt.Errorf("server keys: server_name: %w", err)
	}
	validUntil, err := readTime(c, "valid_until_ts")
	if err != nil {
		return ServerKeys{}, fmt.Errorf("server keys of %s: %w", name, err)
	}
	k := ServerKeys{
		ServerName:    ServerName(name),
		VerifyKeys:    map[KeyID]ed25519.PublicKey{},
		OldVerifyKeys: map[KeyID]OldVerifyKey{},
		ValidUntil:    validUntil,
	}
	for f := range fields(lookup(c, "verify_keys")) {
		id := KeyID(unescapeCanonical(f.key))
		if id.Algorithm() != "ed25519" {
			continue
		}
		key, err := readVerifyKey(f.value)
		if err != nil {
			return ServerKeys{}, fmt.Errorf("server keys of %s: verify key %q: %w", k.ServerName, id, err)
		}
		if err := verifyCanonical(c, unsignedPart(c), string(k.ServerName), id, key); err != nil {
			return ServerKeys{}, fmt.Errorf("server keys of %s: %w", k.ServerName, err)
		}
		k.VerifyKeys[id] = key
	}
	if len(k.VerifyKeys) == 0 {
		return ServerKeys{}, fmt.Errorf("server keys of %s: no ed25519 verify key", k.ServerName)
	}
	for f := range fields(lookup(c, "old_verify_keys")) {
		id := KeyID(unescapeCanonical(f.key))
		if id.Algorithm() != "ed25519" {
			continue
		}
		key, err := readVerifyKey(f.value)
		if err != nil {
			return ServerKeys{}, fmt.Errorf("server keys of %s: old verify key %q: %w", k.ServerName, id, err)
		}
		expired, err := readTime(f.value, "expired_ts")
		if err != nil {
			return ServerKeys{}, fmt.Errorf("server keys of %s: old verify key %q: %w", k.ServerName, id, err)
		}
		k.OldVerifyKeys[id] = OldVerifyKey{Key: key, Expired: expired}
	}
	return k, nil
}

// readTime reads a time in milliseconds since the Unix epoch.
func readTime(object []byte, name string) (time.Time, error) {
	ms, err := strconv.ParseInt(string(lookup(object, name)), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s is not an integer", name)
	}
	return time.UnixMilli(ms), nil
}

func readVerifyKey(entry []byte) (ed25519.PublicKey, error) {
	text, ok := stringValue(lookup(entry, "key"))
	if !ok {
		return nil, fmt.Errorf("its key is not a string")
	}
	b, err := DecodeBase64Padded(text)
	if err != nil {
		return nil, err
	}
	if len(b) != ed25519.PublicKeySize {
		return nil, ErrKeyLength
	}
	return b, nil
}
