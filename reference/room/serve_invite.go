package room

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"countersign/matrix"
	"countersign/reference/peer"
)

// CosignRequest is the body of /v2/invite, and, without InviteRoomState, of MSC4243's /ban.
type CosignRequest struct {
	Event           json.RawMessage   `json:"event"`
	RoomVersion     string            `json:"room_version"`
	InviteRoomState []json.RawMessage `json:"invite_room_state"`
}

// Invited answers /v2/invite: a user of origin invites a user of this server. It returns the event with
// this server's signature, or, in rooms with account keys, with the invitee's account key user ID as
// the state key and that key's signature. Errors are *peer.Error.
func (g *Engine) Invited(ctx context.Context, origin matrix.ServerName, roomID string, body CosignRequest) (json.RawMessage, error) {
	v, e, err := g.admitCosign(origin, roomID, "invite", body)
	if err != nil {
		return nil, err
	}
	if err := g.checkInviter(origin, v, e); err != nil {
		return nil, err
	}
	stripped, err := g.inviteState(ctx, v, roomID, body.InviteRoomState)
	if err != nil {
		return nil, err
	}
	var signed *matrix.Event
	switch {
	case v.HasParticipation():
		signed, err = g.receiveInvitation(ctx, v, e)
	case v.HasAccountKeys():
		signed, err = g.substitute(v, e)
	default:
		signed, err = g.cosignInvite(ctx, e)
	}
	if err != nil {
		return nil, err
	}
	if r, err := g.live(roomID); err != nil {
		return nil, err
	} else if r != nil && g.inRoom(r) {
		return signed.JSON(), nil // the invitation arrives in a transaction, too
	}
	g.verifyUsers(ctx, append(slices.Clone(stripped), signed)...)
	return signed.JSON(), g.noteMembership(signed, stripped, origin)
}

// Banned answers MSC4243's /ban: a user of origin bans a user of this server whose account key is not
// known there. The user's client is not told (BAN-03).
func (g *Engine) Banned(origin matrix.ServerName, roomID string, body CosignRequest) (json.RawMessage, error) {
	v, e, err := g.admitCosign(origin, roomID, "ban", body)
	if err != nil {
		return nil, err
	}
	if g.Defects.Has("HelpWithNoBans") {
		return nil, peer.Errorf(404, "M_UNRECOGNIZED", "this server does not know the endpoint")
	}
	if v.Identity != matrix.AccountKeyIdentity {
		return nil, peer.InvalidParam("rooms of version %s have no account keys to ask for", v.ID)
	}
	signed, err := g.substitute(v, e)
	if err != nil {
		return nil, err
	}
	if g.Defects.Has("TellUsersOfBans") {
		return signed.JSON(), g.noteMembership(signed, nil, origin)
	}
	return signed.JSON(), nil
}

// admitCosign checks that an event is one that this server may sign for its user: a member event with
// the membership that the endpoint is for, by a user of origin, about a local user.
func (g *Engine) admitCosign(origin matrix.ServerName, roomID, membership string, body CosignRequest) (v matrix.RoomVersion, e *matrix.Event, err error) {
	v, ok := g.Version(body.RoomVersion)
	if !ok {
		refusal := peer.Errorf(400, "M_INCOMPATIBLE_ROOM_VERSION", "this server does not know the room version %q", body.RoomVersion)
		refusal.Extra = map[string]any{"room_version": body.RoomVersion}
		return v, nil, refusal
	}
	if e, err = matrix.ParseEvent(v, body.Event); err != nil {
		return v, nil, peer.BadJSON("the event: %v", err)
	}
	stateKey, isState := e.StateKey()
	target, targetErr := g.parseInvitee(v, stateKey)
	switch {
	case (e.Type() != "m.room.member" || !isState || e.Membership() != membership) && !g.signsOthers(e, membership):
		return v, nil, peer.InvalidParam("the event is not a member event with membership %s", membership)
	case e.RoomID() != roomID:
		return v, nil, peer.InvalidParam("the event is of another room than the path names")
	case !v.HasParticipation() && e.Sender().Domain() != origin && !g.Defects.Has("SignForUsersOfOtherServers"):
		return v, nil, peer.Forbidden("the event's sender is not a user of %s", origin)
	case targetErr != nil:
		return v, nil, peer.InvalidParam("the state_key: %v", targetErr)
	case g.localName(v, target) == "" && target.Domain() != g.ServerName:
		return v, nil, peer.InvalidParam("%s is not a user of this server", target)
	case !e.HashOK():
		return v, nil, peer.InvalidParam("the event's content hash does not match")
	case g.checkSignatures(context.Background(), e) != nil && v.Identity == matrix.AccountKeyIdentity && g.Defects.Has("WantSignedRequests"):
		return v, nil, peer.Forbidden("the sender has not signed")
	case len(e.SignatureKeyIDs(string(origin))) == 0 && v.Identity == matrix.AccountKeyIdentity && g.Defects.Has("WantTheServersSignature"):
		return v, nil, peer.Forbidden("the sender's server has not signed")
	}
	if v.Identity == matrix.AccountKeyIdentity {
		if _, err := e.Sender().AccountKey(); err != nil {
			return v, nil, peer.InvalidParam("the sender: %v", err)
		}
	}
	if g.localName(v, target) == "" && !g.Defects.Has("SignForNobody") {
		if g.Defects.Has("RefuseStrangersWithForbidden") {
			return v, nil, peer.Forbidden("there is no user %s", target)
		}
		return v, nil, peer.NotFound("there is no user %s", target)
	}
	if membership == "ban" && g.checkACL(roomID, origin) != nil && g.Defects.Has("IgnoreServerACLsForBans") {
		return v, e, nil
	}
	return v, e, g.checkACL(roomID, origin)
}

// checkInviter asks, in a room with participation that this server is in, that origin is accepted there.
func (g *Engine) checkInviter(origin matrix.ServerName, v matrix.RoomVersion, e *matrix.Event) error {
	r, err := g.live(e.RoomID())
	if err != nil || r == nil || !v.HasParticipation() || !g.inRoom(r) {
		return err
	}
	_, err = r.serverOfOrigin(origin, e.Sender())
	return err
}

// parseInvitee reads the state key of an invitation: a user ID as clients write it, or one of the room.
func (g *Engine) parseInvitee(v matrix.RoomVersion, stateKey string) (matrix.UserID, error) {
	if user, err := v.ParseUserID(stateKey); err == nil {
		return user, nil
	}
	return matrix.ParseUserID(stateKey)
}

// inviteState checks the state that comes with an invitation: the create event must be part of it, and
// all of it must be signed and of the room (server-server API, v2 invite).
func (g *Engine) inviteState(ctx context.Context, v matrix.RoomVersion, roomID string, pdus []json.RawMessage) ([]*matrix.Event, error) {
	stripped := g.admitStripped(ctx, v, roomID, pdus)
	if len(stripped) < len(pdus) {
		return nil, peer.InvalidParam("%d events of invite_room_state are not signed state events of the room, or too many", len(pdus)-len(stripped))
	}
	for _, e := range stripped {
		if e.IsCreate() {
			return stripped, nil
		}
	}
	if g.Defects.Has("AcceptInvitesWithoutCreateEvent") {
		return stripped, nil
	}
	return nil, peer.InvalidParam("invite_room_state has no create event")
}

// cosignInvite signs an invitation to a room without account keys.
func (g *Engine) cosignInvite(ctx context.Context, e *matrix.Event) (*matrix.Event, error) {
	if err := g.checkSignatures(ctx, e); err != nil {
		return nil, peer.Forbidden("%v", err)
	}
	e, err := e.WithUnsigned(nil)
	if err != nil {
		return nil, err
	}
	return e.WithSignature(g.ServerKey), nil
}

// substitute puts the user ID of the room in the place of a local user's account name user ID, and signs
// the result with the key in it, which rooms of MSC4345 have for servers and others for accounts. Nothing but state_key, hashes and signatures changes; what
// the event in the request was signed with, if anything, is not looked at (D-04).
func (g *Engine) substitute(v matrix.RoomVersion, e *matrix.Event) (*matrix.Event, error) {
	stateKey, _ := e.StateKey()
	target := matrix.UserID(stateKey)
	if _, name, ok := g.Directory.LocalAccount(target); ok {
		target = matrix.UserID("@" + name + ":" + string(g.ServerName)) // INV-12: the inviter knew the key
	}
	a, err := g.actor(v, e.RoomID(), target)
	if err != nil {
		return nil, err
	}
	if mistaken, ok := g.mistakenSubstitute(e, a); ok {
		return mistaken, nil
	}
	signed, err := matrix.ProtoEvent{
		Type: e.Type(), StateKey: matrix.StateKey(string(a.user)), Sender: e.Sender(), RoomID: e.RoomID(),
		Content: e.Content(), PrevEvents: e.PrevEvents(), AuthEvents: e.AuthEvents(), Depth: e.Depth(),
		OriginServerTS: e.OriginServerTS(),
	}.Build(v, g.mistakenCosigners(v, a)...)
	if err != nil {
		return nil, fmt.Errorf("the event with the account key: %w", err)
	}
	return signed, nil
}
