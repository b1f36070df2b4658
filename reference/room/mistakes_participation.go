package room

import (
	"context"
	"errors"
	"slices"
	"time"

	"countersign/matrix"
	"countersign/reference/participant"
	"countersign/reference/rules"
)

// The mistakes that a homeserver can make with servers that participate, beside those with the rules.

// undone reports whether a participation event is taken for none because it was redacted.
func (g *Engine) undone(k *known) bool {
	if !k.IsParticipation() || k.redactedBy == "" {
		return false
	}
	if k.Participation() == matrix.Revoked {
		return g.Defects.Has("LetRedactionsUndoRevocations")
	}
	return g.Defects.Has("LetRedactionsUndoParticipation")
}

// overlyStrictOfParticipants refuses events of rooms with participation that are as they should be.
func (g *Engine) overlyStrictOfParticipants(ctx context.Context, e *matrix.Event) error {
	if !e.Version().HasParticipation() {
		return nil
	}
	switch {
	case e.Type() == "m.room.power_levels" && e.Get("accept").Exists() && g.Defects.Has("RedactAcceptAway"):
		return errMistaken // by the redaction of version 12 as it is written, the signature covers another event
	case g.wantsDomainKeys(ctx, e):
		return errMistaken
	case e.IsParticipation() && !e.HashOK() && g.Defects.Has("DropRedactedParticipation"):
		return errMistaken
	case e.Version().HasPortableAccounts() && len(e.SignatureEntities()) > 2 && e.Type() != "m.room.member" && !e.IsParticipation() &&
		g.Defects.Has("RefuseOtherServersSignatures"):
		return errMistaken
	case g.keepsAway(e):
		return errMistaken
	case g.Clock().Sub(time.UnixMilli(e.OriginServerTS())).Abs() > 7*24*time.Hour && g.Defects.Has("BoundServerKeysInTime"):
		return errMistaken
	}
	return nil
}

// errMistaken is why a mutant refuses what it should take.
var errMistaken = errors.New("refused by mistake")

// tellsParticipants reports whether a server that is not accepted is told of the accounts in a room.
func (g *Engine) tellsParticipants(participation *matrix.Event) bool {
	if participation.Participation() == matrix.Revoked {
		return g.Defects.Has("TellRevokedServersOfAccounts")
	}
	return g.Defects.Has("TellRequestedServersOfAccounts")
}

// routed are the domains that take part in a room, as events are routed. r.mutex is held.
func (g *Engine) routed(r *liveRoom) []matrix.ServerName {
	domains := g.routedOtherwise(r, r.domains())
	confirmed := func(domain matrix.ServerName) bool {
		for _, e := range r.roster.participations {
			if claim, ok := claimOf(e); ok && claim.Domain == domain && g.Domains.Verified(claim) {
				return true
			}
		}
		return false
	}
	for server, e := range r.roster.participations {
		domain := r.roster.domain(server)
		switch claim, ok := claimOf(e); {
		case !ok || domain == "" || domain == g.ServerName:
		case !slices.Contains(domains, domain):
			if e.Participation() == matrix.Accepted && g.Defects.Has("RouteToServersWithoutUsers") {
				domains = append(domains, domain)
			}
		case !g.Domains.Verified(claim) && !confirmed(domain) && g.Defects.Has("SendToVerifiedDomainsOnly"):
			domains = slices.DeleteFunc(domains, func(d matrix.ServerName) bool { return d == domain })
		}
	}
	return domains
}

// takesLate reports whether an event is taken that the room's current state forbids, as what has changed in
// the meantime only counts for new events.
func (g *Engine) takesLate(refusal error) bool {
	rejection, ok := errors.AsType[*rules.Rejection](refusal)
	if !ok {
		return false
	}
	switch rejection.Rule {
	case "MSC4345 2":
		return g.Defects.Has("FollowRevocationsInNewEventsOnly")
	case "MSC4348 D-54":
		return g.Defects.Has("FollowMovesInNewEventsOnly")
	}
	return false
}

// mistakenDomain is the domain that is asked for accounts: the co-signer's, or that of the room's first server.
func (g *Engine) mistakenDomain(r *liveRoom, honest matrix.ServerName) matrix.ServerName {
	founder, ok := founderOf(r.create)
	if !ok {
		return honest
	}
	r.mutex.Lock()
	first := r.roster.domain(founder)
	r.mutex.Unlock()
	if first != "" && first != honest && g.Defects.Has("AskTheFoundersServer") {
		return first
	}
	return honest
}

// trustsProvenance reports whether a mutant keeps what another server says of where an event comes from.
func (g *Engine) trustsProvenance(e *matrix.Event) bool {
	return e.Version().Identity == matrix.ServerKeyIdentity && g.Defects.Has("TrustInboundServerDomain") ||
		e.Version().HasPortableAccounts() && g.Defects.Has("TrustInboundAccount")
}

// keepsAway refuses what a server of MSC4345 sends because of its domain, which nobody is known by.
func (g *Engine) keepsAway(e *matrix.Event) bool {
	r, err := g.live(e.RoomID())
	if err != nil || r == nil || e.Version().Identity != matrix.ServerKeyIdentity || e.IsParticipation() {
		return false
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	server := e.Sender().Domain()
	own := r.roster.participations[server]
	if own == nil {
		return false
	}
	claim, ok := claimOf(own)
	if (!ok || !g.Domains.Verified(claim)) && g.Defects.Has("WantVerifiedServers") {
		return true
	}
	if server == r.create.Sender().Domain() {
		return false // or the room would be over
	}
	for other := range r.roster.participations {
		if other != server && r.roster.participation(other) == matrix.Revoked && g.Domains.Verified(participant.Claim{Key: other, Domain: claim.Domain}) {
			return g.Defects.Has("RevokeWholeDomains")
		}
	}
	return false
}

// revokesServerToo revokes the server of a user whom a local user has banned. r.mutex is held.
func (g *Engine) revokesServerToo(r *liveRoom, a actor, e *matrix.Event) error {
	user, _ := e.StateKey()
	if e.Type() != "m.room.member" || e.Membership() != "ban" || r.version.Identity != matrix.ServerKeyIdentity || !g.Defects.Has("RevokeTheServersOfTheBanned") {
		return nil
	}
	_, err := g.send(r, a, Draft{
		Type: matrix.ParticipationType, StateKey: matrix.StateKey(string(matrix.UserID(user).Domain())),
		Content: []byte(`{"participation":"revoked"}`),
	})
	return err
}

// wantsDomainKeys refuses an event of MSC4348 whose co-signer's domain does not tell its own keys, which
// nothing needs.
func (g *Engine) wantsDomainKeys(ctx context.Context, e *matrix.Event) bool {
	if !e.Version().HasPortableAccounts() || e.IsParticipation() || e.IsCreate() || !g.Defects.Has("WantDomainKeysOfCosigners") {
		return false
	}
	server, ok := g.serverOf(e)
	if !ok {
		return false
	}
	domain := g.Participant(e.RoomID(), server).UnverifiedDomain
	_, err := g.Keys.VerifyKey(ctx, domain, matrix.ServerKeyID, e.OriginServerTS())
	return err != nil && len(g.Keys.KnownKeys(domain)) == 0
}
