package clientapi

import (
	"cmp"
	"encoding/json"
	"iter"
	"slices"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/room"
)

// memberPlace is the place of a user's membership, as the room names users.
func memberPlace(user matrix.UserID) matrix.StateTuple {
	return matrix.StateTuple{Type: "m.room.member", StateKey: string(user)}
}

// usersIn are the users with a membership in a state whom clients may be told about, by account name
// user ID, with their member events.
func (r *reader) usersIn(s room.State) iter.Seq2[matrix.UserID, *matrix.Event] {
	return func(yield func(matrix.UserID, *matrix.Event) bool) {
		events, err := r.api.engine.Events(s)
		if err != nil {
			r.api.logger.Warn("the members of a room cannot be read", "room", r.roomID, "error", err)
		}
		for _, e := range events {
			if !isMember(e.Tuple()) || !r.visible(e.Event) && !r.listsHidden(e) {
				continue
			}
			if r.renames() && r.defects.Has("ListMembersByKey") {
				if !yield(matrix.UserID(e.Tuple().StateKey), e.Event) {
					return
				}
				continue
			}
			if !r.visible(e.Event) {
				if !yield(matrix.UserID(e.Tuple().StateKey), e.Event) {
					return
				}
				continue
			}
			if name, _ := r.user(matrix.UserID(e.Tuple().StateKey)); !yield(name, e.Event) {
				return
			}
		}
	}
}

// rawText is the raw JSON of a string, nil for anything else.
func rawText(value gjson.Result) json.RawMessage {
	if value.Type != gjson.String {
		return nil
	}
	return json.RawMessage(value.Raw)
}

// maxHeroes is how many heroes a room summary has (client-server API, /sync).
const maxHeroes = 5

// summary is the summary of a room in /sync.
type summary struct {
	Heroes  []matrix.UserID `json:"m.heroes,omitempty"`
	Joined  *int            `json:"m.joined_member_count,omitempty"`
	Invited *int            `json:"m.invited_member_count,omitempty"`
}

// summary counts the members of a state and names the heroes by which clients call a room that has no
// name. D-18(g): users whom clients must not be told about are not counted.
func (r *reader) summary(s room.State) summary {
	type candidate struct {
		name matrix.UserID
		ts   int64
	}
	var joined, invited int
	var present, gone []candidate
	for name, e := range r.usersIn(s) {
		m := e.Membership()
		switch m {
		case "join":
			joined++
		case "invite":
			invited++
		}
		if r.isReader(name) {
			continue
		}
		if m == "join" || m == "invite" {
			present = append(present, candidate{name, e.OriginServerTS()})
		} else {
			gone = append(gone, candidate{name, e.OriginServerTS()})
		}
	}
	result := summary{Joined: &joined, Invited: &invited}
	if r.hasName(s) {
		return result
	}
	if len(present) == 0 {
		present = gone
	}
	slices.SortFunc(present, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.ts, b.ts), cmp.Compare(a.name, b.name))
	})
	for _, c := range present {
		if len(result.Heroes) < maxHeroes && !slices.Contains(result.Heroes, c.name) {
			result.Heroes = append(result.Heroes, r.mistakenHero(c.name))
		}
	}
	return result
}

// hasName reports whether clients see a name or a canonical alias of the room.
func (r *reader) hasName(s room.State) bool {
	for _, named := range []struct{ eventType, property string }{{"m.room.name", "name"}, {"m.room.canonical_alias", "alias"}} {
		e := r.stateEvent(s, matrix.StateTuple{Type: named.eventType})
		if e != nil && r.visible(e) && e.Get(named.property).Str != "" {
			return true
		}
	}
	return false
}
