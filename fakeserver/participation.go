package fakeserver

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// Participates is the draft of an event about the participation of a server, named by its key. [Room.Asks],
// [Room.Accepts] and [Room.Revokes] draft the events of an honest history.
func Participates(server matrix.ServerName, p matrix.Participation) Draft {
	return State(matrix.ParticipationType, string(server), map[string]any{"participation": p})
}

// Through returns a copy of the draft that is sent through a server key: in rooms of MSC4345 by the user of
// that key, in rooms of MSC4348 co-signed by it. It need not be one that the server holds.
func (d Draft) Through(key matrix.ServerKeyPair) Draft {
	d.ServerKey = key
	return d
}

// AuthorisedBy returns a copy of the draft of a request that names a server as the one that authorises it,
// and has that server sign too. Without it [Room.Asks] names the key of the room.
func (d Draft) AuthorisedBy(key matrix.ServerKeyPair) Draft {
	d = d.With("request_authorised_via_server", key.Key().Name())
	d.Authorising = key
	return d
}

// Asks drafts the request of a server key, which the server holds from now on, and through which any user
// sends it: the key's owner can be reached
// at the domain of this room's server, and the request is authorised by the key of the room, which signs as
// well (MSC4345, "Requested participation").
func (r *Room) Asks(key matrix.ServerKeyPair) Draft {
	r.server.HoldServerKey(key)
	return Participates(key.Key().Name(), matrix.Requested).With("unverified_domain", r.server.name).
		Through(key).AuthorisedBy(r.Key())
}

// Accepts drafts the acceptance of a server. The domain is the one that the server has requested with
// (MSC4345, "Accepted participation"); it is left out when there is no request, or none in it.
func (r *Room) Accepts(server matrix.ServerName) Draft {
	return accepting(server, r.State(matrix.ParticipationType, string(server)))
}

func accepting(server matrix.ServerName, request *matrix.Event) Draft {
	d := Participates(server, matrix.Accepted)
	if request == nil || !request.Get("unverified_domain").Exists() {
		return d
	}
	return d.With("unverified_domain", json.RawMessage(request.Get("unverified_domain").Raw))
}

// Revokes drafts the revocation of a server. A server revokes itself when it is sent through its own key.
func (r *Room) Revokes(server matrix.ServerName) Draft { return Participates(server, matrix.Revoked) }

// Ask has another server key of this server request to participate, by way of the room's own key. The
// user, who sends the request, need not be in the room.
func (r *Room) Ask(ctx context.Context, u *User, key matrix.ServerKeyPair) (*matrix.Event, error) {
	return r.Send(ctx, u, r.Asks(key))
}

// Accept has an admin accept a server that has requested, and sends the event to the room and to the
// domain of that server.
func (r *Room) Accept(ctx context.Context, admin *User, server matrix.ServerName) (*matrix.Event, error) {
	return r.Send(ctx, admin, r.Accepts(server))
}

// Revoke has an admin revoke a server, and sends the event to the room and to the domain of that server.
func (r *Room) Revoke(ctx context.Context, admin *User, server matrix.ServerName) (*matrix.Event, error) {
	return r.Send(ctx, admin, r.Revokes(server))
}

// RevokeSelf has a server key revoke itself. The user, who sends the event, need not be in the room; the
// key's owner needs no power (MSC4345, "Revoked participation").
func (r *Room) RevokeSelf(ctx context.Context, u *User, key matrix.ServerKeyPair) (*matrix.Event, error) {
	return r.Send(ctx, u, r.Revokes(key.Key().Name()).Through(key))
}

// Admit brings another server key of this server into the room, ready to act: it requests by way of the
// room's own key, and the admin accepts it. Both events are sent.
func (r *Room) Admit(ctx context.Context, admin *User, key matrix.ServerKeyPair) error {
	if _, err := r.Ask(ctx, admin, key); err != nil {
		return fmt.Errorf("requesting for %s: %w", key.Key(), err)
	}
	if _, err := r.Accept(ctx, admin, key.Key().Name()); err != nil {
		return fmt.Errorf("accepting %s: %w", key.Key(), err)
	}
	return nil
}

// AcceptRequests has an admin accept every server from now on as soon as it requests to participate, before it is
// answered; nil stops it. So a homeserver that asks by way of this server can join at once.
func (r *Room) AcceptRequests(admin *User) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepts = admin
}

// acceptAtOnce accepts the server that has just requested, if somebody is to.
func (r *Room) acceptAtOnce(e *matrix.Event) error {
	if !e.IsParticipation() || e.Participation() != matrix.Requested {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.accepts == nil || r.state.participation(matrix.ServerName(e.Tuple().StateKey)) != matrix.Requested {
		return nil
	}
	accepted, err := r.newEvent(r.accepts, accepting(matrix.ServerName(e.Tuple().StateKey), e))
	if err != nil {
		return fmt.Errorf("accepting %s: %w", e.Tuple().StateKey, err)
	}
	recipients := r.recipients(accepted)
	r.add(accepted)
	r.passOn(accepted, recipients)
	return nil
}

// DraftOf drafts the honest event of a kind that only rooms with participation have: the request of a new server
// key, the acceptance of the cast's server that has requested, or the revocation of its other server. The error
// says what the cast lacks; see [NamedForgery.Parties].
func (r *Room) DraftOf(kind Kind) (Draft, error) {
	if kind == RequestEvent {
		return r.Asks(NewServerKey()), nil
	}
	c := r.Cast()
	switch {
	case kind == AcceptEvent && isKey(c.RequestedServer):
		return r.Accepts(c.RequestedServer.Key().Name()), nil
	case kind == RevokeEvent && isKey(c.OtherServer):
		return r.Revokes(c.OtherServer.Key().Name()), nil
	case kind == AcceptEvent, kind == RevokeEvent:
		return Draft{}, fmt.Errorf("this server holds no key in %s that could be accepted, or revoked", r.id)
	}
	return Draft{}, fmt.Errorf("events of kind %d are not about participation", kind)
}

// Participation is what the room says of a server; empty when it says nothing.
func (r *Room) Participation(server matrix.ServerName) matrix.Participation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.participation(server)
}

// WaitParticipation waits until the room says something of a server.
func (r *Room) WaitParticipation(ctx context.Context, server matrix.ServerName, p matrix.Participation) error {
	return r.Wait(ctx, fmt.Sprintf("the participation of %s to be %q", server, p), func() bool { return r.Participation(server) == p })
}

func (m stateMap) participation(server matrix.ServerName) matrix.Participation {
	if e := m[matrix.ParticipationPlace(server)]; e != nil {
		return e.Participation()
	}
	return ""
}

// Participants are the texts of the server keys that the room says something of, in order; with any
// arguments only those of which it says one of these.
func (r *Room) Participants(only ...matrix.Participation) []matrix.ServerName {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := map[matrix.ServerName]bool{}
	for tuple, e := range r.state {
		if tuple.Type == matrix.ParticipationType && (len(only) == 0 || slices.Contains(only, e.Participation())) {
			found[matrix.ServerName(tuple.StateKey)] = true
		}
	}
	return sortedKeys(found)
}

// CoSigner is the server that must have co-signed an event of a room of MSC4348, as the text of its key:
// see [matrix.Event.Cosigner]. In rooms of MSC4345 it is the server of the sender.
func (r *Room) CoSigner(e *matrix.Event) (matrix.ServerName, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.coSigner(e)
}

func (r *Room) coSigner(e *matrix.Event) (matrix.ServerName, error) {
	if !r.version.HasPortableAccounts() {
		return e.Sender().Domain(), nil
	}
	return e.Cosigner(func(id string) *matrix.Event { return r.events[id] })
}

// VerifySender checks the signatures without which an event would be dropped: see
// [matrix.Event.VerifySender].
func (r *Room) VerifySender(e *matrix.Event) error {
	return e.VerifySender(r.Event)
}

// DomainOf is the unverified domain of the server of a user who is in the room: in rooms of MSC4345 of the
// server that the user ID names, in rooms of MSC4348 of the server that has co-signed the user's membership.
// It is empty when the room does not say.
func (r *Room) DomainOf(id matrix.UserID) matrix.ServerName {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.domainOf(id)
}

func (r *Room) domainOf(id matrix.UserID) matrix.ServerName {
	if !r.version.HasParticipation() {
		return id.Domain()
	}
	return r.state.advertised(r.serverOf(id))
}

// serverOf is the key of the server of a user who is in the room; empty when the room does not say.
func (r *Room) serverOf(id matrix.UserID) matrix.ServerName {
	if !r.version.HasPortableAccounts() {
		return id.Domain()
	}
	e := r.state[matrix.StateTuple{Type: "m.room.member", StateKey: string(id)}]
	if e == nil {
		return ""
	}
	server, err := r.coSigner(e)
	if err != nil {
		return ""
	}
	return server
}

// own reports whether a user ID of the room is that of a user of this server.
func (r *Room) own(id matrix.UserID) bool {
	if !r.version.HasParticipation() {
		return id.Domain() == r.server.name
	}
	return r.server.userThrough(id) != nil
}

// advertised is the domain at which a server says that it can be reached; empty when it does not.
func (m stateMap) advertised(server matrix.ServerName) matrix.ServerName {
	e := m[matrix.ParticipationPlace(server)]
	if e == nil {
		return ""
	}
	domain, _ := e.UnverifiedDomain()
	return domain
}

// participantPeers are the domains to which the room's events go: those of the accepted servers that have
// a joined user.
func (r *Room) participantPeers() []matrix.ServerName {
	found := map[matrix.ServerName]bool{}
	for tuple, e := range r.state {
		if tuple.Type != "m.room.member" || e.Membership() != "join" {
			continue
		}
		server := r.serverOf(matrix.UserID(tuple.StateKey))
		domain := r.state.advertised(server)
		if r.state.participation(server) == matrix.Accepted && domain != "" && domain != r.server.name && !r.ignored[domain] {
			found[domain] = true
		}
	}
	return sortedKeys(found)
}

// recipients are the servers to which an event goes: the peers of the room and, for a participation event,
// the domain of the server that it is about.
func (r *Room) recipients(e *matrix.Event) []matrix.ServerName {
	peers := r.peers()
	if !e.IsParticipation() {
		return peers
	}
	domain, ok := e.UnverifiedDomain()
	if !ok {
		domain = r.state.advertised(matrix.ServerName(e.Tuple().StateKey))
	}
	if domain != "" && domain != r.server.name && !r.ignored[domain] && !slices.Contains(peers, domain) {
		peers = append(peers, domain)
	}
	return peers
}

// acceptance is the latest event that this server was sent which accepts a server key in a room that it
// may not be in; empty when there was none.
func (s *Server) acceptance(roomID string, server matrix.ServerName) (eventID string) {
	for _, p := range slices.Backward(s.PDUs()) {
		if p.Event != nil && p.Event.RoomID() == roomID && p.Event.IsState(matrix.ParticipationType, string(server)) &&
			p.Event.Participation() == matrix.Accepted {
			return p.Event.ID()
		}
	}
	return ""
}

// known is an event of a room that this server has, or was sent when it was not in the room; nil for any other.
func (s *Server) known(roomID, eventID string) *matrix.Event {
	if r := s.Room(roomID); r != nil {
		if e := r.Event(eventID); e != nil {
			return e
		}
	}
	for _, p := range s.PDUs() {
		if p.Event != nil && p.Event.ID() == eventID {
			return p.Event
		}
	}
	return nil
}

// WaitAcceptance waits until this server is told, by anyone, that a server key was accepted in a room that
// it has asked to participate in, and returns the event.
func (s *Server) WaitAcceptance(ctx context.Context, roomID string, server matrix.ServerName) (PDU, error) {
	return s.WaitPDU(ctx, IsParticipation(roomID, server, matrix.Accepted))
}

// IsParticipation matches events, for [Server.WaitPDU], that give a server a participation in a room. An
// empty room, server or participation is any.
func IsParticipation(roomID string, server matrix.ServerName, p matrix.Participation) func(PDU) bool {
	same := func(want string, got gjson.Result) bool { return want == "" || want == got.String() }
	return func(pdu PDU) bool {
		return pdu.Type() == matrix.ParticipationType && same(roomID, pdu.Get("room_id")) &&
			same(string(server), pdu.Get("state_key")) && same(string(p), pdu.Get("content.participation"))
	}
}
