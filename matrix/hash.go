package matrix

import "crypto/sha256"

// ContentHash is the SHA-256 of an event without its unsigned, signatures and hashes properties, the
// value of hashes.sha256 before base64 (server-server API, "Calculating the content hash for an
// event").
func ContentHash(event []byte) ([sha256.Size]byte, error) {
	c, err := requireObject(event, CanonicalJSON)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return contentHash(c), nil
}

func contentHash(c []byte) [sha256.Size]byte {
	b := newObject(len(c))
	for f := range fields(c) {
		if k := string(f.key); k != "unsigned" && k != "signatures" && k != "hashes" {
			b.raw(f.text)
		}
	}
	return sha256.Sum256(b.close())
}

// ReferenceHash is the SHA-256 of the redacted event without its signatures; with a sigil it is the
// event ID, and for a create event the room ID (server-server API, "Calculating the reference hash
// for an event"). It is that of room versions without participation; RoomVersion.ReferenceHash is that
// of any.
func ReferenceHash(event []byte) ([sha256.Size]byte, error) {
	return RoomVersion12().ReferenceHash(event)
}

// ReferenceHash is the function of that name for events of a room version: what redaction leaves
// depends on it.
func (v RoomVersion) ReferenceHash(event []byte) ([sha256.Size]byte, error) {
	m, err := v.EventSigningBytes(event)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return sha256.Sum256(m), nil
}

// EventSigningBytes is what the signatures of an event cover: the canonical form of the redacted
// event without its signatures (server-server API, "Signing Events"). It is that of room versions
// without participation; RoomVersion.EventSigningBytes is that of any.
func EventSigningBytes(event []byte) ([]byte, error) {
	return RoomVersion12().EventSigningBytes(event)
}

// EventSigningBytes is the function of that name for events of a room version.
func (v RoomVersion) EventSigningBytes(event []byte) ([]byte, error) {
	c, err := requireObject(event, CanonicalJSON)
	if err != nil {
		return nil, err
	}
	eventType, _ := stringValue(lookup(c, "type"))
	return signingBytes(v.Identity, c, eventType), nil
}

func signingBytes(identity Identity, c []byte, eventType string) []byte {
	return appendRedacted(make([]byte, 0, len(c)), identity, eventType, c, dropSignatures)
}

// PutContentHash returns the canonical form of an event with hashes.sha256 set to its content hash.
func PutContentHash(event []byte) ([]byte, error) {
	c, err := requireObject(event, CanonicalJSON)
	if err != nil {
		return nil, err
	}
	sum := contentHash(c)
	hashes := mergeMember(nil, "sha256", appendString(nil, EncodeBase64(sum[:])))
	return mergeMember(c, "hashes", hashes), nil
}
