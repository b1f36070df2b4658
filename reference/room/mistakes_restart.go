package room

import "countersign/matrix"

// The mistakes that a homeserver can make when it is started again with the data that it had.

// remembered is an event of a state, or of auth events, as a mutant remembers it that was restarted: it goes by
// what the event had taken the place of, or by nothing. k may be nil.
func (s source) remembered(k *known) *known {
	if k == nil || s.g.Defects.None() || !k.Version().HasParticipation() || k.place == (Place{}) || k.place.Major > s.g.before {
		return k
	}
	switch {
	case k.IsParticipation() && k.Participation() == matrix.Requested && s.g.Defects.Has("ForgetRequestsAtRestart"):
		return nil
	case k.IsParticipation() && k.Participation() == matrix.Revoked && s.g.Defects.Has("ForgetRevocationsAtRestart"),
		s.isMove(k) && s.g.Defects.Has("ForgetMovesAtRestart"):
		return s.replacedBy(k)
	}
	return k
}

// replacedBy is the event that one has taken the place of in the state, as far as it cites that; nil when it
// does not.
func (s source) replacedBy(k *known) *known {
	place, _ := k.StateKey()
	for _, id := range k.AuthEvents() {
		if before := s.find(id); before != nil && before.IsState(k.Type(), place) {
			return before
		}
	}
	return nil
}

// isMove reports whether an event is the join of an account, of a room of MSC4348, that was joined through
// another server before.
func (s source) isMove(k *known) bool {
	if !k.Version().HasPortableAccounts() || k.Type() != "m.room.member" || k.Membership() != "join" {
		return false
	}
	before := s.replacedBy(k)
	if before == nil || before.Membership() != "join" {
		return false
	}
	from, err := before.Cosigner(s.Event)
	to, otherErr := k.Cosigner(s.Event)
	return err == nil && otherErr == nil && from != to
}
