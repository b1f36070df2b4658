package clientapi

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// Bounds of a walk through a space.
const (
	maxHierarchy      = 50
	maxHierarchyDepth = 5
)

// hierarchyRoutes are about spaces, and about rooms that one is not in.
func (a *API) hierarchyRoutes() []route {
	return []route{
		authed(http.MethodGet, "/v1/rooms/{roomID}/hierarchy", a.hierarchy),
		authed(http.MethodGet, "/v1/room_summary/{roomIDOrAlias}", a.roomSummary),
		authed(http.MethodPost, "/v3/rooms/{roomID}/report", a.report),
		authed(http.MethodPost, "/v3/rooms/{roomID}/report/{eventID}", a.report),
	}
}

// spaceRoom is a room in a hierarchy, with the links to its children.
type spaceRoom struct {
	publicRoom
	RoomVersion    string         `json:"room_version,omitempty"`
	AllowedRoomIDs []string       `json:"allowed_room_ids,omitempty"`
	ChildrenState  []*clientEvent `json:"children_state"`
}

// space describes a room of this server as part of a hierarchy.
func (a *API) space(info room.Info, suggestedOnly bool) (spaceRoom, error) {
	described, err := a.describe(info)
	if err != nil {
		return spaceRoom{}, err
	}
	s := spaceRoom{publicRoom: described, RoomVersion: info.Version.ID, ChildrenState: []*clientEvent{}}
	state, err := a.engine.CurrentState(info.ID)
	if err != nil {
		return s, err
	}
	events, err := a.engine.Events(state)
	if err != nil {
		return s, err
	}
	t := a.translator(info.ID, info.Version)
	for _, e := range events {
		switch {
		case e.IsState("m.room.join_rules", ""):
			for _, allow := range e.Get("allow").Array() {
				if id := allow.Get("room_id").Str; id != "" {
					s.AllowedRoomIDs = append(s.AllowedRoomIDs, id)
				}
			}
		case e.Type() == "m.space.child" && len(e.Get("via").Array()) > 0 && (!suggestedOnly || e.Get("suggested").Bool()):
			if child := t.stripped(e.Event); child != nil {
				child.OriginServerTS = e.OriginServerTS()
				s.ChildrenState = append(s.ChildrenState, child)
			}
		}
	}
	slices.SortFunc(s.ChildrenState, func(a, b *clientEvent) int {
		order := func(e *clientEvent) string { return cmp.Or(gjson.GetBytes(e.Content, "order").Str, "\x7f") }
		return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.OriginServerTS, b.OriginServerTS), cmp.Compare(*a.StateKey, *b.StateKey))
	})
	return s, nil
}

// open reports whether anybody may know of a room: it can be joined or knocked on, or read by all.
func (s *spaceRoom) open() bool {
	return s.WorldReadable || slices.Contains([]string{"public", "knock", "knock_restricted"}, s.JoinRule)
}

// restrictedTo reports whether the join rule lets in members of other rooms.
func (s *spaceRoom) restrictedTo(member func(roomID string) bool) bool {
	return (s.JoinRule == "restricted" || s.JoinRule == "knock_restricted") && slices.ContainsFunc(s.AllowedRoomIDs, member)
}

// walk is one walk through a space.
type walk struct {
	api           *API
	c             *call
	member        map[string]string // the caller's memberships by room
	suggestedOnly bool
	maxDepth      int
	seen          map[string]bool
	rooms         []any
}

// hierarchy answers GET /rooms/{roomId}/hierarchy.
func (a *API) hierarchy(c *call) (any, error) {
	memberships, err := a.engine.Memberships(c.user())
	if err != nil {
		return nil, err
	}
	depth, err := c.queryInt("max_depth", maxHierarchyDepth, maxHierarchyDepth)
	if err != nil {
		return nil, err
	}
	w := &walk{
		api: a, c: c, member: map[string]string{}, suggestedOnly: c.queryBool("suggested_only"), maxDepth: depth,
		seen: map[string]bool{}, rooms: []any{},
	}
	for _, m := range memberships {
		w.member[m.RoomID] = m.Membership
	}
	w.visit(c.PathValue("roomID"), nil, 0)
	if len(w.rooms) == 0 {
		return nil, notInRoom(c.PathValue("roomID"))
	}
	return map[string]any{"rooms": w.rooms}, nil
}

// visit adds a room and, depth first, its children. Rooms that the caller may not know of are passed
// over.
func (w *walk) visit(roomID string, via []string, depth int) {
	if w.seen[roomID] || len(w.rooms) >= maxHierarchy {
		return
	}
	w.seen[roomID] = true
	info, ok := w.api.engine.Room(roomID)
	if !ok || !info.Joined {
		w.visitRemote(roomID, via, depth)
		return
	}
	s, err := w.api.space(info, w.suggestedOnly)
	if err != nil {
		w.api.logger.Warn("a space cannot be read", "room", roomID, "error", err)
		return
	}
	inside := func(id string) bool { return w.member[id] == "join" }
	if !inside(roomID) && w.member[roomID] != "invite" && !s.open() && !s.restrictedTo(inside) {
		return
	}
	w.rooms = append(w.rooms, s)
	if depth == w.maxDepth {
		return
	}
	for _, child := range s.ChildrenState {
		var servers []string
		for _, server := range gjson.GetBytes(child.Content, "via").Array() {
			servers = append(servers, server.Str)
		}
		w.visit(*child.StateKey, servers, depth+1)
	}
}

// visitRemote asks another server about a room and its children.
func (w *walk) visitRemote(roomID string, via []string, depth int) {
	for _, server := range via[:min(len(via), 2)] {
		if _, err := matrix.ParseServerName(server); err != nil || matrix.ServerName(server) == w.api.server {
			continue
		}
		answer, err := w.api.peers.Call(w.c.Context(), matrix.ServerName(server), peer.Call{
			Method: http.MethodGet, Path: peer.Path("_matrix", "federation", "v1", "hierarchy", roomID),
			Query: url.Values{"suggested_only": {boolText(w.suggestedOnly)}},
		})
		if err != nil || !gjson.ValidBytes(answer) {
			continue
		}
		found := gjson.ParseBytes(answer)
		if found.Get("room.room_id").Str != roomID {
			continue
		}
		w.rooms = append(w.rooms, json.RawMessage(found.Get("room").Raw))
		if depth == w.maxDepth {
			return
		}
		for _, child := range found.Get("children").Array() {
			if id := child.Get("room_id").Str; id != "" && !w.seen[id] && len(w.rooms) < maxHierarchy {
				w.seen[id] = true
				w.rooms = append(w.rooms, json.RawMessage(child.Raw))
			}
		}
		return
	}
}

func boolText(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// Hierarchy answers GET /hierarchy/{roomId} of other servers: a room that the origin may know of, and
// those of its children that it may know of too.
func (a *API) Hierarchy(_ context.Context, origin matrix.ServerName, roomID string, suggestedOnly bool) ([]byte, error) {
	s, ok, err := a.spaceFor(origin, roomID, suggestedOnly)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, peer.NotFound("there is no room %s that you may know of", roomID)
	}
	children, inaccessible := []spaceRoom{}, []string{}
	for _, link := range s.ChildrenState {
		if len(children) >= maxHierarchy {
			break
		}
		child, ok, err := a.spaceFor(origin, *link.StateKey, suggestedOnly)
		if err != nil {
			return nil, err
		}
		if ok {
			children = append(children, child)
		} else if info, known := a.engine.Room(*link.StateKey); known && info.Joined {
			inaccessible = append(inaccessible, *link.StateKey)
		}
	}
	return mustJSON(map[string]any{"room": s, "children": children, "inaccessible_children": inaccessible}), nil
}

// spaceFor is a room of this server that another server may know of.
func (a *API) spaceFor(origin matrix.ServerName, roomID string, suggestedOnly bool) (s spaceRoom, ok bool, err error) {
	info, known := a.engine.Room(roomID)
	if !known || !info.Joined {
		return s, false, nil
	}
	if s, err = a.space(info, suggestedOnly); err != nil {
		return s, false, err
	}
	inside := func(id string) bool {
		servers, err := a.engine.Servers(id)
		return err == nil && slices.Contains(servers, origin)
	}
	return s, s.open() || inside(roomID) || s.restrictedTo(inside), nil
}

// RoomAlias answers GET /query/directory of other servers.
func (a *API) RoomAlias(_ context.Context, alias string) ([]byte, error) {
	found, err := a.localAlias(alias)
	return mustJSON(found), err
}

// roomSummary answers GET /room_summary/{roomIdOrAlias} for rooms that this server is in.
func (a *API) roomSummary(c *call) (any, error) {
	roomID := c.PathValue("roomIDOrAlias")
	if roomID[:min(1, len(roomID))] == "#" {
		found, err := a.resolveAlias(c.Context(), roomID)
		if err != nil {
			return nil, err
		}
		roomID = found.RoomID
	}
	info, ok := a.engine.Room(roomID)
	if !ok || !info.Joined {
		return nil, peer.NotFound("there is no room %s that you may know of", roomID)
	}
	s, err := a.space(info, false)
	if err != nil {
		return nil, err
	}
	r, err := a.readerOf(c.session, info)
	if err != nil {
		return nil, err
	}
	inside := func(id string) bool {
		m, err := a.reader(c.session, id)
		return err == nil && m.joined()
	}
	if !s.open() && !r.joined() && r.own.Membership != "invite" && !s.restrictedTo(inside) {
		return nil, peer.NotFound("there is no room %s that you may know of", roomID)
	}
	return struct {
		spaceRoom
		ChildrenState any    `json:"children_state,omitempty"`
		Membership    string `json:"membership,omitempty"`
	}{spaceRoom: s, Membership: r.own.Membership}, nil
}

// report answers POST /rooms/{roomId}/report and /rooms/{roomId}/report/{eventId}: it goes to the log.
func (a *API) report(c *call) (any, error) {
	r, err := a.openRoom(c)
	if err != nil {
		return nil, err
	}
	if eventID := c.PathValue("eventID"); eventID != "" {
		if _, err := r.findEvent(eventID); err != nil {
			return nil, err
		}
	}
	a.logger.Info("a client has reported something", "user", c.user(), "room", r.roomID, "event", c.PathValue("eventID"))
	return empty()
}
