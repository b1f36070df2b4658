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

// AuthEventTuples is the auth events selection of a room version: that of version 12 and, in room
// versions with participation, the places of participations. D-42: MSC4345 does not say which; it is
// those of the sending server, of the server that the event is about, and of the one that authorises a
// request.
//
// server is the server that sends the event. It is needed for MSC4348 alone, where it is the one that
// co-signs, and may be empty there for what does not depend on it; in rooms of MSC4345 it is in sender.
func (v RoomVersion) AuthEventTuples(eventType string, stateKey *string, sender UserID, content []byte, server ServerName) []StateTuple {
	tuples := AuthEventTuples(eventType, stateKey, sender, content)
	if !v.HasParticipation() || eventType == "m.room.create" {
		return tuples
	}
	if v.Identity == ServerKeyIdentity {
		server = sender.Domain()
	}
	for _, s := range append(citedParticipations(eventType, stateKey, content), server) {
		if place := ParticipationPlace(s); s != "" && !slices.Contains(tuples, place) {
			tuples = append(tuples, place)
		}
	}
	return tuples
}

// AuthEventTuples is the auth events selection for e. In rooms of MSC4348 the participation of the
// server that co-signs is missing from it: see Cosigner.
func (e *Event) AuthEventTuples() []StateTuple {
	var stateKey *string
	if e.isState {
		stateKey = &e.stateKey
	}
	return e.version.AuthEventTuples(e.eventType, stateKey, e.sender, e.content, "")
}
