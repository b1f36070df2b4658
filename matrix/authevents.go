package matrix

import "slices"

// StateTuple is a place in a room's state: an event type and a state key.
type StateTuple struct{ Type, StateKey string }

// AuthEventTuples is the auth events selection of room version 12 for an event that is about to be
// sent or checked: the places in the room state whose events, where they exist, must be its
// auth_events (server-server API, "Auth events selection"). The create event is never among them; the
// room ID implies it. A create event has no auth events.
func AuthEventTuples(eventType string, stateKey *string, sender UserID, content []byte) []StateTuple {
	if eventType == "m.room.create" {
		return nil
	}
	tuples := make([]StateTuple, 0, 5)
	add := func(t StateTuple) {
		if !slices.Contains(tuples, t) {
			tuples = append(tuples, t)
		}
	}
	add(StateTuple{"m.room.power_levels", ""})
	add(StateTuple{"m.room.member", string(sender)})
	if eventType != "m.room.member" || stateKey == nil {
		return tuples
	}
	add(StateTuple{"m.room.member", *stateKey})
	membership, _ := stringValue(lookup(content, "membership"))
	switch membership {
	case "join", "invite", "knock":
		add(StateTuple{"m.room.join_rules", ""})
	}
	if membership == "invite" {
		signed := lookup(lookup(content, "third_party_invite"), "signed")
		if token, ok := stringValue(lookup(signed, "token")); ok {
			add(StateTuple{"m.room.third_party_invite", token})
		}
	}
	if membership == "join" {
		if authoriser, ok := stringValue(lookup(content, "join_authorised_via_users_server")); ok {
			add(StateTuple{"m.room.member", authoriser})
		}
	}
	return tuples
}

// AuthEventTuples is the auth events selection for e.
func (e *Event) AuthEventTuples() []StateTuple {
	var stateKey *string
	if e.isState {
		stateKey = &e.stateKey
	}
	return AuthEventTuples(e.eventType, stateKey, e.sender, e.content)
}
