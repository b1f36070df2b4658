package clientapi

import (
	"encoding/json"
	"slices"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/account"
	"countersign/reference/peer"
)

// find returns the user of the room that an account name user ID stands for, for reading: nothing is
// minted, and ok is false when there is none. Of the several keys that a name can have (D-19), one
// that is in the room is preferred.
func (t *translator) find(name matrix.UserID) (user matrix.UserID, ok bool) {
	if !t.version.HasAccountKeys() && t.company == nil {
		return name, true
	}
	keys := t.candidates(name)
	if len(keys) == 0 {
		return "", false
	}
	if t.membership == nil {
		return keys[0], true
	}
	return slices.MaxFunc(keys, func(a, b matrix.UserID) int {
		return presence(t.membership(a)) - presence(t.membership(b))
	}), true
}

// candidates are the users of the room that an account name user ID may stand for.
func (t *translator) candidates(name matrix.UserID) []matrix.UserID {
	if t.company != nil {
		return t.findNamed(name)
	}
	return t.names.KeyUserIDs(name)
}

// presence orders memberships by how much their user is in the room.
func presence(membership string) int {
	return slices.Index([]string{"", "leave", "ban", "knock", "invite", "join"}, membership)
}

// roomUser returns the user of the room that an account name user ID stands for, for writing: the key
// of a local user is minted when there is none. A name that no key is known for is refused, and so
// never gets into a room (D-21). So is an account key user ID, which is no name.
func (t *translator) roomUser(name matrix.UserID) (matrix.UserID, error) {
	if user, ok := t.find(name); ok {
		return user, nil
	}
	if t.company != nil {
		return "", errUnverified(name)
	}
	if _, err := matrix.ParseUserID(string(name)); err != nil {
		return "", peer.InvalidParam("%v", err)
	}
	if name.Domain() == t.server && !t.exists(name.Localpart()) {
		return "", peer.InvalidParam("%v: %s", account.ErrUnknownAccount, name)
	}
	return t.names.RoomUser(t.version, name)
}

// findStateKey is a state key of a client's as the room has it, for reading.
func (t *translator) findStateKey(key string) (string, bool) {
	if len(key) == 0 || key[0] != '@' {
		return key, true
	}
	user, ok := t.find(matrix.UserID(key))
	return string(user), ok
}

// stateKeyIn is a state key of a client's as the room has it, for writing. Only a whole user ID is
// translated, not one that is part of a longer key.
func (t *translator) stateKeyIn(eventType, key string, sender matrix.UserID) (string, error) {
	if len(key) == 0 || key[0] != '@' {
		return key, nil
	}
	if t.company != nil {
		return t.companyStateKeyIn(eventType, key, sender)
	}
	if !t.renames() {
		return key, nil
	}
	if key == string(sender) && eventType != "m.room.member" && t.defects.Has("WriteStateKeysAsTheyAre") {
		return key, nil
	}
	if eventType != "m.room.member" && key != string(sender) {
		// Authorization rule 9 would say the same once the name has become a key.
		return "", peer.Forbidden("the state key %s is the ID of another user", key)
	}
	user, err := t.roomUser(matrix.UserID(key))
	return string(user), err
}

// contentIn is content of a client's with users as the room knows them. before is the state event
// that the new one will replace, or nil.
func (t *translator) contentIn(eventType string, content []byte, before *matrix.Event) ([]byte, error) {
	if !t.renames() {
		return content, nil
	}
	switch eventType {
	case "m.room.create":
		return t.createIn(content)
	case "m.room.member":
		return t.memberIn(content)
	case "m.room.power_levels":
		return t.powerLevelsIn(content, before)
	}
	return content, nil
}

// createIn translates additional_creators.
func (t *translator) createIn(content []byte) ([]byte, error) {
	creators := gjson.GetBytes(content, "additional_creators")
	if !creators.Exists() {
		return content, nil
	}
	if !creators.IsArray() {
		return nil, peer.InvalidParam("additional_creators is not an array")
	}
	if t.defects.Has("WriteCreatorsAsTheyAre") {
		return content, nil
	}
	users := []matrix.UserID{}
	for _, creator := range creators.Array() {
		user, err := t.roomUser(matrix.UserID(creator.Str))
		if err != nil {
			return nil, err
		}
		users = append(users, user)
	}
	return with(content, "additional_creators", users), nil
}

// memberIn translates the user who authorises a restricted join.
func (t *translator) memberIn(content []byte) ([]byte, error) {
	const path = "join_authorised_via_users_server"
	named := gjson.GetBytes(content, path)
	if !named.Exists() {
		return content, nil
	}
	user, err := t.roomUser(matrix.UserID(named.Str))
	if err != nil {
		return nil, err
	}
	return with(content, path, user), nil
}

// powerLevelsIn translates the keys of users, and takes over from the levels before what the client
// cannot have seen: the entries of hidden users (CS-07, D-18(d)), and which of the several keys of a
// name has which level.
func (t *translator) powerLevelsIn(content []byte, before *matrix.Event) ([]byte, error) {
	users := gjson.GetBytes(content, "users")
	if users.Exists() && !users.IsObject() {
		return content, nil // the authorization rules refuse it
	}
	levels := t.hiddenLevels(before)
	if len(levels) > 0 && t.defects.Has("DropHiddenLevels") {
		clear(levels)
	}
	if t.defects.Has("WritePowerLevelsAsTheyAre") {
		return content, nil
	}
	known := levelsByName(t, before)
	var failure error
	users.ForEach(func(name, level gjson.Result) bool {
		if same, ok := known.unchanged(matrix.UserID(name.Str), level); ok {
			for user, l := range same {
				levels[user] = l
			}
			return true
		}
		user, err := t.roomUser(matrix.UserID(name.Str))
		if err != nil {
			failure = err
			return false
		}
		levels[user] = json.RawMessage(level.Raw)
		return true
	})
	if failure != nil {
		return nil, failure
	}
	if !users.Exists() && len(levels) == 0 {
		return content, nil
	}
	return with(content, "users", levels), nil
}

// hiddenLevels are the entries of power levels that clients are not shown.
func (t *translator) hiddenLevels(before *matrix.Event) map[matrix.UserID]json.RawMessage {
	hidden := map[matrix.UserID]json.RawMessage{}
	if before == nil {
		return hidden
	}
	before.Get("users").ForEach(func(key, level gjson.Result) bool {
		if _, ok := t.user(matrix.UserID(key.Str)); !ok {
			hidden[matrix.UserID(key.Str)] = json.RawMessage(level.Raw)
		}
		return true
	})
	return hidden
}

// namedLevels are the entries of power levels by the name that clients see them under.
type namedLevels map[matrix.UserID]map[matrix.UserID]json.RawMessage

func levelsByName(t *translator, before *matrix.Event) namedLevels {
	known := namedLevels{}
	if before == nil {
		return known
	}
	before.Get("users").ForEach(func(key, level gjson.Result) bool {
		name, ok := t.user(matrix.UserID(key.Str))
		if !ok {
			return true
		}
		if known[name] == nil {
			known[name] = map[matrix.UserID]json.RawMessage{}
		}
		known[name][matrix.UserID(key.Str)] = json.RawMessage(level.Raw)
		return true
	})
	return known
}

// unchanged returns the entries of a name when the client has written the level that it was shown,
// the highest of them.
func (n namedLevels) unchanged(name matrix.UserID, written gjson.Result) (map[matrix.UserID]json.RawMessage, bool) {
	entries := n[name]
	if len(entries) == 0 || written.Type != gjson.Number {
		return nil, false
	}
	highest := gjson.Result{}
	for _, level := range entries {
		if l := gjson.ParseBytes(level); !highest.Exists() || l.Int() > highest.Int() {
			highest = l
		}
	}
	return entries, highest.Int() == written.Int()
}
