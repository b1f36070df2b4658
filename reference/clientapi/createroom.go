package clientapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// creationRoutes are about making rooms.
func (a *API) creationRoutes() []route {
	return []route{
		authed(http.MethodPost, "/v3/createRoom", a.createRoom),
		authed(http.MethodPost, "/v3/rooms/{roomID}/upgrade", a.upgrade),
	}
}

// roomRequest is the body of POST /createRoom.
type roomRequest struct {
	Visibility      string                     `json:"visibility"`
	RoomAliasName   string                     `json:"room_alias_name"`
	Name            string                     `json:"name"`
	Topic           string                     `json:"topic"`
	Invite          []matrix.UserID            `json:"invite"`
	Invite3PID      []json.RawMessage          `json:"invite_3pid"`
	RoomVersion     string                     `json:"room_version"`
	CreationContent json.RawMessage            `json:"creation_content"`
	InitialState    []initialState             `json:"initial_state"`
	Preset          string                     `json:"preset"`
	IsDirect        bool                       `json:"is_direct"`
	PowerLevels     map[string]json.RawMessage `json:"power_level_content_override"`
}

// initialState is a state event that a new room begins with.
type initialState struct {
	Type     string          `json:"type"`
	StateKey string          `json:"state_key"`
	Content  json.RawMessage `json:"content"`
}

// preset is a named set of rules for a new room (client-server API, POST /createRoom).
type preset struct {
	joinRule, historyVisibility, guestAccess string
	// invite is the power level that inviting takes.
	invite int
	// trusted makes whoever is invited a creator, too.
	trusted bool
}

func presetOf(name string) (preset, bool) {
	switch name {
	case "private_chat":
		return preset{joinRule: "invite", historyVisibility: "shared", guestAccess: "can_join"}, true
	case "trusted_private_chat":
		return preset{joinRule: "invite", historyVisibility: "shared", guestAccess: "can_join", trusted: true}, true
	case "public_chat":
		return preset{joinRule: "public", historyVisibility: "shared", guestAccess: "forbidden", invite: 50}, true
	}
	return preset{}, false
}

// newRoom is a room in the making, in the client's terms.
type newRoom struct {
	translator
	creator matrix.UserID
	preset  preset
	request roomRequest
	alias   string
	// serverKey is this server's key in the new room, for room versions with participation: the room's user
	// IDs are needed before there is a room.
	serverKey *matrix.ServerKeyPair
}

// foundation is a new room of which nothing is known but its version and creator.
func (a *API) foundation(v matrix.RoomVersion, creator matrix.UserID) (*newRoom, error) {
	n := &newRoom{translator: a.translator("", v), creator: creator}
	if !v.HasParticipation() {
		return n, nil
	}
	pair, err := matrix.NewServerKeyPair()
	if err != nil {
		return nil, err
	}
	n.serverKey = &pair
	n.company = foundingCompany{engineCompany{a, "", v}, pair.Key()}
	return n, nil
}

// isCreator reports whether a client means itself by a user ID. In rooms with participation that may be the
// ID that it has in the new room, which it can know for those of MSC4348 from other rooms.
func (n *newRoom) isCreator(user matrix.UserID) bool {
	inRoom, ok := n.find(n.creator)
	return user == n.creator || ok && user == inRoom
}

// checkUserID refuses what names no user: an account name user ID does, and a user ID of the room.
func (t *translator) checkUserID(user matrix.UserID) error {
	if t.company != nil && t.isRoomForm(user) {
		return nil
	}
	if _, err := matrix.ParseUserID(string(user)); err != nil {
		return peer.InvalidParam("%v", err)
	}
	return nil
}

// createRoom answers POST /createRoom.
func (a *API) createRoom(c *call) (any, error) {
	var body roomRequest
	if err := c.read(&body); err != nil {
		return nil, err
	}
	n, err := a.plan(c.user(), body)
	if err != nil {
		return nil, err
	}
	creation, err := n.creation(a.withProfile(c.user(), []byte("{}")))
	if err != nil {
		return nil, err
	}
	roomID, err := a.engine.Create(c.Context(), creation)
	if err != nil {
		return nil, err
	}
	if n.alias != "" {
		if err := a.users.CreateAlias(userdb.Alias{Alias: n.alias, RoomID: roomID, Creator: c.user()}); err != nil {
			return nil, err
		}
	}
	if body.Visibility == "public" {
		if err := a.users.SetPublished(roomID, true); err != nil {
			return nil, err
		}
	}
	invitation := map[string]any{}
	if body.IsDirect {
		invitation["is_direct"] = true
	}
	for _, target := range body.Invite {
		if err := a.invite(c, roomID, target, mustJSON(invitation)); err != nil {
			return nil, err
		}
	}
	return map[string]string{"room_id": roomID}, nil
}

// plan checks a request for a room before anything is made.
func (a *API) plan(creator matrix.UserID, body roomRequest) (*newRoom, error) {
	if body.RoomVersion == "" {
		body.RoomVersion = a.defaultVersion()
	}
	version, ok := a.engine.Version(body.RoomVersion)
	if !ok {
		return nil, unsupportedVersion(body.RoomVersion)
	}
	if body.Visibility != "" && body.Visibility != "public" && body.Visibility != "private" {
		return nil, peer.InvalidParam("there is no visibility %q", body.Visibility)
	}
	if body.Preset == "" {
		body.Preset = "private_chat"
		if body.Visibility == "public" {
			body.Preset = "public_chat"
		}
	}
	chosen, ok := presetOf(body.Preset)
	if !ok {
		return nil, peer.InvalidParam("there is no preset %q", body.Preset)
	}
	if len(body.Invite3PID) > 0 {
		return nil, peer.Errorf(http.StatusForbidden, "M_THREEPID_DENIED", "this server knows no identity server to invite through")
	}
	n, err := a.foundation(version, creator)
	if err != nil {
		return nil, err
	}
	n.preset, n.request = chosen, body
	for _, target := range body.Invite {
		if err := n.checkUserID(target); err != nil {
			return nil, err
		}
		if err := a.inviteable(target); err != nil {
			return nil, err
		}
	}
	if body.RoomAliasName != "" {
		if strings.ContainsAny(body.RoomAliasName, "#: \t\r\n\x00") {
			return nil, peer.InvalidParam("%q cannot be the name of an alias", body.RoomAliasName)
		}
		n.alias = "#" + body.RoomAliasName + ":" + string(a.server)
		if _, err := a.users.Alias(n.alias); err == nil {
			return nil, peer.Errorf(http.StatusBadRequest, "M_ROOM_IN_USE", "the alias %s is taken", n.alias)
		}
	}
	return n, nil
}

func unsupportedVersion(version string) error {
	return peer.Errorf(http.StatusBadRequest, "M_UNSUPPORTED_ROOM_VERSION", "this server does not know room version %q", version)
}

// creation is the room in the terms in which the engine makes it.
func (n *newRoom) creation(member []byte) (room.Creation, error) {
	content, err := n.createContent()
	if err != nil {
		return room.Creation{}, err
	}
	creation := room.Creation{Creator: n.creator, Version: n.version, Content: content, Member: member, Server: n.serverKey}
	events, err := n.initialEvents()
	if err != nil {
		return room.Creation{}, err
	}
	for _, e := range events {
		d, err := n.draft(e)
		if err != nil {
			return room.Creation{}, err
		}
		creation.Initial = append(creation.Initial, d)
	}
	return creation, nil
}

// draft is an initial state event in the room's terms.
func (n *newRoom) draft(e initialState) (room.Draft, error) {
	content, err := canonicalContent(e.Content)
	if err != nil {
		return room.Draft{}, err
	}
	key, err := n.stateKeyIn(e.Type, e.StateKey, n.creator)
	if err != nil {
		return room.Draft{}, err
	}
	content, err = n.contentIn(e.Type, content, nil)
	return room.Draft{Type: e.Type, StateKey: &key, Content: content}, err
}

// contentIn is the translator's, but that in a room with participation, whose users' IDs nobody can know
// before there is a room, account names are also translated in what the room begins with.
func (n *newRoom) contentIn(eventType string, content []byte, before *matrix.Event) ([]byte, error) {
	switch {
	case n.company == nil:
	case eventType == "m.room.create":
		return n.createIn(content)
	case eventType == "m.room.power_levels":
		return n.powerLevelsIn(content, before)
	}
	return n.translator.contentIn(eventType, content, before)
}

// createContent is the content of the create event without room_version, in the room's terms.
func (n *newRoom) createContent() ([]byte, error) {
	content := []byte("{}")
	if n.request.CreationContent != nil {
		var err error
		if content, err = canonicalContent(n.request.CreationContent); err != nil {
			return nil, err
		}
	}
	content = without(without(content, "room_version"), "creator")
	creators, err := n.additionalCreators(content)
	if err != nil {
		return nil, err
	}
	if len(creators) > 0 {
		content = with(content, "additional_creators", creators)
	}
	return n.contentIn("m.room.create", content, nil)
}

// additionalCreators are the creators whom the client names, and whoever is invited to a trusted
// private chat (room version 12). In rooms with account keys, a creator whose key is not known cannot
// be named (D-21).
func (n *newRoom) additionalCreators(content []byte) (creators []matrix.UserID, err error) {
	named := gjson.GetBytes(content, "additional_creators")
	if named.Exists() && !named.IsArray() {
		return nil, peer.InvalidParam("additional_creators is not an array")
	}
	for _, creator := range named.Array() {
		if err := n.checkUserID(matrix.UserID(creator.Str)); err != nil {
			return nil, err
		}
		creators = append(creators, matrix.UserID(creator.Str))
	}
	if n.preset.trusted {
		for _, target := range n.request.Invite {
			if !slices.Contains(creators, target) && !n.isCreator(target) {
				creators = append(creators, target)
			}
		}
	}
	return creators, nil
}

// initialEvents are the events that follow the creator's join, in the order of the specification.
// What the client gives as initial state comes instead of what the preset would set.
func (n *newRoom) initialEvents() ([]initialState, error) {
	levels, err := n.powerLevels()
	if err != nil {
		return nil, err
	}
	events := []initialState{{Type: "m.room.power_levels", Content: levels}}
	if n.alias != "" {
		events = append(events, initialState{Type: "m.room.canonical_alias", Content: mustJSON(map[string]string{"alias": n.alias})})
	}
	for _, e := range []initialState{
		{Type: "m.room.join_rules", Content: mustJSON(map[string]string{"join_rule": n.preset.joinRule})},
		{Type: "m.room.history_visibility", Content: mustJSON(map[string]string{"history_visibility": n.preset.historyVisibility})},
		{Type: "m.room.guest_access", Content: mustJSON(map[string]string{"guest_access": n.preset.guestAccess})},
	} {
		if !slices.ContainsFunc(n.request.InitialState, func(s initialState) bool { return s.Type == e.Type && s.StateKey == "" }) {
			events = append(events, e)
		}
	}
	for _, e := range n.request.InitialState {
		if e.Type == "" || e.Type == "m.room.create" || e.Type == "m.room.member" {
			return nil, peer.InvalidParam("initial_state cannot have an event of the type %q", e.Type)
		}
		if e.Content == nil {
			return nil, peer.InvalidParam("%s in initial_state has no content", e.Type)
		}
		events = append(events, e)
	}
	if n.defects.Has("SetMoreState") {
		events = append(events, initialState{Type: "org.countersign.extra", Content: mustJSON(map[string]bool{"extra": true})})
	}
	if n.request.Name != "" {
		events = append(events, initialState{Type: "m.room.name", Content: mustJSON(map[string]string{"name": n.request.Name})})
	}
	if n.request.Topic != "" {
		events = append(events, initialState{Type: "m.room.topic", Content: mustJSON(map[string]any{
			"topic":   n.request.Topic,
			"m.topic": map[string]any{"m.text": []map[string]string{{"body": n.request.Topic}}},
		})})
	}
	return events, nil
}

// powerLevels are the power levels of the new room. The creators are above all levels and must not be
// among the users (room version 12).
func (n *newRoom) powerLevels() (json.RawMessage, error) {
	levels := map[string]any{
		"users": map[string]int{}, "users_default": 0, "events_default": 0, "state_default": 50,
		"ban": 50, "kick": 50, "redact": 50, "invite": n.preset.invite,
		"notifications": map[string]int{"room": 50},
		"events": map[string]int{
			"m.room.name": 50, "m.room.avatar": 50, "m.room.canonical_alias": 50, "m.room.power_levels": 100,
			"m.room.history_visibility": 100, "m.room.encryption": 100, "m.room.server_acl": 100,
			// Creators only: replacing a room is for who made it (room version 12).
			"m.room.tombstone": 150,
		},
	}
	if n.defects.Has("WantMorePower") {
		levels["state_default"], levels["ban"], levels["kick"], levels["redact"] = 75, 75, 75, 75
	}
	if n.version.HasParticipation() && n.defects.Has("WriteTheAcceptLevelDown") {
		levels["accept"] = 100
	}
	for name, value := range n.request.PowerLevels {
		levels[name] = value
	}
	if users, overridden := n.request.PowerLevels["users"]; overridden {
		named := gjson.ParseBytes(users).Map()
		for _, user := range slices.Sorted(maps.Keys(named)) {
			if n.isCreator(matrix.UserID(user)) {
				return nil, peer.InvalidParam("%s creates the room and can have no power level", user)
			}
		}
	}
	return mustJSON(levels), nil
}
