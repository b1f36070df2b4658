package room

import (
	"context"
	"net/http"
	"slices"

	"countersign/matrix"
	"countersign/reference/participant"
	"countersign/reference/peer"
)

// MakeParticipation answers make_participation: a template of a request of origin's server to participate,
// which this server will authorise. user is who asks, as the room names users; in rooms of MSC4345 the
// user ID has the server key that the request is about, in rooms of MSC4348 it has none and the state key
// is left empty (D-34). versions are the room versions that origin supports. Errors are *peer.Error.
func (g *Engine) MakeParticipation(origin matrix.ServerName, roomID string, user matrix.UserID, versions []string) (Template, error) {
	r, err := g.askedRoom(roomID, origin)
	if err != nil {
		return Template{}, err
	}
	if !r.version.HasParticipation() {
		return Template{}, peer.Errorf(http.StatusBadRequest, "M_UNRECOGNIZED", "servers do not request to participate in rooms of version %s", r.version.ID)
	}
	if !slices.Contains(versions, r.version.ID) && !g.Defects.Has("IgnoreTheRequestersVersions") {
		return Template{}, incompatible(r.version, origin)
	}
	if _, err := r.version.ParseUserID(string(user)); err != nil {
		return Template{}, g.withVersion(r, peer.InvalidParam("%v", err))
	}
	if err := g.checkMayRequest(r, user); err != nil {
		return Template{}, err
	}
	return g.participationTemplateFor(r, origin, user)
}

func incompatible(v matrix.RoomVersion, origin matrix.ServerName) *peer.Error {
	e := peer.Errorf(http.StatusBadRequest, "M_INCOMPATIBLE_ROOM_VERSION", "the room has version %s, which %s does not support", v.ID, origin)
	e.Extra = map[string]any{"room_version": v.ID}
	return e
}

// withVersion adds to a refusal of a handshake in a room with participation of which version the room is:
// who asks cannot tell from the room ID which form of user ID to use.
func (g *Engine) withVersion(r *liveRoom, err error) error {
	e := peer.AsError(err)
	if !r.version.HasParticipation() || e.Status >= http.StatusInternalServerError {
		return err
	}
	refusal := *e
	refusal.Extra = map[string]any{"room_version": r.version.ID}
	return &refusal
}

// checkMayRequest is who may not even request (MSC4345, make_participation): users who are banned and,
// where that is how the room is entered, users who are not invited.
func (g *Engine) checkMayRequest(r *liveRoom, user matrix.UserID) error {
	membership, rule := "leave", "invite"
	if e := g.currentEvent(r.id, "m.room.member", string(user)); e != nil {
		membership = e.Membership()
	}
	if e := g.currentEvent(r.id, "m.room.join_rules", ""); e != nil {
		rule = e.Get("join_rule").String()
	}
	membership = g.mistakenGuest(r, user, membership)
	switch {
	case membership == "ban" && !g.Defects.Has("LetBannedUsersRequest"):
		return g.withVersion(r, peer.Forbidden("%s is banned", user))
	case rule == "invite" && membership != "invite" && membership != "join" && !g.Defects.Has("LetUninvitedUsersRequest"):
		return g.withVersion(r, peer.Forbidden("%s is not invited", user))
	}
	return nil
}

// participationTemplateFor builds the template, as far as the rules would allow the event.
func (g *Engine) participationTemplateFor(r *liveRoom, origin matrix.ServerName, user matrix.UserID) (Template, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	// D-34: in rooms of MSC4348 only the asking server knows its key. Whether a request would be allowed
	// does not depend on it, as long as the room does not know the key; any other will do to find out.
	subject, stateKey := user.Domain(), string(user.Domain())
	if r.version.HasPortableAccounts() {
		subject, stateKey = matrix.ServerName(user.Localpart()), ""
	}
	d := Draft{
		Type: matrix.ParticipationType, StateKey: matrix.StateKey(string(subject)),
		Content: requestTemplateContent(g.ownName(r)),
	}
	if g.isBusy(r, origin) {
		return Template{}, peer.Forbidden("another server waits")
	}
	if g.keepsOut(r, origin) {
		return Template{}, peer.Forbidden("a server of %s was revoked", origin)
	}
	p, err := g.template(r, user, subject, d)
	if err != nil {
		return Template{}, err
	}
	trial, err := p.Build(r.version)
	if err != nil {
		return Template{}, err
	}
	err = g.view(func(events source) error {
		return forbidden(r.settledBy(events).Authorise(trial, events.state(r.current)))
	})
	if err != nil && !g.Defects.Has("GiveTemplatesToAnybody") {
		return Template{}, g.withVersion(r, err)
	}
	p.StateKey, p.Content = &stateKey, g.mistakenRequestContent(g.ownName(r))
	unsigned, err := p.Build(r.version)
	if err != nil {
		return Template{}, err
	}
	return Template{Event: unsigned.JSON(), RoomVersion: r.version.ID}, nil
}

// SendParticipation answers send_participation. name is the last part of the path: D-33, the event's ID as
// in send_join, or the sender's user ID as the proposal's heading has it. The answer is that of send_join.
// Errors are *peer.Error; nothing is signed then.
func (g *Engine) SendParticipation(ctx context.Context, origin matrix.ServerName, roomID, name string, pdu []byte) (Sent, error) {
	ctx, cancel := context.WithTimeout(ctx, receiveTimeout)
	defer cancel()
	r, err := g.askedRoom(roomID, origin)
	if err != nil {
		return Sent{}, err
	}
	if !r.version.HasParticipation() {
		return Sent{}, peer.Errorf(http.StatusBadRequest, "M_UNRECOGNIZED", "servers do not request to participate in rooms of version %s", r.version.ID)
	}
	e, err := g.admitRequest(ctx, r, origin, name, pdu)
	if err != nil {
		if sent, mistaken := g.mistakenCosigning(r, origin, pdu); mistaken {
			return sent, nil
		}
		return Sent{}, err
	}
	if err := g.checkMayRequest(r, e.Sender()); err != nil {
		return Sent{}, err
	}
	if err := g.checkOwnership(ctx, origin, e); err != nil {
		return Sent{}, err
	}
	own, ok := g.ServerKeys.Current(r.id)
	if !ok {
		return Sent{}, peer.Forbidden("this server does not participate in the room any more")
	}
	signed := e.WithSignature(own.Signer())
	if !g.Defects.Has("AuthoriseRequestsUnsigned") {
		e = signed
	}
	before, err := g.acceptHandshake(ctx, r, origin, e)
	if err != nil {
		return Sent{}, err
	}
	answer, err := g.joinAnswer(r, signed, before)
	if g.Defects.Has("LeaveTheRequestOutOfAnswers") {
		answer.Event = nil
	}
	return answer, err
}

// admitRequest checks that an event is a request that this server may authorise, and signed by the key
// that it is about, and in rooms of MSC4348 by its sender's account key.
func (g *Engine) admitRequest(ctx context.Context, r *liveRoom, origin matrix.ServerName, name string, pdu []byte) (*matrix.Event, error) {
	e, err := matrix.ParseEvent(r.version, pdu)
	if err != nil {
		return nil, peer.BadJSON("%v", err)
	}
	subject, _ := e.StateKey()
	domain, hasDomain := e.UnverifiedDomain()
	switch {
	case !e.IsParticipation() || e.Participation() != matrix.Requested:
		return nil, peer.InvalidParam("the event is not a request to participate")
	case e.RoomID() != r.id:
		return nil, peer.InvalidParam("the event is of another room")
	case name != e.ID() && name != string(e.Sender()):
		return nil, peer.InvalidParam("the path names neither the event, which is %s, nor its sender", e.ID())
	case !e.HashOK():
		return nil, peer.InvalidParam("the event's content hash does not match")
	case e.RequestAuthorisedVia() != g.ownName(r):
		return nil, peer.Forbidden("request_authorised_via_server is not this server's key in the room")
	case !hasDomain || domain != origin:
		return nil, peer.Forbidden("the event's unverified_domain is not %s", origin)
	case (!r.version.HasPortableAccounts() || g.Defects.Has("ReadServersFromUserIDs")) && e.Sender().Domain() != matrix.ServerName(subject):
		return nil, peer.Forbidden("the event's sender is not a user of the server that it is about")
	}
	if e, err = g.admit(ctx, r.version, pdu); err != nil {
		return nil, peer.Forbidden("%v", err)
	}
	if err := e.VerifyServerKey(matrix.ServerName(subject)); err != nil {
		return nil, peer.Forbidden("the key that the event is about has not signed it: %v", err)
	}
	return e, nil
}

// checkOwnership is "the resident server SHOULD verify that the requesting server is claiming ownership of
// the provided server key" (MSC4345, send_participation).
func (g *Engine) checkOwnership(ctx context.Context, origin matrix.ServerName, e *matrix.Event) error {
	subject, _ := e.StateKey()
	claim := participant.Claim{Key: matrix.ServerName(subject), Domain: origin}
	if !g.Domains.Confirm(ctx, claim) && !g.Defects.Has("AskNobodyWhoseKeyItIs") {
		return peer.Forbidden("%s does not say that the key %s is its own", origin, subject)
	}
	return nil
}

// requestTemplateContent is what a request's template says; the asking server adds its domain.
func requestTemplateContent(via matrix.ServerName) []byte {
	return []byte(`{"participation":"requested","request_authorised_via_server":"` + string(via) + `"}`)
}
