package room

import "countersign/matrix"

// strippedTypes are the state events that help to identify a room (client-server API, "Stripped state").
var strippedTypes = [...]string{
	"m.room.create", "m.room.name", "m.room.avatar", "m.room.topic", "m.room.join_rules",
	"m.room.canonical_alias", "m.room.encryption",
}

// PublicState is what somebody who is invited, or knocks, may see of a room: the stripped state, as
// complete events.
func (g *Engine) PublicState(roomID string) (events []*matrix.Event, err error) {
	s, err := g.CurrentState(roomID)
	if err != nil {
		return nil, err
	}
	for _, t := range strippedTypes {
		if e := g.StateEvent(s, t, ""); e != nil {
			events = append(events, e)
		}
	}
	return events, nil
}
