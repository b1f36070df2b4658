package matrix

import (
	"errors"
	"fmt"
	"strings"
)

// ParseServerKeyUserID reads "@{account name}:{server key}", the user IDs of rooms whose version follows
// MSC4345 ("Changes to the user ID format"). The account name is any localpart of the historical
// grammar: D-31, the proposal leaves localparts as they are. The key is read as ParseServerKey reads it.
func ParseServerKeyUserID(text string) (UserID, ServerKey, error) {
	err := checkServerKeyUserID(text)
	if err != nil {
		return "", ServerKey{}, fmt.Errorf("user ID %q: %w", abbreviate(text), err)
	}
	u := UserID(text)
	k, err := u.ServerKey()
	if err != nil {
		return "", ServerKey{}, fmt.Errorf("user ID %q: %w", abbreviate(text), err)
	}
	return u, k, nil
}

// ParsePortableUserID reads "@{account key}", the user IDs of rooms whose version follows MSC4348
// ("Proposal"). Nothing may follow the key. D-50: the alphabet is the URL-safe one, although the
// proposal's example has a "+".
func ParsePortableUserID(text string) (UserID, AccountKey, error) {
	err := checkPortableUserID(text)
	if err != nil {
		return "", AccountKey{}, fmt.Errorf("user ID %q: %w", abbreviate(text), err)
	}
	u := UserID(text)
	k, err := u.AccountKey()
	if err != nil {
		return "", AccountKey{}, fmt.Errorf("user ID %q: %w", abbreviate(text), err)
	}
	return u, k, nil
}

// PortableUserID is the user ID of k without a domain (MSC4348, "Proposal").
func (k AccountKey) PortableUserID() UserID { return UserID("@" + k.String()) }

// ServerKey parses the domain as a server key. See ParseServerKey.
func (u UserID) ServerKey() (ServerKey, error) { return ParseServerKey(string(u.Domain())) }

// ParseUserID checks text against the grammar that the room version has for user IDs, as an event's
// sender is checked. It checks how a key is spelled, but not that it is a key: nobody can act by one
// that is none.
func (v RoomVersion) ParseUserID(text string) (UserID, error) {
	if err := v.checkUserID(text); err != nil {
		return "", fmt.Errorf("user ID %q: %w", abbreviate(text), err)
	}
	return UserID(text), nil
}

func (v RoomVersion) checkUserID(text string) error {
	switch v.Identity {
	case ServerKeyIdentity:
		return checkServerKeyUserID(text)
	case PortableIdentity:
		return checkPortableUserID(text)
	}
	return checkUserID(text)
}

func checkServerKeyUserID(text string) error {
	localpart, domain, err := splitUserID(text)
	if err != nil {
		return err
	}
	if strings.IndexByte(localpart, 0) >= 0 {
		return errors.New("contains NUL")
	}
	if _, err := decodeKeyText(domain); err != nil {
		return fmt.Errorf("the server key %w", err)
	}
	return nil
}

func checkPortableUserID(text string) error {
	if !strings.HasPrefix(text, "@") {
		return errors.New("does not start with @")
	}
	if _, err := decodeKeyText(text[1:]); err != nil {
		return fmt.Errorf("the account key %w", err)
	}
	return nil
}

// splitUserID separates what stands before and behind the first colon.
func splitUserID(text string) (localpart, domain string, err error) {
	if len(text) > MaxIDLength {
		return "", "", fmt.Errorf("longer than %d bytes", MaxIDLength)
	}
	if !strings.HasPrefix(text, "@") {
		return "", "", errors.New("does not start with @")
	}
	localpart, domain, ok := strings.Cut(text[1:], ":")
	if !ok {
		return "", "", errors.New("has no domain")
	}
	return localpart, domain, nil
}
