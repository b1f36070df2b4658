package room

import (
	"context"
	"errors"

	"countersign/matrix"
)

var errNotYet = errors.New("not yet")

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

// Backfill asks other servers for history before a place when there is a hole there, and reports
// whether the timeline has grown. It does nothing when history is complete.
func (g *Engine) Backfill(ctx context.Context, roomID string, before Place, limit int) (bool, error) {
	return false, errNotYet
}

// PublicState is what a server or client that is not in the room may see before it joins: the
// recommended stripped state (client-server API, "Stripped state"), as complete events.
func (g *Engine) PublicState(roomID string) ([]*matrix.Event, error) { return nil, errNotYet }
