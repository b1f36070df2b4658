package room

import (
	"encoding/json"
	"slices"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// maxHeroes is how many members stand for a room that has no name (client-server API, m.heroes).
const maxHeroes = 5

// WithoutMembers is the answer of send_join for a server that can do without the members: the state
// without memberships, but for those of the heroes of a room that has no name, and the servers that are
// in the room (server-server API, send_join, omit_members). In rooms with account keys these are the
// domains of the user IDs, verified or not.
func (s Sent) WithoutMembers() Sent {
	named, joiner := false, gjson.GetBytes(s.Event, "state_key").String()
	servers := map[matrix.ServerName]bool{}
	var heroes []json.RawMessage
	rest := []json.RawMessage{}
	for _, raw := range s.State {
		e := gjson.ParseBytes(raw)
		eventType, key := e.Get("type").String(), e.Get("state_key").String()
		named = named || key == "" && (eventType == "m.room.name" || eventType == "m.room.canonical_alias")
		if eventType != "m.room.member" {
			rest = append(rest, raw)
			continue
		}
		membership := e.Get("content.membership").String()
		if membership == "join" {
			servers[matrix.UserID(key).Domain()] = true
		}
		if (membership == "join" || membership == "invite") && key != joiner && len(heroes) < maxHeroes {
			heroes = append(heroes, raw)
		}
	}
	if !named {
		rest = append(rest, heroes...)
	}
	omitted := true
	s.State, s.MembersOmitted = rest, &omitted
	if s.ServersInRoom != nil {
		return s // user IDs do not tell the domains
	}
	for name := range servers {
		s.ServersInRoom = append(s.ServersInRoom, name)
	}
	slices.Sort(s.ServersInRoom)
	return s
}
