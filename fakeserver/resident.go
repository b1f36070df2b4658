package fakeserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

func now() int64 { return time.Now().UnixMilli() }

// roomOf is the room that an inquiry names, or the answer to one that this server is not in.
func (s *Server) roomOf(q *Inquiry) (*Room, Answer) {
	r := s.Room(q.Var("roomID"))
	if r == nil {
		return nil, notFound("this server is not in room %s", q.Var("roomID"))
	}
	return r, Answer{}
}

// serveTemplate answers make_join, make_leave and make_knock. It looks at nothing but the room
// version and, in rooms with participation, whether the server was accepted: whether the user may join is
// not its business.
func (s *Server) serveTemplate(membership string) Handler {
	return func(q *Inquiry) Answer {
		r, refusal := s.roomOf(q)
		if r == nil {
			return refusal
		}
		if membership != "leave" && !slices.Contains(q.Query["ver"], r.version.ID) {
			return incompatible(r.version)
		}
		if why := r.outsider(matrix.UserID(q.Var("userID")), q.Origin); why != "" {
			return Errorf(http.StatusForbidden, "M_FORBIDDEN", "%s", why)
		}
		template, err := r.template(matrix.UserID(q.Var("userID")), q.Origin, membership)
		if err != nil {
			return Errorf(http.StatusInternalServerError, "M_UNKNOWN", "%v", err)
		}
		return JSON(http.StatusOK, map[string]any{"room_version": r.version.ID, "event": template})
	}
}

func (r *Room) template(id matrix.UserID, origin matrix.ServerName, membership string) (json.RawMessage, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := Membership(id, membership)
	if authoriser := r.authoriser(id); membership == "join" && authoriser != nil {
		d = d.With("join_authorised_via_users_server", string(r.UserID(authoriser)))
	}
	p, err := r.proto(id, r.acceptedAt(origin), d)
	if err != nil {
		return nil, err
	}
	return r.finishTemplate(id, origin, p)
}

// finishTemplate writes the answer to a make_* request, with the edits of a forgery.
func (r *Room) finishTemplate(id matrix.UserID, origin matrix.ServerName, p matrix.ProtoEvent) (json.RawMessage, error) {
	template, err := json.Marshal(map[string]any{
		"type": p.Type, "state_key": p.StateKey, "sender": id, "room_id": r.id, "content": json.RawMessage(p.Content),
		"prev_events": p.PrevEvents, "auth_events": nonNil(p.AuthEvents), "depth": p.Depth,
		"origin": r.server.name, "origin_server_ts": p.OriginServerTS,
	})
	if err != nil || len(r.templates.TemplateEdits) == 0 {
		return template, err
	}
	n := names{"requested": string(id), "requested-key": id.Localpart(), "requested-domain": string(origin)}
	n["domain"] = string(r.server.name)
	key := matrix.ServerKeyPair{}
	if r.version.HasParticipation() {
		key = r.Key()
		n["server-key"] = key.Key().String()
		n["requested-server"] = string(id.Domain())
	} else {
		n["requested-domain"] = string(id.Domain())
	}
	r.cast.addTo(n, r.version, key)
	return applyEdits(template, r.templates.TemplateEdits, n)
}

// authoriser is the user of this server who vouches for a join that only a restricted join rule
// allows; nil when the room has no such rule or the user is in it or invited.
func (r *Room) authoriser(joiner matrix.UserID) *User {
	rules := r.state[matrix.StateTuple{Type: "m.room.join_rules"}]
	if rules == nil {
		return nil
	}
	switch rules.Get("join_rule").String() {
	case "restricted", "knock_restricted":
	default:
		return nil
	}
	switch r.state.membership(joiner) {
	case "join", "invite":
		return nil
	}
	return r.member()
}

// countersign adds what a resident server signs: in a restricted join the signature of the user that
// vouches: by the account key, by the key of this server in the room, or, in rooms of version 12, by the
// server's.
func (r *Room) countersign(e *matrix.Event) *matrix.Event {
	if r.version.Identity == matrix.ServerIdentity {
		return e.WithSignature(r.server.signer)
	}
	u := r.server.UserByID(matrix.UserID(e.Get("join_authorised_via_users_server").String()))
	switch {
	case u == nil:
		return e
	case r.version.Identity == matrix.ServerKeyIdentity:
		return e.WithSignature(r.Key().Signer())
	}
	return e.WithSignature(u.Signer(r.version))
}

// submission reads the event of a send_join, send_leave or send_knock request.
func (s *Server) submission(q *Inquiry) (*Room, *matrix.Event, Answer) {
	r, refusal := s.roomOf(q)
	if r == nil {
		return nil, nil, refusal
	}
	p := s.readPDU(r.version, q.Body, q.Origin, q.Operation)
	defer s.inbox.addPDU(p)
	if p.Event == nil {
		return nil, nil, badJSON("the event cannot be read: %v", p.Err)
	}
	return r, p.Event, Answer{}
}

// accept makes a submitted event part of the room and passes it on to the other servers in it.
func (s *Server) accept(r *Room, e *matrix.Event, from matrix.ServerName) {
	r.mu.Lock()
	peers := r.recipients(e)
	r.add(e)
	r.mu.Unlock()
	peers = slices.DeleteFunc(peers, func(name matrix.ServerName) bool { return name == from })
	r.passOn(e, peers)
}

// passOn sends an event to other servers, later.
func (r *Room) passOn(e *matrix.Event, to []matrix.ServerName) {
	s := r.server
	if len(to) == 0 {
		return
	}
	s.background(func(ctx context.Context) {
		if err := s.sendAll(ctx, to, []json.RawMessage{e.JSON()}, nil); err != nil {
			s.record.note("passing on %s: %v", e.ID(), err)
		}
	})
}

// serveSendJoin takes a join and answers with the state before it.
func (s *Server) serveSendJoin(q *Inquiry) Answer {
	r, e, refusal := s.submission(q)
	if e == nil {
		return refusal
	}
	e = r.countersign(e)
	body, err := r.joinAnswer(e)
	if err != nil {
		return Errorf(http.StatusInternalServerError, "M_UNKNOWN", "%v", err)
	}
	s.accept(r, e, q.Origin)
	return handshakeAnswer(q, body)
}

// joinAnswer is the answer to an event that was handed in, with the state before it.
func (r *Room) joinAnswer(e *matrix.Event) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	state, chain := r.told(e)
	servers, err := json.Marshal(append(r.peers(), r.server.name))
	if err != nil {
		return nil, err
	}
	body := appendArray(fmt.Appendf(nil, `{"origin":%q,"members_omitted":false,"servers_in_room":%s,"state":`, r.server.name, servers),
		state)
	body = appendArray(append(body, `,"auth_chain":`...), chain)
	return append(append(append(body, `,"event":`...), e.JSON()...), '}'), nil
}

// told is the state and the auth chain that the answer to a join tells, planted events included.
func (r *Room) told(join *matrix.Event) (state, chain []json.RawMessage) {
	ids := eventIDs(r.stateAfter(join.PrevEvents()))
	authChain := r.authChain(append(slices.Clone(ids), join.ID()))
	for _, f := range r.planted {
		cited := textList(gjson.GetBytes(f.PDU, "auth_events"))
		for _, id := range append(cited, r.authChain(cited)...) {
			if r.events[id] != nil && !slices.Contains(authChain, id) {
				authChain = append(authChain, id)
			}
		}
	}
	for _, f := range r.planted {
		tuple, isState := f.Tuple()
		if !isState {
			chain = append(chain, f.PDU)
			continue
		}
		ids = slices.DeleteFunc(ids, func(id string) bool { return r.events[id].Tuple() == tuple })
		authChain = slices.DeleteFunc(authChain, func(id string) bool { return id == f.EventID })
		state = append(state, f.PDU)
	}
	return append(r.rawEvents(ids, OpSendJoin), state...), append(r.rawEvents(authChain, OpSendJoin), chain...)
}

// handshakeAnswer is the answer to a send_* request; in version 1 it is a pair of status and body.
func handshakeAnswer(q *Inquiry, body []byte) Answer {
	if q.Version == "v1" {
		body = append(append([]byte("[200,"), body...), ']')
	}
	return Answer{Status: http.StatusOK, Body: body}
}

func (s *Server) serveSendLeave(q *Inquiry) Answer {
	r, e, refusal := s.submission(q)
	if e == nil {
		return refusal
	}
	s.accept(r, e, q.Origin)
	return handshakeAnswer(q, []byte("{}"))
}

func (s *Server) serveSendKnock(q *Inquiry) Answer {
	r, e, refusal := s.submission(q)
	if e == nil {
		return refusal
	}
	description := r.strippedState()
	s.accept(r, e, q.Origin)
	return JSON(http.StatusOK, map[string]any{"knock_room_state": description})
}

// strippedState describes the room to someone outside: complete events, as room version 12 wants
// them (server-server API, invite_room_state and knock_room_state).
func (r *Room) strippedState() []json.RawMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := []json.RawMessage{}
	for _, eventType := range []string{"m.room.create", "m.room.join_rules", "m.room.canonical_alias", "m.room.avatar", "m.room.name", "m.room.encryption", "m.room.topic"} {
		if e := r.state[matrix.StateTuple{Type: eventType}]; e != nil {
			list = append(list, r.raw(e.ID(), OpSendKnock))
		}
	}
	return list
}

func eventIDs(state stateMap) []string {
	list := state.list()
	ids := make([]string, len(list))
	for i, e := range list {
		ids[i] = e.ID()
	}
	return ids
}

// rawEvents is what an operation serves for event IDs; those of unknown events are left out.
func (r *Room) rawEvents(ids []string, op Operation) []json.RawMessage {
	list := make([]json.RawMessage, 0, len(ids))
	for _, id := range ids {
		if raw := r.raw(id, op); raw != nil {
			list = append(list, raw)
		}
	}
	return list
}

// authChain is the IDs of all events that authorise some events, directly or not.
func (r *Room) authChain(ids []string) []string {
	chain, seen := []string{}, map[string]bool{}
	for queue := slices.Clone(ids); len(queue) > 0; queue = queue[1:] {
		e := r.events[queue[0]]
		if e == nil {
			continue
		}
		for _, id := range e.AuthEvents() {
			if !seen[id] {
				seen[id] = true
				chain = append(chain, id)
				queue = append(queue, id)
			}
		}
	}
	return chain
}

// findEvent finds the room that knows an event, or serves bytes in its place.
func (s *Server) findEvent(id string) json.RawMessage {
	s.mu.Lock()
	rooms := make([]*Room, 0, len(s.rooms))
	for _, r := range s.rooms {
		rooms = append(rooms, r)
	}
	s.mu.Unlock()
	for _, r := range rooms {
		r.mu.Lock()
		raw := r.raw(id, OpEvent)
		r.mu.Unlock()
		if raw != nil {
			return raw
		}
	}
	return nil
}

func (s *Server) serveEvent(q *Inquiry) Answer {
	raw := s.findEvent(q.Var("eventID"))
	if raw == nil {
		return notFound("event %s is not known", q.Var("eventID"))
	}
	body := []byte(`{"origin":` + strconv.Quote(string(s.name)) + `,"origin_server_ts":` + strconv.FormatInt(now(), 10) + `,"pdus":`)
	return Answer{Status: http.StatusOK, Body: append(appendArray(body, []json.RawMessage{raw}), '}')}
}

// stateBefore answers the two state operations.
func (s *Server) stateBefore(q *Inquiry, write func(r *Room, state, chain []string) Answer) Answer {
	r, refusal := s.roomOf(q)
	if r == nil {
		return refusal
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	state, ok := r.stateToldBefore(q.Query.Get("event_id"))
	if !ok {
		return notFound("event %s is not known in %s", q.Query.Get("event_id"), r.id)
	}
	return write(r, state, r.authChain(state))
}

func (s *Server) serveState(q *Inquiry) Answer {
	return s.stateBefore(q, func(r *Room, state, chain []string) Answer {
		body := appendArray([]byte(`{"pdus":`), r.rawEvents(state, OpState))
		body = appendArray(append(body, `,"auth_chain":`...), r.rawEvents(chain, OpState))
		return Answer{Status: http.StatusOK, Body: append(body, '}')}
	})
}

func (s *Server) serveStateIDs(q *Inquiry) Answer {
	return s.stateBefore(q, func(_ *Room, state, chain []string) Answer {
		return JSON(http.StatusOK, map[string]any{"pdu_ids": state, "auth_chain_ids": chain})
	})
}

func (s *Server) serveEventAuth(q *Inquiry) Answer {
	r, refusal := s.roomOf(q)
	if r == nil {
		return refusal
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.handedOut(q.Var("eventID"), OpEventAuth) {
		return notFound("event %s is not known in %s", q.Var("eventID"), r.id)
	}
	body := appendArray([]byte(`{"auth_chain":`), r.rawEvents(r.authChain([]string{q.Var("eventID")}), OpEventAuth))
	return Answer{Status: http.StatusOK, Body: append(body, '}')}
}

// maxBackfill bounds the answers to backfill and get_missing_events.
const maxBackfill = 200

// before walks from events to their ancestors, nearest first, as far as an operation hands them out
// and as long as keep says so.
func (r *Room) before(from []string, limit int, op Operation, keep func(id string) bool) []string {
	found, seen := []string{}, map[string]bool{}
	for queue := slices.Clone(from); len(queue) > 0 && len(found) < min(limit, maxBackfill); queue = queue[1:] {
		id := queue[0]
		if seen[id] || !r.handedOut(id, op) || !keep(id) {
			continue
		}
		seen[id] = true
		found = append(found, id)
		prev, _ := r.prevOf(id)
		queue = append(queue, prev...)
	}
	return found
}

func (s *Server) serveBackfill(q *Inquiry) Answer {
	r, refusal := s.roomOf(q)
	if r == nil {
		return refusal
	}
	limit, err := strconv.Atoi(q.Query.Get("limit"))
	if err != nil || limit < 1 {
		return Errorf(http.StatusBadRequest, "M_INVALID_PARAM", "limit %q is not a positive integer", q.Query.Get("limit"))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.before(q.Query["v"], limit, OpBackfill, func(string) bool { return true })
	body := []byte(`{"origin":` + strconv.Quote(string(s.name)) + `,"origin_server_ts":` + strconv.FormatInt(now(), 10) + `,"pdus":`)
	return Answer{Status: http.StatusOK, Body: append(appendArray(body, r.rawEvents(found, OpBackfill)), '}')}
}

func (s *Server) serveMissingEvents(q *Inquiry) Answer {
	r, refusal := s.roomOf(q)
	if r == nil {
		return refusal
	}
	body := gjson.ParseBytes(q.Body)
	limit := 10
	if l := body.Get("limit"); l.Type == gjson.Number {
		limit = int(l.Int())
	}
	earliest, latest := textList(body.Get("earliest_events")), textList(body.Get("latest_events"))
	minDepth := body.Get("min_depth").Int()
	r.mu.Lock()
	defer r.mu.Unlock()
	var from []string
	for _, id := range latest {
		prev, _ := r.prevOf(id)
		from = append(from, prev...)
	}
	found := r.before(from, limit, OpMissingEvents, func(id string) bool {
		return r.depthOf(id) >= minDepth && !slices.Contains(earliest, id)
	})
	slices.Reverse(found) // oldest first, as servers that process them in order need it
	return Answer{Status: http.StatusOK, Body: append(appendArray([]byte(`{"events":`), r.rawEvents(found, OpMissingEvents)), '}')}
}
