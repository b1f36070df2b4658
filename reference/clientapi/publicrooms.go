package clientapi

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// publicRoom is a room as directories and space hierarchies list it. It names no users.
type publicRoom struct {
	RoomID           string  `json:"room_id"`
	Name             string  `json:"name,omitempty"`
	Topic            string  `json:"topic,omitempty"`
	AvatarURL        string  `json:"avatar_url,omitempty"`
	CanonicalAlias   string  `json:"canonical_alias,omitempty"`
	JoinRule         string  `json:"join_rule,omitempty"`
	RoomType         *string `json:"room_type,omitempty"`
	NumJoinedMembers int     `json:"num_joined_members"`
	WorldReadable    bool    `json:"world_readable"`
	GuestCanJoin     bool    `json:"guest_can_join"`
}

// publicRoomsQuery are the parameters of GET and POST /publicRooms.
type publicRoomsQuery struct {
	Limit  *int   `json:"limit"`
	Since  string `json:"since"`
	Filter struct {
		GenericSearchTerm string     `json:"generic_search_term"`
		RoomTypes         *[]*string `json:"room_types"`
	} `json:"filter"`
}

// publicRooms answers GET and POST /publicRooms, for this server or by asking another one.
func (a *API) publicRooms(c *call) (any, error) {
	if server := matrix.ServerName(c.query("server")); server != "" && server != a.server {
		return a.remotePublicRooms(c, server)
	}
	answer, err := a.PublicRooms(c.Context(), c.URL.Query(), c.body)
	return json.RawMessage(answer), err
}

func (a *API) remotePublicRooms(c *call, server matrix.ServerName) (any, error) {
	if _, err := matrix.ParseServerName(string(server)); err != nil {
		return nil, peer.InvalidParam("%v", err)
	}
	query := c.URL.Query()
	query.Del("server")
	query.Del("access_token")
	answer, err := a.peers.Call(c.Context(), server, peer.Call{
		Method: c.Method, Path: peer.Path("_matrix", "federation", "v1", "publicRooms"), Query: query, Body: c.body,
	})
	if err != nil {
		return nil, err
	}
	if !json.Valid(answer) {
		return nil, peer.Errorf(http.StatusBadGateway, "M_UNKNOWN", "%s has not answered with JSON", server)
	}
	return json.RawMessage(answer), nil
}

// PublicRooms answers GET and POST /publicRooms of clients and of other servers: body is nil for GET.
func (a *API) PublicRooms(_ context.Context, query url.Values, body []byte) ([]byte, error) {
	q, err := readPublicRoomsQuery(query, body)
	if err != nil {
		return nil, err
	}
	rooms, err := a.publishedRooms()
	if err != nil {
		return nil, err
	}
	rooms = slices.DeleteFunc(rooms, func(p publicRoom) bool { return !q.wants(p) })
	offset := 0
	if q.Since != "" {
		if offset, err = strconv.Atoi(q.Since); err != nil || offset < 0 {
			return nil, peer.InvalidParam("%q is not a token of /publicRooms", q.Since)
		}
	}
	answer := map[string]any{"total_room_count_estimate": len(rooms)}
	rooms = rooms[min(offset, len(rooms)):]
	if q.Limit != nil && *q.Limit >= 0 && *q.Limit < len(rooms) {
		rooms = rooms[:*q.Limit]
		answer["next_batch"] = strconv.Itoa(offset + *q.Limit)
	}
	if offset > 0 {
		answer["prev_batch"] = strconv.Itoa(max(0, offset-max(1, len(rooms))))
	}
	answer["chunk"] = rooms
	return mustJSON(answer), nil
}

func readPublicRoomsQuery(query url.Values, body []byte) (q publicRoomsQuery, err error) {
	if limit := query.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 0 {
			return q, peer.InvalidParam("the parameter limit is not a number from 0 on: %q", limit)
		}
		q.Limit = &n
	}
	q.Since = query.Get("since")
	if len(body) > 0 {
		if err := json.Unmarshal(body, &q); err != nil {
			return q, peer.BadJSON("the body has the wrong shape: %v", err)
		}
	}
	return q, nil
}

// wants reports whether a room matches the filter.
func (q *publicRoomsQuery) wants(p publicRoom) bool {
	term := strings.ToLower(q.Filter.GenericSearchTerm)
	if !strings.Contains(strings.ToLower(p.Name+"\n"+p.Topic+"\n"+p.CanonicalAlias), term) {
		return false
	}
	if q.Filter.RoomTypes == nil {
		return true
	}
	return slices.ContainsFunc(*q.Filter.RoomTypes, func(wanted *string) bool {
		if wanted == nil || p.RoomType == nil {
			return wanted == nil && p.RoomType == nil
		}
		return *wanted == *p.RoomType
	})
}

// publishedRooms are the rooms of the directory, the fullest first.
func (a *API) publishedRooms() ([]publicRoom, error) {
	ids, err := a.users.Published()
	if err != nil {
		return nil, err
	}
	rooms := []publicRoom{}
	for _, id := range ids {
		info, ok := a.engine.Room(id)
		if !ok || !info.Joined {
			continue
		}
		p, err := a.describe(info)
		if err != nil {
			return nil, err
		}
		rooms = append(rooms, p)
	}
	slices.SortFunc(rooms, func(a, b publicRoom) int {
		return cmp.Or(cmp.Compare(b.NumJoinedMembers, a.NumJoinedMembers), cmp.Compare(a.RoomID, b.RoomID))
	})
	return rooms, nil
}

// describe lists a room. It reads the room as somebody would who is not in it: what hidden users have
// set is not shown, and they are not counted (D-18(g)).
func (a *API) describe(info room.Info) (publicRoom, error) {
	state, err := a.engine.CurrentState(info.ID)
	if err != nil {
		return publicRoom{}, err
	}
	r := &reader{translator: a.translator(info.ID, info.Version), api: a, roomID: info.ID, visibilities: map[string]string{}}
	text := func(eventType, property string) string {
		e := r.stateEvent(state, matrix.StateTuple{Type: eventType})
		if e == nil || !r.visible(e) {
			return ""
		}
		return e.Get(property).Str
	}
	p := publicRoom{
		RoomID: info.ID, Name: text("m.room.name", "name"), Topic: text("m.room.topic", "topic"),
		AvatarURL: text("m.room.avatar", "url"), CanonicalAlias: text("m.room.canonical_alias", "alias"),
		JoinRule: text("m.room.join_rules", "join_rule"), NumJoinedMembers: len(r.joinedUsers(state)),
		WorldReadable: text("m.room.history_visibility", "history_visibility") == "world_readable",
		GuestCanJoin:  text("m.room.guest_access", "guest_access") == "can_join",
	}
	if p.Name == "" && a.defects.Has("CallRoomsByTheirCreators") {
		p.Name = string(info.Create.Sender())
	}
	if roomType := text("m.room.create", "type"); roomType != "" {
		p.RoomType = &roomType
	}
	return p, nil
}
