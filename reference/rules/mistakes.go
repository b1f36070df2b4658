package rules

import "countersign/matrix"

// mistakenAuthoriser is how the signature of a restricted join's authoriser can be checked wrongly, for
// joins that the authoriser has not signed.
func (r *Room) mistakenAuthoriser(e *matrix.Event, authoriser string) bool {
	user := matrix.UserID(authoriser)
	if r.Version().Identity == matrix.ServerKeyIdentity {
		return r.defects.Has("IgnoreTheAuthorisersServerKey")
	}
	if r.Version().HasPortableAccounts() && r.defects.Has("IgnoreTheAuthorisersAccountKey") {
		return true
	}
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
