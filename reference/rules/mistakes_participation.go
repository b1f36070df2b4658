package rules

import (
	"errors"
	"strings"

	"countersign/matrix"
)

// The mistakes that a homeserver can make with the rules on participation. The rules themselves are honest; a
// mistake turns what they have come to, by the number of the rule that has decided.

// turned is what a server makes of a participation event that the rules allow (err is nil) or forbid.
func (p *participationCheck) turned(err error) error {
	if err == nil {
		return p.mistakenRefusal()
	}
	rejection, ok := errors.AsType[*Rejection](err)
	switch {
	case !ok:
		return err
	case p.server == p.target && p.letsSubjectPass(rejection.Rule), p.server != p.target && p.letsDeciderPass(rejection.Rule):
		return nil
	}
	return err
}

// letsSubjectPass reports whether a server may say of itself what a rule forbids.
func (p *participationCheck) letsSubjectPass(rule string) bool {
	d, next := p.room.defects, p.event.Participation()
	switch rule {
	case "MSC4345 1.1.1.2":
		switch next {
		case matrix.Accepted:
			return d.Has("LetAnybodyAcceptThemselves")
		case matrix.Revoked:
			return d.Has("LetServersBeginAnyhow")
		}
		return d.Has("TakeOtherWordsForRequests")
	case "MSC4345 1.1.1.3":
		return p.mistakenStanding()
	case "MSC4345 1.1.1.4":
		return p.mistakenAuthorisation()
	case "MSC4345 1.1.3":
		switch {
		case next == matrix.Accepted && p.room.IsCreator(p.event.Sender()) && p.letsCreatorPass():
			return true
		case p.current == matrix.Revoked && next == matrix.Requested:
			return d.Has("LetRevokedServersReturn")
		case p.current == matrix.Revoked:
			return next == matrix.Accepted && d.Has("LetServersUndoTheirRevocation")
		case next == matrix.Requested:
			return d.Has("LetServersRequestAgain")
		case p.current == matrix.Requested:
			return next == matrix.Accepted && d.Has("LetServersAcceptThemselvesLater")
		}
		return next == matrix.Accepted && d.Has("LetServersAcceptThemselvesAgain")
	}
	return false
}

// mistakenStanding lets a request be authorised by a server that is not accepted.
func (p *participationCheck) mistakenStanding() bool {
	d, via := p.room.defects, p.event.RequestAuthorisedVia()
	_, noKey := matrix.ParseServerKey(string(via))
	switch {
	case noKey != nil:
		return d.Has("TakeRequestsThatNobodyAuthorises")
	case via == p.target:
		return d.Has("LetServersAuthoriseThemselves")
	case p.room.verifyServer(p.event, via) != nil:
		return false
	}
	switch participation(p.state, via) {
	case matrix.Requested:
		return d.Has("LetWaitingServersAuthorise")
	case matrix.Revoked:
		return d.Has("LetRevokedServersAuthorise")
	}
	return d.Has("LetStrangersAuthorise")
}

// mistakenAuthorisation takes something else for the signature of the server that authorises a request.
func (p *participationCheck) mistakenAuthorisation() bool {
	d, e, via := p.room.defects, p.event, string(p.event.RequestAuthorisedVia())
	key, err := matrix.ParseServerKey(via)
	if err != nil {
		return false
	}
	signed := func(entity string, id matrix.KeyID) bool {
		return e.VerifySignature(entity, id, key.PublicKey()) == nil
	}
	for _, entity := range e.SignatureEntities() {
		for _, id := range e.SignatureKeyIDs(entity) {
			switch {
			case !signed(entity, id):
			case entity == via && d.Has("TakeAnyKeyIDOfTheAuthoriser"),
				entity != via && sameKey(entity, via) && d.Has("TakeOtherSpellingsOfTheAuthoriser"),
				entity != via && !sameKey(entity, via) && d.Has("TakeTheAuthoriserUnderOtherNames"):
				return true
			}
		}
	}
	switch {
	case len(e.SignatureKeyIDs(via)) > 0:
		return d.Has("LookWhetherTheAuthoriserSigned")
	case len(e.SignatureEntities()) > 1 && !e.Version().HasPortableAccounts() || len(e.SignatureEntities()) > 2:
		return d.Has("TakeAnySecondSignature")
	}
	return d.Has("IgnoreTheAuthorisingServersSignature") || d.Has("AuthoriseRequestsUnsigned")
}

// sameKey reports whether two texts differ in how they spell the same key at most.
func sameKey(a, b string) bool {
	plain := strings.NewReplacer("+", "-", "/", "_", "=", "")
	return plain.Replace(a) == plain.Replace(b)
}

// letsDeciderPass reports whether a server may decide about another in a way that a rule forbids.
func (p *participationCheck) letsDeciderPass(rule string) bool {
	d, next := p.room.defects, p.event.Participation()
	levels := p.room.PowerLevels(p.state)
	power := levels.User(p.event.Sender())
	mighty := power >= levels.Accept()
	switch rule {
	case "MSC4345 2":
		return participation(p.state, p.server) == matrix.Revoked && d.Has("LetRevokedServersDecide") && p.decide() == nil
	case "MSC4345 D-32f":
		return d.Has("LetOutsidersDecide") && p.decide() == nil
	case "MSC4345 1.2.1":
		return mighty && d.Has("LetServersBeRevokedAgain")
	case "MSC4345 1.2.2":
		return power >= levels.Ban() && d.Has("LetAnybodyRevoke")
	case "MSC4345 D-32c":
		switch implicit := p.room.ImplicitPower(p.target, p.state); {
		case power == implicit:
			return d.Has("RevokeWithEqualPower")
		case implicit == Infinite:
			return d.Has("GiveCreatorsServersNoPower")
		}
		return d.Has("RevokeWithLessPower")
	case "MSC4345 D-32d":
		if next == matrix.Revoked {
			return mighty && d.Has("RevokeUnknownServers")
		}
		return mighty && d.Has("AcceptServersUnasked")
	case "MSC4345 1.3.1":
		return mighty && d.Has("LetServersBeAcceptedAgain")
	case "MSC4345 1.3.2":
		if power == Infinite {
			return d.Has("LetRevocationsBeUndone")
		}
		return mighty && d.Has("LetAdminsUndoRevocations")
	case "MSC4345 D-32e":
		return mighty && d.Has("LetDomainsChange")
	case "MSC4345 1.3.3":
		return d.Has("LetAnybodyAccept") || power >= levels.Required(matrix.ParticipationType, true) && d.Has("AcceptByTheStateLevel")
	case "MSC4345 1.4":
		if next == matrix.Requested {
			return d.Has("LetOthersRequest")
		}
		return mighty && d.Has("TakeOtherWordsForAcceptances")
	}
	return false
}

// mistakenRefusal refuses what the rules allow.
func (p *participationCheck) mistakenRefusal() error {
	d, next := p.room.defects, p.event.Participation()
	_, hasDomain := p.event.UnverifiedDomain()
	power := p.room.PowerLevels(p.state).User(p.event.Sender())
	switch {
	case !hasDomain && d.Has("WantDomains"):
		return reject("mistake", "there is no unverified_domain")
	case p.server == p.target && next == matrix.Revoked:
		return p.mistakenRefusalOfOwn()
	case p.server == p.target:
		return nil
	case next == matrix.Revoked && power < 100 && d.Has("RevokeWithHundredAlways"):
		return reject("mistake", "revoking takes power level 100")
	case next == matrix.Revoked && p.current == matrix.Requested && d.Has("RevokeAcceptedServersOnly"):
		return reject("mistake", "rule 1.2.1, as it is written")
	case next == matrix.Revoked && p.current == matrix.Accepted && power != Infinite && d.Has("LetOnlyCreatorsRevoke"),
		next == matrix.Accepted && power != Infinite && d.Has("LetOnlyCreatorsAccept"):
		return reject("mistake", "the sender is not a creator")
	}
	return nil
}

// mistakenRefusalOfOwn refuses what a server says of its own revocation.
func (p *participationCheck) mistakenRefusalOfOwn() error {
	d := p.room.defects
	switch {
	case p.current == matrix.Requested && d.Has("KeepRequestsFromBeingWithdrawn"),
		p.current == matrix.Accepted && d.Has("LetNobodyRevokeThemselves"):
		return reject("mistake", "a server cannot revoke itself")
	case Membership(p.state, p.event.Sender()) == "ban" && d.Has("KeepTheBannedFromRevokingTheirServer"):
		return reject("mistake", "the sender is banned")
	case Membership(p.state, p.event.Sender()) != "join" && d.Has("WantMembersToRevokeTheirServer"):
		return reject("mistake", "the sender is not in the room")
	}
	return nil
}

// mistakenParticipant lets a server act that is not accepted.
func (r *Room) mistakenParticipant(e *matrix.Event, server matrix.ServerName, state State) bool {
	d, standing := r.defects, participation(state, server)
	if _, byAuthEvents := state.(authState); byAuthEvents {
		if _, isState := e.StateKey(); standing == "" && isState && d.Has("LookUpParticipationInTheState") {
			return true
		}
	} else if standing == matrix.Revoked && d.Has("BelieveCitedParticipation") {
		return true
	}
	if r.Version().HasPortableAccounts() {
		return r.mistakenCosigner(e, standing)
	}
	_, isState := e.StateKey()
	membership := ""
	if e.Type() == "m.room.member" {
		membership = e.Membership()
	}
	switch standing {
	case "":
		if prev := e.PrevEvents(); membership == "join" && len(prev) == 1 && prev[0] == r.create.ID() && d.Has("JoinBeforeParticipating") {
			return true
		}
		return membership == "join" && d.Has("LetUnknownServersJoin") || d.Has("LetUnknownServersAct")
	case matrix.Requested:
		own := e.IsState("m.room.member", string(e.Sender()))
		return membership == "join" && d.Has("LetRequestedServersJoin") || membership == "knock" && d.Has("LetRequestedServersKnock") ||
			membership == "leave" && own && d.Has("LetWaitingServersRejectInvitations") || d.Has("LetWaitingServersAct")
	case matrix.Revoked:
		return isState && d.Has("LetRevokedServersChangeTheState") || d.Has("LetRevokedServersAct")
	}
	return false
}

// takesForParticipation reports whether an event is taken for one about a server that names none.
func (r *Room) takesForParticipation(stateKey string) bool {
	_, err := matrix.ParseServerKey(stateKey)
	return err != nil && !sameKeyLength(stateKey) && r.defects.Has("TakeParticipationOfAnything")
}

// sameKeyLength reports whether a text could be a key that is spelled in another way.
func sameKeyLength(text string) bool {
	return len(strings.TrimRight(text, "=")) == matrix.AccountKeyLength
}

// mistakenAccept is the accept level of a room that does not say.
func (p *PowerLevels) mistakenAccept(honest Level) Level {
	if p.event == nil && p.room.defects.Has("LetAnybodyAcceptWithoutPowerLevels") {
		return 0
	}
	if p.event != nil && p.room.defects.Has("AcceptWithFiftyByDefault") {
		return 50
	}
	return honest
}

// mistakenServerKey is the server key that a text is taken for which spells it in another way.
func (r *Room) mistakenServerKey(text string) (key matrix.ServerKey, ok bool) {
	key, err := matrix.ParseServerKey(strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(text))
	return key, err == nil && r.defects.Has("TakeAnyTextForAServerKey")
}

// forgetsAccept reports whether a mutant does not see the accept level of power levels that were redacted.
func (p *PowerLevels) forgetsAccept() bool {
	return p.content.named[acceptLevel].present && !p.event.HashOK() && p.room.defects.Has("RedactTheAcceptLevel")
}

// mistakesKeysForStrangers reports whether users of one server key may not redact each other.
func (r *Room) mistakesKeysForStrangers(redaction, target *matrix.Event) bool {
	return r.Version().Identity == matrix.ServerKeyIdentity && redaction.Sender() != target.Sender() && r.defects.Has("CompareNoKeysInRedactions")
}
