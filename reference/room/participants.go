package room

import (
	"slices"

	"countersign/matrix"
)

// Participant is what a room says of a server, in room versions with participation (MSC4345).
type Participant struct {
	// Key is the text of the server key, which in rooms of MSC4345 stands in the place of the domain of the
	// server's users.
	Key matrix.ServerName
	// Participation is the server's participation in the room's current state; empty when there is none.
	Participation matrix.Participation
	// UnverifiedDomain is the domain that the participation event names; empty when it names none. Clients
	// must not be told of it unless Verified is set.
	UnverifiedDomain matrix.ServerName
	// Verified reports whether the domain is known to own the key: unsigned.server_domain is
	// UnverifiedDomain then, and absent otherwise.
	Verified bool
}

// Versions are the room versions that this server offers, version 12 first.
func (g *Engine) Versions() []matrix.RoomVersion { return slices.Clone(g.RoomVersions) }

// Version finds a room version that this server offers.
func (g *Engine) Version(id string) (v matrix.RoomVersion, ok bool) {
	for _, v := range g.RoomVersions {
		if v.ID == id {
			return v, true
		}
	}
	return v, false
}

// InRoom is the user ID that a local user (account name user ID) has in a room. In rooms with
// participation that depends on the room's version and on this server's key there, which is the one that
// it has or had; ok is false when it never had any. An account key is minted when the user has none.
func (g *Engine) InRoom(roomID string, local matrix.UserID) (user matrix.UserID, ok bool) {
	return "", false
}

// LocalUser is the account name user ID of the local account that rooms of a version know by a user ID:
// in rooms of MSC4345 that of any key which this server has or had, in rooms of MSC4348 that of an account
// key of this server's. ok is false when the user is not this server's.
func (g *Engine) LocalUser(v matrix.RoomVersion, user matrix.UserID) (local matrix.UserID, ok bool) {
	return "", false
}

// Participant is what a room's current state says of a server key, and whether that is verified.
func (g *Engine) Participant(roomID string, key matrix.ServerName) Participant {
	return Participant{Key: key}
}

// ServerOf is the server that an event of a room with participation came into the room through: in rooms
// of MSC4345 the one in the sender's user ID, in rooms of MSC4348 the one that has co-signed the event. For
// a create event of MSC4348 it is the server that began the room (D-53). ok is false when it cannot be
// told. Clients see unsigned.server_domain of it.
func (g *Engine) ServerOf(e *matrix.Event) (p Participant, ok bool) {
	return Participant{}, false
}

// ServerOfUser is the server of a user, as the room names users: in rooms of MSC4345 the one in the user
// ID, in rooms of MSC4348 the one that has co-signed the user's membership in the current state (D-54). ok
// is false when the user has no server there. EDUs about the user are taken from the server's unverified
// domain, and sent there.
func (g *Engine) ServerOfUser(roomID string, user matrix.UserID) (p Participant, ok bool) {
	return Participant{}, false
}

// AccountUserID is a user of a room of MSC4348 as rooms of MSC4243 would name the user: the account key at
// the unverified domain of the server that ServerOfUser finds. That domain is the one to ask who is behind
// the account key (D-51). ok is false when there is no such domain.
func (g *Engine) AccountUserID(roomID string, user matrix.UserID) (matrix.UserID, bool) {
	p, ok := g.ServerOfUser(roomID, user)
	if !ok || p.UnverifiedDomain == "" {
		return "", false
	}
	return user + matrix.UserID(":"+p.UnverifiedDomain), true
}

// SharesRoom reports whether a server of a domain has accepted participation in a room that an account key
// user of this server is joined to; the account key is named as rooms of MSC4348 name users. Only then may
// the domain be told who is behind the key (MSC4348, "Obtaining account and profile information as a
// server").
func (g *Engine) SharesRoom(domain matrix.ServerName, user matrix.UserID) bool { return false }

// participationWait is the property of the error that Join and Knock return while this server's request to
// participate waits for acceptance: 403 M_FORBIDDEN, with the participation "requested" under
// matrix.ParticipationType.
const participationWait = matrix.ParticipationType

// IsWaiting reports whether an error of Join or Knock says that this server has requested to participate
// in the room, and waits to be accepted.
func IsWaiting(err error) bool { return false }
