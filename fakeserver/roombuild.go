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
	p, err := r.proto(sender.ID(r.version), d)
	if err != nil {
		return nil, err
	}
	forged, err := Forge(Proto{ProtoEvent: p, Version: r.version, Author: sender, CoSigners: d.CoSigners}, Forgery{})
	if err != nil {
		return nil, err
	}
	return forged.Event()
}

// SetCast chooses the others whom forgeries in this room can name.
func (r *Room) SetCast(c Cast) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cast = c
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
	proto, err := r.proto(sender.ID(r.version), d)
	r.mu.Unlock()
	if err != nil {
		return Forged{}, err
	}
	p := Proto{ProtoEvent: proto, Version: r.version, Author: sender, CoSigners: d.CoSigners, Cast: cast}
	if d.AuthEvents == nil {
		p.authEvents = func(eventType string, stateKey *string, sender matrix.UserID, content []byte) []string {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.selectAuthEvents(proto.PrevEvents, eventType, stateKey, sender, content)
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
		if c.Other == nil && u != sender && !slices.Contains(cosigners, u) && r.state.membership(u.ID(r.version)) == "join" {
			c.Other = u
		}
	}
	r.mu.Unlock()
	var err error
	if c.Other == nil {
		if c.Other, err = r.server.extra("other"); err != nil {
			return c, err
		}
	}
	if c.Stranger == nil {
		c.Stranger, err = r.server.extra("stranger")
	}
	return c, err
}

// victim is the room's creator, or else the first joined member, of another server; empty when there
// is none.
func (r *Room) victim() string {
	var first string
	for _, e := range r.state.list() {
		key, _ := e.StateKey()
		switch {
		case matrix.UserID(key).Domain() == r.server.name:
		case e.IsCreate() && e.Sender().Domain() != r.server.name:
			return string(e.Sender())
		case e.Type() == "m.room.member" && e.Membership() == "join" && first == "":
			first = key
		}
	}
	return first
}

// proto fills in what a draft leaves empty.
func (r *Room) proto(sender matrix.UserID, d Draft) (matrix.ProtoEvent, error) {
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
		p.AuthEvents = r.selectAuthEvents(p.PrevEvents, p.Type, p.StateKey, p.Sender, canonical)
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

// selectAuthEvents are the IDs of the events that authorise an event with these parents.
func (r *Room) selectAuthEvents(prev []string, eventType string, stateKey *string, sender matrix.UserID, content []byte) []string {
	state, ids := r.stateAfter(prev), []string{}
	for _, tuple := range matrix.AuthEventTuples(eventType, stateKey, sender, content) {
		if e := state[tuple]; e != nil {
			ids = append(ids, e.ID())
		}
	}
	return ids
}
