package fakeserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/matrix"
)

// Invite is an invitation or a pre-emptive ban that another server sent for a user of this one.
type Invite struct {
	// Operation is OpInvite or OpBan.
	Operation Operation
	// RoomID and Version are the room.
	RoomID  string
	Version matrix.RoomVersion
	// From is the server that sent it, and User its target.
	From matrix.ServerName
	User *User
	// Request is the event as it was sent, and Event as this server returned it.
	Request, Event json.RawMessage
	// RoomState is invite_room_state.
	RoomState []json.RawMessage
}

// Invites are the invitations and bans that this server has signed, oldest first.
func (s *Server) Invites() []Invite {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.invites)
}

// WaitInvite returns the first invitation or ban that matches, from before or after the call. The
// error wraps the cause of ctx, or ErrClosed.
func (s *Server) WaitInvite(ctx context.Context, match func(Invite) bool) (Invite, error) {
	for {
		s.inbox.mu.Lock()
		changed := s.inbox.changed
		s.inbox.mu.Unlock()
		invites := s.Invites()
		if i := slices.IndexFunc(invites, match); i >= 0 {
			return invites[i], nil
		}
		if err := s.wait(ctx, changed); err != nil {
			return Invite{}, fmt.Errorf("waiting for an invitation by way of %s: %w", s.name, err)
		}
	}
}

// invitation is the latest invitation of a user to a room.
func (s *Server) invitation(roomID string, u *User) (Invite, bool) {
	invites := s.Invites()
	for _, i := range slices.Backward(invites) {
		if i.RoomID == roomID && i.User == u && i.Operation == OpInvite {
			return i, true
		}
	}
	return Invite{}, false
}

// serveInvite answers invite and ban: the event comes back signed for the target. In a room with
// account keys the target's account name user ID is first replaced by the account key user ID and the
// content hash computed anew (MSC4243, the adjustment of /invite).
func (s *Server) serveInvite(q *Inquiry) Answer {
	event := json.RawMessage(gjson.GetBytes(q.Body, "event").Raw)
	version := gjson.GetBytes(q.Body, "room_version").String()
	if q.Operation == OpInvite && q.Version == "v1" {
		event, version = q.Body, gjson.GetBytes(q.Body, "unsigned.room_version").String()
	}
	v, ok := s.RoomVersion(version)
	if !ok || q.Operation == OpInvite && q.Version == "v1" {
		return JSON(http.StatusBadRequest, map[string]string{
			"errcode": "M_INCOMPATIBLE_ROOM_VERSION", "room_version": version, "error": "this server does not know the room version, or not by this endpoint",
		})
	}
	target := matrix.UserID(gjson.GetBytes(event, "state_key").String())
	u := s.UserByID(target)
	if u == nil {
		return notFound("no user %s", target)
	}
	s.inbox.addPDU(PDU{Raw: slices.Clone(event), Version: v, From: q.Origin, Via: q.Operation, Err: errUnfinished})
	signed, err := s.cosign(v, u, event)
	if err != nil {
		return badJSON("signing the event: %v", err)
	}
	i := Invite{
		Operation: q.Operation, RoomID: gjson.GetBytes(event, "room_id").String(), Version: v, From: q.Origin, User: u,
		Request: slices.Clone(event), Event: signed,
	}
	for _, raw := range gjson.GetBytes(q.Body, "invite_room_state").Array() {
		i.RoomState = append(i.RoomState, json.RawMessage(raw.Raw))
	}
	s.mu.Lock()
	s.invites = append(s.invites, i)
	s.mu.Unlock()
	s.inbox.wake()
	return Answer{Status: http.StatusOK, Body: append(append([]byte(`{"event":`), signed...), '}')}
}

// ForgeInvites commits a forgery in every invitation and ban that this server returns from now on,
// until it is called with the zero Forgery. What a forgery says about the sender's signature is about
// that of the target, which is the one that this server makes. Of the cast the stranger and the
// inviter, as the victim, are chosen when they are missing.
func (s *Server) ForgeInvites(f Forgery, c Cast) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inviteForgery, s.inviteCast = f, c
}

// cosign signs an invitation or ban for its target.
func (s *Server) cosign(v matrix.RoomVersion, u *User, event json.RawMessage) (json.RawMessage, error) {
	substituted, err := s.substituteKey(v, u, event)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	forgery, cast := s.inviteForgery, s.inviteCast
	s.mu.Unlock()
	if !forgery.honest() {
		return s.forgeInvite(v, u, substituted, forgery, cast)
	}
	e, err := matrix.ParseEvent(v, substituted)
	if err != nil {
		return nil, err
	}
	for _, signer := range u.signers(v, s.inviteKey(v, event)) {
		e = e.WithSignature(signer)
	}
	return e.JSON(), nil
}

func (s *Server) forgeInvite(v matrix.RoomVersion, u *User, event json.RawMessage, f Forgery, c Cast) (json.RawMessage, error) {
	if c.Stranger == nil {
		var err error
		if c.Stranger, err = s.extra("stranger"); err != nil {
			return nil, err
		}
	}
	if c.Victim == "" {
		c.Victim = gjson.GetBytes(event, "sender").String()
	}
	p := Proto{ProtoEvent: protoOf(event), Version: v, Author: u, ServerKey: s.inviteKey(v, event), Cast: c, received: event}
	gjson.GetBytes(event, "signatures").ForEach(func(entity, keys gjson.Result) bool {
		keys.ForEach(func(keyID, value gjson.Result) bool {
			f.ExtraSignatures = append(slices.Clip(f.ExtraSignatures), Signature{entity.String(), keyID.String(), value.Raw})
			return true
		})
		return true
	})
	forged, err := Forge(p, f)
	return forged.PDU, err
}

// protoOf is an event before it was hashed and signed.
func protoOf(event json.RawMessage) matrix.ProtoEvent {
	e := gjson.ParseBytes(event)
	p := matrix.ProtoEvent{
		Type: e.Get("type").String(), Sender: matrix.UserID(e.Get("sender").String()), RoomID: e.Get("room_id").String(),
		Content: []byte(e.Get("content").Raw), PrevEvents: textList(e.Get("prev_events")), AuthEvents: textList(e.Get("auth_events")),
		Depth: e.Get("depth").Int(), OriginServerTS: e.Get("origin_server_ts").Int(),
	}
	if key := e.Get("state_key"); key.Exists() {
		p.StateKey = matrix.StateKey(key.String())
	}
	if unsigned := e.Get("unsigned"); unsigned.IsObject() {
		p.Unsigned = []byte(unsigned.Raw)
	}
	return p
}

// inviteKey is the key of this server in the room of an invitation, where the version has server keys.
func (s *Server) inviteKey(v matrix.RoomVersion, event json.RawMessage) matrix.ServerKeyPair {
	if !v.HasParticipation() {
		return matrix.ServerKeyPair{}
	}
	return s.RoomKey(gjson.GetBytes(event, "room_id").String())
}

// substituteKey replaces the account name user ID in the state key. What was signed before is not
// valid any more, so signatures go.
func (s *Server) substituteKey(v matrix.RoomVersion, u *User, event json.RawMessage) (json.RawMessage, error) {
	named := matrix.UserID(gjson.GetBytes(event, "state_key").String())
	if v.Identity == matrix.ServerIdentity || v.HasParticipation() && named.Domain() != s.name {
		return event, nil // it is named as the room names users
	}
	id := u.IDThrough(v, s.inviteKey(v, event))
	if named == id {
		return event, nil
	}
	changed, err := sjson.SetBytes(slices.Clone(event), "state_key", string(id))
	if err != nil {
		return nil, err
	}
	if changed, err = sjson.SetRawBytes(changed, "signatures", []byte("{}")); err != nil {
		return nil, err
	}
	return matrix.PutContentHash(changed)
}

// Invitation is an invitation or pre-emptive ban by a user of this server, on its way.
type Invitation struct {
	// Dest is the target's server.
	Dest matrix.ServerName
	// Request is the event as this server sent it.
	Request *matrix.Event
	// Response is the answer, and Returned the event in it, if any.
	Response *Response
	Returned json.RawMessage
}

// OfferInvite asks the target's server to sign an invitation: PUT v2/invite. The target of a room with
// account keys is named by the account name, unless the caller knows the key. The answer is returned
// whatever its status. Nothing is added to the room; see [Room.Confirm].
func (r *Room) OfferInvite(ctx context.Context, inviter *User, target matrix.UserID) (*Invitation, error) {
	return r.OfferInviteAt(ctx, inviter, r.homeOf(target), target)
}

// OfferInviteAt is OfferInvite at a server that the user ID of the target does not name, as it is in rooms
// with participation. The target may be named in the form of the room, or by the account name and the domain,
// which the target's server then replaces.
func (r *Room) OfferInviteAt(ctx context.Context, inviter *User, dest matrix.ServerName, target matrix.UserID) (*Invitation, error) {
	body := map[string]any{"invite_room_state": r.strippedState()}
	return r.offer(ctx, inviter, dest, target, "invite", body, func(id string) string {
		return path("v2", "invite", r.id, id)
	})
}

// homeOf is the server of a user as far as it is known: the domain that the room has for them, or the one in
// the user ID.
func (r *Room) homeOf(id matrix.UserID) matrix.ServerName {
	if domain := r.DomainOf(id); domain != "" {
		return domain
	}
	return id.Domain()
}

// OfferBan asks the target's server to sign a pre-emptive ban, at the unstable path of MSC4243.
func (r *Room) OfferBan(ctx context.Context, moderator *User, target matrix.UserID) (*Invitation, error) {
	return r.offer(ctx, moderator, target.Domain(), target, "ban", map[string]any{}, func(id string) string {
		return path("unstable/"+unstableMSC4243, "ban", r.id, id)
	})
}

func (r *Room) offer(ctx context.Context, sender *User, dest matrix.ServerName, target matrix.UserID, membership string, body map[string]any, uri func(id string) string) (*Invitation, error) {
	e, err := r.NewEvent(sender, Membership(target, membership))
	if err != nil {
		return nil, fmt.Errorf("%s of %s: %w", membership, target, err)
	}
	body["event"], body["room_version"] = e, r.version.ID
	i := &Invitation{Dest: dest, Request: e}
	i.Response, err = r.server.Do(ctx, i.Dest, http.MethodPut, uri(e.ID()), body)
	if err != nil {
		return nil, err
	}
	if event := i.Response.Get("event"); event.IsObject() {
		i.Returned = json.RawMessage(event.Raw)
		r.server.inbox.addPDU(PDU{Raw: i.Returned, Version: r.version, From: i.Dest, Via: OpInvite, Err: errUnfinished})
	}
	return i, nil
}

// errUnfinished is PDU.Err of invitations and bans on their way between two servers: one signature
// is still to come, so that they are not complete events.
var errUnfinished = fmt.Errorf("an event that is still to be signed by both sides")

// Confirm signs a returned invitation or ban for its sender, adds it to the room and sends it to
// every peer and to the target's server. It checks nothing that the target's server has changed. The
// error is a *StatusError when that server refused.
func (r *Room) Confirm(ctx context.Context, sender *User, i *Invitation) (*matrix.Event, error) {
	if i.Returned == nil {
		return nil, &StatusError{Server: i.Dest, Request: "PUT invite or ban", Response: i.Response}
	}
	e, err := matrix.ParseEvent(r.version, i.Returned)
	if err != nil {
		return nil, fmt.Errorf("the event that %s returned: %w", i.Dest, err)
	}
	for _, signer := range sender.signers(r.version, r.keyOf(sender, Draft{})) {
		e = e.WithSignature(signer)
	}
	r.Add(e)
	peers := r.Peers()
	if !slices.Contains(peers, i.Dest) && e.Membership() == "invite" {
		peers = append(peers, i.Dest)
	}
	return e, r.server.sendAll(ctx, peers, []json.RawMessage{e.JSON()}, nil)
}

// Invite invites a user of another server, honestly: offer and confirm.
func (r *Room) Invite(ctx context.Context, inviter *User, target matrix.UserID) (*matrix.Event, error) {
	return r.InviteAt(ctx, inviter, r.homeOf(target), target)
}

// InviteAt is Invite at a server that the user ID of the target does not name; see [Room.OfferInviteAt].
func (r *Room) InviteAt(ctx context.Context, inviter *User, dest matrix.ServerName, target matrix.UserID) (*matrix.Event, error) {
	i, err := r.OfferInviteAt(ctx, inviter, dest, target)
	if err != nil {
		return nil, err
	}
	return r.Confirm(ctx, inviter, i)
}
