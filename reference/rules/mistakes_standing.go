package rules

import "countersign/matrix"

// More mistakes that a homeserver can make with who a server is, who is on it, and who may speak for it.

// letsCreatorPass reports whether a creator's server may accept itself that has requested, or was revoked.
func (p *participationCheck) letsCreatorPass() bool {
	switch p.current {
	case matrix.Requested:
		return p.room.defects.Has("LetCreatorsAcceptTheirOwnServers")
	case matrix.Revoked:
		return p.room.defects.Has("LetCreatorsUndoTheirOwnRevocation")
	}
	return false
}

// mistakenDefault is the power that a server has by its users without a power level of their own.
func (r *Room) mistakenDefault(honest Level) Level {
	if honest > 0 && r.defects.Has("ForgetUsersDefaultInServerPower") {
		return 0
	}
	return honest
}

// countsOut reports whether a variant does not count a user into the power of a server, who is not in the room
// (D-41).
func (r *Room) countsOut(user string, state State) bool {
	return Membership(state, matrix.UserID(user)) != "join" && r.defects.Has("CountJoinedUsersOnly")
}

// hasBeenAt reports whether a variant counts a user into the power of a server through which the user has joined,
// now or before (D-56).
func (r *Room) hasBeenAt(e *matrix.Event, server matrix.ServerName) bool {
	for range 20 {
		if e = r.membershipBefore(e); e == nil {
			return false
		}
		if e.Membership() == "join" && r.isBoundTo(e, server) {
			return r.defects.Has("CountFormerUsersIntoPower")
		}
	}
	return false
}

// mistakenStanding is what a user's membership is taken for who joins: a kick is forgotten when the user joins
// through another server than before.
func (m *memberCheck) mistakenStanding(honest string) string {
	if honest != "leave" || !m.room.Version().HasPortableAccounts() {
		return honest
	}
	kick := m.state.Event(matrix.StateTuple{Type: "m.room.member", StateKey: string(m.target)})
	if kick == nil || kick.Sender() == m.target || kick.Membership() != "leave" {
		return honest
	}
	before := m.room.membershipBefore(kick)
	if before != nil && before.Membership() == "join" && !m.room.isBoundTo(before, m.server) && m.room.defects.Has("LeaveKicksBehind") {
		return "join"
	}
	return honest
}

// hasMovedBetween reports whether a mutant takes two events of one account for those of two.
func (r *Room) hasMovedBetween(redaction, target *matrix.Event) bool {
	return !r.ofOneCosigner(redaction, target) && r.defects.Has("RedactThroughTheSameServerOnly")
}
