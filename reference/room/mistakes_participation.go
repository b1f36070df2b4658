package room

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/matrix/edge"
	"countersign/reference/participant"
	"countersign/reference/peer"
	"countersign/reference/rules"
)

// The mistakes that a homeserver can make with servers that participate, beside those with the rules.

// mistakenServer takes an event of a room of MSC4345 that the server in the sender has not signed.
func (g *Engine) mistakenServer(e *matrix.Event) bool {
	server := string(e.Sender().Domain())
	others := g.serversIn(e.RoomID())
	signedBy := func(entity string) bool {
		return slices.ContainsFunc(others, func(other string) bool {
			return other != server && signedByKey(e, entity, matrix.ServerKeyID, other)
		})
	}
	switch {
	case len(e.SignatureEntities()) == 0:
		return g.Defects.Has("AcceptUnsignedEventsOfServers")
	case g.domainSigned(e, server):
		return g.Defects.Has("AcceptTheDomainsKey")
	case slices.ContainsFunc(e.SignatureEntities(), func(entity string) bool { return entity != server && g.domainSigned(e, entity) }):
		return g.Defects.Has("TakeDomainSignatures")
	case signedBy(server):
		return g.Defects.Has("AcceptOtherServersKeys")
	case slices.ContainsFunc(e.SignatureEntities(), func(entity string) bool { return signedByKey(e, entity, matrix.ServerKeyID, entity) }):
		return g.Defects.Has("AcceptOtherServersSignatures")
	}
	for _, entity := range e.SignatureEntities() {
		for _, id := range e.SignatureKeyIDs(entity) {
			if signedByKey(e, entity, id, server) {
				return g.Defects.Has("TakeServerKeysUnderOtherNames")
			}
		}
	}
	return e.IsParticipation() && e.Participation() != matrix.Requested && len(e.SignatureKeyIDs(server)) > 0 && g.Defects.Has("TrustDecisions")
}

// serversIn are the server keys of which a room says something.
func (g *Engine) serversIn(roomID string) (keys []string) {
	r, err := g.live(roomID)
	if err != nil || r == nil {
		return nil
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for key := range r.roster.participations {
		keys = append(keys, string(key))
	}
	return keys
}

// domainSigned reports whether the ordinary key of a domain that the room names has signed under an entity.
func (g *Engine) domainSigned(e *matrix.Event, entity string) bool {
	for _, server := range g.serversIn(e.RoomID()) {
		domain := g.Participant(e.RoomID(), matrix.ServerName(server)).UnverifiedDomain
		for _, key := range g.Keys.KnownKeys(domain) {
			for _, id := range e.SignatureKeyIDs(entity) {
				if e.VerifySignature(entity, id, key) == nil {
					return true
				}
			}
		}
	}
	return false
}

// mistakenAccount takes an event of a room of MSC4348 that the sender's account key has not signed.
func (g *Engine) mistakenAccount(e *matrix.Event) bool {
	text := e.Sender().Localpart()
	servers := g.serversIn(e.RoomID())
	isServer := func(entity string) bool { return slices.Contains(servers, entity) }
	switch {
	case len(e.SignatureKeyIDs(text)) == 0 && slices.ContainsFunc(e.SignatureEntities(), func(entity string) bool {
		return !isServer(entity) && signedByKey(e, entity, matrix.AccountKeyID, entity)
	}):
		return g.Defects.Has("AcceptOtherAccountsSignatures")
	case len(e.SignatureKeyIDs(text)) == 0:
		return len(e.SignatureEntities()) > 0 && g.Defects.Has("LetServersSpeakForAccounts")
	case slices.ContainsFunc(servers, func(server string) bool { return signedByKey(e, text, matrix.AccountKeyID, server) }):
		return g.Defects.Has("MixSignaturesUp")
	case g.memberSigned(e):
		return g.Defects.Has("AcceptOtherAccountsKeys")
	case g.signedBySmallOrder(e):
		return g.Defects.Has("TakeAccountKeysOfSmallOrder")
	}
	return g.Defects.Has("LookWhetherTheAccountSigned")
}

// signedBySmallOrder reports whether the signature is good by a rule that takes any encoding of any point.
func (g *Engine) signedBySmallOrder(e *matrix.Event) bool {
	text := e.Sender().Localpart()
	key, err := matrix.DecodeURLBase64(text)
	if err != nil {
		return false
	}
	value := gjson.GetBytes(e.JSON(), "signatures."+gjson.Escape(text)+"."+gjson.Escape(string(matrix.AccountKeyID))).Str
	signature, err := matrix.DecodeBase64Padded(value)
	if err != nil {
		return false
	}
	rule, known := edge.RuleByID("zip215")
	return known && rule.Verify(key, e.SigningBytes(), signature)
}

// mistakenCosignature takes an event of a room of MSC4348 that the server which it cites has not signed.
func (g *Engine) mistakenCosignature(e *matrix.Event, server matrix.ServerName) bool {
	text := string(server)
	for _, entity := range e.SignatureEntities() {
		for _, id := range e.SignatureKeyIDs(entity) {
			if !signedByKey(e, entity, id, text) {
				continue
			}
			switch {
			case entity == text:
				return g.Defects.Has("TakeAnyKeyIDOfACosigner")
			case sameBytes(entity, text):
				return g.Defects.Has("TakeOtherSpellingsOfACosigner")
			case entity == e.Sender().Localpart():
				return g.Defects.Has("MixSignaturesUp")
			}
			return g.Defects.Has("TakeACosignerUnderOtherNames")
		}
	}
	if len(e.SignatureKeyIDs(text)) > 0 {
		if g.domainSigned(e, text) {
			return g.Defects.Has("TakeTheDomainsKeyForACosigner")
		}
		return g.Defects.Has("LookWhetherTheCosignerSigned")
	}
	return g.anotherCosigned(e)
}

// anotherCosigned counts the signature of another server than the one that is cited, or none at all.
func (g *Engine) anotherCosigned(e *matrix.Event) bool {
	signed := false
	for _, entity := range e.SignatureEntities() {
		if entity == e.Sender().Localpart() || !signedByKey(e, entity, matrix.ServerKeyID, entity) {
			continue
		}
		if g.Participant(e.RoomID(), matrix.ServerName(entity)).Participation == matrix.Accepted {
			return g.Defects.Has("CountAnyCosignature")
		}
		signed = true
	}
	return signed && g.Defects.Has("CountAnyKeyAsACosigner") || !signed && g.Defects.Has("IgnoreTheCoSignature")
}

// signersOf are what signs an event of a local user.
func (g *Engine) signersOf(v matrix.RoomVersion, a actor, eventType string) []matrix.Signer {
	switch {
	case eventType == matrix.ParticipationType:
		return a.signers // nobody would come into the room without these
	case v.Identity == matrix.ServerKeyIdentity:
		return g.mistakenServerSigners(a.signers[0])
	case v.HasPortableAccounts():
		return g.mistakenPortableSigners(a.signers[0], a.signers[1])
	}
	return a.signers
}

// mistakenServerSigners are what signs for users of a room of MSC4345: the server key.
func (g *Engine) mistakenServerSigners(server matrix.Signer) []matrix.Signer {
	switch {
	case g.Defects.Has("SignWithTheDomainsKey"):
		return []matrix.Signer{g.ServerKey}
	case g.Defects.Has("SignWithTheDomainsKeyToo"):
		return []matrix.Signer{server, g.ServerKey}
	case g.Defects.Has("FileServerSignaturesUnderTheDomain"):
		server.Entity = string(g.ServerName)
	case g.Defects.Has("GiveServerKeysAnotherID"):
		server.KeyID = "ed25519:auto"
	}
	return []matrix.Signer{server}
}

// mistakenPortableSigners are what signs for users of a room of MSC4348: the server key and the account key.
func (g *Engine) mistakenPortableSigners(server, account matrix.Signer) []matrix.Signer {
	switch {
	case g.Defects.Has("LeaveTheAccountOut"):
		return []matrix.Signer{server}
	case g.Defects.Has("LeaveTheServerOut"):
		return []matrix.Signer{account}
	case g.Defects.Has("GiveAccountKeysAnotherID"):
		account.KeyID = "ed25519:auto"
	case g.Defects.Has("CosignWithTheDomainsKey"):
		return []matrix.Signer{g.ServerKey, account}
	}
	return []matrix.Signer{server, account}
}

// cosignedWhole is an event whose server signature covers everything, not its redacted form.
func (g *Engine) cosignedWhole(e *matrix.Event, server matrix.Signer) (*matrix.Event, error) {
	signed, err := matrix.SignJSON(e.JSON(), server)
	if err != nil {
		return nil, err
	}
	return matrix.ParseEvent(e.Version(), signed)
}

// mistakenCosigning answers send_participation for an event that this server must not co-sign: with the
// signature, and without looking at the event any further.
func (g *Engine) mistakenCosigning(r *liveRoom, origin matrix.ServerName, pdu []byte) (Sent, bool) {
	e, err := matrix.ParseEvent(r.version, pdu)
	own, ok := g.ServerKeys.Current(r.id)
	if err != nil || !ok {
		return Sent{}, false
	}
	if e.RoomID() != r.id {
		return Sent{Event: e.WithSignature(own.Signer()).JSON(), Origin: g.ServerName}, e.IsParticipation() && g.Defects.Has("CosignForOtherRooms")
	}
	subject, _ := e.StateKey()
	domain, _ := e.UnverifiedDomain()
	cosigns := false
	switch {
	case !e.IsParticipation() || e.Participation() != matrix.Requested:
		cosigns = g.Defects.Has("TakeAnyParticipation")
	case e.RequestAuthorisedVia() != own.Key().Name():
		cosigns = g.Defects.Has("CosignForOtherAuthorisers")
	case domain != origin:
		cosigns = g.Defects.Has("TakeAnyDomainInRequests")
	case e.VerifyServerKey(matrix.ServerName(subject)) != nil:
		cosigns = g.Defects.Has("TakeRequestsTheirKeyHasNotSigned")
	}
	return Sent{Event: e.WithSignature(own.Signer()).JSON(), Origin: g.ServerName}, cosigns
}

// mistakenRequestContent is what a request's template says, or should not say.
func (g *Engine) mistakenRequestContent(via matrix.ServerName) []byte {
	switch {
	case g.Defects.Has("LeaveTheAuthoriserOut"):
		return []byte(`{"participation":"requested"}`)
	case g.Defects.Has("OfferAcceptances"):
		return []byte(`{"participation":"accepted","request_authorised_via_server":"` + string(via) + `"}`)
	}
	return requestTemplateContent(via)
}

// letsIn reports whether a membership is taken from a server that is not accepted. r.mutex is held.
func (g *Engine) letsIn(r *liveRoom, server matrix.ServerName, e *matrix.Event) bool {
	if r.version.HasPortableAccounts() {
		return false
	}
	switch standing := r.roster.participation(server); {
	case standing == "" && e.Membership() == "join":
		return g.Defects.Has("LetUnknownServersJoin")
	case standing == matrix.Requested && e.Membership() == "join":
		return g.Defects.Has("LetRequestedServersJoin")
	case standing == matrix.Requested && e.Membership() == "knock":
		return g.Defects.Has("LetRequestedServersKnock")
	}
	return false
}

// keepsOut reports whether a domain is refused because a key of it was revoked in the room. r.mutex is held.
func (g *Engine) keepsOut(r *liveRoom, origin matrix.ServerName) bool {
	for server := range r.roster.participations {
		if r.roster.domain(server) == origin && r.roster.participation(server) == matrix.Revoked {
			return g.Defects.Has("KeepRevokedDomainsOut")
		}
	}
	return false
}

// invitesParticipantsOnly refuses to invite users of servers that are not accepted.
func (g *Engine) invitesParticipantsOnly(r *liveRoom, target matrix.UserID) error {
	if p, ok := g.ServerOfUser(r.id, target); (!ok || p.Participation != matrix.Accepted) && g.Defects.Has("InviteUsersOfParticipantsOnly") {
		return peer.Forbidden("the server of %s does not participate in the room", target)
	}
	return nil
}

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
		case !g.Domains.Verified(claim) && !confirmed(domain) && g.Defects.Has("RouteToVerifiedDomainsOnly"):
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

// noteBad remembers an event by its ID because a copy of it lacked a signature, which honest servers do not:
// signatures are no part of the ID.
func (g *Engine) noteBad(e *matrix.Event) {
	if e.Version().HasPortableAccounts() && g.Defects.Has("RememberBadCopies") {
		g.badCopies.Store(e.ID(), true)
	}
}

func (g *Engine) isKnownAsBad(e *matrix.Event) bool {
	_, bad := g.badCopies.Load(e.ID())
	return bad
}

// withReason is the content of a request with a reason, which a variant gives.
func (g *Engine) withReason(content []byte) []byte {
	if g.Defects.Has("GiveReasons") {
		return append([]byte(`{"reason":"we would like to be there",`), content[1:]...)
	}
	return content
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

// askedRoom is hostedRoom for requests to participate, of which a mutant forgets that ACLs hold for them.
func (g *Engine) askedRoom(roomID string, origin matrix.ServerName) (*liveRoom, error) {
	r, err := g.hostedRoom(roomID, origin)
	if err != nil && r != nil && g.Defects.Has("IgnoreACLsForRequests") {
		return r, nil
	}
	return r, err
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
