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
// for an event").
func ReferenceHash(event []byte) ([sha256.Size]byte, error) {
	m, err := EventSigningBytes(event)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return sha256.Sum256(m), nil
}

// EventSigningBytes is what the signatures of an event cover: the canonical form of the redacted
// event without its signatures (server-server API, "Signing Events").
func EventSigningBytes(event []byte) ([]byte, error) {
	c, err := requireObject(event, CanonicalJSON)
	if err != nil {
		return nil, err
	}
	eventType, _ := stringValue(lookup(c, "type"))
	return signingBytes(c, eventType), nil
}

func signingBytes(c []byte, eventType string) []byte {
	return appendRedacted(make([]byte, 0, len(c)), eventType, c, dropSignatures)
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
