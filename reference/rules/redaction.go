package rules

import "countersign/matrix"

// MayRedact reports whether redaction, an allowed m.room.redaction event, takes effect on target (room
// version 3, "Handling redactions"): its sender has the redact level in state, or both senders are of
// one domain. It does not look whether redaction names target.
//
// D-16: the domains are as the user IDs have them, proved or not, so that servers converge.
func (r *Room) MayRedact(redaction, target *matrix.Event, state State) bool {
	if redaction.Sender().Domain() == target.Sender().Domain() {
		return true
	}
	levels := r.PowerLevels(state)
	return levels.User(redaction.Sender()) >= levels.Redact()
}
