package clientapi

import (
	"encoding/json"
	"slices"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// upgrade answers POST /rooms/{roomId}/upgrade: it makes a room of another version with the settings of
// this one, and leaves a tombstone here. Everything goes through the client's terms, so that users who
// have account keys in one of the rooms and names in the other are the same users.
func (a *API) upgrade(c *call) (any, error) {
	var body struct {
		NewVersion         string          `json:"new_version"`
		AdditionalCreators []matrix.UserID `json:"additional_creators"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	version, ok := a.engine.Version(body.NewVersion)
	if !ok {
		if body.NewVersion == "" {
			return nil, missingParam("new_version")
		}
		return nil, unsupportedVersion(body.NewVersion)
	}
	r, err := a.reader(c.session, c.PathValue("roomID"))
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
	if !r.mayReplace(state) {
		return nil, peer.Forbidden("your power level does not allow a tombstone")
	}
	creation, err := r.successor(state, version, body.AdditionalCreators)
	if err != nil {
		return nil, err
	}
	newRoomID, err := a.engine.Create(c.Context(), creation)
	if err != nil {
		return nil, err
	}
	return a.replace(c, r, state, newRoomID)
}

// replace points from an old room to a new one.
func (a *API) replace(c *call, r *reader, state room.State, newRoomID string) (any, error) {
	empty := ""
	tombstone := mustJSON(map[string]string{"body": "This room has been replaced", "replacement_room": newRoomID})
	_, err := a.engine.Send(c.Context(), r.roomID, c.user(), room.Draft{Type: "m.room.tombstone", StateKey: &empty, Content: tombstone})
	if err != nil {
		return nil, err
	}
	published, err := a.users.IsPublished(r.roomID)
	if err != nil {
		return nil, err
	}
	if published {
		if err := a.users.SetPublished(newRoomID, true); err != nil {
			return nil, err
		}
		if err := a.users.SetPublished(r.roomID, false); err != nil {
			return nil, err
		}
	}
	if err := a.users.MoveAliases(r.roomID, newRoomID); err != nil {
		return nil, err
	}
	if err := a.silence(c, r, state); err != nil {
		// The old room stays as open as it was; the upgrade itself is done.
		a.logger.Info("a replaced room cannot be closed", "room", r.roomID, "error", err)
	}
	return map[string]string{"replacement_room": newRoomID}, nil
}

// silence raises the levels that talking and inviting take in a replaced room.
func (a *API) silence(c *call, r *reader, state room.State) error {
	levels := r.stateEvent(state, matrix.StateTuple{Type: "m.room.power_levels"})
	if levels == nil {
		return nil
	}
	content := []byte(levels.Content())
	quiet := max(50, levels.Get("users_default").Int()+1)
	for _, name := range []string{"events_default", "invite"} {
		if levels.Get(name).Int() < quiet {
			content = with(content, name, quiet)
		}
	}
	empty := ""
	_, err := a.engine.Send(c.Context(), r.roomID, c.user(), room.Draft{Type: "m.room.power_levels", StateKey: &empty, Content: content})
	return err
}

// mayReplace reports whether the reader's power level allows a tombstone.
func (r *reader) mayReplace(s room.State) bool {
	return r.powerOf(s, r.self) >= r.powerFor(s, "m.room.tombstone")
}

// carriedOver are the state events, with an empty state key, that a room takes along to a new version.
func carriedOver() []string {
	return []string{
		"m.room.join_rules", "m.room.history_visibility", "m.room.guest_access", "m.room.name", "m.room.topic",
		"m.room.avatar", "m.room.encryption", "m.room.server_acl", "m.room.canonical_alias",
	}
}

// successor describes the room that replaces this one.
func (r *reader) successor(s room.State, v matrix.RoomVersion, creators []matrix.UserID) (room.Creation, error) {
	n, err := r.api.foundation(v, r.session.User)
	if err != nil {
		return room.Creation{}, err
	}
	content := []byte("{}")
	if create := r.stateEvent(s, matrix.StateTuple{Type: "m.room.create"}); create != nil {
		for _, property := range []string{`m\.federate`, "type"} {
			if value := create.Get(property); value.Exists() {
				content = with(content, property, value.Value())
			}
		}
	}
	content = with(content, "predecessor", map[string]string{"room_id": r.roomID})
	if len(creators) > 0 {
		content = with(content, "additional_creators", creators)
	}
	content, err = n.contentIn("m.room.create", content, nil)
	if err != nil {
		return room.Creation{}, err
	}
	creation := room.Creation{
		Creator: n.creator, Version: v, Content: content, Member: r.api.withProfile(n.creator, []byte("{}")), Server: n.serverKey,
	}
	for _, e := range r.settings(s, n, append(creators, n.creator)) {
		d, err := n.draft(e)
		if err != nil {
			return room.Creation{}, err
		}
		creation.Initial = append(creation.Initial, d)
	}
	return creation, nil
}

// settings are the events that make a new room like this one, in the client's terms.
func (r *reader) settings(s room.State, n *newRoom, creators []matrix.UserID) []initialState {
	events := []initialState{{Type: "m.room.power_levels", Content: r.levelsFor(s, n, creators)}}
	for _, eventType := range carriedOver() {
		e := r.stateEvent(s, matrix.StateTuple{Type: eventType})
		if e != nil && r.visible(e) {
			events = append(events, initialState{Type: eventType, Content: r.contentOut(e)})
		}
	}
	for place := range s.All() {
		if !isMember(place) {
			continue
		}
		e := r.stateEvent(s, place)
		if e == nil || e.Membership() != "ban" {
			continue
		}
		if shown, ok := r.user(matrix.UserID(place.StateKey)); ok {
			if user, ok := r.successorOf(shown, n); ok {
				events = append(events, initialState{Type: "m.room.member", StateKey: string(user), Content: mustJSON(map[string]string{"membership": "ban"})})
			}
		}
	}
	return events
}

// successorOf is how a client would name, in the new room, a user whom it sees in this one. ok is false for
// users whom the new room cannot name: those whose account keys are not known there (D-21), and those of
// rooms of MSC4345 whose names are not verified, as server keys are for one room.
func (r *reader) successorOf(shown matrix.UserID, n *newRoom) (matrix.UserID, bool) {
	user, ok := r.knownAs(shown)
	if !ok && r.version.HasPortableAccounts() && n.version.HasPortableAccounts() {
		return shown, true
	}
	if !ok {
		return "", false
	}
	_, err := n.roomUser(user)
	return user, err == nil
}

// levelsFor are the power levels of this room for the users of the new one. Users whom the new room
// cannot name are left out (D-21), and so are its creators, who have no level.
func (r *reader) levelsFor(s room.State, n *newRoom, creators []matrix.UserID) json.RawMessage {
	levels := r.stateEvent(s, matrix.StateTuple{Type: "m.room.power_levels"})
	if levels == nil {
		return json.RawMessage("{}")
	}
	users := map[string]json.RawMessage{}
	gjson.GetBytes(r.powerLevelsOut(levels.Content()), "users").ForEach(func(name, level gjson.Result) bool {
		user, ok := r.successorOf(matrix.UserID(name.Str), n)
		if ok && !slices.Contains(creators, user) && !n.isCreator(user) {
			users[r.mistakenSuccessor(user, n)] = json.RawMessage(level.Raw)
		}
		return true
	})
	return with(levels.Content(), "users", users)
}
