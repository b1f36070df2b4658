package fakeserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// Petition is the handshake by which a server asks a resident server to participate in a room (MSC4345, "The
// request participation handshake"): the answer to make_participation, from which the user builds the
// request that send_participation takes.
type Petition struct {
	server *Server
	// Via is the resident server.
	Via matrix.ServerName
	// RoomID is the room, User who acts, and ServerKey the key that asks to participate.
	RoomID    string
	User      *User
	ServerKey matrix.ServerKeyPair
	// Version is the room version that the resident server named.
	Version matrix.RoomVersion
	// Template is the event of the make_participation answer, and Made the answer itself.
	Template json.RawMessage
	Made     *Response
	// Submission is how the request was handed in; see [Petition.Submit].
	Submission Submission
	// Event is the request as the resident server returned it or, when it returned none, as it was handed in
	// (D-34: the answers of handshakes need not have the event). Answer is the whole answer.
	Event  *matrix.Event
	Answer *Response
}

// Submission is a way of handing in a request (D-33: the proposal names the method GET and a user ID in the
// path, and elsewhere says that it is like send_join, which has PUT and an event ID).
type Submission struct {
	// Method is "PUT" or "GET".
	Method string
	// ByUserID: the path ends in the user ID, and not in the event ID.
	ByUserID bool
}

// String is how a report calls it.
func (s Submission) String() string {
	if s.ByUserID {
		return s.Method + " with a user ID"
	}
	return s.Method + " with an event ID"
}

// Submissions are the ways of handing in a request in the order in which they are tried.
func Submissions() []Submission {
	return []Submission{{Method: http.MethodPut}, {Method: http.MethodPut, ByUserID: true}, {Method: http.MethodGet, ByUserID: true}}
}

// Submission is how an inbound send_participation handed its request in.
func (e Exchange) Submission() Submission {
	u, err := url.ParseRequestURI(e.URI)
	if err != nil {
		return Submission{Method: e.Method}
	}
	last, err := url.PathUnescape(u.EscapedPath()[strings.LastIndexByte(u.EscapedPath(), '/')+1:])
	return Submission{Method: e.Method, ByUserID: err == nil && strings.HasPrefix(last, "@")}
}

// AskToParticipate asks a resident server for the template of a request: make_participation. The room
// version is not known before the answer, unless InRoomVersion says so or the server has asked before, so
// that the user ID of MSC4348 is offered first, and when it is refused that of MSC4345. The error wraps a
// *StatusError when the server refuses.
func (s *Server) AskToParticipate(ctx context.Context, via matrix.ServerName, roomID string, u *User, options ...HandshakeOption) (*Petition, error) {
	var o handshakeOptions
	for _, option := range options {
		option(&o)
	}
	if !isKey(o.key) {
		o.key = s.RoomKey(roomID)
	} else {
		s.HoldServerKey(o.key)
	}
	o.complete(s, roomID, u)
	versions := []matrix.RoomVersion{matrix.RoomVersionMSC4348(), matrix.RoomVersionMSC4345()}
	if o.room.ID != "" {
		versions = []matrix.RoomVersion{o.room}
	}
	var last error
	for _, v := range versions {
		id := u.IDThrough(v, o.key)
		if o.userID != "" {
			id = o.userID
		}
		p, err := s.askToParticipate(ctx, via, roomID, u, id, o)
		var refused *StatusError
		switch {
		case err == nil && o.userID == "" && p.Version.Identity != v.Identity:
			last = fmt.Errorf("%s answers for a user ID of version %s with version %s", via, v.ID, p.Version.ID)
			continue
		case err == nil:
			s.learnVersion(roomID, p.Version)
			return p, nil
		case !errors.As(err, &refused):
			return nil, err
		}
		last = err
		if refused.Response.ErrCode() == "M_INCOMPATIBLE_ROOM_VERSION" {
			break
		}
	}
	return nil, fmt.Errorf("asking to participate in %s: %w", roomID, last)
}

func (s *Server) askToParticipate(ctx context.Context, via matrix.ServerName, roomID string, u *User, id matrix.UserID, o handshakeOptions) (*Petition, error) {
	uri := path("v1", "make_participation", roomID, string(id)) + "?" + url.Values{"ver": o.versions}.Encode()
	r, v, err := s.made(ctx, via, uri)
	if err != nil {
		return nil, err
	}
	return &Petition{
		server: s, Via: via, RoomID: roomID, User: u, ServerKey: o.key, Version: v,
		Template: json.RawMessage(r.Get("event").Raw), Made: r,
	}, nil
}

// Authoriser is the server key that the template names as the one that authorises the request.
func (p *Petition) Authoriser() matrix.ServerName {
	return matrix.ServerName(gjson.GetBytes(p.Template, "content.request_authorised_via_server").String())
}

// Proto is the request that the template asks for, about the petition's key and with this server's domain. What
// the template says is not checked.
func (p *Petition) Proto() (matrix.ProtoEvent, error) {
	t := gjson.ParseBytes(p.Template)
	content := []byte(`{}`)
	if c := t.Get("content"); c.IsObject() {
		content = []byte(c.Raw)
	}
	content, err := applyEdits(content, []Edit{
		{"participation", quoted(string(matrix.Requested))}, {"unverified_domain", quoted(string(p.server.name))},
	}, nil)
	return matrix.ProtoEvent{
		Type: matrix.ParticipationType, StateKey: matrix.StateKey(p.ServerKey.Key().String()),
		Sender: p.User.IDThrough(p.Version, p.ServerKey), RoomID: p.RoomID, Content: content,
		PrevEvents: textList(t.Get("prev_events")), AuthEvents: textList(t.Get("auth_events")),
		Depth: t.Get("depth").Int(), OriginServerTS: now(),
	}, err
}

// Forge builds the request with a deviation; the zero Forgery builds the honest one, to which the signature of
// the resident server is still to come. Of the cast the other, the stranger and the unknown server are chosen when
// they are missing.
func (p *Petition) Forge(f Forgery, c Cast) (Forged, error) {
	proto, err := p.Proto()
	if err == nil && !f.honest() {
		if !isKey(c.UnknownServer) {
			c.UnknownServer = NewServerKey()
		}
		c, err = p.server.fillCast(c)
	}
	if err != nil {
		return Forged{}, fmt.Errorf("the request to participate in %s: %w", p.RoomID, err)
	}
	return Forge(Proto{ProtoEvent: proto, Version: p.Version, Author: p.User, ServerKey: p.ServerKey, Cast: c}, f)
}

// Submit hands in a request, honest or not, in the ways of [Submissions] until one is answered with another
// status than 404 and 405, and sets Submission to it. The answer is returned whatever its status.
func (p *Petition) Submit(ctx context.Context, f Forged) (*Response, error) {
	ways := Submissions()
	if p.Submission.Method != "" {
		ways = []Submission{p.Submission}
	}
	var r *Response
	for _, way := range ways {
		var err error
		if r, err = p.SubmitBy(ctx, f, way); err != nil {
			return nil, err
		}
		if r.Status != http.StatusNotFound && r.Status != http.StatusMethodNotAllowed {
			p.Submission = way
			return r, nil
		}
	}
	return r, nil
}

// SubmitBy hands in a request in one way.
func (p *Petition) SubmitBy(ctx context.Context, f Forged, way Submission) (*Response, error) {
	last := f.EventID
	if way.ByUserID {
		last = gjson.GetBytes(f.PDU, "sender").String()
	}
	return p.server.Do(ctx, p.Via, way.Method, path("v1", "send_participation", p.RoomID, last), f.PDU)
}

// Finish takes the answer to a request and sets Event and Answer. The error is a *StatusError when the
// resident server refused, and otherwise says what is wrong with the event that it returned.
func (p *Petition) Finish(f Forged, r *Response) error {
	if r.Status/100 != 2 {
		return &StatusError{Server: p.Via, Request: strings.TrimSpace(p.Submission.Method + " send_participation"), Response: r}
	}
	if !r.Get("event").Exists() {
		event, err := f.Event()
		if err != nil {
			return fmt.Errorf("the request that was handed in: %w", err)
		}
		p.Event, p.Answer = event, r
		return nil
	}
	pdu := p.server.received(p.Version, []byte(r.Get("event").Raw), p.Via, OpSendParticipation)
	switch {
	case pdu.Event == nil:
		return fmt.Errorf("the request that %s returned cannot be read: %w", p.Via, pdu.Err)
	case pdu.Event.ID() != f.EventID:
		return fmt.Errorf("%s returned %s in place of the request %s", p.Via, pdu.Event.ID(), f.EventID)
	}
	p.Event, p.Answer = pdu.Event, r
	return nil
}

// Authorised reports whether the returned request carries the good signature of the server that it names. The
// error says what is wrong. Of a request that was not returned nobody can tell.
func (p *Petition) Authorised() error {
	if p.Event == nil {
		return errors.New("no request was accepted")
	}
	if !p.Answer.Get("event").Exists() {
		return nil
	}
	return p.Event.VerifyServerKey(p.Event.RequestAuthorisedVia())
}

// State are the events of the state, or with chain of the auth chain, in the answer to the request.
func (p *Petition) State(chain bool) (events []json.RawMessage) {
	name := "state"
	if chain {
		name = "auth_chain"
	}
	for _, raw := range p.Answer.Get(name).Array() {
		events = append(events, json.RawMessage(raw.Raw))
	}
	return events
}

// RequestParticipation asks to participate in a room through a resident server, honestly: make_participation
// and send_participation. The server is not in the room yet: it waits for [Server.WaitAcceptance] and then
// joins with [Server.JoinRoom].
func (s *Server) RequestParticipation(ctx context.Context, via matrix.ServerName, roomID string, u *User, options ...HandshakeOption) (*Petition, error) {
	p, err := s.AskToParticipate(ctx, via, roomID, u, options...)
	if err != nil {
		return nil, err
	}
	f, err := p.Forge(Forgery{}, Cast{})
	if err != nil {
		return nil, err
	}
	r, err := p.Submit(ctx, f)
	if err != nil {
		return nil, err
	}
	if err := p.Finish(f, r); err != nil {
		return nil, err
	}
	return p, nil
}

// ParticipateAndJoin is the whole way into a room: the server requests to participate, accept has the server
// key accepted by whoever can, such as a client of the resident server, this server learns of it, and the
// user joins. A server that is in the room already has only to join.
func (s *Server) ParticipateAndJoin(ctx context.Context, via matrix.ServerName, roomID string, u *User,
	accept func(ctx context.Context, p *Petition) error, options ...HandshakeOption,
) (*Room, error) {
	p, err := s.RequestParticipation(ctx, via, roomID, u, options...)
	if err != nil {
		return nil, err
	}
	if err := accept(ctx, p); err != nil {
		return nil, fmt.Errorf("accepting %s in %s: %w", p.ServerKey.Key(), roomID, err)
	}
	if _, err := s.WaitAcceptance(ctx, roomID, p.ServerKey.Key().Name()); err != nil {
		return nil, err
	}
	return s.JoinRoom(ctx, via, roomID, u, append(slices.Clip(options), InRoomVersion(p.Version))...)
}

// AcceptedBy is an accept for [Server.ParticipateAndJoin] where the admin is a user of a fake server: the
// admin's copy of the room must have the request.
func AcceptedBy(r *Room, admin *User) func(ctx context.Context, p *Petition) error {
	return func(ctx context.Context, p *Petition) error {
		_, err := r.Accept(ctx, admin, p.ServerKey.Key().Name())
		return err
	}
}
