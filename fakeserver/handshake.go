package fakeserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// Handshake is a join, knock or leave through another server: its make_* answer, from which the user
// builds an event that send_* takes.
type Handshake struct {
	server *Server
	// Via is the resident server.
	Via matrix.ServerName
	// Membership is "join", "knock" or "leave".
	Membership string
	// RoomID is the room, and User who acts.
	RoomID string
	User   *User
	// ServerKey is the key through which the user acts, in rooms with participation.
	ServerKey matrix.ServerKeyPair
	// Version is the room version that the resident server named.
	Version matrix.RoomVersion
	// Template is the event of the make_* answer, and Made the answer itself.
	Template json.RawMessage
	Made     *Response
}

// HandshakeOption changes how a handshake begins.
type HandshakeOption func(*handshakeOptions)

type handshakeOptions struct {
	userID   matrix.UserID
	room     matrix.RoomVersion
	versions []string
	key      matrix.ServerKeyPair
}

// AsUserID asks for a template for another user ID than the user's own.
func AsUserID(id matrix.UserID) HandshakeOption {
	return func(o *handshakeOptions) { o.userID = id }
}

// InRoomVersion says that the room is known to be of a version, which settles the user ID to ask for.
func InRoomVersion(v matrix.RoomVersion) HandshakeOption {
	return func(o *handshakeOptions) { o.room = v }
}

// WithServerKey has the user act through another server key than the one that the server uses in the room.
func WithServerKey(key matrix.ServerKeyPair) HandshakeOption {
	return func(o *handshakeOptions) { o.key = key }
}

// SupportingVersions offers other room versions (the "ver" parameters) than the server knows.
func SupportingVersions(versions ...string) HandshakeOption {
	return func(o *handshakeOptions) { o.versions = versions }
}

// Begin asks a resident server for a template of a membership event: make_join, make_knock or
// make_leave. Unless InRoomVersion says so the room version is not known before the answer, so the
// account key user ID is offered first, and when that is refused the account name user ID. The error
// wraps a *StatusError when the server refuses, both if need be; an answer that names a room version that this server does not know is an
// error as well.
func (s *Server) Begin(ctx context.Context, via matrix.ServerName, membership, roomID string, u *User, options ...HandshakeOption) (*Handshake, error) {
	var o handshakeOptions
	for _, option := range options {
		option(&o)
	}
	ids := []matrix.UserID{u.KeyID(), u.NameID()}
	o.complete(s, roomID, u)
	if o.room.ID != "" {
		ids = []matrix.UserID{u.IDThrough(o.room, o.key)}
	}
	if o.userID != "" {
		ids = []matrix.UserID{o.userID}
	}
	var last error
	for _, id := range ids {
		h, err := s.begin(ctx, via, membership, roomID, u, id, o)
		var refused *StatusError
		switch {
		case err == nil && o.userID == "" && u.IDThrough(h.Version, o.key) != id:
			continue // the room turned out to be one where the user has the other user ID
		case err == nil || !errors.As(err, &refused):
			return h, err
		}
		last = err
	}
	if last == nil {
		last = fmt.Errorf("%s offers a room version in which %s has none of the user IDs that it was asked for", via, u.name)
	}
	return nil, fmt.Errorf("%s %s: %w", membership, roomID, last)
}

func (s *Server) begin(ctx context.Context, via matrix.ServerName, membership, roomID string, u *User, id matrix.UserID, o handshakeOptions) (*Handshake, error) {
	uri := path("v1", "make_"+membership, roomID, string(id))
	if membership != "leave" {
		uri += "?" + url.Values{"ver": o.versions}.Encode()
	}
	r, v, err := s.made(ctx, via, uri)
	if err != nil {
		return nil, err
	}
	return &Handshake{
		server: s, Via: via, Membership: membership, RoomID: roomID, User: u, ServerKey: o.key, Version: v,
		Template: json.RawMessage(r.Get("event").Raw), Made: r,
	}, nil
}

// made is the answer to a make_* request, and the room version that it names.
func (s *Server) made(ctx context.Context, via matrix.ServerName, uri string) (*Response, matrix.RoomVersion, error) {
	r, err := s.Do(ctx, via, http.MethodGet, uri, nil)
	if r, err = need(via, http.MethodGet, uri, r, err); err != nil {
		return nil, matrix.RoomVersion{}, err
	}
	v, ok := s.RoomVersion(r.Get("room_version").String())
	if !ok {
		return nil, v, fmt.Errorf("%s names room version %q, which this server does not know", via, r.Get("room_version").String())
	}
	return r, v, nil
}

// Proto is the event that the template asks for, in the name of the user.
func (h *Handshake) Proto() matrix.ProtoEvent {
	t := gjson.ParseBytes(h.Template)
	id := h.User.IDThrough(h.Version, h.ServerKey)
	p := matrix.ProtoEvent{
		Type: "m.room.member", StateKey: matrix.StateKey(string(id)), Sender: id, RoomID: h.RoomID,
		Content:    []byte(`{"membership":"` + h.Membership + `"}`),
		PrevEvents: textList(t.Get("prev_events")), AuthEvents: textList(t.Get("auth_events")),
		Depth: t.Get("depth").Int(), OriginServerTS: now(),
	}
	if c := t.Get("content"); c.IsObject() {
		p.Content = []byte(c.Raw)
	}
	h.cite(&p)
	return p
}

// cite has the auth events name the acceptance of the own server, where the template does not: the resident
// server of a room of MSC4348 sees no server key in the user ID that it is asked for.
func (h *Handshake) cite(p *matrix.ProtoEvent) {
	if !h.Version.HasPortableAccounts() {
		return
	}
	id := h.server.acceptance(h.RoomID, h.ServerKey.Key().Name())
	if r := h.server.Room(h.RoomID); id == "" && r != nil {
		if e := r.State(matrix.ParticipationType, h.ServerKey.Key().String()); e != nil {
			id = e.ID()
		}
	}
	if id == "" || slices.Contains(p.AuthEvents, id) {
		return
	}
	p.AuthEvents = slices.DeleteFunc(p.AuthEvents, func(cited string) bool {
		e := h.server.known(h.RoomID, cited) // of another server at the same domain
		return e != nil && e.IsParticipation()
	})
	p.AuthEvents = append(p.AuthEvents, id)
}

// complete fills in what the options leave open.
func (o *handshakeOptions) complete(s *Server, roomID string, u *User) {
	if o.room.ID == "" {
		o.room = s.versionOf(roomID)
	}
	if invite, ok := s.invitation(roomID, u); ok && o.room.ID == "" {
		o.room = invite.Version
	}
	if !isKey(o.key) && o.room.HasParticipation() {
		o.key = s.RoomKey(roomID)
	}
	if o.versions == nil {
		for _, v := range s.config.RoomVersions {
			o.versions = append(o.versions, v.ID)
		}
	}
}

// Event builds the honest event.
func (h *Handshake) Event() (*matrix.Event, error) {
	forged, err := h.Forge(Forgery{}, Cast{})
	if err != nil {
		return nil, fmt.Errorf("%s %s with the template of %s: %w", h.Membership, h.RoomID, h.Via, err)
	}
	return forged.Event()
}

// Forge builds the event with a deviation. The cast may be empty; what the forgery names of it must
// not.
func (h *Handshake) Forge(f Forgery, c Cast) (Forged, error) {
	return Forge(Proto{ProtoEvent: h.Proto(), Version: h.Version, Author: h.User, ServerKey: h.ServerKey, Cast: c}, f)
}

// Submit hands in an event, honest or not: PUT send_join or send_leave (v2), or send_knock (v1). The
// answer is returned whatever its status.
func (h *Handshake) Submit(ctx context.Context, eventID string, pdu json.RawMessage) (*Response, error) {
	version := "v2"
	if h.Membership == "knock" {
		version = "v1"
	}
	return h.server.Do(ctx, h.Via, http.MethodPut, path(version, "send_"+h.Membership, h.RoomID, eventID), pdu)
}

// Finish takes the answer to a join and returns this server's copy of the room, with the state that
// the resident server told and the join itself. Of the events in the answer those that cannot be read
// are left out, which the transcript notes.
func (h *Handshake) Finish(e *matrix.Event, r *Response) (*Room, error) {
	s := h.server
	if r.Status/100 != 2 {
		return nil, &StatusError{Server: h.Via, Request: "PUT send_" + h.Membership, Response: r}
	}
	room := s.Room(h.RoomID)
	if room == nil {
		room = newRoom(s, h.RoomID, h.Version)
	}
	var state, chain []*matrix.Event
	read := func(raw gjson.Result, into *[]*matrix.Event) {
		p := s.received(h.Version, []byte(raw.Raw), h.Via, OpSendJoin)
		if p.Event == nil {
			s.record.note("an event in the send_join answer of %s cannot be read: %v", h.Via, p.Err)
			return
		}
		*into = append(*into, p.Event)
	}
	for _, raw := range r.Get("state").Array() {
		read(raw, &state)
	}
	for _, raw := range r.Get("auth_chain").Array() {
		read(raw, &chain)
	}
	if countersigned := r.Get("event"); countersigned.IsObject() {
		if p := s.received(h.Version, []byte(countersigned.Raw), h.Via, OpSendJoin); p.Event != nil && p.Event.ID() == e.ID() {
			e = p.Event
		}
	}
	room.enter(e, state, chain)
	s.addRoom(room)
	return room, nil
}

// enter begins this server's copy of a room with the state that a resident server told. When this server
// has a copy already, because another user of it is in the room, or because it was in it before, what is
// new is the join, and whatever of the state has not arrived yet.
func (r *Room) enter(join *matrix.Event, state, chain []*matrix.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	begins := len(r.timeline) == 0
	for _, e := range state {
		if begins {
			r.base[e.Tuple()] = e
		}
		if begins || r.events[e.ID()] == nil {
			r.state[e.Tuple()] = e
		}
	}
	for _, e := range append(chain, state...) {
		if r.events[e.ID()] == nil {
			r.events[e.ID()] = e
		}
	}
	r.add(join)
}

// JoinRoom joins a room through another server and returns this server's copy of it.
func (s *Server) JoinRoom(ctx context.Context, via matrix.ServerName, roomID string, u *User, options ...HandshakeOption) (*Room, error) {
	h, e, r, err := s.handshake(ctx, via, "join", roomID, u, options)
	if err != nil {
		return nil, err
	}
	return h.Finish(e, r)
}

// Knock knocks on a room through another server. It returns the knock and the answer, whose
// knock_room_state describes the room.
func (s *Server) Knock(ctx context.Context, via matrix.ServerName, roomID string, u *User, options ...HandshakeOption) (*matrix.Event, *Response, error) {
	_, e, r, err := s.handshake(ctx, via, "knock", roomID, u, options)
	return e, r, err
}

// Leave leaves a room through another server: it refuses an invitation or takes a knock back. A user
// who is in the room leaves it with [Room.Send] instead.
func (s *Server) Leave(ctx context.Context, via matrix.ServerName, roomID string, u *User, options ...HandshakeOption) (*matrix.Event, error) {
	_, e, _, err := s.handshake(ctx, via, "leave", roomID, u, options)
	return e, err
}

// handshake does all of a handshake, honestly; the error is a *StatusError when the other server
// refuses.
func (s *Server) handshake(ctx context.Context, via matrix.ServerName, membership, roomID string, u *User, options []HandshakeOption) (*Handshake, *matrix.Event, *Response, error) {
	h, err := s.Begin(ctx, via, membership, roomID, u, options...)
	if err != nil {
		return nil, nil, nil, err
	}
	e, err := h.Event()
	if err != nil {
		return nil, nil, nil, err
	}
	r, err := h.Submit(ctx, e.ID(), e.JSON())
	if r, err = need(via, http.MethodPut, "send_"+membership, r, err); err != nil {
		return nil, nil, nil, err
	}
	return h, e, r, nil
}

func textList(list gjson.Result) []string {
	texts := []string{}
	for _, t := range list.Array() {
		texts = append(texts, t.String())
	}
	return texts
}
