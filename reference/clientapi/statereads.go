package clientapi

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// stateRoutes are about reading the state and the members of rooms.
func (a *API) stateRoutes() []route {
	return []route{
		authed(http.MethodGet, "/v3/rooms/{roomID}/state", a.allState),
		authed(http.MethodGet, "/v3/rooms/{roomID}/state/{type}", a.oneState),
		authed(http.MethodGet, "/v3/rooms/{roomID}/state/{type}/{stateKey...}", a.oneState),
		authed(http.MethodGet, "/v3/rooms/{roomID}/members", a.members),
		authed(http.MethodGet, "/v3/rooms/{roomID}/joined_members", a.joinedMembers),
		authed(http.MethodGet, "/v3/joined_rooms", a.joinedRooms),
	}
}

// showState is a state event as the reader sees it, nil when it is hidden. Whoever may read the state
// of a room may read all of it, whatever the visibility of its history.
func (r *reader) showState(e room.Stored) *clientEvent {
	return r.event(e.Event, surroundings{nowMillis: r.api.nowMillis(), redaction: r.redactionOf(e)})
}

// showPlace is showState of the event at a place of a state, nil when there is none.
func (r *reader) showPlace(s room.State, place matrix.StateTuple) *clientEvent {
	e, ok := r.api.engine.Event(r.roomID, s.Get(place))
	if !ok {
		return nil
	}
	return r.showState(e)
}

// showAll is a state as the reader sees it, in a fixed order.
func (r *reader) showAll(s room.State) ([]*clientEvent, error) {
	return r.showSome(s, func(matrix.StateTuple) bool { return true })
}

// showSome is showAll of the places that are wanted.
func (r *reader) showSome(s room.State, wanted func(matrix.StateTuple) bool) ([]*clientEvent, error) {
	stored, err := r.api.engine.Events(s)
	if err != nil {
		return nil, err
	}
	events := []*clientEvent{}
	for _, e := range stored {
		if !wanted(e.Tuple()) {
			continue
		}
		if shown := r.showState(e); shown != nil {
			events = append(events, shown)
		}
	}
	sortState(events)
	return events, nil
}

// sortState puts state events in order: by time, as clients that replay them expect the create event
// first.
func sortState(events []*clientEvent) {
	slices.SortStableFunc(events, func(a, b *clientEvent) int {
		return cmp.Or(
			-cmp.Compare(boolInt(a.Type == "m.room.create"), boolInt(b.Type == "m.room.create")),
			cmp.Compare(a.OriginServerTS, b.OriginServerTS), cmp.Compare(a.EventID, b.EventID),
		)
	})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// allState answers GET /rooms/{roomId}/state.
func (a *API) allState(c *call) (any, error) {
	r, err := a.openRoom(c)
	if err != nil {
		return nil, err
	}
	state, err := r.state()
	if err != nil {
		return nil, err
	}
	return r.showAll(state)
}

// oneState answers GET /rooms/{roomId}/state/{eventType}/{stateKey}.
func (a *API) oneState(c *call) (any, error) {
	r, err := a.openRoom(c)
	if err != nil {
		return nil, err
	}
	state, err := r.state()
	if err != nil {
		return nil, err
	}
	notFound := peer.NotFound("the room has no %s with the state key %q", c.PathValue("type"), c.PathValue("stateKey"))
	key, ok := r.findStateKey(c.PathValue("stateKey"))
	if !ok {
		return nil, notFound
	}
	shown := r.showPlace(state, matrix.StateTuple{Type: c.PathValue("type"), StateKey: key})
	if shown == nil {
		return nil, notFound
	}
	if c.query("format") == "event" {
		return shown, nil
	}
	return json.RawMessage(shown.Content), nil
}

// members answers GET /rooms/{roomId}/members.
func (a *API) members(c *call) (any, error) {
	r, err := a.openRoom(c)
	if err != nil {
		return nil, err
	}
	state, err := r.state()
	if err != nil {
		return nil, err
	}
	if at := c.query("at"); at != "" {
		g, err := parseGap(at)
		if err != nil {
			return nil, err
		}
		if state, err = a.engine.StateAt(r.roomID, g.Major); err != nil {
			return nil, err
		}
	}
	wanted, notWanted := c.query("membership"), c.query("not_membership")
	members, err := r.showSome(state, isMember)
	if err != nil {
		return nil, err
	}
	members = slices.DeleteFunc(members, func(e *clientEvent) bool {
		m := membershipOf(e)
		return wanted != "" && m != wanted || notWanted != "" && m == notWanted
	})
	if r.renames() && a.defects.Has("HashMembersAsTheyAreShown") {
		for i := range members {
			members[i] = hashedAsShown(members[i])
		}
	}
	return map[string]any{"chunk": members}, nil
}

func isMember(place matrix.StateTuple) bool { return place.Type == "m.room.member" }

// membershipOf is the membership in a member event as clients see it.
func membershipOf(e *clientEvent) string {
	var content struct {
		Membership string `json:"membership"`
	}
	if json.Unmarshal(e.Content, &content) != nil {
		return ""
	}
	return content.Membership
}

// member is one entry of /joined_members.
type member struct {
	DisplayName json.RawMessage `json:"display_name,omitempty"`
	AvatarURL   json.RawMessage `json:"avatar_url,omitempty"`
}

// joinedMembers answers GET /rooms/{roomId}/joined_members.
func (a *API) joinedMembers(c *call) (any, error) {
	r, err := a.openRoom(c)
	if err != nil {
		return nil, err
	}
	if !r.joined() {
		return nil, notInRoom(r.roomID)
	}
	state, err := r.state()
	if err != nil {
		return nil, err
	}
	joined := map[matrix.UserID]member{}
	for user, e := range r.joinedUsers(state) {
		joined[user] = member{DisplayName: r.displayName(e), AvatarURL: rawText(e.Get("avatar_url"))}
	}
	return map[string]any{"joined": joined}, nil
}

// joinedUsers are the joined users of a state whom clients may be told about, and their member events.
// Of several keys of one name (D-19), one stands for all.
func (r *reader) joinedUsers(s room.State) map[matrix.UserID]*matrix.Event {
	joined := map[matrix.UserID]*matrix.Event{}
	for user, e := range r.usersIn(s) {
		if e.Membership() == "join" {
			joined[user] = e
		}
	}
	return joined
}

// joinedRooms answers GET /joined_rooms.
func (a *API) joinedRooms(c *call) (any, error) {
	memberships, err := a.engine.Memberships(c.user())
	if err != nil {
		return nil, err
	}
	rooms := []string{}
	for _, m := range memberships {
		if m.Membership == "join" {
			rooms = append(rooms, m.RoomID)
		}
	}
	slices.Sort(rooms)
	return map[string]any{"joined_rooms": rooms}, nil
}
