package matrix

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/tidwall/gjson"
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
	k := ServerKeys{
		ServerName:    ServerName(gjson.GetBytes(c, "server_name").String()),
		VerifyKeys:    map[KeyID]ed25519.PublicKey{},
		OldVerifyKeys: map[KeyID]OldVerifyKey{},
		ValidUntil:    time.UnixMilli(gjson.GetBytes(c, "valid_until_ts").Int()),
	}
	if err := checkServerName(string(k.ServerName)); err != nil {
		return ServerKeys{}, fmt.Errorf("server keys: server_name: %w", err)
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
		expired := gjson.GetBytes(f.value, "expired_ts").Int()
		k.OldVerifyKeys[id] = OldVerifyKey{Key: key, Expired: time.UnixMilli(expired)}
	}
	return k, nil
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
