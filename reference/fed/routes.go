package fed

import (
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// Prefixes of the server-server API.
const (
	v1       = "/_matrix/federation/v1"
	v2       = "/_matrix/federation/v2"
	unstable = "/_matrix/federation/unstable/org.matrix.msc4243"
)

func (s *Server) routes() {
	s.open("/_matrix/key/v2/server", s.serverKeys)
	s.open("/_matrix/key/v2/server/{keyID}", s.serverKeys)
	s.open("/_matrix/key/v2/query/{server}", s.notary)
	s.open(v1+"/version", s.version)

	s.handle(v1+"/send/{txnID}", methods{http.MethodPut: s.transaction})
	s.handle(v1+"/event/{eventID}", methods{http.MethodGet: s.event})
	s.handle(v1+"/state/{roomID}", methods{http.MethodGet: s.state})
	s.handle(v1+"/state_ids/{roomID}", methods{http.MethodGet: s.stateIDs})
	s.handle(v1+"/event_auth/{roomID}/{eventID}", methods{http.MethodGet: s.eventAuth})
	s.handle(v1+"/backfill/{roomID}", methods{http.MethodGet: s.backfill})
	s.handle(v1+"/get_missing_events/{roomID}", methods{http.MethodPost: s.missingEvents})

	for _, h := range [...]room.Handshake{room.JoinHandshake, room.KnockHandshake, room.LeaveHandshake} {
		s.handle(v1+"/make_"+string(h)+"/{roomID}/{userID}", methods{http.MethodGet: s.make(h)})
	}
	s.handle(v2+"/send_join/{roomID}/{eventID}", methods{http.MethodPut: s.send(room.JoinHandshake)})
	s.handle(v2+"/send_leave/{roomID}/{eventID}", methods{http.MethodPut: s.send(room.LeaveHandshake)})
	s.handle(v1+"/send_knock/{roomID}/{eventID}", methods{http.MethodPut: s.send(room.KnockHandshake)})
	s.handle(v2+"/invite/{roomID}/{eventID}", methods{http.MethodPut: s.invite})
	s.handle(v1+"/invite/{roomID}/{eventID}", methods{http.MethodPut: s.oldInvite})
	s.handle(unstable+"/ban/{roomID}/{eventID}", methods{http.MethodPut: s.ban})

	s.handle(v1+"/query/accounts", methods{http.MethodPost: s.queryAccounts})
	s.handle(unstable+"/query/accounts", methods{http.MethodPost: s.queryAccounts})
	// D-51: the path of MSC4348 is unstable in its last part.
	s.handle(v1+"/query/org.matrix.4348.accounts", methods{http.MethodPost: s.queryPortableAccounts})
	s.handle(v1+"/make_participation/{roomID}/{userID}", methods{http.MethodGet: s.makeParticipation})
	// D-33: the proposal has GET and the user ID where send_join has PUT and the event ID.
	s.handle(v1+"/send_participation/{roomID}/{name}", methods{http.MethodPut: s.sendParticipation, http.MethodGet: s.sendParticipation})
	for _, path := range [...]string{"/_matrix/key/v3/query", "/_matrix/key/v3/org.matrix.msc4345/query"} {
		s.handle(path, methods{http.MethodPost: s.queryServerKeys, http.MethodGet: s.queryServerKeys})
		s.handle(path+"/{server}", methods{http.MethodGet: s.queryServerKeysOf})
	}
	s.localRoutes()
}

// keysValidity is how long others may count on this server's keys.
const keysValidity = 24 * time.Hour

func (s *Server) serverKeys(*http.Request) (any, error) {
	doc, err := matrix.ServerKeys{
		ServerName: s.ServerName, ValidUntil: s.Clock().Add(keysValidity),
		VerifyKeys: map[matrix.KeyID]ed25519.PublicKey{s.Key.KeyID: s.Key.Key.Public().(ed25519.PublicKey)},
	}.Sign(s.Key)
	return json.RawMessage(doc), err
}

// notary answers for the keys of other servers, as this server has seen them, with its own signature.
// It does not fetch any: the endpoint is open, and would be a way to have this server ask others.
func (s *Server) notary(r *http.Request) (any, error) {
	server := matrix.ServerName(r.PathValue("server"))
	documents := []json.RawMessage{}
	if server == s.ServerName {
		own, err := s.serverKeys(r)
		return map[string]any{"server_keys": []any{own}}, err
	}
	doc, err := s.Keys.document(server)
	if err != nil {
		return nil, err
	}
	if doc != nil {
		signed, err := matrix.SignJSON(doc, s.Key)
		if err != nil {
			return nil, err
		}
		documents = append(documents, signed)
	}
	return map[string]any{"server_keys": documents}, nil
}

func (s *Server) version(*http.Request) (any, error) {
	return map[string]any{"server": map[string]string{"name": "Countersign reference", "version": "1"}}, nil
}

// transaction answers /send. It is 200 whatever becomes of the events; each has its own result.
func (s *Server) transaction(r *request) (any, error) {
	var body struct {
		PDUs []json.RawMessage `json:"pdus"`
		EDUs []struct {
			Type    string          `json:"edu_type"`
			Content json.RawMessage `json:"content"`
		} `json:"edus"`
	}
	if err := r.decode(&body); err != nil {
		return nil, err
	}
	if len(body.PDUs) > maxPDUs || len(body.EDUs) > maxEDUs {
		return nil, peer.BadJSON("a transaction has at most %d PDUs and %d EDUs", maxPDUs, maxEDUs)
	}
	leave, err := s.lanes.enter(r.Context(), r.origin)
	if err != nil {
		return nil, err
	}
	defer leave()
	results := map[string]map[string]string{}
	for _, pdu := range body.PDUs {
		id, err := s.Engine.Receive(r.Context(), r.origin, pdu)
		if err != nil {
			s.Logger.Info("a received event is not accepted", "origin", r.origin, "event", id, "error", err)
		}
		if id == "" {
			continue
		}
		results[id] = map[string]string{}
		if err != nil && !s.Defects.Has("SayNothingOfRefusals") {
			results[id]["error"] = err.Error()
		}
	}
	for _, edu := range body.EDUs {
		if err := s.Local.EDU(r.Context(), r.origin, edu.Type, edu.Content); err != nil {
			s.Logger.Info("a received EDU is not accepted", "origin", r.origin, "type", edu.Type, "error", err)
		}
	}
	return map[string]any{"pdus": results}, nil
}

func (s *Server) event(r *request) (any, error) {
	e, err := s.Engine.ServeEvent(r.origin, r.PathValue("eventID"))
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"origin": s.ServerName, "origin_server_ts": s.Clock().UnixMilli(), "pdus": pdus(e),
	}, nil
}

// pdus are events as JSON; never null.
func pdus(events ...*matrix.Event) []json.RawMessage {
	list := make([]json.RawMessage, 0, len(events))
	for _, e := range events {
		list = append(list, e.JSON())
	}
	return list
}

func ids(events []*matrix.Event) []string {
	list := make([]string, 0, len(events))
	for _, e := range events {
		list = append(list, e.ID())
	}
	return list
}

func (s *Server) state(r *request) (any, error) {
	state, chain, err := s.Engine.ServeState(r.origin, r.PathValue("roomID"), r.URL.Query().Get("event_id"))
	return map[string]any{"pdus": pdus(state...), "auth_chain": pdus(chain...)}, err
}

func (s *Server) stateIDs(r *request) (any, error) {
	state, chain, err := s.Engine.ServeState(r.origin, r.PathValue("roomID"), r.URL.Query().Get("event_id"))
	return map[string]any{"pdu_ids": ids(state), "auth_chain_ids": ids(chain)}, err
}

func (s *Server) eventAuth(r *request) (any, error) {
	chain, err := s.Engine.ServeAuthChain(r.origin, r.PathValue("roomID"), r.PathValue("eventID"))
	return map[string]any{"auth_chain": pdus(chain...)}, err
}

func (s *Server) backfill(r *request) (any, error) {
	query := r.URL.Query()
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || len(query["v"]) == 0 {
		return nil, peer.InvalidParam("limit must be a number and v an event ID")
	}
	events, err := s.Engine.ServeBackfill(r.origin, r.PathValue("roomID"), query["v"], limit)
	return map[string]any{
		"origin": s.ServerName, "origin_server_ts": s.Clock().UnixMilli(), "pdus": pdus(events...),
	}, err
}

func (s *Server) missingEvents(r *request) (any, error) {
	body := struct {
		Earliest []string `json:"earliest_events"`
		Latest   []string `json:"latest_events"`
		Limit    int      `json:"limit"`
		MinDepth int64    `json:"min_depth"`
	}{Limit: 10}
	if err := r.decode(&body); err != nil {
		return nil, err
	}
	events, err := s.Engine.ServeMissing(r.origin, r.PathValue("roomID"), body.Earliest, body.Latest, body.Limit, body.MinDepth)
	return map[string]any{"events": pdus(events...)}, err
}

func (s *Server) make(h room.Handshake) handler {
	return func(r *request) (any, error) {
		return s.Engine.Make(r.origin, h, r.PathValue("roomID"), matrix.UserID(r.PathValue("userID")), versionsOf(r))
	}
}

func (s *Server) send(h room.Handshake) handler {
	return func(r *request) (any, error) {
		sent, err := s.Engine.SendHandshake(r.Context(), r.origin, h, r.PathValue("roomID"), r.PathValue("eventID"), r.body)
		if err == nil && h == room.JoinHandshake && r.URL.Query().Get("omit_members") == "true" {
			sent = sent.WithoutMembers()
		}
		return sent, err
	}
}

func (s *Server) makeParticipation(r *request) (any, error) {
	return s.Engine.MakeParticipation(r.origin, r.PathValue("roomID"), matrix.UserID(r.PathValue("userID")), versionsOf(r))
}

func (s *Server) sendParticipation(r *request) (any, error) {
	return s.Engine.SendParticipation(r.Context(), r.origin, r.PathValue("roomID"), r.PathValue("name"), r.body)
}

// queryServerKeys answers the key query of MSC4345. D-44: the keys that are asked for are in the body; a
// request without one asks for all that the asker may know.
func (s *Server) queryServerKeys(r *request) (any, error) {
	return raw(s.Engine.ServerKeys.Answer(s.ServerName, r.origin, r.body, s.Engine))
}

// queryServerKeysOf is queryServerKeys in the other form that the query of version 2 has, by GET with the server
// in the path (server-server API, "Querying keys through another server"). The proposal mentions neither. There
// is no asking for one key, and for other servers' keys this server is no notary.
func (s *Server) queryServerKeysOf(r *request) (any, error) {
	if server := matrix.ServerName(r.PathValue("server")); server != s.ServerName {
		return map[string]any{"server_keys": []any{}}, nil
	}
	return raw(s.Engine.ServerKeys.Answer(s.ServerName, r.origin, nil, s.Engine))
}

func (s *Server) invite(r *request) (any, error) {
	if err := s.guesses.check(r.origin); err != nil && !s.Defects.Has("NeverLimitGuesses") {
		return nil, err
	}
	var body room.CosignRequest
	if err := r.decode(&body); err != nil {
		return nil, err
	}
	event, err := s.Engine.Invited(r.Context(), r.origin, r.PathValue("roomID"), body)
	s.guesses.note(r.origin, err)
	return map[string]any{"event": event}, err
}

// oldInvite refuses the first version of the invitation endpoint, which does not name a room version.
func (s *Server) oldInvite(r *request) (any, error) {
	if s.Defects.Has("AnswerTheFirstInviteEndpoint") {
		event, err := s.Engine.InvitedOfOld(r.Context(), r.origin, r.PathValue("roomID"), r.body)
		return []any{http.StatusOK, map[string]any{"event": event}}, err
	}
	return nil, peer.Errorf(http.StatusBadRequest, "M_INCOMPATIBLE_ROOM_VERSION", "rooms of the versions that this server knows are invited to with /v2/invite")
}

func (s *Server) ban(r *request) (any, error) {
	if err := s.guesses.check(r.origin); err != nil && !s.Defects.Has("NeverLimitGuessesOfBans") {
		return nil, err
	}
	var body room.CosignRequest
	if err := r.decode(&body); err != nil {
		return nil, err
	}
	event, err := s.Engine.Banned(r.origin, r.PathValue("roomID"), body)
	s.guesses.note(r.origin, err)
	return map[string]any{"event": event}, err
}

func (s *Server) queryAccounts(r *request) (any, error) {
	if s.asked.Add(1) > 500 && s.Defects.Has("FailWhenAskedALot") {
		return nil, peer.Errorf(http.StatusInternalServerError, "M_UNKNOWN", "too many questions")
	}
	answer, err := s.Directory.AnswerTo(r.body, func(user matrix.UserID, erased bool) (bool, error) {
		return s.Engine.MayKnowAccountKey(user, erased, r.origin)
	})
	return json.RawMessage(answer), err
}

// queryPortableAccounts is queryAccounts for accounts of rooms of MSC4348, about which only those are
// told who are in a room with them.
func (s *Server) queryPortableAccounts(r *request) (any, error) {
	if s.Defects.Has("AnswerForAccountsAsMSC4243Does") {
		return nil, peer.Errorf(http.StatusNotFound, "M_UNRECOGNIZED", "no such endpoint")
	}
	oneKnown := false
	answer, err := s.Directory.AnswerTo(r.body, func(user matrix.UserID, erased bool) (bool, error) {
		known, err := s.Engine.MayKnowAccount(user, erased, r.origin)
		oneKnown = oneKnown || known
		return known || oneKnown && s.Defects.Has("TellOfAllKeysWhenOneIsKnown"), err
	})
	return json.RawMessage(answer), err
}
