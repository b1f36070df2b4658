package room

import (
	"slices"

	"countersign/matrix"
	"countersign/reference/account"
)

// ClientName is the account name user ID of a user, as a room names users; ok is false when it is not
// known. In rooms with participation it is the account name at the verified domain of the user's server.
func (g *Engine) ClientName(roomID string, user matrix.UserID) (name matrix.UserID, ok bool) {
	r, err := g.live(roomID)
	if err != nil || r == nil {
		return "", false
	}
	return g.clientName(r, user)
}

func (g *Engine) clientName(r *liveRoom, user matrix.UserID) (name matrix.UserID, ok bool) {
	if local, ok := g.LocalUser(r.version, user); ok {
		return local, true
	}
	if !r.version.HasParticipation() {
		return g.Directory.ClientUser(r.version, user)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	key, ok := g.serverOfUser(r, user)
	if !ok {
		return "", false
	}
	p := g.participant(r, key)
	if !p.Verified {
		return "", false
	}
	if r.version.HasPortableAccounts() {
		e := g.Directory.Lookup(account.At(user, p.UnverifiedDomain))
		return e.Name, e.State == account.Verified
	}
	return matrix.UserID("@" + user.Localpart() + ":" + string(p.UnverifiedDomain)), true
}

// RoomUsers are the user IDs by which a room knows an account name user ID; nothing is minted. In rooms of
// MSC4345 they are the name at each server key that the domain is verified to own, those first that are
// accepted; in rooms of MSC4348 the account keys that the domain has confirmed.
func (g *Engine) RoomUsers(roomID string, name matrix.UserID) []matrix.UserID {
	r, err := g.live(roomID)
	if err != nil || r == nil {
		return nil
	}
	return g.roomUsers(r, name)
}

func (g *Engine) roomUsers(r *liveRoom, name matrix.UserID) (users []matrix.UserID) {
	switch r.version.Identity {
	case matrix.ServerIdentity:
		return []matrix.UserID{name}
	case matrix.AccountKeyIdentity:
		return g.Directory.KeyUserIDs(name)
	case matrix.PortableIdentity:
		for _, user := range g.Directory.KeyUserIDs(name) {
			users = append(users, account.Portable(user))
		}
		return users
	}
	for _, key := range g.keysOfDomain(r, name.Domain()) {
		users = append(users, matrix.UserID("@"+name.Localpart()+":"+string(key)))
	}
	return users
}

// keysOfDomain are the server keys in a room that a domain is verified to own, accepted ones first, and the
// latest first.
func (g *Engine) keysOfDomain(r *liveRoom, domain matrix.ServerName) (keys []matrix.ServerName) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for key := range r.roster.participations {
		if p := g.participant(r, key); p.UnverifiedDomain == domain && p.Verified {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b matrix.ServerName) int {
		x, y := r.roster.participations[a], r.roster.participations[b]
		accepted := x.Participation() == matrix.Accepted
		if other := y.Participation() == matrix.Accepted; accepted != other {
			if accepted {
				return -1
			}
			return 1
		}
		if isLater(x, y) {
			return -1
		}
		return 1
	})
	return keys
}

// namesIn are the user IDs that one room may have for a user whom another room knows by a user ID.
func (g *Engine) namesIn(r, other *liveRoom, user matrix.UserID) []matrix.UserID {
	if r.version.HasAccountKeys() != other.version.HasAccountKeys() && g.Defects.Has("LookForKeysInRoomsOfNames") {
		return []matrix.UserID{user}
	}
	if r.version.Identity == other.version.Identity && r.version.Identity != matrix.ServerKeyIdentity {
		return []matrix.UserID{user}
	}
	name, ok := g.clientName(other, user)
	if !ok {
		return nil
	}
	return g.roomUsers(r, name)
}
