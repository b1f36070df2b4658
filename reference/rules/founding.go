package rules

import "countersign/matrix"

// isFounding reports whether e is the participation by which the creator's server begins a room: accepted
// by the sender of the create event, right behind it (MSC4345, "Room creation flow"). It looks at nothing
// but what the event ID covers.
func (r *Room) isFounding(e *matrix.Event) bool {
	prev := e.PrevEvents()
	return e.IsParticipation() && e.Participation() == matrix.Accepted && e.Sender() == r.create.Sender() &&
		len(prev) == 1 && prev[0] == r.create.ID()
}

// isFoundingServer is rule 4 for rooms of MSC4348. D-52: the key of the co-signing server takes the place
// of the sender's domain; the create event names no server, so that the creator's is the one that began
// the room.
func (r *Room) isFoundingServer(e *matrix.Event, server matrix.ServerName, state State) bool {
	if r.isFounding(e) {
		return true
	}
	current := state.Event(matrix.ParticipationPlace(server))
	return current != nil && r.isFounding(current)
}
