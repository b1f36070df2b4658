package room

import (
	"slices"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/matrix/edge"
)

// The mistakes that a homeserver can make when it checks who has signed an event of a room with participation.
// Each is looked at only for an event that the honest check has refused.

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
