package fakeserver

import (
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

func (s *Server) serveVersion(*Inquiry) Answer {
	return JSON(http.StatusOK, map[string]any{"server": map[string]string{"name": "countersign-fakeserver", "version": "1"}})
}

// serveProfile answers query/profile: a user's display name is the account name.
func (s *Server) serveProfile(q *Inquiry) Answer {
	u := s.UserByID(matrix.UserID(q.Query.Get("user_id")))
	if u == nil {
		return notFound("no user %s", q.Query.Get("user_id"))
	}
	profile := map[string]string{"displayname": u.name}
	if field := q.Query.Get("field"); field != "" && field != "displayname" {
		profile = map[string]string{}
	}
	return JSON(http.StatusOK, profile)
}

func (s *Server) serveDirectory(q *Inquiry) Answer {
	s.mu.Lock()
	room := s.aliases[q.Query.Get("room_alias")]
	s.mu.Unlock()
	if room == "" {
		return notFound("no room has the alias %s", q.Query.Get("room_alias"))
	}
	return JSON(http.StatusOK, map[string]any{"room_id": room, "servers": []matrix.ServerName{s.name}})
}

// serveDevices answers user/devices: users of a fake server have no devices unless an override gives
// them some.
func (s *Server) serveDevices(q *Inquiry) Answer {
	if s.UserByID(matrix.UserID(q.Var("userID"))) == nil {
		return notFound("no user %s", q.Var("userID"))
	}
	return JSON(http.StatusOK, map[string]any{"user_id": q.Var("userID"), "stream_id": 1, "devices": []any{}})
}

func (s *Server) serveKeysQuery(q *Inquiry) Answer {
	devices := map[string]any{}
	gjson.GetBytes(q.Body, "device_keys").ForEach(func(id, _ gjson.Result) bool {
		devices[id.String()] = map[string]any{}
		return true
	})
	return JSON(http.StatusOK, map[string]any{"device_keys": devices})
}

func (s *Server) serveKeysClaim(*Inquiry) Answer {
	return JSON(http.StatusOK, map[string]any{"one_time_keys": map[string]any{}})
}

// servePublicRooms lists the rooms whose join rule is public.
func (s *Server) servePublicRooms(*Inquiry) Answer {
	s.mu.Lock()
	rooms := make([]*Room, 0, len(s.rooms))
	for _, id := range sortedKeys(s.rooms) {
		rooms = append(rooms, s.rooms[id])
	}
	s.mu.Unlock()
	chunk := []any{}
	for _, r := range rooms {
		rules := r.State("m.room.join_rules", "")
		if rules == nil || rules.Get("join_rule").String() != "public" {
			continue
		}
		entry := map[string]any{"room_id": r.id, "num_joined_members": r.joinedMembers(), "world_readable": false, "guest_can_join": false, "join_rule": "public"}
		if name := r.State("m.room.name", ""); name != nil {
			entry["name"] = strings.TrimSpace(name.Get("name").String())
		}
		chunk = append(chunk, entry)
	}
	return JSON(http.StatusOK, map[string]any{"chunk": chunk, "total_room_count_estimate": len(chunk)})
}

func (r *Room) joinedMembers() (n int) {
	for _, e := range r.FullState() {
		if e.Type() == "m.room.member" && e.Membership() == "join" {
			n++
		}
	}
	return n
}
