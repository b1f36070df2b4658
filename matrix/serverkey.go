package matrix

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
)

// ServerKeyID is the signing key identifier of every server-key signature. D-31: MSC4345 names
// neither the entity nor the key ID; they are taken to be as MSC4243 has them for account keys.
const ServerKeyID KeyID = "ed25519:1"

// ServerKey is the Ed25519 public key that is a server's identity in rooms whose version follows
// MSC4345 ("Proposal"). D-31: its text, which takes the place of the server name in user IDs and is the
// state key of the server's participation and the entity of its signatures, is 43 characters of
// unpadded URL-safe base64.
type ServerKey [ed25519.PublicKeySize]byte

// ParseServerKey reads a server key's text, as strictly as ParseAccountKey reads an account key's.
func ParseServerKey(text string) (ServerKey, error) {
	k, err := parseKeyText(text)
	if err != nil {
		return ServerKey{}, fmt.Errorf("server key %q: %w", abbreviate(text), err)
	}
	return k, nil
}

// String is the key's text.
func (k ServerKey) String() string { return EncodeURLBase64(k[:]) }

// Name is the key's text in the place of a server name, as UserID.Domain returns it.
func (k ServerKey) Name() ServerName { return ServerName(k.String()) }

// PublicKey is the key as crypto/ed25519 takes it.
func (k ServerKey) PublicKey() ed25519.PublicKey { return k[:] }

// UserID is the user ID of an account name at the server: "@{account name}:{server key}" (MSC4345,
// "Changes to the user ID format").
func (k ServerKey) UserID(accountName string) UserID {
	return UserID("@" + accountName + ":" + k.String())
}

// ServerKeyPair is a server key with its private half.
type ServerKeyPair struct {
	key     ServerKey
	private ed25519.PrivateKey
}

// NewServerKeyPair mints a server key.
func NewServerKeyPair() (ServerKeyPair, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return ServerKeyPair{}, fmt.Errorf("minting a server key: %w", err)
	}
	return serverKeyPair(private), nil
}

// ServerKeyPairFromSeed derives a server key from a 32-byte seed; it panics when seed has another
// length.
func ServerKeyPairFromSeed(seed []byte) ServerKeyPair {
	return serverKeyPair(ed25519.NewKeyFromSeed(seed))
}

func serverKeyPair(private ed25519.PrivateKey) ServerKeyPair {
	return ServerKeyPair{key: ServerKey(private.Public().(ed25519.PublicKey)), private: private}
}

// Key is the public server key.
func (p ServerKeyPair) Key() ServerKey { return p.key }

// Seed is the private key's 32-byte seed, which ServerKeyPairFromSeed turns back into p.
func (p ServerKeyPair) Seed() []byte { return p.private.Seed() }

// Signer signs as the server: entity is the key's text, key ID is ServerKeyID.
func (p ServerKeyPair) Signer() Signer {
	return Signer{Entity: p.key.String(), KeyID: ServerKeyID, Key: p.private}
}

// VerifyServerKey checks that a server key has signed the event: entity is the key's text, key ID is
// ServerKeyID (MSC4345, "Changes to the user ID format"). It needs no key server. The error wraps
// ErrNoSignature or ErrBadSignature.
func (e *Event) VerifyServerKey(server ServerName) error {
	entity := string(server)
	key, err := decodeKeyText(entity)
	if err != nil {
		return fmt.Errorf("%w: %q is not a server key: %w", ErrBadSignature, abbreviate(entity), err)
	}
	return e.VerifySignature(entity, ServerKeyID, key[:])
}
