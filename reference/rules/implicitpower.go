package rules

import "countersign/matrix"

// ImplicitPower is a server's implicit power level in a state: the highest power level of any user that
// is resident to the server (MSC4345, "Terminology"). Users without a power level of their own are
// resident to every server, so that it is never below users_default.
func (r *Room) ImplicitPower(server matrix.ServerName, state State) Level {
	levels := r.PowerLevels(state)
	highest := r.mistakenDefault(levels.content.named[usersDefault].or(0))
	for user, level := range levels.content.users {
		if level > highest && r.isResident(user, server, state) {
			highest = level
		}
	}
	for creator := range r.creators {
		if r.isResident(string(creator), server, state) {
			return Infinite
		}
	}
	return highest
}

// isResident is D-41: who is resident is not defined, and could not be told from auth events if it meant
// membership. Of the users in the power levels and the creators it is those whose user ID has the
// server's key, joined or not.
//
// D-56: user IDs of MSC4348 have no server; there it is those whose memberships the server has co-signed.
// The memberships are not among the auth events of a revocation, so that only the check against the state
// before the event sees them all.
func (r *Room) isResident(user string, server matrix.ServerName, state State) bool {
	if !r.Version().HasPortableAccounts() {
		return matrix.UserID(user).Domain() == server && !r.countsOut(user, state)
	}
	e := state.Event(matrix.StateTuple{Type: "m.room.member", StateKey: user})
	if r.hasBeenAt(e, server) {
		return true
	}
	return e != nil && e.Membership() == "join" && r.isBoundTo(e, server) && !r.defects.Has("GivePortableUsersServersNoPower")
}
