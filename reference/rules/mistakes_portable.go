package rules

import "countersign/matrix"

// The mistakes that a homeserver can make with portable accounts, and with what took the place of domains.

// mistakenCosigner lets a server that is not accepted co-sign.
func (r *Room) mistakenCosigner(e *matrix.Event, standing matrix.Participation) bool {
	join := e.Type() == "m.room.member" && e.Membership() == "join"
	switch standing {
	case "":
		// A server without participation cannot be cited; an account that cites none may be taken for its own.
		_, err := e.Cosigner(r.find)
		return err != nil && r.defects.Has("LetAccountsBeTheirOwnServers")
	case matrix.Requested:
		return r.defects.Has("LetRequestedServersCosign") || join && r.defects.Has("MoveToRequestedServers")
	case matrix.Revoked:
		return r.defects.Has("LetRevokedServersCosign") || join && r.defects.Has("MoveToRevokedServers")
	}
	return false
}

// power is the power level of the sender.
func (m *memberCheck) power() Level {
	honest := m.levels().User(m.sender)
	if honest > m.levels().User("") && m.room.leavesPowerBehind(m.sender, m.state) {
		return m.levels().User("")
	}
	return honest
}

// leavesPowerBehind reports whether a mutant takes the power of a joined user, who was joined through another
// server just before, for power on that server.
func (r *Room) leavesPowerBehind(user matrix.UserID, state State) bool {
	if !r.Version().HasPortableAccounts() {
		return false
	}
	join := state.Event(matrix.StateTuple{Type: "m.room.member", StateKey: string(user)})
	before := r.membershipBefore(join)
	return before != nil && before.Membership() == "join" && !r.ofOneCosigner(join, before) && r.defects.Has("LeavePowerBehind")
}

// membershipBefore is the membership that another has taken the place of, as its auth events have it.
func (r *Room) membershipBefore(e *matrix.Event) *matrix.Event {
	if e == nil {
		return nil
	}
	for _, id := range e.AuthEvents() {
		if cited := r.find(id); cited != nil && cited.Tuple() == e.Tuple() {
			return cited
		}
	}
	return nil
}

func (r *Room) ofOneCosigner(a, b *matrix.Event) bool {
	server, err := a.Cosigner(r.find)
	return err == nil && r.isBoundTo(b, server)
}

// mistakenRefusalOfMove refuses a join of a user who is joined through another server.
func (m *memberCheck) mistakenRefusalOfMove() error {
	if !m.room.Version().HasPortableAccounts() {
		return nil
	}
	current := m.state.Event(matrix.StateTuple{Type: "m.room.member", StateKey: string(m.target)})
	if current == nil || current.Membership() != "join" || m.room.isBoundTo(current, m.server) {
		return nil
	}
	if m.room.hasLapsed(current, m.state) {
		if m.room.defects.Has("RefuseMovesFromRevokedServers") {
			return reject("mistake", "the user's server was revoked")
		}
	} else if m.room.defects.Has("RefuseMoves") {
		return reject("mistake", "the user is joined through another server")
	}
	return nil
}

// bannedElsewhere reports whether a mutant takes a ban for one of a user of another server than the one
// through which the user joins now.
func (m *memberCheck) bannedElsewhere() bool {
	if !m.room.Version().HasPortableAccounts() {
		return false
	}
	ban := m.state.Event(matrix.StateTuple{Type: "m.room.member", StateKey: string(m.target)})
	before := m.room.membershipBefore(ban)
	return before != nil && !m.room.isBoundTo(before, m.server) && m.room.defects.Has("LeaveBansBehind")
}

// sameAccount reports whether a membership is taken for the sender's own that names the sender's account key
// and a domain.
func (m *memberCheck) sameAccount() bool {
	return m.room.Version().HasPortableAccounts() && m.sender.Localpart() == m.target.Localpart() &&
		m.room.defects.Has("TakeMembershipsWithDomains")
}
