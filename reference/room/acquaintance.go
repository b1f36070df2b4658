package room

import "countersign/matrix"

// MayKnowAccount reports whether a server may be told who is behind the portable user ID of a room of
// MSC4348: the user is joined to a room in which a server of that domain participates (MSC4348,
// "Obtaining account and profile information as a server"; D-51). An erased user has left all rooms, and
// a membership of any kind is enough to learn of that.
func (g *Engine) MayKnowAccount(user matrix.UserID, erased bool, server matrix.ServerName) (bool, error) {
	memberships, err := g.Memberships(user)
	if err != nil {
		return false, err
	}
	for _, m := range memberships {
		if !m.Version.HasPortableAccounts() || m.Membership != "join" && !erased && !g.Defects.Has("TellOfThoseWhoHaveLeft") {
			continue
		}
		participates, err := g.participatesAs(m.RoomID, server)
		if participates || err != nil {
			return participates, err
		}
	}
	return g.Defects.Has("TellStrangersOfAccounts"), nil
}

// MayKnowAccountKey is MayKnowAccount for who asks as MSC4243 has it, where anybody may: of an account that is, or
// was, in rooms of MSC4348 alone only acquaintances are told by that way either. MSC4348 speaks of "the same" endpoint.
func (g *Engine) MayKnowAccountKey(user matrix.UserID, erased bool, server matrix.ServerName) (bool, error) {
	public, portable := false, false
	for _, name := range []matrix.UserID{user, user + ":" + matrix.UserID(g.ServerName)} {
		memberships, err := g.Memberships(name)
		if err != nil {
			return false, err
		}
		for _, m := range memberships {
			public = public || m.Version.Identity == matrix.AccountKeyIdentity
			portable = portable || m.Version.HasPortableAccounts()
		}
	}
	if public && erased && g.Defects.Has("TellErasuresToAcquaintancesOnly") {
		return g.hasMet(user, server)
	}
	if public || !portable || g.Defects.Has("TellAnybodyAsMSC4243Does") {
		return true, nil
	}
	return g.MayKnowAccount(user, erased, server)
}

// participatesAs reports whether a server that says that it is of a domain is accepted in a room. Whether
// the domain is that server's need not be known: who asks has proved to be of the domain.
func (g *Engine) participatesAs(roomID string, domain matrix.ServerName) (accepted bool, err error) {
	r, err := g.live(roomID)
	if err != nil || r == nil {
		return false, err
	}
	current, err := g.CurrentState(roomID)
	if err != nil {
		return false, err
	}
	err = g.view(func(events source) error {
		for _, id := range current.OfType(matrix.ParticipationType) {
			e := events.Event(id)
			if e == nil || e.Participation() != matrix.Accepted && !g.tellsParticipants(e) {
				continue
			}
			if claimed, ok := e.UnverifiedDomain(); ok && claimed == domain {
				accepted = true
				return nil
			}
		}
		return nil
	})
	return accepted, err
}
