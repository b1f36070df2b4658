package fakeserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"countersign/matrix"
)

// outsider is the reason why a user of a server that was not accepted gets no template in a room with
// participation (D-40: leaves are such templates too); empty for anybody else.
func (r *Room) outsider(id matrix.UserID, origin matrix.ServerName) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.version.HasParticipation():
	case r.version.HasPortableAccounts():
		if r.acceptedAt(origin) == (matrix.ServerKey{}) {
			return fmt.Sprintf("no server key of %s was accepted in this room", origin)
		}
	case r.state.participation(id.Domain()) != matrix.Accepted:
		return fmt.Sprintf("the participation of %s is %q, not accepted", id.Domain(), r.state.participation(id.Domain()))
	}
	return ""
}

// acceptedAt is the accepted server key that can be reached at a domain, the latest if there are several; the
// zero value when there is none.
func (r *Room) acceptedAt(domain matrix.ServerName) (key matrix.ServerKey) {
	if !r.version.HasParticipation() {
		return key
	}
	for _, e := range r.state.list() {
		if !e.IsParticipation() || e.Participation() != matrix.Accepted {
			continue
		}
		if at, ok := e.UnverifiedDomain(); ok && at == domain {
			if parsed, err := matrix.ParseServerKey(e.Tuple().StateKey); err == nil {
				key = parsed
			}
		}
	}
	return key
}

// serveMakeParticipation answers make_participation with the template of a request that this server
// authorises. In rooms of MSC4345 it is about the key in the user ID; a user ID of MSC4348 names no server, so
// that the requesting server fills in the state key (D-34).
func (s *Server) serveMakeParticipation(q *Inquiry) Answer {
	r, refusal := s.roomOf(q)
	if r == nil {
		return refusal
	}
	id := matrix.UserID(q.Var("userID"))
	_, malformed := r.version.ParseUserID(string(id))
	switch {
	case !r.version.HasParticipation():
		return Errorf(http.StatusBadRequest, "M_UNSUPPORTED_ROOM_VERSION", "in rooms of version %s servers do not ask to participate", r.version.ID)
	case !slices.Contains(q.Query["ver"], r.version.ID):
		return incompatible(r.version)
	case malformed != nil:
		return Errorf(http.StatusBadRequest, "M_INVALID_PARAM", "%v", malformed)
	}
	template, err := r.requestTemplate(id, q.Origin)
	if err != nil {
		return Errorf(http.StatusInternalServerError, "M_UNKNOWN", "%v", err)
	}
	return JSON(http.StatusOK, map[string]any{"room_version": r.version.ID, "event": template})
}

func incompatible(v matrix.RoomVersion) Answer {
	return JSON(http.StatusBadRequest, map[string]string{
		"errcode": "M_INCOMPATIBLE_ROOM_VERSION", "room_version": v.ID,
		"error": "the joining server does not support the room's version",
	})
}

func (r *Room) requestTemplate(id matrix.UserID, origin matrix.ServerName) (json.RawMessage, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := Participates(id.Domain(), matrix.Requested).With("request_authorised_via_server", r.Key().Key().Name())
	p, err := r.proto(id, matrix.ServerKey{}, d)
	if err != nil {
		return nil, err
	}
	return r.finishTemplate(id, origin, p)
}

// serveSendParticipation takes a request, signs it as the server that authorises it, makes it part of the
// room and answers as to a join. It refuses what an honest server must not sign.
func (s *Server) serveSendParticipation(q *Inquiry) Answer {
	r, e, refusal := s.submission(q)
	if e == nil {
		return refusal
	}
	if why := r.unsignableRequest(e, q.Origin); why != nil {
		return Errorf(http.StatusForbidden, "M_FORBIDDEN", "%v", why)
	}
	e = e.WithSignature(r.Key().Signer())
	body, err := r.joinAnswer(e)
	if err != nil {
		return Errorf(http.StatusInternalServerError, "M_UNKNOWN", "%v", err)
	}
	s.accept(r, e, q.Origin)
	if err := r.acceptAtOnce(e); err != nil {
		return Errorf(http.StatusInternalServerError, "M_UNKNOWN", "%v", err)
	}
	return Answer{Status: http.StatusOK, Body: body}
}

// unsignableRequest is why a resident server must not sign a submitted event (MSC4345, "The request
// participation handshake"), or nil.
func (r *Room) unsignableRequest(e *matrix.Event, origin matrix.ServerName) error {
	subject, _ := e.StateKey()
	domain, _ := e.UnverifiedDomain()
	switch {
	case e.RoomID() != r.id:
		return fmt.Errorf("it is an event of %s", e.RoomID())
	case !e.IsParticipation() || e.Participation() != matrix.Requested:
		return fmt.Errorf("it is no request to participate, but %q of %s", e.Participation(), e.Type())
	case e.RequestAuthorisedVia() != r.Key().Key().Name():
		return fmt.Errorf("it is to be authorised by %q, which is not this server", e.RequestAuthorisedVia())
	case domain != origin:
		return fmt.Errorf("its unverified_domain is %q, and it comes from %s", domain, origin)
	case r.version.Identity == matrix.ServerKeyIdentity && e.Sender().Domain() != matrix.ServerName(subject):
		return fmt.Errorf("it is about %s, and sent by %s", subject, e.Sender())
	}
	return r.VerifySender(e)
}
