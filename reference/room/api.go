package room

import (
	"context"
	"errors"
	"iter"

	"countersign/matrix"
)

var errNotYet = errors.New("not yet")

// Engine is the room engine. It is safe for concurrent use.
type Engine struct{ Options }

// New opens the engine on its store.
func New(options Options) (*Engine, error) { return nil, errNotYet }

// Create makes a room and returns its ID. Errors are *peer.Error when the rules forbid something.
func (g *Engine) Create(ctx context.Context, c Creation) (string, error) { return "", errNotYet }

// Send builds, signs, checks and distributes an event of a local user (account name user ID). Errors
// are *peer.Error: 403 when the rules forbid it, 404 when the room is not known, 413 when it is too
// large, 400 when it has no canonical form. A redaction names its target in content.redacts; whether
// it would take effect is checked here.
func (g *Engine) Send(ctx context.Context, roomID string, local matrix.UserID, d Draft) (*matrix.Event, error) {
	return nil, errNotYet
}

// Join joins a local user to a room, through one of the servers in via when this server is not in
// the room. content is the join's content without membership, or nil. Joining again changes nothing
// unless content differs.
func (g *Engine) Join(ctx context.Context, roomID string, local matrix.UserID, content []byte, via []matrix.ServerName) error {
	return errNotYet
}

// Knock is Join for a knock.
func (g *Engine) Knock(ctx context.Context, roomID string, local matrix.UserID, content []byte, via []matrix.ServerName) error {
	return errNotYet
}

// Leave leaves a room, rejects an invitation, or retracts a knock. content is that of the leave event
// without membership (reason), or nil.
func (g *Engine) Leave(ctx context.Context, roomID string, local matrix.UserID, content []byte) error {
	return errNotYet
}

// Invite invites target, an account name user ID of this or another server. content is the event's
// content without membership, or nil.
func (g *Engine) Invite(ctx context.Context, roomID string, local, target matrix.UserID, content []byte) error {
	return errNotYet
}

// Ban bans target, an account name user ID. In rooms with account keys, when the target's key is not
// known, its server is asked for it (MSC4243, pre-emptive bans).
func (g *Engine) Ban(ctx context.Context, roomID string, local, target matrix.UserID, content []byte) error {
	return errNotYet
}

// Kick removes target, an account name user ID, from the room: who is joined or invited, or has
// knocked. 403 otherwise.
func (g *Engine) Kick(ctx context.Context, roomID string, local, target matrix.UserID, content []byte) error {
	return errNotYet
}

// Unban lifts a ban of target, an account name user ID. 403 when the target is not banned.
func (g *Engine) Unban(ctx context.Context, roomID string, local, target matrix.UserID, content []byte) error {
	return errNotYet
}

// Room describes a room. ok is false when this server has never been in it.
func (g *Engine) Room(roomID string) (info Info, ok bool) { return Info{}, false }

// Event returns a stored event of a room that clients may ask for: accepted or soft-failed ones.
func (g *Engine) Event(roomID, eventID string) (Stored, bool) { return Stored{}, false }

// Now is the position of the latest change.
func (g *Engine) Now() Position { return 0 }

// Wait returns when something has happened after a position, or when ctx ends.
func (g *Engine) Wait(ctx context.Context, after Position) error { return errNotYet }

// Advance takes the next position for a change in a caller's own tables. Call it inside the
// transaction; waiters wake when it is committed.
//
//	func (g *Engine) Advance(tx *store.Tx) (Position, error)

// State is an immutable room state. The zero State is empty.
type State struct{}

// Get is the ID of the event at a place, or empty.
func (s State) Get(place matrix.StateTuple) string { return "" }

// All are the places that are taken and the IDs of the events there, in no particular order.
func (s State) All() iter.Seq2[matrix.StateTuple, string] { return nil }

// Len is the number of places that are taken.
func (s State) Len() int { return 0 }

// Diff are the places at which two states differ, with the event ID in each, or empty. It costs about
// as much as there are differences.
func Diff(old, new State) iter.Seq2[matrix.StateTuple, [2]string] { return nil }

// CurrentState is the room's current state.
func (g *Engine) CurrentState(roomID string) (State, error) { return State{}, errNotYet }

// StateAt is what the current state was at a position.
func (g *Engine) StateAt(roomID string, at Position) (State, error) { return State{}, errNotYet }

// StateBefore and StateAfter are the state of the event graph before and after an event. They fail
// for an event whose state is not known, such as one that is only part of an auth chain.
func (g *Engine) StateBefore(roomID, eventID string) (State, error) { return State{}, errNotYet }

// StateAfter is StateBefore and the event itself.
func (g *Engine) StateAfter(roomID, eventID string) (State, error) { return State{}, errNotYet }

// StateEvent is the event at a place of a state, or nil.
func (g *Engine) StateEvent(s State, eventType, stateKey string) *matrix.Event { return nil }

// Timeline reads up to limit events of a room's timeline: forwards those after from, backwards those
// before it. Only accepted events are there, including those of unverified senders. next is where to
// go on; it equals from when there is nothing.
func (g *Engine) Timeline(roomID string, from Place, backwards bool, limit int) (events []Stored, next Place, err error) {
	return nil, from, errNotYet
}

// Backfill asks other servers for history before a place when there is a hole there, and reports
// whether the timeline has grown. It does nothing when history is complete.
func (g *Engine) Backfill(ctx context.Context, roomID string, before Place, limit int) (bool, error) {
	return false, errNotYet
}

// Memberships are the memberships of a user (account name user ID for local users, under all of the
// user's names) in all rooms, in no particular order.
func (g *Engine) Memberships(user matrix.UserID) ([]Membership, error) { return nil, errNotYet }

// Membership is the membership of a user, as the room names users, in one room. ok is false when
// there never was any.
func (g *Engine) Membership(roomID string, user matrix.UserID) (Membership, bool) {
	return Membership{}, false
}

// Revealed are the users, as the room names them, whose account keys became verified or erased after
// a position and not after another (MSC4243: the current state of a user who becomes verified is sent
// to clients).
func (g *Engine) Revealed(roomID string, after, until Position) ([]matrix.UserID, error) {
	return nil, errNotYet
}

// Servers are the servers with a joined user in the room, this one included.
func (g *Engine) Servers(roomID string) ([]matrix.ServerName, error) { return nil, errNotYet }

// PublicState is what a server or client that is not in the room may see before it joins: the
// recommended stripped state (client-server API, "Stripped state"), as complete events.
func (g *Engine) PublicState(roomID string) ([]*matrix.Event, error) { return nil, errNotYet }

// ServerAllowed reports whether the room's server ACL lets a server take part.
func (g *Engine) ServerAllowed(roomID string, server matrix.ServerName) bool { return true }

// AcceptsEDUFrom reports whether server has a joined user in the room and its ACL allows it.
func (g *Engine) AcceptsEDUFrom(roomID string, server matrix.ServerName) bool { return false }
