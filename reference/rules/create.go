package rules

import (
	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// AuthoriseCreate is rule 1, which decides about create events alone. The error is a *Rejection.
func AuthoriseCreate(e *matrix.Event) error {
	if !e.IsCreate() {
		return reject("2", "%s is not a create event", e.Type())
	}
	if len(e.PrevEvents()) > 0 {
		return reject("1.1", "the create event has previous events")
	}
	if e.HasRoomID() {
		return reject("1.2", "the create event has a room_id")
	}
	if err := checkRoomVersion(e); err != nil {
		return err
	}
	return checkAdditionalCreators(e)
}

// checkRoomVersion is rule 1.3. The version that is recognised here is the one that the event was read
// as: a create event that names another would start a room whose servers apply other rules.
func checkRoomVersion(e *matrix.Event) error {
	v := e.Get("room_version")
	if v.Exists() && (v.Type != gjson.String || v.Str != e.Version().ID) {
		return reject("1.3", "room_version is not %q", e.Version().ID)
	}
	return nil
}

// checkAdditionalCreators is rule 1.4. In rooms with account keys the entries are not required to be
// account keys: D-14, the grammar of user IDs is all that is asked, and an entry that is no account
// key is nobody.
func checkAdditionalCreators(e *matrix.Event) error {
	creators := e.Get("additional_creators")
	if !creators.Exists() {
		return nil
	}
	if !creators.IsArray() {
		return reject("1.4", "additional_creators is not an array")
	}
	for _, c := range creators.Array() {
		if !isUserID(e.Version(), c) {
			return reject("1.4", "additional_creators contains something that is not a user ID")
		}
	}
	return nil
}

func isUserID(version matrix.RoomVersion, v gjson.Result) bool {
	if v.Type != gjson.String {
		return false
	}
	_, err := version.ParseUserID(v.Str)
	return err == nil
}
