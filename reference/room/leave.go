package room

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"countersign/matrix"
	"countersign/reference/peer"
)

// Leave has a local user (account name user ID) leave a room, reject an invitation, or retract a knock.
// content is the leave event's content without membership, or nil. When this server is not in the room
// and no server that is can be reached, the room is left for this server's users alone. Errors are
// *peer.Error.
func (g *Engine) Leave(ctx context.Context, roomID string, local matrix.UserID, content []byte) error {
	unlock, err := g.entering.lock(ctx, roomID)
	if err != nil {
		return err
	}
	defer unlock()
	m, ok := g.localMembership(roomID, local)
	if !ok {
		return peer.NotFound("%s was never in the room %s", local, roomID)
	}
	r, err := g.live(roomID)
	if err != nil {
		return err
	}
	if r != nil && g.inRoom(r) {
		return g.sendMembership(r, local, local, "leave", content)
	}
	if m.Membership != "invite" && m.Membership != "knock" {
		return peer.Forbidden("the membership of %s is %s", local, m.Membership)
	}
	via := g.candidates(roomID, local, nil)
	if g.Defects.Has("RejectInvitesHereOnly") {
		return g.leaveAlone(m, local, content)
	}
	err = g.remoteHandshake(ctx, LeaveHandshake, roomID, local, content, &m.Version, via,
		func(t signedTemplate, _ json.RawMessage) error { return g.noteMembership(t.event, nil, t.server) })
	if err == nil {
		return nil
	}
	g.Logger.Info("an invitation is rejected here only", "room", roomID, "user", local, "error", err)
	return g.leaveAlone(m, local, content)
}

// leaveAlone notes that a local user has left, without telling the room.
func (g *Engine) leaveAlone(m Membership, local matrix.UserID, content []byte) error {
	a, err := g.actor(m.Version, m.RoomID, local)
	if err != nil {
		return err
	}
	if content, err = withMembership(content, "leave"); err != nil {
		return err
	}
	e, err := matrix.ProtoEvent{
		Type: "m.room.member", StateKey: matrix.StateKey(string(m.User)), Sender: a.user, RoomID: m.RoomID, Content: content,
		PrevEvents: []string{m.EventID}, Depth: 1, OriginServerTS: g.Clock().UnixMilli(),
	}.Build(m.Version, a.signers...)
	if err != nil {
		return peer.BadJSON("%v", err)
	}
	return g.noteMembership(e, nil, "")
}

// sendMembership sends a member event about a user whom the room knows, by a local user. by is an account
// name user ID; target is one, too, when it is the same user, and else as the room names users.
func (g *Engine) sendMembership(r *liveRoom, by, target matrix.UserID, membership string, content []byte) error {
	a, err := g.actor(r.version, r.id, by)
	if err != nil {
		return err
	}
	if target == by {
		target = a.user
	}
	if content, err = withMembership(content, membership); err != nil {
		return err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	_, err = g.send(r, a, Draft{Type: "m.room.member", StateKey: matrix.StateKey(string(target)), Content: content})
	return err
}

// Knock asks to be let into a room, as Join does to enter it.
func (g *Engine) Knock(ctx context.Context, roomID string, local matrix.UserID, content []byte, via []matrix.ServerName) error {
	unlock, err := g.entering.lock(ctx, roomID)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := g.live(roomID)
	if err != nil {
		return err
	}
	if r != nil && g.inRoom(r) {
		return g.sendMembership(r, local, local, "knock", content)
	}
	return g.remoteHandshake(ctx, KnockHandshake, roomID, local, content, g.knownVersion(roomID, local), g.candidates(roomID, local, via),
		func(t signedTemplate, body json.RawMessage) error {
			var answer struct {
				State []json.RawMessage `json:"knock_room_state"`
			}
			if err := json.Unmarshal(body, &answer); err != nil {
				return err
			}
			stripped := g.admitStripped(ctx, t.event.Version(), t.event.RoomID(), answer.State)
			g.verifyUsers(ctx, stripped...)
			return g.noteMembership(t.event, stripped, t.server)
		})
}

// Kick removes target, an account name user ID, from the room: who is joined or invited, or has
// knocked; 403 when the target is none of these. content is as for Leave.
func (g *Engine) Kick(ctx context.Context, roomID string, local, target matrix.UserID, content []byte) error {
	return g.expel(ctx, roomID, local, target, "leave", content, "join", "invite", "knock")
}

// Unban lifts a ban of target, an account name user ID; 403 when the target is not banned.
func (g *Engine) Unban(ctx context.Context, roomID string, local, target matrix.UserID, content []byte) error {
	return g.expel(ctx, roomID, local, target, "leave", content, "ban")
}

// Ban bans target, an account name user ID. In rooms with account keys, when the target's key is not
// known, its server is asked for it (MSC4243, pre-emptive bans). When several keys of the target are in
// the room (D-19), the one that is joined is banned.
func (g *Engine) Ban(ctx context.Context, roomID string, local, target matrix.UserID, content []byte) error {
	if info, ok := g.Room(roomID); ok && info.Version.Identity == matrix.AccountKeyIdentity && target.Domain() != g.ServerName && g.Defects.Has("AskForKnownKeysOnBans") {
		return g.cosignRemotely(ctx, roomID, local, target, "ban", content)
	}
	err := g.expel(ctx, roomID, local, target, "ban", content, "join", "invite", "knock", "leave", "ban", "")
	if errors.Is(err, errKeyUnknown) && g.Defects.Has("BanKnownKeysOnly") {
		return peer.NotFound("no account key is known for %s", target)
	}
	if errors.Is(err, errKeyUnknown) {
		return g.cosignRemotely(ctx, roomID, local, target, "ban", content)
	}
	return err
}

// errKeyUnknown tells Ban that it has to ask for a key.
var errKeyUnknown = errors.New("the account key of the user is not known")

// expel sends a leave or a ban about a user whose membership is one of some.
func (g *Engine) expel(ctx context.Context, roomID string, local, target matrix.UserID, membership string, content []byte, from ...string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := g.joinedRoom(roomID)
	if err != nil {
		return err
	}
	names, err := g.namesToExpel(r, target)
	if err != nil {
		return err
	}
	user, ok := g.pick(r, names, from)
	switch {
	case ok:
		return g.sendMembership(r, local, user, membership, content)
	case len(names) == 0 && membership == "ban" && r.version.Identity == matrix.AccountKeyIdentity:
		return errKeyUnknown
	}
	return peer.Forbidden("%s is not in the room in a way that could be ended", target)
}

// namesToExpel are the user IDs of a room that a client may mean by a user ID.
func (g *Engine) namesToExpel(r *liveRoom, target matrix.UserID) ([]matrix.UserID, error) {
	switch {
	case r.version.HasParticipation():
		return g.targets(r, target)
	case r.version.HasAccountKeys():
		return g.keysOf(target)
	}
	return []matrix.UserID{target}, nil
}

// keysOf are the account key user IDs of a user; a local user's key is minted when there is none.
func (g *Engine) keysOf(user matrix.UserID) ([]matrix.UserID, error) {
	if user.Domain() != g.ServerName {
		return g.Directory.KeyUserIDs(user), nil
	}
	if !g.Users.Exists(user.Localpart()) && len(g.Directory.KeyUserIDs(user)) == 0 {
		return nil, peer.Errorf(http.StatusNotFound, "M_NOT_FOUND", "there is no user %s", user)
	}
	if keys := g.Directory.KeyUserIDs(user); len(keys) > 1 {
		return keys, nil
	}
	name, err := g.Directory.RoomUser(matrix.RoomVersionMSC4243(), user)
	return []matrix.UserID{name}, err
}

// pick finds the one of a user's names that has one of some memberships, the earlier membership first;
// an empty membership stands for none.
func (g *Engine) pick(r *liveRoom, names []matrix.UserID, memberships []string) (matrix.UserID, bool) {
	current, err := g.CurrentState(r.id)
	if err != nil {
		return "", false
	}
	for _, want := range memberships {
		for _, name := range names {
			got := ""
			if e := g.StateEvent(current, "m.room.member", string(name)); e != nil {
				got = e.Membership()
			}
			if got == want {
				return name, true
			}
		}
	}
	return "", false
}
