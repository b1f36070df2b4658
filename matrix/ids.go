package matrix

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxIDLength is the longest user ID, room ID, event type or state key in bytes (PDU format).
const MaxIDLength = 255

// ServerName identifies a homeserver: a host name or IP address, and optionally a port.
type ServerName string

// ParseServerName checks text against the server-name grammar of the appendices.
func ParseServerName(text string) (ServerName, error) {
	if err := checkServerName(text); err != nil {
		return "", fmt.Errorf("server name %q: %w", abbreviate(text), err)
	}
	return ServerName(text), nil
}

// HostPort splits the name into host and port; port is 0 when the name has none. An IPv6 host keeps
// no brackets.
func (n ServerName) HostPort() (host string, port int) {
	text := string(n)
	host = text
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.HasSuffix(text, "]") {
		host = text[:i]
		port, _ = strconv.Atoi(text[i+1:])
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), port
}

func checkServerName(text string) error {
	host := text
	if strings.HasPrefix(text, "[") {
		end := strings.IndexByte(text, ']')
		if end < 0 {
			return errors.New("unclosed IPv6 address")
		}
		host = text[:end+1]
	} else if i := strings.IndexByte(text, ':'); i >= 0 {
		host = text[:i]
	}
	if port := text[len(host):]; port != "" {
		if len(port) < 2 || len(port) > 6 || port[0] != ':' || strings.Trim(port[1:], "0123456789") != "" {
			return errors.New("malformed port")
		}
	}
	switch {
	case host == "":
		return errors.New("no host name")
	case len(host) > 255:
		return errors.New("host name longer than 255 bytes")
	case host[0] == '[':
		if inner := host[1 : len(host)-1]; len(inner) < 2 || len(inner) > 45 || strings.Trim(inner, "0123456789abcdefABCDEF:.") != "" {
			return errors.New("malformed IPv6 address")
		}
	default:
		for i := 0; i < len(host); i++ {
			if b := host[i]; b != '-' && b != '.' && !isAlphanumeric(b) {
				return fmt.Errorf("character %q is not allowed", b)
			}
		}
	}
	return nil
}

func isAlphanumeric(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// UserID is a Matrix user ID with its sigil. In rooms with account keys the same type holds both the
// account key user ID of the room and the account name user ID of the client-server API.
type UserID string

// ParseUserID checks text as an event's sender is checked: sigil, a localpart of any characters of
// the historical grammar, a valid server name, at most 255 bytes. It does not ask for lower case:
// account keys are written in both cases.
func ParseUserID(text string) (UserID, error) {
	if err := checkUserID(text); err != nil {
		return "", fmt.Errorf("user ID %q: %w", abbreviate(text), err)
	}
	return UserID(text), nil
}

func checkUserID(text string) error {
	if len(text) > MaxIDLength {
		return fmt.Errorf("longer than %d bytes", MaxIDLength)
	}
	if !strings.HasPrefix(text, "@") {
		return errors.New("does not start with @")
	}
	i := strings.IndexByte(text, ':')
	if i < 0 {
		return errors.New("has no domain")
	}
	if strings.IndexByte(text[:i], 0) >= 0 {
		return errors.New("contains NUL")
	}
	return checkServerName(text[i+1:])
}

// Localpart is the text between the sigil and the first colon.
func (u UserID) Localpart() string {
	text := strings.TrimPrefix(string(u), "@")
	if i := strings.IndexByte(text, ':'); i >= 0 {
		return text[:i]
	}
	return text
}

// Domain is the server name after the first colon, empty when there is none.
func (u UserID) Domain() ServerName {
	if i := strings.IndexByte(string(u), ':'); i >= 0 {
		return ServerName(u[i+1:])
	}
	return ""
}

// AccountKey parses the localpart as an account key. See ParseAccountKey.
func (u UserID) AccountKey() (AccountKey, error) { return ParseAccountKey(u.Localpart()) }

// ParseAccountKeyUserID reads "@{account key}:{domain}", the user IDs of rooms with account keys.
func ParseAccountKeyUserID(text string) (UserID, AccountKey, error) {
	u, err := ParseUserID(text)
	if err != nil {
		return "", AccountKey{}, err
	}
	k, err := u.AccountKey()
	if err != nil {
		return "", AccountKey{}, err
	}
	return u, k, nil
}

// ParseAccountName checks the account name (human-readable localpart) of a user ID: one or more of
// a-z, 0-9, and "._=-/+", short enough that the user ID fits in 255 bytes (appendices, "User
// Identifiers").
func ParseAccountName(name string, domain ServerName) (UserID, error) {
	if name == "" {
		return "", errors.New("account name is empty")
	}
	for i := 0; i < len(name); i++ {
		b := name[i]
		if !('a' <= b && b <= 'z' || '0' <= b && b <= '9' || strings.IndexByte("._=-/+", b) >= 0) {
			return "", fmt.Errorf("account name %q: character %q is not allowed", abbreviate(name), b)
		}
	}
	return ParseUserID("@" + name + ":" + string(domain))
}
