package matrix

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
)

// AccountKeyLength is the length of an account key's text.
const AccountKeyLength = 43

// AccountKeyID is the signing key identifier of every account-key signature (MSC4243, "Proposal").
const AccountKeyID KeyID = "ed25519:1"

// AccountKey is the Ed25519 public key that identifies a user's account in rooms whose version
// follows MSC4243. Its text, the localpart of the user's ID and the entity of the user's signatures,
// is 43 characters of unpadded URL-safe base64.
type AccountKey [ed25519.PublicKeySize]byte

// ParseAccountKey reads an account key's text. It is strict: 43 characters of the URL-safe alphabet
// that re-encode to themselves and that encode a canonical curve point of more than small order.
// MSC4243 says none of this outright; without it one key has several spellings, and servers disagree
// on which signatures are valid.
func ParseAccountKey(text string) (AccountKey, error) {
	k, err := parseKeyText(text)
	if err != nil {
		return AccountKey{}, fmt.Errorf("account key %q: %w", abbreviate(text), err)
	}
	return k, nil
}

// parseKeyText reads the text of an account key or of a server key.
func parseKeyText(text string) ([ed25519.PublicKeySize]byte, error) {
	k, err := decodeKeyText(text)
	if err == nil {
		err = CheckPublicKey(k[:])
	}
	return k, err
}

// decodeAccountKey checks the text but not the point.
func decodeAccountKey(text string) (AccountKey, error) {
	k, err := decodeKeyText(text)
	return k, err
}

func decodeKeyText(text string) (k [ed25519.PublicKeySize]byte, err error) {
	if len(text) != AccountKeyLength {
		return k, fmt.Errorf("has %d characters, not %d", len(text), AccountKeyLength)
	}
	b, err := DecodeURLBase64(text)
	if err != nil {
		return k, err
	}
	copy(k[:], b)
	return k, nil
}

// String is the key's text.
func (k AccountKey) String() string { return EncodeURLBase64(k[:]) }

// PublicKey is the key as crypto/ed25519 takes it.
func (k AccountKey) PublicKey() ed25519.PublicKey { return k[:] }

// UserID is the account key user ID of k at a server.
func (k AccountKey) UserID(domain ServerName) UserID {
	return UserID("@" + k.String() + ":" + string(domain))
}

// Account is an account key with its private half.
type Account struct {
	key     AccountKey
	private ed25519.PrivateKey
}

// NewAccount mints an account key.
func NewAccount() (Account, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Account{}, fmt.Errorf("minting an account key: %w", err)
	}
	return AccountFromPrivateKey(private), nil
}

// AccountFromSeed derives an account from a 32-byte seed; it panics when seed has another length.
func AccountFromSeed(seed []byte) Account {
	return AccountFromPrivateKey(ed25519.NewKeyFromSeed(seed))
}

// AccountFromPrivateKey wraps an existing private key.
func AccountFromPrivateKey(private ed25519.PrivateKey) Account {
	return Account{key: AccountKey(private.Public().(ed25519.PublicKey)), private: private}
}

// Key is the public account key.
func (a Account) Key() AccountKey { return a.key }

// Seed is the private key's 32-byte seed, which AccountFromSeed turns back into a.
func (a Account) Seed() []byte { return a.private.Seed() }

// Signer signs as the account: entity is the key's text, key ID is AccountKeyID.
func (a Account) Signer() Signer {
	return Signer{Entity: a.key.String(), KeyID: AccountKeyID, Key: a.private}
}

// abbreviate keeps an attacker's text short in an error message.
func abbreviate(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
