package room

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/store"
)

// Handshake is one of the three that a server without a user in a room uses to have a membership event
// accepted: it asks a resident server for a template, signs it, and hands it back.
type Handshake string

// The handshakes, named as in the paths of the server-server API (make_join, send_join, ...).
const (
	JoinHandshake  Handshake = "join"
	KnockHandshake Handshake = "knock"
	LeaveHandshake Handshake = "leave"
)

// Template is the answer of make_join, make_knock and make_leave.
type Template struct {
	Event       json.RawMessage `json:"event"`
	RoomVersion string          `json:"room_version"`
}

// Make answers make_join, make_knock and make_leave for a user of origin. versions are the room
// versions that origin supports; they are not looked at for leaving. In rooms with account keys user
// must be an account key user ID (D-03: the resident answers as the room version wants it).
func (g *Engine) Make(origin matrix.ServerName, h Handshake, roomID string, user matrix.UserID, versions []string) (Template, error) {
	r, err := g.hostedRoom(roomID, origin)
	if err != nil {
		return Template{}, err
	}
	if h != LeaveHandshake && !slices.Contains(versions, r.version.ID) && !g.Defects.Has("IgnoreTheJoinersVersions") {
		return Template{}, incompatible(r.version, origin)
	}
	server, err := r.serverOfOrigin(origin, user)
	if err != nil {
		return Template{}, g.withVersion(r, err)
	}
	if r.version.Identity == matrix.AccountKeyIdentity {
		if _, err := user.AccountKey(); err != nil {
			return Template{}, peer.InvalidParam("in this room users have account key user IDs: %v", err)
		}
	}
	if h == KnockHandshake && r.version.HasParticipation() && g.Defects.Has("DropKnocksForRequests") {
		return Template{}, peer.Errorf(http.StatusNotFound, "M_UNRECOGNIZED", "servers request to participate here")
	}
	content := map[string]any{"membership": string(h)}
	if h == JoinHandshake && g.isJoinedElsewhere(r, user) {
		return Template{}, peer.Forbidden("%s is in the room", user)
	}
	if h == JoinHandshake {
		authoriser, err := g.authoriserFor(r, user)
		if err != nil {
			return Template{}, err
		}
		if authoriser != "" {
			content["join_authorised_via_users_server"] = authoriser
		}
	}
	return g.makeTemplate(r, user, server, content)
}

// hostedRoom is a room that this server is in and that origin may speak to it about.
func (g *Engine) hostedRoom(roomID string, origin matrix.ServerName) (*liveRoom, error) {
	r, err := g.live(roomID)
	if err != nil {
		return nil, err
	}
	if r == nil || !g.inRoom(r) {
		return nil, peer.NotFound("this server is not in the room %s", roomID)
	}
	return r, g.checkACL(roomID, origin)
}

// serverOfOrigin is the server, as the room names servers, for which origin asks for a template for a user.
// In rooms with participation it is one that was accepted and says that it is of origin's domain, and
// nobody else is served (MSC4345, "The request participation handshake": joins and knocks are sent where
// the server is accepted). User IDs of MSC4348 name no server, so that it is the latest one of the domain.
func (r *liveRoom) serverOfOrigin(origin matrix.ServerName, user matrix.UserID) (matrix.ServerName, error) {
	if _, err := r.version.ParseUserID(string(user)); err != nil {
		return "", peer.InvalidParam("%v", err)
	}
	if !r.version.HasParticipation() {
		if user.Domain() != origin {
			if r.settled.Defects().Has("RefuseOtherDomainsAsInvalid") {
				return "", peer.InvalidParam("%s is not a user of %s", user, origin)
			}
			return "", peer.Forbidden("%s is not a user of %s", user, origin)
		}
		return origin, nil
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	server := user.Domain()
	if r.version.HasPortableAccounts() {
		server = r.serverOfDomain(origin)
	}
	if err := r.checkAccepted(origin, server); err != nil && !r.settled.Defects().Has("ServeServersThatAreNotAccepted") {
		return "", err
	}
	return server, nil
}

// checkAccepted asks that a server is accepted and says that it is of a domain. r.mutex is held.
func (r *liveRoom) checkAccepted(origin, server matrix.ServerName) error {
	if got := r.roster.participation(server); got != matrix.Accepted {
		if r.settled.Defects().Has("RefuseOutsidersWithNotFound") {
			return peer.NotFound("the server is not in the room")
		}
		return peer.Forbidden("the participation of %s in the room is %q, not accepted", origin, got)
	}
	if r.roster.domain(server) != origin {
		return peer.Forbidden("the server %s does not say that it is %s", server, origin)
	}
	return nil
}

// makeTemplate builds a member event of a user of another server, as far as the rules would allow it.
func (g *Engine) makeTemplate(r *liveRoom, user matrix.UserID, server matrix.ServerName, content map[string]any) (Template, error) {
	body, err := json.Marshal(content)
	if err != nil {
		return Template{}, err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	p, err := g.template(r, user, server, Draft{Type: "m.room.member", StateKey: matrix.StateKey(string(user)), Content: body})
	if err != nil {
		return Template{}, err
	}
	unsigned, err := p.Build(r.version)
	if err != nil {
		return Template{}, err
	}
	err = g.view(func(events source) error {
		return forbidden(r.settledBy(events).Authorise(unsigned, events.state(r.current)))
	})
	if err != nil && r.version.HasParticipation() && g.Defects.Has("ServeServersThatAreNotAccepted") {
		err = nil
	}
	if err != nil {
		return Template{}, err
	}
	return Template{Event: unsigned.JSON(), RoomVersion: r.version.ID}, nil
}

// Sent is what a server gets for the member event that it has completed and signed.
type Sent struct {
	// Event is the event as it was accepted, with the signature of whoever authorised a restricted join.
	Event json.RawMessage `json:"event,omitempty"`
	// State and AuthChain are the room before a join.
	State     []json.RawMessage `json:"state,omitempty"`
	AuthChain []json.RawMessage `json:"auth_chain,omitempty"`
	// Origin is this server. MembersOmitted is false unless the members are left out, and ServersInRoom
	// empty, too, in rooms without participation; see WithoutMembers.
	Origin         matrix.ServerName   `json:"origin,omitempty"`
	MembersOmitted *bool               `json:"members_omitted,omitempty"`
	ServersInRoom  []matrix.ServerName `json:"servers_in_room,omitempty"`
	// KnockState is what somebody who knocks may see of the room.
	KnockState []json.RawMessage `json:"knock_room_state,omitempty"`
}

// SendHandshake answers send_join, send_knock and send_leave. Errors are *peer.Error.
func (g *Engine) SendHandshake(ctx context.Context, origin matrix.ServerName, h Handshake, roomID, eventID string, pdu []byte) (Sent, error) {
	ctx, cancel := context.WithTimeout(ctx, receiveTimeout)
	defer cancel()
	r, err := g.hostedRoom(roomID, origin)
	if err != nil {
		return Sent{}, err
	}
	e, err := g.admitHandshake(ctx, r, origin, h, eventID, pdu)
	if err != nil {
		return Sent{}, err
	}
	if err := g.checkSentThrough(r, origin, e); err != nil {
		return Sent{}, err
	}
	if e, err = g.cosignJoin(r, h, e); err != nil {
		return Sent{}, err
	}
	if h == JoinHandshake && r.version.Identity == matrix.AccountKeyIdentity && g.Defects.Has("SignOrdinaryJoins") {
		e = e.WithSignature(g.ServerKey)
	}
	before, err := g.acceptHandshake(ctx, r, origin, e)
	if err != nil {
		return Sent{}, err
	}
	switch h {
	case JoinHandshake:
		return g.joinAnswer(r, e, before)
	case KnockHandshake:
		state, err := g.PublicState(roomID)
		return Sent{KnockState: rawEvents(state)}, err
	}
	return Sent{}, nil
}

// admitHandshake checks that the event is what the handshake is for, and signed.
func (g *Engine) admitHandshake(ctx context.Context, r *liveRoom, origin matrix.ServerName, h Handshake, eventID string, pdu []byte) (*matrix.Event, error) {
	e, err := matrix.ParseEvent(r.version, pdu)
	if err != nil {
		return nil, peer.BadJSON("%v", err)
	}
	stateKey, isState := e.StateKey()
	switch {
	case e.Type() != "m.room.member" || !isState || e.Membership() != string(h):
		return nil, peer.InvalidParam("the event is not a member event with membership %s", h)
	case stateKey != string(e.Sender()) && !g.Defects.Has("LetUsersRemoveOthers"):
		return nil, peer.InvalidParam("the event's sender and state_key differ")
	case e.RoomID() != r.id:
		return nil, peer.InvalidParam("the event is of another room")
	case !r.version.HasParticipation() && e.Sender().Domain() != origin && !g.Defects.Has("TakeHandshakesOfOtherDomains"):
		return nil, peer.Forbidden("the event's sender is not a user of %s", origin)
	case e.ID() != eventID:
		return nil, peer.InvalidParam("the event's ID is %s, not %s", e.ID(), eventID)
	case !e.HashOK():
		return nil, peer.InvalidParam("the event's content hash does not match")
	}
	if e, err = g.admit(trusting(ctx, "TrustHandshakes"), r.version, pdu); err != nil {
		return nil, peer.Forbidden("%v", err)
	}
	return e, nil
}

// checkSentThrough asks, in rooms with participation, that the server which a membership event comes into
// the room through is accepted, and says that it is origin.
func (g *Engine) checkSentThrough(r *liveRoom, origin matrix.ServerName, e *matrix.Event) error {
	if !r.version.HasParticipation() {
		return nil
	}
	server, ok := g.serverOf(e)
	if !ok {
		return peer.Forbidden("the event cites no participation of a server that has co-signed it")
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if err := r.checkAccepted(origin, server); err != nil && !g.letsIn(r, server, e) {
		return err
	}
	return nil
}

// acceptHandshake puts the event through all the checks, and sends it to the other servers in the
// room. It returns the state before the event.
func (g *Engine) acceptHandshake(ctx context.Context, r *liveRoom, origin matrix.ServerName, e *matrix.Event) (State, error) {
	if err := g.process(ctx, r, origin, e); err != nil {
		return State{}, peer.Forbidden("%v", err)
	}
	k := g.lookup(e.ID())
	if k == nil || k.outcome != Accepted {
		return State{}, peer.Forbidden("the event is not allowed by the room's current state")
	}
	r.mutex.Lock()
	servers := g.destinations(r, e, origin)
	r.mutex.Unlock()
	err := g.DB.Update(func(tx *store.Tx) error { return g.Outbox.QueuePDU(tx, servers, e.ID()) })
	if err != nil {
		return State{}, err
	}
	g.Outbox.Flush(servers)
	return g.StateBefore(r.id, e.ID())
}

// joinAnswer is the answer of send_join: the room before the join, and the auth chain of all that.
func (g *Engine) joinAnswer(r *liveRoom, e *matrix.Event, before State) (Sent, error) {
	omitted := false
	sent := Sent{Event: e.JSON(), Origin: g.ServerName, MembersOmitted: &omitted}
	if r.version.HasParticipation() {
		r.mutex.Lock()
		sent.ServersInRoom = r.domains()
		r.mutex.Unlock()
	}
	err := g.view(func(events source) error {
		roots := []string{e.ID()}
		for _, id := range before.All() {
			k := events.find(id)
			if k == nil {
				return errDamaged
			}
			sent.State = append(sent.State, g.mistakenState(k.Event))
			roots = append(roots, id)
		}
		if g.Defects.Has("ReverseTheState") {
			slices.Reverse(sent.State)
		}
		if g.Defects.Has("RepeatTheStateInTheAuthChain") {
			sent.AuthChain = append(sent.AuthChain, sent.State...)
		}
		for _, a := range events.authChain(roots) {
			sent.AuthChain = append(sent.AuthChain, a.JSON())
		}
		return nil
	})
	return sent, err
}

// authChain is everything that authorises some events, directly or not, without the events themselves
// unless they authorise each other; the create event of the room is part of it.
func (s source) authChain(ids []string) (chain []*matrix.Event) {
	seen := map[string]bool{}
	queue := slices.Clone(ids)
	push := func(e *matrix.Event) {
		for _, id := range append(slices.Clone(e.AuthEvents()), createEventID(e)) {
			if id != "" && !seen[id] {
				seen[id] = true
				if a := s.Event(id); a != nil {
					chain = append(chain, a)
				}
			}
		}
	}
	for _, id := range queue {
		if e := s.Event(id); e != nil {
			push(e)
		}
	}
	for i := 0; i < len(chain); i++ {
		push(chain[i])
	}
	return chain
}

// createEventID is the ID of the create event of an event's room, which the room ID implies; empty for
// the create event itself.
func createEventID(e *matrix.Event) string {
	if e.IsCreate() || len(e.RoomID()) < 2 {
		return ""
	}
	return "$" + e.RoomID()[1:]
}
