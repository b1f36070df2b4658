package rules

import "countersign/matrix"

// mistakenAuthoriser is how the signature of a restricted join's authoriser can be checked wrongly, for
// joins that the authoriser has not signed.
func (r *Room) mistakenAuthoriser(e *matrix.Event, authoriser string) bool {
	user := matrix.UserID(authoriser)
	if _, err := user.AccountKey(); err != nil {
		return false
	}
	switch {
	case len(e.SignatureKeyIDs(string(user.Domain()))) > 0 && r.defects.Has("AcceptTheAuthorisersServer"),
		signedUnder(e, string(user)) && r.defects.Has("AcceptAuthoriserUnderFullUserID"),
		len(e.SignatureKeyIDs(user.Localpart())) > 0 && r.defects.Has("AcceptAuthoriserUnderAnyKeyID"),
		r.anotherKeySigned(e, user) && r.defects.Has("AcceptAnyAuthorisersKey"):
		return true
	}
	return e.Membership() == "join" && r.defects.Has("IgnoreTheAuthorisersSignature") ||
		e.Membership() != "join" && r.defects.Has("CheckAuthorisersOfJoinsOnly")
}

func signedUnder(e *matrix.Event, entity string) bool { return len(e.SignatureKeyIDs(entity)) > 0 }

// anotherKeySigned reports whether an account key has signed that is neither the sender's nor the
// authoriser's.
func (r *Room) anotherKeySigned(e *matrix.Event, authoriser matrix.UserID) bool {
	for _, entity := range e.SignatureEntities() {
		other, err := matrix.ParseAccountKey(entity)
		if err == nil && entity != e.Sender().Localpart() && entity != authoriser.Localpart() &&
			e.VerifySignature(entity, matrix.AccountKeyID, other.PublicKey()) == nil {
			return true
		}
	}
	return false
}

// lowlyCreator is how the power of creators can be forgotten.
func (r *Room) lowlyCreator(user matrix.UserID) bool {
	return user != r.create.Sender() && r.defects.Has("ForgetAdditionalCreators")
}

// mistakenAuthoriser is how a request can be taken from an authorising server that is not accepted.
func (p *participationCheck) mistakenAuthoriser(via matrix.ServerName, got matrix.Participation) bool {
	switch {
	case via == "":
		return p.room.defects.Has("TakeRequestsThatNobodyAuthorises")
	case via == p.target:
		return p.room.defects.Has("LetServersAuthoriseThemselves")
	case got == matrix.Requested:
		return p.room.defects.Has("LetWaitingServersAuthorise")
	case got == matrix.Revoked:
		return p.room.defects.Has("LetRevokedServersAuthorise")
	}
	return p.room.defects.Has("LetStrangersAuthorise")
}

// mistakenRank is how somebody can revoke a server without having more power than it.
func (p *participationCheck) mistakenRank(power, implicit Level) bool {
	if power == implicit {
		return p.room.defects.Has("RevokeWithEqualPower")
	}
	return p.room.defects.Has("RevokeWithLessPower")
}

// mistakenParticipation is how a server can act that is not accepted.
func (r *Room) mistakenParticipation(server matrix.ServerName, state State) bool {
	switch participation(state, server) {
	case matrix.Requested:
		return r.defects.Has("LetWaitingServersAct")
	case matrix.Revoked:
		return r.defects.Has("LetRevokedServersAct")
	}
	return r.defects.Has("LetUnknownServersAct")
}
