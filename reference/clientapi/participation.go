package clientapi

import (
	"context"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/account"
	"countersign/reference/participant"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// company is what a translator asks about the users of one room with participation (MSC4345, MSC4348).
// There, clients and the room know users by the same IDs (D-45). A client may write its own user, and users
// of domains that are verified, by account name; and it is told the verified names beside the IDs.
type company interface {
	// InRoom is the user ID that a local user has in the room.
	InRoom(local matrix.UserID) (matrix.UserID, bool)
	// LocalUser is the local user whom the room knows by a user ID.
	LocalUser(user matrix.UserID) (matrix.UserID, bool)
	// ServerOf is the server that an event came into the room through, and ServerOfUser that of a user.
	ServerOf(e *matrix.Event) (room.Participant, bool)
	ServerOfUser(user matrix.UserID) (room.Participant, bool)
	// ClientName is the verified account name user ID of a user of the room.
	ClientName(user matrix.UserID) (matrix.UserID, bool)
	// RoomUsers are the user IDs that a verified account name user ID stands for in the room.
	RoomUsers(name matrix.UserID) []matrix.UserID
	// AccountName is the account name that a domain has confirmed for an account key.
	AccountName(user matrix.UserID, domain matrix.ServerName) (string, bool)
}

// engineCompany is the company of a room of the engine.
type engineCompany struct {
	api     *API
	roomID  string
	version matrix.RoomVersion
}

func (c engineCompany) InRoom(local matrix.UserID) (matrix.UserID, bool) {
	return c.api.engine.InRoom(c.roomID, local)
}

func (c engineCompany) LocalUser(user matrix.UserID) (matrix.UserID, bool) {
	return c.api.engine.LocalUser(c.version, user)
}

func (c engineCompany) ServerOf(e *matrix.Event) (room.Participant, bool) {
	p, ok := c.api.engine.ServerOf(e)
	return c.api.asked(p), ok
}

func (c engineCompany) ServerOfUser(user matrix.UserID) (room.Participant, bool) {
	p, ok := c.api.engine.ServerOfUser(c.roomID, user)
	return c.api.asked(p), ok
}

// asked has the domain of a server asked whether the key is its own, if that is not known, or not any more.
// Nobody waits for that: clients are told of it when they look again.
func (a *API) asked(p room.Participant) room.Participant {
	if p.Verified || p.UnverifiedDomain == "" {
		return p
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	a.engine.Domains.Verify(now, participant.Claim{Key: p.Key, Domain: p.UnverifiedDomain})
	return p
}

func (c engineCompany) ClientName(user matrix.UserID) (matrix.UserID, bool) {
	return c.api.engine.ClientName(c.roomID, user)
}

func (c engineCompany) RoomUsers(name matrix.UserID) []matrix.UserID {
	return c.api.engine.RoomUsers(c.roomID, name)
}

func (c engineCompany) AccountName(user matrix.UserID, domain matrix.ServerName) (string, bool) {
	return c.api.directory.AccountName(user, domain)
}

// foundingCompany is the company of a room that is about to be made, of which this server will be the only one.
type foundingCompany struct {
	engineCompany
	key matrix.ServerKey
}

// InRoom mints the account key of a user who has none.
func (c foundingCompany) InRoom(local matrix.UserID) (matrix.UserID, bool) {
	if !c.version.HasPortableAccounts() {
		return c.key.UserID(local.Localpart()), true
	}
	user, err := c.api.directory.RoomUser(c.version, local)
	return user, err == nil
}

// RoomUsers are known of rooms of MSC4348, whose user IDs are the same in all of them.
func (c foundingCompany) RoomUsers(name matrix.UserID) (users []matrix.UserID) {
	if !c.version.HasPortableAccounts() {
		return nil
	}
	for _, user := range c.api.directory.KeyUserIDs(name) {
		users = append(users, account.Portable(user))
	}
	return users
}

// renames reports whether clients know users by other IDs than the room does, and are not told of some.
func (t *translator) renames() bool {
	return t.version.HasAccountKeys() && !t.version.HasParticipation()
}

// provenance is what this server knows, and vouches for, of where an event comes from.
type provenance struct {
	// Account is unsigned.account, the sender's bare account name (MSC4348, "Obtaining account and profile
	// information as a client").
	Account string `json:"account,omitempty"`
	// ServerDomain is unsigned.server_domain (MSC4345, "Impositions on Client UI").
	ServerDomain matrix.ServerName `json:"server_domain,omitempty"`
}

// provenance is empty in rooms without participation.
func (t *translator) provenance(e *matrix.Event) (p provenance) {
	if t.company == nil {
		return p
	}
	server, ok := t.company.ServerOf(e)
	if !ok {
		return p
	}
	server = t.mistakenServer(e, server)
	p.ServerDomain = serverDomain(server)
	if t.version.HasPortableAccounts() {
		p.Account = t.accountName(e.Sender(), server)
	}
	return t.mistakenProvenance(e, server, p)
}

// serverDomain is the domain of a server, empty unless it has confirmed that the key is its own (MSC4345,
// "Impositions on Client UI": homeservers "must verify domain ownership before").
func serverDomain(server room.Participant) matrix.ServerName {
	if !server.Verified {
		return ""
	}
	return server.UnverifiedDomain
}

// accountName is the account name of a portable account as the domain of a server has confirmed it, signed
// by the account key (MSC4348). D-58: what another domain says of the account is not said of this event.
func (t *translator) accountName(user matrix.UserID, server room.Participant) string {
	name, ok := t.company.AccountName(user, server.UnverifiedDomain)
	if !ok {
		return ""
	}
	return name
}

// knownAs is the account name user ID of a user whom clients see in the room under some ID; but in rooms with
// participation it is that ID. ok is false when it is not verified.
func (t *translator) knownAs(user matrix.UserID) (name matrix.UserID, ok bool) {
	if t.company == nil {
		return user, true
	}
	return t.company.ClientName(user)
}

// nameOf is the account name user ID of a user as the room knows users.
func (t *translator) nameOf(user matrix.UserID) (name matrix.UserID, ok bool) {
	shown, ok := t.user(user)
	if !ok {
		return "", false
	}
	return t.knownAs(shown)
}

// isRoomForm reports whether a text is a user ID as rooms with participation write them.
func (t *translator) isRoomForm(user matrix.UserID) bool {
	_, err := t.version.ParseUserID(string(user))
	return err == nil
}

// findNamed are the users of a room with participation whom an account name user ID may stand for.
func (t *translator) findNamed(name matrix.UserID) (users []matrix.UserID) {
	switch {
	case t.isRoomForm(name):
		return []matrix.UserID{name}
	case name.Domain() == t.server:
		if user, ok := t.company.InRoom(name); ok && t.exists(name.Localpart()) {
			users = append(users, user)
		}
		return users
	}
	return t.company.RoomUsers(name)
}

// domainOf is the domain that may send EDUs about a user, who is named in an EDU in one way and is known to
// the room in another. D-52: in rooms with participation it is the one that the participation of the user's
// server names, verified or not, as it is for events.
func (t *translator) domainOf(named, inRoom matrix.UserID) matrix.ServerName {
	if t.company == nil {
		return named.Domain()
	}
	server, ok := t.company.ServerOfUser(inRoom)
	if !ok {
		return ""
	}
	return server.UnverifiedDomain
}

// companyStateKeyIn is stateKeyIn for rooms with participation: the account names of the sender, and of whom
// a membership is about, are translated (D-45). What else names a user is as the room has it.
func (t *translator) companyStateKeyIn(eventType, key string, sender matrix.UserID) (string, error) {
	if eventType != "m.room.member" && key != string(sender) {
		return key, nil
	}
	user, err := t.roomUser(matrix.UserID(key))
	return string(user), err
}

// errUnverified is the answer to who names a user of a room with participation by an account name that is
// not verified there.
func errUnverified(name matrix.UserID) error {
	return peer.InvalidParam("nobody in the room is verified to be %s: use the ID by which the room knows the user", name)
}

// checkParticipation refuses what no client can mean to say of a server: a key that is none, or a
// participation that it cannot set. Requests are made by servers, when their users join (MSC4345, "The
// request participation handshake"). Whatever else is wrong is for the rules.
func (a *API) checkParticipation(roomID, key string, content []byte) error {
	if info, ok := a.engine.Room(roomID); !ok || !info.Version.HasParticipation() {
		return nil
	}
	participation := gjson.GetBytes(content, "participation").Str
	if _, err := matrix.ParseServerKey(key); err != nil {
		return peer.InvalidParam("the state key of a participation: %v", err)
	}
	switch matrix.Participation(participation) {
	case matrix.Accepted, matrix.Revoked:
		return nil
	case matrix.Requested:
		return peer.Forbidden("a server requests to participate by itself, when one of its users joins")
	}
	return peer.BadJSON("the participation of a server is %q or %q, not %q", matrix.Accepted, matrix.Revoked, participation)
}

// hasDomain reports whether a user can be reached through a domain: the users of rooms with participation
// have none in their IDs (D-59).
func hasDomain(user matrix.UserID) bool {
	_, err := matrix.ParseServerKey(string(user.Domain()))
	return err != nil && user.Domain() != ""
}
