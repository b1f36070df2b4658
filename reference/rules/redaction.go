package rules

import "countersign/matrix"

// MayRedact reports whether redaction, an allowed m.room.redaction event, takes effect on target (room
// version 3, "Handling redactions"): its sender has the redact level in state, or both senders are of
// one domain. It does not look whether redaction names target.
//
// D-16: the domains are as the user IDs have them, proved or not, so that servers converge.
func (r *Room) MayRedact(redaction, target *matrix.Event, state State) bool {
	if r.ofOneServer(redaction, target) {
		return true
	}
	levels := r.PowerLevels(state)
	return levels.User(redaction.Sender()) >= levels.Redact()
}

// ofOneServer reports whether two events are of one domain or, D-38, of one server key. D-52: in rooms of
// MSC4348 the key is the co-signing server's; users may redact what they have sent themselves wherever
// they were, as the comparison of domains lets them.
func (r *Room) ofOneServer(redaction, target *matrix.Event) bool {
	if !r.Version().HasPortableAccounts() {
		return redaction.Sender().Domain() == target.Sender().Domain() && !r.mistakesKeysForStrangers(redaction, target)
	}
	if redaction.Sender() == target.Sender() && !r.hasMovedBetween(redaction, target) {
		return true
	}
	one, err := redaction.Cosigner(r.find)
	if err != nil {
		return false
	}
	other, err := target.Cosigner(r.find)
	return err == nil && one == other && !r.defects.Has("RedactByAccountAlone")
}
