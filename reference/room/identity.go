package room

import (
	"slices"

	"countersign/matrix"
	"countersign/reference/account"
	"countersign/reference/store"
)

// actor is a local user who sends an event: how the room knows the user and the user's server, and what
// signs for them.
type actor struct {
	user    matrix.UserID
	server  matrix.ServerName
	signers []matrix.Signer
}

// personal is what signs for the user alone: the account key where the room has them, and what the room
// names the user's server by where it has not.
func (a actor) personal() matrix.Signer { return a.signers[len(a.signers)-1] }

// actor finds out how a room of a version knows a local user. In rooms without account keys and without
// participation nothing but the domain's key signs; in those of MSC4243 nothing but the account key; in
// those of MSC4345 nothing but this server's key in the room; in those of MSC4348 the account key and this
// server's key. Keys are minted when there are none.
func (g *Engine) actor(v matrix.RoomVersion, roomID string, local matrix.UserID) (actor, error) {
	switch v.Identity {
	case matrix.ServerIdentity:
		return actor{user: local, server: g.ServerName, signers: []matrix.Signer{g.ServerKey}}, nil
	case matrix.AccountKeyIdentity:
		account, err := g.Directory.AccountIn(g.foreign(roomID), local.Localpart())
		if err != nil {
			return actor{}, err
		}
		return actor{user: account.Key().UserID(g.ServerName), server: g.ServerName, signers: g.mistakenSigners(local, account.Signer())}, nil
	}
	before, had := g.ServerKeys.Latest(roomID)
	own, err := g.ServerKeys.Mint(roomID, v)
	if err == nil && had && before.Key() != own.Key() && v.HasPortableAccounts() {
		err = g.Directory.Rehomed(local.Localpart())
	}
	if err != nil {
		return actor{}, err
	}
	return g.actorThrough(v, own.ServerKeyPair, local)
}

// actorThrough is actor for a room with participation and a given key of this server's.
func (g *Engine) actorThrough(v matrix.RoomVersion, server matrix.ServerKeyPair, local matrix.UserID) (actor, error) {
	a := actor{server: server.Key().Name(), signers: []matrix.Signer{server.Signer()}}
	if !v.HasPortableAccounts() {
		a.user = server.Key().UserID(local.Localpart())
		return a, nil
	}
	account, err := g.Directory.Account(local.Localpart())
	if err != nil {
		return actor{}, err
	}
	a.user = account.Key().PortableUserID()
	a.signers = append(a.signers, account.Signer())
	return a, nil
}

// ownName is this server as a room names servers: its domain, or its latest key there, which may be
// revoked. It is empty when this server never had a key.
func (g *Engine) ownName(r *liveRoom) matrix.ServerName {
	if !r.version.HasParticipation() {
		return g.ServerName
	}
	own, ok := g.ServerKeys.Latest(r.id)
	if !ok {
		return ""
	}
	return own.Key().Name()
}

// retireRevoked gives up this server's key in a room once the room has revoked it. r.mutex is held.
func (g *Engine) retireRevoked(r *liveRoom) {
	own := g.ownName(r)
	if r.roster.participation(own) != matrix.Revoked || g.Defects.Has("UseRevokedKeysAgain") {
		return
	}
	if err := g.ServerKeys.Retire(own); err != nil {
		g.Logger.Error("noting that a server key was revoked", "room", r.id, "error", err)
	}
}

// InRoom is the user ID that a local user (account name user ID) has in a room. In rooms with
// participation that depends on the room's version and on this server's key there, which is the one that
// it has or had last; ok is false when it never had any. An account key is minted when the user has none.
func (g *Engine) InRoom(roomID string, local matrix.UserID) (user matrix.UserID, ok bool) {
	v, ok := g.versionOf(roomID)
	if !ok {
		return "", false
	}
	if !v.HasParticipation() {
		a, err := g.actor(v, roomID, local)
		return a.user, err == nil
	}
	own, ok := g.ServerKeys.Latest(roomID)
	if !ok {
		return "", false
	}
	a, err := g.actorThrough(v, own.ServerKeyPair, local)
	return a.user, err == nil
}

// versionOf is the version of a room that this server is or was in, or has a key for.
func (g *Engine) versionOf(roomID string) (v matrix.RoomVersion, ok bool) {
	if r, err := g.live(roomID); err == nil && r != nil {
		return r.version, true
	}
	if own, ok := g.ServerKeys.Latest(roomID); ok {
		return g.storedVersion(own.Version)
	}
	return v, false
}

// storedVersion finds the room version of something that is stored, which this server may no longer offer.
func (g *Engine) storedVersion(id string) (v matrix.RoomVersion, ok bool) {
	for _, v := range slices.Concat(g.RoomVersions, matrix.RoomVersions(), matrix.ParticipationRoomVersions()) {
		if v.ID == id {
			return v, true
		}
	}
	return v, false
}

// LocalUser is the account name user ID of the local account that rooms of a version know by a user ID:
// in rooms of MSC4345 that of any key which this server has or had, in rooms of MSC4348 that of an account
// key of this server's. ok is false when the user is not this server's.
func (g *Engine) LocalUser(v matrix.RoomVersion, user matrix.UserID) (local matrix.UserID, ok bool) {
	name := user.Localpart()
	switch v.Identity {
	case matrix.ServerIdentity:
		ok = user.Domain() == g.ServerName && g.Users.Exists(name)
	case matrix.AccountKeyIdentity:
		if user.Domain() != "" {
			_, name, ok = g.Directory.LocalAccount(user)
		}
	case matrix.ServerKeyIdentity:
		_, ok = g.ServerKeys.Find(user.Domain())
	case matrix.PortableIdentity:
		if user.Domain() == "" {
			_, name, ok = g.Directory.LocalAccount(account.At(user, g.ServerName))
		}
	}
	if !ok {
		return "", false
	}
	return matrix.UserID("@" + name + ":" + string(g.ServerName)), true
}

// localName is the account name user ID of a local user as a room of a version names the user, or as
// clients do; empty when there is no such user.
func (g *Engine) localName(v matrix.RoomVersion, user matrix.UserID) matrix.UserID {
	if local, ok := g.LocalUser(v, user); ok {
		return local
	}
	if user.Domain() == g.ServerName && g.Users.Exists(user.Localpart()) {
		return user
	}
	return ""
}

// tableLocalMembers finds the user IDs that local users have had in rooms of MSC4345, which differ from
// room to room.
const tableLocalMembers = "local_members" // account name user ID, room ID, user ID -> nothing

// indexLocal notes that a room knows, or knew, a local user by a user ID.
func (g *Engine) indexLocal(tx *store.Tx, v matrix.RoomVersion, roomID string, user matrix.UserID) error {
	if v.Identity != matrix.ServerKeyIdentity {
		return nil
	}
	local, ok := g.LocalUser(v, user)
	if !ok {
		return nil
	}
	return tx.Table(tableLocalMembers).Put(store.Key(string(local), roomID, string(user)), []byte{})
}

// namesOf are the user IDs by which rooms may know a user who is given as in Memberships. roomID may be
// empty, which stands for all rooms.
func (g *Engine) namesOf(tx *store.Tx, user matrix.UserID, keys []matrix.UserID, roomID string) []matrix.UserID {
	names := append([]matrix.UserID{user}, keys...)
	for _, key := range keys {
		if key.Domain() == g.ServerName {
			names = append(names, account.Portable(key))
		}
	}
	prefix := store.Key(string(user))
	if roomID != "" {
		prefix = store.Key(string(user), roomID)
	}
	tx.Table(tableLocalMembers).Scan(prefix, nil, func(key, _ []byte) bool {
		if parts, _ := store.SplitKey(key, 3); len(parts) == 3 && !slices.Contains(names, matrix.UserID(parts[2])) {
			names = append(names, matrix.UserID(parts[2]))
		}
		return true
	})
	return names
}
