package room

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/matrix"
	"countersign/reference/participant"
)

// More mistakes that a homeserver can make with servers that participate: with their requests, with what they may
// read, and with where their events go. Among them is what variants do.

// carriesOutRejected reports whether a mutant redacts what an event asks for that the rules forbid.
func (w *writer) carriesOutRejected() bool {
	return w.outcome == Rejected && w.event.Version().HasParticipation() && w.g.Defects.Has("CarryOutRejectedRedactions")
}

// isBusy reports whether a mutant lets a server wait at the door of a room because another one waits inside. r.mutex
// is held.
func (g *Engine) isBusy(r *liveRoom, origin matrix.ServerName) bool {
	for server := range r.roster.participations {
		if r.roster.participation(server) == matrix.Requested && r.roster.domain(server) != origin {
			return g.Defects.Has("LetOneServerWaitAtATime")
		}
	}
	return false
}

// requestsAhead has a variant request to participate before it asks whether it may join, and a mutant give up its
// accepted key when its last user has left.
func (g *Engine) requestsAhead(ctx context.Context, server matrix.ServerName, roomID string, local matrix.UserID, known *matrix.RoomVersion) error {
	if g.isAccepted(roomID) {
		own, _ := g.ServerKeys.Current(roomID)
		if r, err := g.live(roomID); err != nil || r == nil || g.inRoom(r) || !g.Defects.Has("RequestAnewAfterLeaving") {
			return err
		}
		return g.ServerKeys.Retire(own.Key().Name())
	}
	if g.hasRequested(roomID) || known != nil && !known.HasParticipation() || !g.Defects.Has("RequestBeforeJoining") {
		return nil
	}
	_, err := g.requestParticipation(ctx, server, roomID, local, known)
	if err != nil && known != nil {
		return err
	}
	return nil // without the version it may be a room without participation
}

// forgetsItsRequest has a mutant take another key for every attempt to join.
func (g *Engine) forgetsItsRequest(roomID string) bool {
	own, ok := g.ServerKeys.Current(roomID)
	return ok && g.Defects.Has("TakeAKeyForEveryRequest") && g.ServerKeys.Retire(own.Key().Name()) == nil
}

// tellsAcquaintances reports whether a mutant tells of the keys of all rooms who is in one, or of all keys nobody in
// particular.
func (g *Engine) tellsAcquaintances(server matrix.ServerName, key participant.Own) bool {
	if server == "" {
		return g.Defects.Has("TellKeysToTheAnonymous")
	}
	// Asked first, as who asks for all keys has all rooms looked at for each of them.
	return g.Defects.Has("TellAcquaintancesOfAllKeys") &&
		slices.ContainsFunc(g.ServerKeys.Rooms(), func(id string) bool { return id != key.RoomID && g.isParticipant(id, server) })
}

// withItsUnsigned is an event that was fetched, with the unsigned that a mutant believes.
func (g *Engine) withItsUnsigned(e *matrix.Event, pdu json.RawMessage) *matrix.Event {
	unsigned := gjson.GetBytes(pdu, "unsigned")
	if !e.Version().HasParticipation() || !unsigned.IsObject() || !g.Defects.Has("TrustUnsignedOfFetchedEvents") {
		return e
	}
	if kept, err := e.WithUnsigned([]byte(unsigned.Raw)); err == nil {
		return kept
	}
	return e
}

// routedOtherwise are the domains to which mutants send events. r.mutex is held.
func (g *Engine) routedOtherwise(r *liveRoom, domains []matrix.ServerName) []matrix.ServerName {
	if r.roster.participations == nil {
		return domains
	}
	others := slices.DeleteFunc(slices.Clone(domains), func(d matrix.ServerName) bool { return d == g.ServerName })
	if len(others) > 1 && g.Defects.Has("RouteToOneDomain") {
		return others[:1]
	}
	for server, e := range r.roster.participations {
		domain := r.roster.domain(server)
		if e.Participation() == matrix.Revoked && r.roster.joined[server] > 0 && domain != "" && g.Defects.Has("RouteToRevokedServers") {
			domains = append(domains, domain)
		}
	}
	return domains
}

// readsOutside reports whether a mutant lets a server read a room that has only requested, or was revoked.
func (g *Engine) readsOutside(r *liveRoom, domain matrix.ServerName) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for server := range r.roster.participations {
		if r.roster.domain(server) != domain {
			continue
		}
		switch r.roster.participation(server) {
		case matrix.Revoked:
			if g.Defects.Has("LetRevokedServersRead") {
				return true
			}
		case matrix.Requested:
			if g.Defects.Has("LetWaitingServersRead") {
				return true
			}
		}
	}
	return false
}

// isJoinedElsewhere reports whether a mutant gives no template to an account because it is in the room.
func (g *Engine) isJoinedElsewhere(r *liveRoom, user matrix.UserID) bool {
	if !r.version.HasPortableAccounts() {
		return false
	}
	e := g.currentEvent(r.id, "m.room.member", string(user))
	return e != nil && e.Membership() == "join" && g.Defects.Has("RefuseTemplatesToMembers")
}

// servedOtherwise is an event as mutants hand it out: without the signatures of others than its sender.
func (g *Engine) servedOtherwise(e *matrix.Event) *matrix.Event {
	switch {
	case e.Version().HasPortableAccounts() && !e.IsCreate():
		if !g.Defects.Has("ServeEventsWithoutTheCoSignature") {
			return e
		}
		return g.signedByAlone(e, e.Sender().Localpart())
	case e.Version().HasParticipation() && e.IsParticipation() && e.Participation() == matrix.Requested:
		if !g.Defects.Has("ServeRequestsWithoutTheAuthoriser") {
			return e
		}
		return g.signedByAlone(e, string(e.Sender().Domain()))
	}
	return e
}

func (g *Engine) signedByAlone(e *matrix.Event, signer string) *matrix.Event {
	alone := e.JSON()
	for _, entity := range e.SignatureEntities() {
		if entity == signer {
			continue
		}
		var err error
		if alone, err = sjson.DeleteBytes(alone, "signatures."+gjson.Escape(entity)); err != nil {
			return e
		}
	}
	if served, err := matrix.ParseEvent(e.Version(), alone); err == nil {
		return served
	}
	return e
}

// firstDomain is the domain that is asked for an account: a mutant goes on asking the one where it first was.
func (g *Engine) firstDomain(user matrix.UserID, honest matrix.ServerName) matrix.ServerName {
	first, _ := g.firstDomains.LoadOrStore(user, honest)
	if first != honest && g.Defects.Has("AskTheFirstServerForever") {
		return first.(matrix.ServerName)
	}
	return honest
}

// mistakenGuest is the membership that a user is taken to have who asks whether a server may participate: a mutant
// takes everybody on a server for those of it who are invited, or who are banned.
func (g *Engine) mistakenGuest(r *liveRoom, user matrix.UserID, honest string) string {
	if honest != "leave" || r.version.HasPortableAccounts() {
		return honest
	}
	for _, other := range g.membersOf(r, user.Domain()) {
		switch other {
		case "invite":
			if g.Defects.Has("LetServersOfTheInvitedRequest") {
				return other
			}
		case "ban":
			if g.Defects.Has("RefuseServersOfTheBanned") {
				return other
			}
		}
	}
	return honest
}

// membersOf are the memberships of a server's users in a room of MSC4345.
func (g *Engine) membersOf(r *liveRoom, server matrix.ServerName) (memberships []string) {
	r.mutex.Lock()
	current := r.current
	r.mutex.Unlock()
	err := g.view(func(events source) error {
		for _, id := range current.OfType("m.room.member") {
			if e := events.Event(id); e != nil && matrix.UserID(e.Tuple().StateKey).Domain() == server {
				memberships = append(memberships, e.Membership())
			}
		}
		return nil
	})
	if err != nil {
		g.Logger.Error("reading the members of a room", "room", r.id, "error", err)
	}
	return memberships
}
