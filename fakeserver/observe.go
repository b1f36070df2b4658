package fakeserver

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"countersign/matrix"
)

// EventAnswer is an answer that carries events.
type EventAnswer struct {
	// Response is the answer itself, of any status.
	Response *Response
	// Events are the events of the answer, in its order: the PDUs of /event, /backfill and
	// /get_missing_events, the state of /state, nothing for /state_ids.
	Events []json.RawMessage
	// AuthChain are the events of auth_chain.
	AuthChain []json.RawMessage
	// IDs and AuthIDs are pdu_ids and auth_chain_ids of /state_ids.
	IDs, AuthIDs []string
}

// Status is the status of the answer.
func (a *EventAnswer) Status() int { return a.Response.Status }

// GetEvent asks a server for an event: GET /event.
func (s *Server) GetEvent(ctx context.Context, dest matrix.ServerName, eventID string) (*EventAnswer, error) {
	return s.observe(ctx, dest, http.MethodGet, path("v1", "event", eventID), nil, OpEvent, matrix.RoomVersion{})
}

// GetState asks for the state before an event: GET /state.
func (s *Server) GetState(ctx context.Context, dest matrix.ServerName, roomID, eventID string) (*EventAnswer, error) {
	return s.observe(ctx, dest, http.MethodGet, path("v1", "state", roomID)+"?event_id="+url.QueryEscape(eventID), nil, OpState, s.versionOf(roomID))
}

// GetStateIDs asks for the IDs of the state before an event: GET /state_ids.
func (s *Server) GetStateIDs(ctx context.Context, dest matrix.ServerName, roomID, eventID string) (*EventAnswer, error) {
	return s.observe(ctx, dest, http.MethodGet, path("v1", "state_ids", roomID)+"?event_id="+url.QueryEscape(eventID), nil, OpStateIDs, s.versionOf(roomID))
}

// GetEventAuth asks for the auth chain of an event: GET /event_auth.
func (s *Server) GetEventAuth(ctx context.Context, dest matrix.ServerName, roomID, eventID string) (*EventAnswer, error) {
	return s.observe(ctx, dest, http.MethodGet, path("v1", "event_auth", roomID, eventID), nil, OpEventAuth, s.versionOf(roomID))
}

// GetBackfill asks for up to limit events, the given ones and those before them: GET /backfill.
func (s *Server) GetBackfill(ctx context.Context, dest matrix.ServerName, roomID string, limit int, from ...string) (*EventAnswer, error) {
	query := url.Values{"v": from, "limit": {strconv.Itoa(limit)}}
	return s.observe(ctx, dest, http.MethodGet, path("v1", "backfill", roomID)+"?"+query.Encode(), nil, OpBackfill, s.versionOf(roomID))
}

// GetMissingEvents asks for up to limit events between earliest and latest, both exclusive: POST
// /get_missing_events.
func (s *Server) GetMissingEvents(ctx context.Context, dest matrix.ServerName, roomID string, limit int, earliest, latest []string) (*EventAnswer, error) {
	body := map[string]any{"limit": limit, "min_depth": 0, "earliest_events": nonNil(earliest), "latest_events": nonNil(latest)}
	return s.observe(ctx, dest, http.MethodPost, path("v1", "get_missing_events", roomID), body, OpMissingEvents, s.versionOf(roomID))
}

func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// versionOf is the version of a room that the server is in, or has asked to participate in; otherwise the
// zero value.
func (s *Server) versionOf(roomID string) matrix.RoomVersion {
	if r := s.Room(roomID); r != nil {
		return r.version
	}
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	return s.chain.versions[roomID]
}

// observe asks, files the events of the answer, and returns it.
func (s *Server) observe(ctx context.Context, dest matrix.ServerName, method, uri string, body any, via Operation, v matrix.RoomVersion) (*EventAnswer, error) {
	r, err := s.Do(ctx, dest, method, uri, body)
	if err != nil {
		return nil, err
	}
	a := &EventAnswer{Response: r}
	if r.Status != http.StatusOK {
		return a, nil
	}
	for _, name := range []string{"pdus", "events"} {
		for _, pdu := range r.Get(name).Array() {
			a.Events = append(a.Events, json.RawMessage(pdu.Raw))
		}
	}
	for _, pdu := range r.Get("auth_chain").Array() {
		a.AuthChain = append(a.AuthChain, json.RawMessage(pdu.Raw))
	}
	for _, id := range r.Get("pdu_ids").Array() {
		a.IDs = append(a.IDs, id.String())
	}
	for _, id := range r.Get("auth_chain_ids").Array() {
		a.AuthIDs = append(a.AuthIDs, id.String())
	}
	for _, raw := range append(a.Events[:len(a.Events):len(a.Events)], a.AuthChain...) {
		s.received(v, raw, dest, via)
	}
	return a, nil
}
