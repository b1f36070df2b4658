package clientapi

import (
	"math"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/room"
)

// powerOf is the power level of a user, as the room names users, in a state. It serves what this
// server decides on its own (upgrades, notifications); whether an event is allowed is for the rules.
func (r *reader) powerOf(s room.State, user matrix.UserID) int64 {
	if create := r.stateEvent(s, matrix.StateTuple{Type: "m.room.create"}); create != nil {
		if create.Sender() == user {
			return math.MaxInt64
		}
		for _, creator := range create.Get("additional_creators").Array() {
			if matrix.UserID(creator.Str) == user {
				return math.MaxInt64
			}
		}
	}
	levels := r.stateEvent(s, matrix.StateTuple{Type: "m.room.power_levels"})
	if levels == nil {
		return 0
	}
	power := levels.Get("users_default").Int()
	levels.Get("users").ForEach(func(key, level gjson.Result) bool {
		if matrix.UserID(key.Str) == user {
			power = level.Int()
			return false
		}
		return true
	})
	return power
}

// powerFor is the power level that a state event of a type takes.
func (r *reader) powerFor(s room.State, eventType string) int64 {
	const stateDefault = 50
	levels := r.stateEvent(s, matrix.StateTuple{Type: "m.room.power_levels"})
	if levels == nil {
		return 0
	}
	power := int64(stateDefault)
	if level := levels.Get("state_default"); level.Exists() {
		power = level.Int()
	}
	levels.Get("events").ForEach(func(key, level gjson.Result) bool {
		if key.Str == eventType {
			power = level.Int()
			return false
		}
		return true
	})
	return power
}
