package fakeserver

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"

	"countersign/matrix"
)

// keychain is what a server has to do with server keys (MSC4345): those that it holds, the one that it
// uses in each room, and what it says about them when it is asked.
type keychain struct {
	mu       sync.Mutex
	held     map[matrix.ServerName]matrix.ServerKeyPair // by text
	rooms    map[string]matrix.ServerKeyPair            // by room ID
	versions map[string]matrix.RoomVersion              // of rooms that this server is, or asks to be, in
	answer   KeyAnswer
	answers  map[matrix.ServerName]KeyAnswer // by text, before answer
	stranger func() matrix.ServerKeyPair     // a key that no server holds, for answers that give another
}

func (k *keychain) init() {
	k.held, k.rooms = map[matrix.ServerName]matrix.ServerKeyPair{}, map[string]matrix.ServerKeyPair{}
	k.versions, k.answers = map[string]matrix.RoomVersion{}, map[matrix.ServerName]KeyAnswer{}
	k.stranger = sync.OnceValue(NewServerKey)
}

// NewServerKey mints a server key whose text contains both characters in which the URL-safe alphabet of
// base64 differs from the standard one; see [WithAnyKey]. No server holds it yet.
func NewServerKey() matrix.ServerKeyPair {
	seed := make([]byte, ed25519.SeedSize)
	for {
		rand.Read(seed) // never fails
		pair := matrix.ServerKeyPairFromSeed(seed)
		if text := pair.Key().String(); strings.Contains(text, "-") && strings.Contains(text, "_") {
			return pair
		}
	}
}

// isKey reports whether a pair is one; the zero value stands for none.
func isKey(pair matrix.ServerKeyPair) bool { return pair.Key() != matrix.ServerKey{} }

// MintServerKey mints a server key that this server holds.
func (s *Server) MintServerKey() matrix.ServerKeyPair {
	pair := NewServerKey()
	s.HoldServerKey(pair)
	return pair
}

// HoldServerKey makes the server hold a key: it answers /_matrix/key/v3/query for it, and knows the users
// whose IDs name it. The key may be stolen, or held by another fake server as well.
func (s *Server) HoldServerKey(pair matrix.ServerKeyPair) {
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	s.chain.held[pair.Key().Name()] = pair
}

// DropServerKey makes the server hold a key no more. A room that uses it goes on to.
func (s *Server) DropServerKey(key matrix.ServerName) {
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	delete(s.chain.held, key)
}

// ServerKeys are the keys that the server holds, in order of their texts.
func (s *Server) ServerKeys() []matrix.ServerKeyPair {
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	var pairs []matrix.ServerKeyPair
	for _, name := range sortedKeys(s.chain.held) {
		pairs = append(pairs, s.chain.held[name])
	}
	return pairs
}

// heldKey is the key of a text, if the server holds it.
func (s *Server) heldKey(name matrix.ServerName) (matrix.ServerKeyPair, bool) {
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	pair, ok := s.chain.held[name]
	return pair, ok
}

// RoomKey is the key by which this server is known in a room. It is minted when it is asked for the first
// time, whether the server is in the room or not.
func (s *Server) RoomKey(roomID string) matrix.ServerKeyPair {
	s.chain.mu.Lock()
	pair, ok := s.chain.rooms[roomID]
	s.chain.mu.Unlock()
	if ok {
		return pair
	}
	s.UseRoomKey(roomID, NewServerKey())
	return s.RoomKey(roomID)
}

// UseRoomKey has the server use a key in a room from now on, and hold it: one that it has minted after a
// revocation, or one that it has stolen. [Draft.Through] and [WithServerKey] name another key for one
// event, or for one handshake.
func (s *Server) UseRoomKey(roomID string, pair matrix.ServerKeyPair) {
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	s.chain.rooms[roomID] = pair
	s.chain.held[pair.Key().Name()] = pair
}

// learnVersion remembers the version of a room that the server is not in, perhaps.
func (s *Server) learnVersion(roomID string, v matrix.RoomVersion) {
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	s.chain.versions[roomID] = v
}

// Key is the key by which the room's server is known in it; see [Server.RoomKey].
func (r *Room) Key() matrix.ServerKeyPair { return r.server.RoomKey(r.id) }

// UseKey is [Server.UseRoomKey].
func (r *Room) UseKey(pair matrix.ServerKeyPair) { r.server.UseRoomKey(r.id, pair) }

// keyOf is the server key through which a user's event is sent: the one that the draft names, or the one
// that the user's server uses in the room. In rooms without participation it is the zero value.
func (r *Room) keyOf(u *User, d Draft) matrix.ServerKeyPair {
	switch {
	case !r.version.HasParticipation():
		return matrix.ServerKeyPair{}
	case isKey(d.ServerKey):
		return d.ServerKey
	}
	return u.server.RoomKey(r.id)
}

// UserID is the user ID under which a user acts in the room: "@{account name}:{domain}" in version 12,
// "@{account key}:{domain}" in rooms of MSC4243, "@{account name}:{server key}" in rooms of MSC4345, and
// "@{account key}" in rooms of MSC4348. The server key is the one that the user's server uses in the room.
func (r *Room) UserID(u *User) matrix.UserID { return u.IDThrough(r.version, r.keyOf(u, Draft{})) }

// IDThrough is the user ID under which the user acts in rooms of a version through a server key. The key
// is part of it in rooms of MSC4345 alone.
func (u *User) IDThrough(v matrix.RoomVersion, key matrix.ServerKeyPair) matrix.UserID {
	if v.Identity == matrix.ServerKeyIdentity {
		return key.Key().UserID(u.name)
	}
	return u.ID(v)
}

// keyIn is the server key of a user who co-signs an event of an author: the one through which the event is
// sent, when both are users of one server.
func (u *User) keyIn(roomID string, author *User, through matrix.ServerKeyPair) matrix.ServerKeyPair {
	if u.server == author.server {
		return through
	}
	return u.server.RoomKey(roomID)
}

// signers are who signs an ordinary event of the user, through a server key where the version has them.
func (u *User) signers(v matrix.RoomVersion, key matrix.ServerKeyPair) []matrix.Signer {
	switch v.Identity {
	case matrix.ServerKeyIdentity:
		return []matrix.Signer{key.Signer()}
	case matrix.PortableIdentity:
		return []matrix.Signer{u.account.Signer(), key.Signer()}
	}
	return []matrix.Signer{u.Signer(v)}
}

// Carry gives a user of another fake server an account here, with the same account name and account key:
// the account moves, or moves back, or is used by both. It is the same account in rooms of MSC4348,
// where joining again through this server is all that it takes (MSC4348, "Migration"). A user who has
// that account here already is returned. The error says that another user has the name.
func (s *Server) Carry(u *User) (*User, error) {
	s.mu.Lock()
	here := s.byKey[u.account.Key()]
	s.mu.Unlock()
	if here != nil {
		return here, nil
	}
	carried, err := s.NewUser(u.name, WithAccount(u.account))
	if err != nil {
		return nil, fmt.Errorf("carrying %s from %s: %w", u.name, u.server.name, err)
	}
	return carried, nil
}

// Relay is an account that this server only relays for: it sends the account's events, co-signed by its
// server key, but does not know the account, so that /query/accounts answers M_UNKNOWN for it. It is what a
// serverless account is in rooms of MSC4348. In rooms of MSC4345 the name is that of a user who exists
// nowhere else: requests and revocations may come from any ("Situations where m.server.participation is
// sent on behalf of the server").
func (s *Server) Relay(name string, account matrix.Account) *User {
	return &User{server: s, name: name, account: account}
}

// userThrough finds the account of a user ID of a room with participation, or nil: a name at a key that the
// server holds, or an account key and nothing else.
func (s *Server) userThrough(id matrix.UserID) *User {
	if !strings.Contains(string(id), ":") {
		key, err := id.AccountKey()
		if err != nil {
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.byKey[key]
	}
	if _, ok := s.heldKey(id.Domain()); !ok {
		return nil
	}
	return s.User(id.Localpart())
}
