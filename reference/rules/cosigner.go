package rules

import "countersign/matrix"

// sendingServer is the server through which an event comes into the room: the domain of its sender, which
// in rooms of MSC4345 is a server key, or in rooms of MSC4348 the server that has co-signed it. The error
// is a *Rejection by D-55, when that cannot be told.
func (r *Room) sendingServer(e *matrix.Event) (matrix.ServerName, error) {
	if !r.Version().HasPortableAccounts() {
		return e.Sender().Domain(), nil
	}
	server, err := e.Cosigner(r.find)
	if err != nil && r.defects.Has("LetAccountsBeTheirOwnServers") {
		return matrix.ServerName(e.Sender().Localpart()), nil
	}
	if err != nil {
		return "", reject("MSC4348 D-55", "%v", err)
	}
	return server, nil
}

// isBoundTo reports whether a membership of a room of MSC4348 was co-signed by a server. D-54: a
// membership is bound to its co-signer.
func (r *Room) isBoundTo(membership *matrix.Event, server matrix.ServerName) bool {
	cosigner, err := membership.Cosigner(r.find)
	return err == nil && cosigner == server
}

// checkBinding is D-54: the membership of a joined user authorises what the server that has co-signed it
// sends, and nothing else. To act through another server, the user joins again through that one.
func (r *Room) checkBinding(user matrix.UserID, server matrix.ServerName, state State) error {
	if !r.Version().HasPortableAccounts() {
		return nil
	}
	e := state.Event(matrix.StateTuple{Type: "m.room.member", StateKey: string(user)})
	if (e == nil || !r.isBoundTo(e, server)) && !r.defects.Has("ActThroughAnyServer") {
		return reject("MSC4348 D-54", "the sender has not joined through the server %s", server)
	}
	return nil
}

// authorising is a user's membership as far as it authorises something: Membership, or "leave" where the
// membership has lapsed. Rules that a membership makes stricter, such as those on bans, ask Membership: a
// lapsed one still forbids what it forbade. So the state never allows more than the auth events, which
// need not show that a membership has lapsed.
func (r *Room) authorising(state State, user matrix.UserID) string {
	if r.Version().HasPortableAccounts() {
		e := state.Event(matrix.StateTuple{Type: "m.room.member", StateKey: string(user)})
		if e != nil && r.hasLapsed(e, state) {
			return "leave"
		}
	}
	return Membership(state, user)
}

// hasLapsed is D-54: once its co-signer is revoked, a membership authorises nothing, until another takes
// its place. A state without the co-signer's participation (an event's auth events need not have it)
// does not say that it was revoked.
func (r *Room) hasLapsed(membership *matrix.Event, state State) bool {
	server, err := membership.Cosigner(r.find)
	return err != nil || participation(state, server) == matrix.Revoked && !r.defects.Has("KeepMembershipsOfRevokedServers")
}

// checkAuthorisersServer asks that the server of who authorises a restricted join was not revoked:
// "the key can no longer be used to authorize events within the room" (MSC4345, "Revoked participation").
// In rooms of MSC4348 the authoriser's membership has lapsed then.
func (m *memberCheck) checkAuthorisersServer(authoriser matrix.UserID) error {
	if m.room.Version().Identity == matrix.ServerKeyIdentity && participation(m.state, authoriser.Domain()) == matrix.Revoked &&
		!m.room.defects.Has("LetRevokedServersAuthoriseJoins") {
		return reject("5.3.5.2", "the server of the authoriser %s has been revoked", authoriser)
	}
	return nil
}

// checkTargetForm asks that a membership is a user's, as the room version writes user IDs (MSC4345,
// "Changes to the user ID format"; MSC4348, "Changes to room membership"). Version 12 does not ask.
func (r *Room) checkTargetForm(stateKey string) error {
	if !r.Version().HasParticipation() {
		return nil
	}
	if _, err := r.Version().ParseUserID(stateKey); err != nil && !r.defects.Has("TakeMembershipsWithDomains") {
		return reject("5.1", "the state_key of the membership event is not a user ID of the room version: %v", err)
	}
	return nil
}
