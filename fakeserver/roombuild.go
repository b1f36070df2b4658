package fakeserver

import (
	"fmt"
	"slices"
	"time"

	"countersign/matrix"
)

// NewEvent builds an honest event. It is not added to the room and not sent. The error says what the
// draft lacks, or why what it asks for is not a valid event; [Room.Forge] builds such events too.
func (r *Room) NewEvent(sender *User, d Draft) (*matrix.Event, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newEvent(sender, d)
}

func (r *Room) newEvent(sender *User, d Draft) (*matrix.Event, error) {
	p, err := r.authored(sender, d)
	if err != nil {
		return nil, err
	}
	forged, err := Forge(p, Forgery{})
	if err != nil {
		return nil, err
	}
	return forged.Event()
}

// authored is what a user has to send, with the key through which it is sent.
func (r *Room) authored(sender *User, d Draft) (Proto, error) {
	key := r.keyOf(sender, d)
	p, err := r.proto(sender.IDThrough(r.version, key), key.Key(), d)
	return Proto{
		ProtoEvent: p, Version: r.version, Author: sender, CoSigners: d.CoSigners, ServerKey: key, Authorising: d.Authorising,
	}, err
}

// SetCast chooses the others whom forgeries in this room can name.
func (r *Room) SetCast(c Cast) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cast = c
}

// Cast is the cast as SetCast has chosen it, with the servers that the room chooses where it has left them open: for
// forgeries of [Petition.Forge], and for the keys of the parties.
func (r *Room) Cast() Cast {
	r.mu.Lock()
	c := r.cast
	r.mu.Unlock()
	if r.version.HasParticipation() {
		r.castServers(&c)
	}
	return c
}

// Forge builds an event with a deviation. It is not added to the room and not sent.
func (r *Room) Forge(sender *User, d Draft, f Forgery) (Forged, error) {
	var cast Cast
	if !f.honest() {
		var err error
		if cast, err = r.fullCast(sender, d.CoSigners); err != nil {
			return Forged{}, err
		}
	}
	r.mu.Lock()
	p, err := r.authored(sender, d)
	p.Cast = cast
	madeUp := ""
	if err == nil && f.Cite == MadeUpParticipation {
		madeUp, err = r.makeUp(p, f, d)
	}
	r.mu.Unlock()
	if err != nil {
		return Forged{}, err
	}
	if d.AuthEvents == nil {
		p.authEvents = func(s selection) []string {
			r.mu.Lock()
			defer r.mu.Unlock()
			s.resolved, s.madeUp = d.Resolved, madeUp
			return r.selectAuthEvents(p.PrevEvents, s)
		}
	}
	return Forge(p, f) // without the lock: the cast may name a room
}

// ForgeTemplates makes the TemplateEdits of a forgery to the events that make_join, make_knock and
// make_leave are answered with from now on. Of the templates the requested user ID is known, by the
// name of {requested}.
func (r *Room) ForgeTemplates(f Forgery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.templates = f
}

// Plant makes an event part of what a server learns that joins the room: of the state, if it is a
// state event, in place of the one that the room has there, and otherwise of the auth chain. It is
// served when its ID is asked for. The room's own events neither follow nor cite it.
func (r *Room) Plant(f Forged) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.planted = append(r.planted, f)
	if r.events[f.EventID] == nil {
		r.served[f.EventID] = f.PDU
	}
}

// fullCast fills in whom SetCast has left open.
func (r *Room) fullCast(sender *User, cosigners []*User) (Cast, error) {
	r.mu.Lock()
	c := r.cast
	if c.Victim == "" {
		c.Victim = r.victim()
	}
	for _, u := range r.server.Users() {
		if c.Other == nil && u != sender && !slices.Contains(cosigners, u) && r.state.membership(r.UserID(u)) == "join" {
			c.Other = u
		}
	}
	r.mu.Unlock()
	if r.version.HasParticipation() {
		r.castServers(&c)
	}
	return r.server.fillCast(c)
}

// fillCast makes those of a cast who have to exist, and nothing more.
func (s *Server) fillCast(c Cast) (Cast, error) {
	var err error
	if c.Other == nil {
		if c.Other, err = s.extra("other"); err != nil {
			return c, err
		}
	}
	if c.Stranger == nil {
		c.Stranger, err = s.extra("stranger")
	}
	return c, err
}

// castServers fills in which servers SetCast has left open. Of the keys that this server holds, the room
// knows which are other accepted servers, which have only requested, and which were revoked.
func (r *Room) castServers(c *Cast) {
	own := r.Key().Key().Name()
	r.mu.Lock()
	for _, pair := range r.server.ServerKeys() {
		place := map[matrix.Participation]*matrix.ServerKeyPair{
			matrix.Accepted: &c.OtherServer, matrix.Requested: &c.RequestedServer, matrix.Revoked: &c.RevokedServer,
		}[r.state.participation(pair.Key().Name())]
		if place != nil && !isKey(*place) && pair.Key().Name() != own {
			*place = pair
		}
	}
	if c.VictimServer == "" && c.Victim != "" {
		c.VictimServer = r.serverOf(matrix.UserID(c.Victim))
	}
	r.mu.Unlock()
	if !isKey(c.UnknownServer) {
		c.UnknownServer = NewServerKey()
	}
	if !isKey(c.ForeignServer) && c.OtherRoom != nil {
		c.ForeignServer = c.OtherRoom.Key()
	}
}

// victim is the room's creator, or else the first joined member, of another server; empty when there
// is none.
func (r *Room) victim() string {
	var first string
	for _, e := range r.state.list() {
		key, _ := e.StateKey()
		switch {
		case e.IsCreate() && !r.own(e.Sender()):
			return string(e.Sender())
		case r.own(matrix.UserID(key)):
		case e.Type() == "m.room.member" && e.Membership() == "join" && first == "":
			first = key
		}
	}
	return first
}

// proto fills in what a draft leaves empty. The server is the one that sends the event, where the version
// has server keys.
func (r *Room) proto(sender matrix.UserID, server matrix.ServerKey, d Draft) (matrix.ProtoEvent, error) {
	content, err := d.content()
	if err != nil {
		return matrix.ProtoEvent{}, err
	}
	p := matrix.ProtoEvent{
		Type: d.Type, StateKey: d.StateKey, Sender: sender, RoomID: r.id, Content: content,
		PrevEvents: d.PrevEvents, AuthEvents: d.AuthEvents, Depth: d.Depth, Unsigned: d.Unsigned,
	}
	if p.PrevEvents == nil {
		p.PrevEvents = slices.Clone(r.extremities)
		if len(p.PrevEvents) > matrix.MaxPrevEvents {
			p.PrevEvents = p.PrevEvents[:matrix.MaxPrevEvents]
		}
	}
	if p.AuthEvents == nil {
		canonical, err := matrix.CanonicalJSON(p.Content)
		if err != nil {
			return p, fmt.Errorf("content of %s: %w", d.Type, err)
		}
		p.AuthEvents = r.selectAuthEvents(p.PrevEvents, selection{eventType: p.Type, stateKey: p.StateKey, sender: p.Sender, server: server, content: canonical, resolved: d.Resolved})
	}
	if p.Depth == 0 {
		for _, id := range p.PrevEvents {
			p.Depth = max(p.Depth, r.depthOf(id))
		}
		p.Depth++
	}
	p.OriginServerTS = time.Now().UnixMilli()
	if !d.Time.IsZero() {
		p.OriginServerTS = d.Time.UnixMilli()
	}
	return p, nil
}

// selection is what the auth events of an event depend on, apart from the state.
type selection struct {
	eventType string
	stateKey  *string
	sender    matrix.UserID
	server    matrix.ServerKey // that sends the event; the zero value where the version has none
	content   []byte
	resolved  []*matrix.Event // of the draft
	cite      Citation
	madeUp    string            // the event that a forgery has made up to be cited
	other     matrix.ServerName // whose participation a forgery cites
}

// selectAuthEvents are the IDs of the events that authorise an event with these parents.
func (r *Room) selectAuthEvents(prev []string, s selection) []string {
	server := matrix.ServerName("")
	if s.server != (matrix.ServerKey{}) {
		server = s.server.Name()
	}
	state, ids := r.stateBefore(prev, s.resolved), []string{}
	for _, tuple := range r.version.AuthEventTuples(s.eventType, s.stateKey, s.sender, s.content, server) {
		if e := state[tuple]; e != nil {
			ids = append(ids, e.ID())
		}
	}
	if s.cite == CurrentParticipation {
		return ids
	}
	return r.citing(s, state, server, ids)
}

// citing is the auth events of a server's event with another citation of its participation.
func (r *Room) citing(s selection, state stateMap, server matrix.ServerName, ids []string) []string {
	if r.version.Identity == matrix.ServerKeyIdentity {
		server = s.sender.Domain()
	}
	current := state[matrix.ParticipationPlace(server)]
	if current != nil && s.cite != BothParticipations {
		ids = slices.DeleteFunc(ids, func(id string) bool { return id == current.ID() })
	}
	switch s.cite {
	case StaleParticipation:
		ids = append(ids, r.earlier(server, matrix.Accepted)...)
	case RequestOnly:
		ids = append(ids, r.earlier(server, matrix.Requested)...)
	case MadeUpParticipation:
		ids = append(ids, s.madeUp)
	case OthersParticipation, BothParticipations:
		if e := state[matrix.ParticipationPlace(s.other)]; e != nil {
			ids = append(ids, e.ID())
		}
	}
	return ids
}

// makeUp makes an acceptance known by which the server that sends an event would be in the room.
func (r *Room) makeUp(p Proto, f Forgery, d Draft) (eventID string, err error) {
	b := builder{Proto: p, Forgery: f}
	key, err := b.party(f.Through)
	if err != nil {
		return "", err
	}
	accept := Participates(key.Key().Name(), matrix.Accepted).With("unverified_domain", r.server.name).Through(key)
	accept.PrevEvents = d.PrevEvents
	e, err := r.newEvent(p.Author, accept)
	if err != nil {
		return "", fmt.Errorf("making up an acceptance: %w", err)
	}
	if r.events[e.ID()] == nil {
		r.events[e.ID()] = e
	}
	return e.ID(), nil
}

// earlier is the deepest known event by which a server had a participation, if any.
func (r *Room) earlier(server matrix.ServerName, p matrix.Participation) []string {
	var found *matrix.Event
	for _, e := range r.events {
		if e.IsState(matrix.ParticipationType, string(server)) && e.Participation() == p && (found == nil || found.Depth() < e.Depth()) {
			found = e
		}
	}
	if found == nil {
		return nil
	}
	return []string{found.ID()}
}
