package room

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

// Invite invites target, an account name user ID of this or of another server, or in rooms with
// participation a user ID of the room. content is the event's content without membership, or nil. Errors
// are *peer.Error.
func (g *Engine) Invite(ctx context.Context, roomID string, local, target matrix.UserID, content []byte) error {
	r, err := g.joinedRoom(roomID)
	if err != nil {
		return err
	}
	switch {
	case r.version.HasParticipation():
		return g.inviteParticipant(ctx, r, local, target, content)
	case target.Domain() == g.ServerName:
		return g.inviteHere(r, local, target, content)
	case r.version.HasAccountKeys():
		return g.cosignRemotely(ctx, roomID, local, target, "invite", content)
	}
	return g.inviteRemotely(ctx, r, local, target, content)
}

// inviteHere invites a user of this server. In rooms with account keys the invitee's key signs, too,
// as it does when the invitee's server is another (MSC4243, "Proposal").
func (g *Engine) inviteHere(r *liveRoom, local, target matrix.UserID, content []byte) error {
	if !g.Users.Exists(target.Localpart()) {
		return peer.NotFound("there is no user %s", target)
	}
	a, err := g.actor(r.version, r.id, local)
	if err != nil {
		return err
	}
	invitee, err := g.actor(r.version, r.id, target)
	if err != nil {
		return err
	}
	if content, err = withMembership(content, "invite"); err != nil {
		return err
	}
	var cosigners []matrix.Signer
	if r.version.Identity == matrix.AccountKeyIdentity {
		if !g.Defects.Has("OmitTheLocalInviteesSignature") {
			cosigners = append(cosigners, invitee.personal())
		}
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	_, err = g.send(r, a, Draft{Type: "m.room.member", StateKey: matrix.StateKey(string(invitee.user)), Content: content}, cosigners...)
	return err
}

// inviteRemotely invites a user of another server to a room without account keys: the event is
// complete, and the invitee's server signs it as well.
func (g *Engine) inviteRemotely(ctx context.Context, r *liveRoom, local, target matrix.UserID, content []byte) error {
	a, err := g.actor(r.version, r.id, local)
	if err != nil {
		return err
	}
	d, err := membershipDraft(target, "invite", content)
	if err != nil {
		return err
	}
	e, err := g.proposed(r, a, d)
	if err != nil {
		return err
	}
	answer, err := g.callInvite(ctx, r, target.Domain(), e)
	if err != nil {
		return handshakeError([]error{fmt.Errorf("inviting %s: %w", target, err)})
	}
	signed, err := g.admit(ctx, r.version, answer)
	if err == nil && (signed.ID() != e.ID() || !signed.HashOK()) {
		err = errors.New("it is not the event that was sent")
	}
	if err == nil {
		err = g.checkServerSignature(ctx, signed, target.Domain())
	}
	if err != nil {
		return peer.Errorf(http.StatusBadGateway, "M_UNKNOWN", "the invitation that %s returned: %v", target.Domain(), err)
	}
	return g.accept(r, signed)
}

func membershipDraft(target matrix.UserID, membership string, content []byte) (Draft, error) {
	content, err := withMembership(content, membership)
	return Draft{Type: "m.room.member", StateKey: matrix.StateKey(string(target)), Content: content}, err
}

// proposed builds an event that is allowed now, without sending it.
func (g *Engine) proposed(r *liveRoom, a actor, d Draft) (*matrix.Event, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	e, err := g.build(r, a, d)
	if err != nil {
		return nil, err
	}
	return e, g.checkLocal(r, e)
}

// accept stores and distributes an event of ours that another server has co-signed. The room may have
// moved on meanwhile, so that it is checked as a received event is.
func (g *Engine) accept(r *liveRoom, e *matrix.Event) error {
	before, hole, err := g.stateBefore(context.Background(), r, g.ServerName, e)
	if err != nil || len(hole) > 0 {
		return fmt.Errorf("the state before an event of ours cannot be found: %w", orDamaged(err))
	}
	rejection, err := g.judge(r, e, before)
	if err != nil {
		return err
	}
	lax := rejection != nil && g.Defects.Has("SkipTheRulesForReturnedKeys")
	if rejection != nil && !lax {
		return peer.Forbidden("%v", rejection)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if err := g.checkLocal(r, e); err != nil && !lax {
		return err
	}
	e, err = g.recommended(r, e)
	if err != nil {
		return err
	}
	return g.commit(r, verdict{event: e, outcome: Accepted, before: before, destinations: g.destinations(r, e)})
}

// callInvite asks the invitee's server to accept an invitation, and returns the event as it was signed
// there. An answer 404 M_UNRECOGNIZED is not retried with /v1/invite, which these room versions cannot
// be used with.
func (g *Engine) callInvite(ctx context.Context, r *liveRoom, server matrix.ServerName, e *matrix.Event) ([]byte, error) {
	state, err := g.PublicState(r.id)
	if err != nil {
		return nil, err
	}
	if g.Defects.Has("InviteWithoutRoomState") {
		state = nil
	}
	answer, err := g.callCosign(ctx, server, federationV2+peer.Path("invite", r.id, e.ID()), map[string]any{
		"event": json.RawMessage(e.JSON()), "room_version": r.version.ID, "invite_room_state": rawEvents(state),
	})
	if err != nil && g.Defects.Has("FallBackToTheFirstInviteEndpoint") {
		return g.callCosign(ctx, server, federationV1+peer.Path("invite", r.id, e.ID()), map[string]any{"event": json.RawMessage(e.JSON())})
	}
	return answer, err
}

func (g *Engine) callCosign(ctx context.Context, server matrix.ServerName, path string, request map[string]any) ([]byte, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Event json.RawMessage `json:"event"`
	}
	if err := g.call(ctx, server, peer.Call{Method: http.MethodPut, Path: path, Body: body}, &answer); err != nil {
		return nil, err
	}
	if answer.Event == nil {
		return nil, fmt.Errorf("%s returned no event", server)
	}
	return answer.Event, nil
}

// cosignRemotely invites or bans a user of another server in a room with account keys, where the
// user's key is the user's server's to tell: the event is sent with the account name user ID as its
// state key and comes back with the account key user ID, signed by that key (MSC4243, "Proposal").
func (g *Engine) cosignRemotely(ctx context.Context, roomID string, local, target matrix.UserID, membership string, content []byte) error {
	r, err := g.joinedRoom(roomID)
	if err != nil {
		return err
	}
	a, err := g.actor(r.version, r.id, local)
	if err != nil {
		return err
	}
	d, err := membershipDraft(target, membership, content)
	if err != nil {
		return err
	}
	var expected matrix.UserID
	if keys := g.Directory.KeyUserIDs(target); len(keys) > 0 && !r.version.HasParticipation() {
		expected = keys[0]
	}
	for range 2 {
		request, err := g.cosignRequest(r, a, d, expected)
		if err != nil {
			return err
		}
		signed, err := g.requestCosignature(ctx, r, a, target.Domain(), membership, request)
		if err != nil {
			return err
		}
		if expected != "" && !signed.IsState("m.room.member", string(expected)) && g.Defects.Has("RefuseSecondKeys") {
			return peer.Errorf(http.StatusBadGateway, "M_UNKNOWN", "%s has another key", target)
		}
		if got, ok := g.staleAuthEvents(r, signed); ok {
			// D-04: the key has a membership in the room which the request could not name. It can now.
			expected = got
			continue
		}
		g.verifyUsers(ctx, signed)
		if r.version.HasParticipation() {
			user, _ := signed.StateKey()
			if err := g.noteContact(r.id, matrix.UserID(user), target.Domain()); err != nil {
				return err
			}
		}
		return g.accept(r, signed)
	}
	return peer.Errorf(http.StatusConflict, "M_UNKNOWN", "%s named another key when it was asked again", target.Domain())
}

// cosignRequest is the event that asks for a key: without signatures, as it is not what will be sent
// (D-04). expected is the key that the user is known to have, if any: whether the event would be
// allowed is found out for it, and its membership is among the auth events.
func (g *Engine) cosignRequest(r *liveRoom, a actor, d Draft, expected matrix.UserID) (*matrix.Event, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	asked := d
	if expected == "" && r.version.HasParticipation() {
		expected = standIn(r.version, matrix.UserID(*d.StateKey))
	}
	if expected != "" {
		asked.StateKey = matrix.StateKey(string(expected))
	}
	e, err := g.build(r, a, asked)
	if err != nil {
		return nil, err
	}
	if err := g.checkLocal(r, e); err != nil && !g.Defects.Has("SkipTheRulesForReturnedKeys") {
		return nil, err
	}
	if expected != "" && r.version.Identity == matrix.AccountKeyIdentity && g.Defects.Has("InviteKnownKeysByKey") {
		d.StateKey = asked.StateKey
	}
	p := matrix.ProtoEvent{
		Type: e.Type(), StateKey: d.StateKey, Sender: e.Sender(), RoomID: r.id, Content: e.Content(),
		PrevEvents: e.PrevEvents(), AuthEvents: e.AuthEvents(), Depth: e.Depth(), OriginServerTS: e.OriginServerTS(),
	}
	return p.Build(r.version)
}

// requestCosignature sends the request, checks what comes back, and signs it.
func (g *Engine) requestCosignature(ctx context.Context, r *liveRoom, a actor, server matrix.ServerName, membership string, request *matrix.Event) (*matrix.Event, error) {
	var answer []byte
	var err error
	if membership == "ban" {
		answer, err = g.callCosign(ctx, server, g.banPrefix()+peer.Path("ban", r.id, request.ID()), map[string]any{
			"event": json.RawMessage(request.JSON()), "room_version": r.version.ID,
		})
		if err != nil && g.Defects.Has("BanAccountNames") {
			return request.WithSignature(a.personal()), nil
		}
	} else {
		answer, err = g.callInvite(ctx, r, server, request)
	}
	if err != nil {
		return nil, handshakeError([]error{fmt.Errorf("asking %s for the user's account key: %w", server, err)})
	}
	signed, err := g.checkCosigned(request, answer, server, membership)
	if err != nil {
		return nil, peer.Errorf(http.StatusBadGateway, "M_UNKNOWN", "the %s that %s returned is not signed: %v", membership, server, err)
	}
	for _, s := range a.signers {
		if g.Defects.Has("OmitTheInvitersSignature") {
			break
		}
		signed = signed.WithSignature(s)
	}
	return signed, nil
}

// checkCosigned compares a returned event with the request. Nothing but state_key, hashes and
// signatures may differ, or the other server would get anything signed that it likes (D-04); the state
// key must be an account key user ID of that server; and that key must have signed.
func (g *Engine) checkCosigned(request *matrix.Event, answer []byte, server matrix.ServerName, membership string) (*matrix.Event, error) {
	e, err := matrix.ParseEvent(request.Version(), answer)
	if err != nil {
		return nil, err
	}
	if !e.HashOK() {
		return nil, errors.New("its content hash does not match")
	}
	stateKey, _ := e.StateKey()
	if err := g.checkInvitee(request, e, server); err != nil {
		return nil, err
	}
	want := matrix.ProtoEvent{
		Type: request.Type(), StateKey: &stateKey, Sender: request.Sender(), RoomID: request.RoomID(),
		Content: request.Content(), PrevEvents: request.PrevEvents(), AuthEvents: request.AuthEvents(),
		Depth: request.Depth(), OriginServerTS: request.OriginServerTS(),
	}
	expected, err := want.Build(request.Version())
	if err != nil {
		return nil, err
	}
	if e.ID() != expected.ID() {
		if membership == "ban" && g.Defects.Has("SignWhateverComesBackFromABan") || membership != "ban" && g.Defects.Has("SignWhateverComesBackFromAnInvite") {
			return e, nil
		}
		return nil, errors.New("more was changed than state_key, hashes and signatures")
	}
	// The event that is sent has what was asked for and the invitee's signature, whatever else was
	// added to it.
	entity := matrix.UserID(stateKey).Localpart()
	if e.Version().Identity == matrix.ServerKeyIdentity {
		entity = string(matrix.UserID(stateKey).Domain())
	}
	signature := gjson.GetBytes(e.JSON(), "signatures."+entity+"."+gjson.Escape(string(matrix.AccountKeyID)))
	out, err := matrix.PutSignature(expected.JSON(), entity, matrix.AccountKeyID, signature.String())
	if err != nil {
		return nil, err
	}
	return matrix.ParseEvent(request.Version(), out)
}

// checkInvitee checks the state key of a returned event, and the signature of the key in it.
func (g *Engine) checkInvitee(request, e *matrix.Event, server matrix.ServerName) error {
	if e.Version().HasParticipation() {
		asked, _ := request.StateKey()
		return verifyInvitee(e, matrix.UserID(asked))
	}
	stateKey, _ := e.StateKey()
	invitee, _, err := matrix.ParseAccountKeyUserID(stateKey)
	if err != nil {
		if g.Defects.Has("TakeReturnedAccountNames") {
			return nil
		}
		return fmt.Errorf("its state_key: %w", err)
	}
	if invitee.Domain() != server && !g.Defects.Has("TakeInviteesOfOtherDomains") {
		return fmt.Errorf("its state_key is not of %s", server)
	}
	if err := e.VerifyAccountKey(invitee); err != nil && !g.Defects.Has("TakeUnsignedInvitees") {
		return err
	}
	return nil
}

// staleAuthEvents reports whether the event's target has a membership that is not among its auth
// events, or somebody else's is in its place, and who the target is.
func (g *Engine) staleAuthEvents(r *liveRoom, e *matrix.Event) (matrix.UserID, bool) {
	stateKey, _ := e.StateKey()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	id := r.current.Get(matrix.StateTuple{Type: "m.room.member", StateKey: stateKey})
	cited := id == ""
	for _, a := range e.AuthEvents() {
		k := g.lookup(a)
		if k != nil && k.Type() == "m.room.member" && !k.IsState("m.room.member", stateKey) && !k.IsState("m.room.member", string(e.Sender())) {
			return matrix.UserID(stateKey), true
		}
		cited = cited || a == id
	}
	return matrix.UserID(stateKey), !cited
}

// admitStripped checks the events that come with an invitation or a knock. Those that are not signed
// are left out.
func (g *Engine) admitStripped(ctx context.Context, v matrix.RoomVersion, roomID string, pdus []json.RawMessage) []*matrix.Event {
	events := g.admitAll(trusting(ctx, "TrustStrippedState"), v, pdus[:min(len(pdus), maxStripped)])
	kept := events[:0]
	for _, e := range events {
		if _, isState := e.StateKey(); isState && e.RoomID() == roomID {
			kept = append(kept, e)
		}
	}
	return kept
}

// maxStripped is how many state events of an invitation are looked at.
const maxStripped = 50
