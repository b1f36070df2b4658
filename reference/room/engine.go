// Package room is the room engine of the reference homeserver: it builds events, judges events that
// arrive, keeps the event graph and the state of every room, and carries out the handshakes of
// joining, inviting, knocking and leaving, for users of this server and for other servers.
//
// The engine speaks of users as the room does: in rooms with account keys, by account key user ID.
// Where a method takes a Local user or an invitee it takes the account name user ID instead, and says
// so; the rest of the translation is the client API's.
package room

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"time"

	"countersign/matrix"
	"countersign/reference/account"
	"countersign/reference/defect"
	"countersign/reference/participant"
	"countersign/reference/peer"
	"countersign/reference/store"
)

// Options are what an Engine needs.
type Options struct {
	DB         *store.DB
	ServerName matrix.ServerName
	// ServerKey signs events in rooms without account keys.
	ServerKey matrix.Signer
	Directory *account.Directory
	Peers     peer.Caller
	// Keys finds the signing keys of other servers.
	Keys KeyRing
	// ServerKeys are this server's keys in rooms with participation, and Domains verifies those of others.
	ServerKeys *participant.Keys
	Domains    *participant.Domains
	// RoomVersions are the room versions that this server offers, that of new rooms first.
	RoomVersions []matrix.RoomVersion
	// Outbox delivers events and EDUs to other servers.
	Outbox Outbox
	// Users answers for the accounts of this server.
	Users  Users
	Logger *slog.Logger
	// Now is the clock.
	Clock func() time.Time
	// Defects are what the server does wrong on purpose.
	Defects defect.Set
	// Crash ends the server, which one of its defects may do; nil when it cannot.
	Crash func()
}

// KeyRing finds the signing keys of servers. Rooms with account keys never use it.
type KeyRing interface {
	// VerifyKey returns a server's key, which must have been valid at a time in milliseconds since
	// the Unix epoch (room version 5, "Signing key validity period").
	VerifyKey(ctx context.Context, server matrix.ServerName, id matrix.KeyID, at int64) ([]byte, error)
	// KnownKey is VerifyKey without asking anybody.
	KnownKey(server matrix.ServerName, id matrix.KeyID, at int64) ([]byte, bool)
	// KnownKeys are all keys of a server that are known without asking anybody.
	KnownKeys(server matrix.ServerName) map[matrix.KeyID]ed25519.PublicKey
}

// Outbox delivers to other servers what is handed to it, in order, retrying with the backoff of the
// destination.
type Outbox interface {
	// QueuePDU adds an event to the queues of servers, as part of a transaction.
	QueuePDU(tx *store.Tx, servers []matrix.ServerName, eventID string) error
	// Flush starts delivery to servers whose queues have grown.
	Flush(servers []matrix.ServerName)
	// SendEDU queues an EDU in memory; it is lost when the server stops first.
	SendEDU(servers []matrix.ServerName, eduType string, content []byte)
}

// Users is what the engine asks about accounts of this server.
type Users interface {
	// Exists reports whether a local, active account has the name (a localpart).
	Exists(name string) bool
}

// Position is a place in the stream of everything that happens on this server, from 1 on. Sync tokens
// are made of it. Positions are taken in order and become visible in order.
type Position int64

// Place is where an event stands in the timeline of its room. Live events have the position at which
// they arrived as Major and 0 as Minor. Events that were fetched later to fill a hole stand directly
// before the event whose parents they are: its Major, and a lesser Minor.
type Place struct {
	Major Position
	Minor int64
}

// Before reports whether p comes earlier in the timeline than q.
func (p Place) Before(q Place) bool {
	return p.Major < q.Major || p.Major == q.Major && p.Minor < q.Minor
}

// Outcome is what came of an event when it was received (server-server API, "Checks performed on
// receipt of a PDU"). Dropped events are not kept at all.
type Outcome byte

const (
	// Accepted events have passed every check.
	Accepted Outcome = iota + 1
	// SoftFailed events have failed the check against the current state: they take part in state
	// resolution and are served to servers, but are not shown to clients or built upon.
	SoftFailed
	// Rejected events have failed authorization: they are kept so that others can refer to them,
	// and are never shown to anybody.
	Rejected
)

// String is the outcome in words.
func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "accepted"
	case SoftFailed:
		return "soft-failed"
	case Rejected:
		return "rejected"
	}
	return "dropped"
}

// Stored is an event as the engine keeps it. A redacted event is kept, and served, in its redacted
// form.
type Stored struct {
	*matrix.Event
	// Place is where it stands in the timeline. It is zero for events that have no place there,
	// such as events that are only known as part of an auth chain.
	Place Place
	// Outcome is what came of it.
	Outcome Outcome
	// RedactedBy is the ID of the redaction that took effect on it, or empty.
	RedactedBy string
}

// Draft is an event to be sent, in the room's terms: user IDs in StateKey and Content are account key
// user IDs in rooms with account keys.
type Draft struct {
	Type string
	// StateKey is nil for an event that is not a state event.
	StateKey *string
	// Content is a JSON object.
	Content []byte
	// OriginServerTS is milliseconds since the Unix epoch; 0 means now.
	OriginServerTS int64
	// Commit runs inside the transaction that stores the event, or is nil. When it fails nothing is
	// stored.
	Commit func(tx *store.Tx, e *matrix.Event) error
}

// Creation describes a room to be made.
type Creation struct {
	// Creator is the local user's account name user ID.
	Creator matrix.UserID
	Version matrix.RoomVersion
	// Content is the create event's content without room_version, in the room's terms.
	Content []byte
	// Member is the content of the creator's join without membership (displayname, avatar_url), or nil.
	Member []byte
	// Server is this server's key in the new room, for room versions with participation; nil has one
	// minted. Whoever needs user IDs of the room before it exists, such as additional creators, mints it.
	Server *matrix.ServerKeyPair
	// Initial are the events that the creator sends next, in order.
	Initial []Draft
}

// Info describes a room that this server knows.
type Info struct {
	ID      string
	Version matrix.RoomVersion
	// Create is the create event.
	Create *matrix.Event
	// Joined reports whether a user of this server is joined.
	Joined bool
}

// Membership is one user's membership of one room.
type Membership struct {
	RoomID string
	// User is the user as the room names users.
	User matrix.UserID
	// Membership is join, invite, knock, leave or ban.
	Membership string
	EventID    string
	// Sender is who brought it about.
	Sender matrix.UserID
	// Position is when this server learned of it.
	Position Position
	// Event is the membership event when this server is not in the room; nil when it is.
	Event *matrix.Event
	// Stripped are the state events that came with an invitation or a knock, complete PDUs in the
	// room's terms; nil otherwise.
	Stripped []*matrix.Event
	// Through is a server in the room when this server is not: the one that the membership came from, or
	// was handed in at.
	Through matrix.ServerName
	// Version is the room version.
	Version matrix.RoomVersion
}
