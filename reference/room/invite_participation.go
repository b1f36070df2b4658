package room

import (
	"context"
	"fmt"
	"strings"

	"countersign/matrix"
	"countersign/reference/peer"
)

// inviteParticipant invites a user to a room with participation: by a user ID of the room, or by account
// name user ID. The user's server need not participate yet (MSC4345, "Room invitation flow").
//
// D-39: how the inviter learns the invited user's key is not said. Where the room does not know the user,
// the user's server is asked as in MSC4243: the event goes there with the account name user ID as its
// state key, and comes back with the user ID of the room, signed by the key in it.
func (g *Engine) inviteParticipant(ctx context.Context, r *liveRoom, local, target matrix.UserID, content []byte) error {
	if target.Domain() != g.ServerName {
		if err := g.invitesParticipantsOnly(r, target); err != nil {
			return err
		}
	}
	if _, err := r.version.ParseUserID(string(target)); err == nil {
		return g.inviteKnown(ctx, r, local, target, g.inviteDomain(r, target), content)
	}
	if target.Domain() == g.ServerName {
		return g.inviteHere(r, local, target, content)
	}
	if user, ok := g.invitable(r, target); ok {
		return g.inviteKnown(ctx, r, local, user, target.Domain(), content)
	}
	return g.cosignRemotely(ctx, r.id, local, target, "invite", content)
}

// invitable is a user ID of the room for an account name user ID, whose server has not been revoked.
func (g *Engine) invitable(r *liveRoom, name matrix.UserID) (matrix.UserID, bool) {
	for _, user := range g.roomUsers(r, name) {
		if g.Participant(r.id, user.Domain()).Participation != matrix.Revoked {
			return user, true
		}
	}
	return "", false
}

// inviteDomain is where a user can be told of an invitation, or empty.
func (g *Engine) inviteDomain(r *liveRoom, user matrix.UserID) matrix.ServerName {
	if _, ok := g.LocalUser(r.version, user); ok {
		return g.ServerName
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if domain := g.domainOfUser(r, user); domain != "" {
		return domain
	}
	return g.contact(r.id, user)
}

// inviteKnown invites a user by the user ID of the room: the event is complete, and the user's server, if
// it is known, is told of it before the room is.
func (g *Engine) inviteKnown(ctx context.Context, r *liveRoom, local, user matrix.UserID, domain matrix.ServerName, content []byte) error {
	a, err := g.actor(r.version, r.id, local)
	if err != nil {
		return err
	}
	d, err := membershipDraft(user, "invite", content)
	if err != nil {
		return err
	}
	e, err := g.proposed(r, a, d)
	if err != nil {
		return err
	}
	if domain != "" && domain != g.ServerName {
		if _, err := g.callInvite(ctx, r, domain, e); err != nil {
			return handshakeError([]error{fmt.Errorf("inviting %s: %w", user, err)})
		}
		if err := g.noteContact(r.id, user, domain); err != nil {
			return err
		}
	}
	return g.accept(r, e)
}

// standIn is a user ID of the room's version that nobody has. Whether a user may be invited whose key is
// not known is found out for it.
func standIn(v matrix.RoomVersion, user matrix.UserID) matrix.UserID {
	nobody := strings.Repeat("A", matrix.AccountKeyLength)
	if v.HasPortableAccounts() {
		return matrix.UserID("@" + nobody)
	}
	return matrix.UserID("@" + user.Localpart() + ":" + nobody)
}

// verifyInvitee checks the state key of an event that came back with the user's key in it, and that the
// key has signed: in rooms of MSC4348 the account key, in rooms of MSC4345 the server key, and the account
// name must be the one that was asked for.
func verifyInvitee(e *matrix.Event, asked matrix.UserID) error {
	stateKey, _ := e.StateKey()
	if e.Version().HasPortableAccounts() {
		user, _, err := matrix.ParsePortableUserID(stateKey)
		if err != nil {
			return fmt.Errorf("its state_key: %w", err)
		}
		return e.VerifyAccountKey(user)
	}
	user, key, err := matrix.ParseServerKeyUserID(stateKey)
	if err != nil {
		return fmt.Errorf("its state_key: %w", err)
	}
	if user.Localpart() != asked.Localpart() {
		return fmt.Errorf("its state_key is not of %s", asked)
	}
	return e.VerifyServerKey(key.Name())
}

// targets are the user IDs of a room that a client may mean by a user ID: the one of the room itself, or
// those of an account name user ID.
func (g *Engine) targets(r *liveRoom, user matrix.UserID) ([]matrix.UserID, error) {
	if _, err := r.version.ParseUserID(string(user)); err == nil {
		return []matrix.UserID{user}, nil
	}
	if user.Domain() != g.ServerName {
		return g.roomUsers(r, user), nil
	}
	if !g.Users.Exists(user.Localpart()) {
		return nil, peer.NotFound("there is no user %s", user)
	}
	a, err := g.actor(r.version, r.id, user)
	return []matrix.UserID{a.user}, err
}

// receiveInvitation is Invited for rooms with participation. An event with the user ID of the room is
// complete and stays as it is; one with the account name user ID gets the user ID of the room.
func (g *Engine) receiveInvitation(ctx context.Context, v matrix.RoomVersion, e *matrix.Event) (*matrix.Event, error) {
	stateKey, _ := e.StateKey()
	if _, complete := g.LocalUser(v, matrix.UserID(stateKey)); !complete {
		return g.substitute(v, e)
	}
	if err := g.checkSignatures(ctx, e); err != nil {
		return nil, peer.Forbidden("%v", err)
	}
	return e.WithUnsigned(nil)
}
