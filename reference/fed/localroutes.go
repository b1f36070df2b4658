package fed

import (
	"encoding/json"
	"net/http"

	"countersign/matrix"
	"countersign/reference/peer"
)

// localRoutes are what is answered from the client API's tables.
func (s *Server) localRoutes() {
	s.handle(v1+"/query/profile", methods{http.MethodGet: s.profile})
	s.handle(v1+"/query/directory", methods{http.MethodGet: s.directory})
	s.handle(v1+"/user/devices/{userID}", methods{http.MethodGet: s.devices})
	s.handle(v1+"/user/keys/query", methods{http.MethodPost: s.queryKeys})
	s.handle(v1+"/user/keys/claim", methods{http.MethodPost: s.claimKeys})
	s.handle(v1+"/publicRooms", methods{http.MethodGet: s.publicRooms, http.MethodPost: s.publicRooms})
	s.handle(v1+"/hierarchy/{roomID}", methods{http.MethodGet: s.hierarchy})
}

// localUser reads the user ID of a local user.
func (s *Server) localUser(text string) (matrix.UserID, error) {
	user, err := matrix.ParseUserID(text)
	if err != nil {
		return "", peer.InvalidParam("%v", err)
	}
	if user.Domain() != s.ServerName {
		return "", peer.InvalidParam("%s is not a user of this server", user)
	}
	return user, nil
}

func raw(body []byte, err error) (any, error) { return json.RawMessage(body), err }

func (s *Server) profile(r *request) (any, error) {
	user, err := s.localUser(r.URL.Query().Get("user_id"))
	if err != nil {
		return nil, err
	}
	return raw(s.Local.Profile(r.Context(), user, r.URL.Query().Get("field")))
}

func (s *Server) directory(r *request) (any, error) {
	return raw(s.Local.RoomAlias(r.Context(), r.URL.Query().Get("room_alias")))
}

func (s *Server) devices(r *request) (any, error) {
	user, err := s.localUser(r.PathValue("userID"))
	if err != nil {
		return nil, err
	}
	return raw(s.Local.Devices(r.Context(), user))
}

func (s *Server) queryKeys(r *request) (any, error) {
	return raw(s.Local.QueryKeys(r.Context(), r.body))
}

func (s *Server) claimKeys(r *request) (any, error) {
	return raw(s.Local.ClaimKeys(r.Context(), r.body))
}

func (s *Server) publicRooms(r *request) (any, error) {
	var body []byte
	if r.Method == http.MethodPost {
		body = r.body
	}
	return raw(s.Local.PublicRooms(r.Context(), r.URL.Query(), body))
}

func (s *Server) hierarchy(r *request) (any, error) {
	suggested := isTrue(r.URL.Query().Get("suggested_only"))
	return raw(s.Local.Hierarchy(r.Context(), r.origin, r.PathValue("roomID"), suggested))
}
