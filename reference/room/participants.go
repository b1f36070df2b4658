package room

import (
	"context"
	"slices"

	"countersign/matrix"
	"countersign/reference/account"
	"countersign/reference/participant"
)

// Participant is what a room says of a server, in room versions with participation (MSC4345).
type Participant struct {
	// Key is the text of the server key, which in rooms of MSC4345 stands in the place of the domain of the
	// server's users.
	Key matrix.ServerName
	// Participation is the server's participation in the room's current state; empty when there is none.
	Participation matrix.Participation
	// UnverifiedDomain is the domain that the participation event names; empty when it names none. Clients
	// must not be told of it unless Verified is set.
	UnverifiedDomain matrix.ServerName
	// Verified reports whether the domain is known to own the key: unsigned.server_domain is
	// UnverifiedDomain then, and absent otherwise.
	Verified bool
}

// Versions are the room versions that this server offers.
func (g *Engine) Versions() []matrix.RoomVersion { return slices.Clone(g.RoomVersions) }

// Version finds a room version that this server offers.
func (g *Engine) Version(id string) (v matrix.RoomVersion, ok bool) {
	for _, v := range g.RoomVersions {
		if v.ID == id {
			return v, true
		}
	}
	return v, false
}

// Participant is what a room's current state says of a server key, and whether that is verified.
func (g *Engine) Participant(roomID string, key matrix.ServerName) Participant {
	r, err := g.live(roomID)
	if err != nil || r == nil {
		return Participant{Key: key}
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return g.participant(r, key)
}

// participant is Participant with r.mutex held.
func (g *Engine) participant(r *liveRoom, key matrix.ServerName) Participant {
	p := Participant{Key: key, Participation: r.roster.participation(key)}
	if e := r.roster.participations[key]; e != nil {
		claim, ok := claimOf(e)
		p.UnverifiedDomain = r.roster.domain(key)
		p.Verified = ok && g.Domains.Verified(claim)
		if ok && !p.Verified {
			g.Domains.Begin(claim) // after a restart, or when the last answer is too old
		}
	}
	return p
}

// claimOf is what a participation event says of the domain of its server (MSC4345, "Introducing
// /_matrix/key/v3/query", step 2): the server must have said it itself. Whoever accepts a request repeats
// the domain, which the rules enforce (D-32e); a revocation by somebody else could name any.
func claimOf(e *matrix.Event) (c participant.Claim, ok bool) {
	subject, _ := e.StateKey()
	domain, ok := e.UnverifiedDomain()
	if !ok || e.Participation() == matrix.Revoked && e.VerifyServerKey(matrix.ServerName(subject)) != nil {
		return c, false
	}
	return participant.Claim{Key: matrix.ServerName(subject), Domain: domain}, true
}

// ServerOf is the server that an event of a room with participation came into the room through: in rooms
// of MSC4345 the one in the sender's user ID, in rooms of MSC4348 the one that has co-signed the event. For
// a create event of MSC4348 it is the server that began the room (D-53). ok is false when it cannot be
// told. Clients see unsigned.server_domain of it.
func (g *Engine) ServerOf(e *matrix.Event) (p Participant, ok bool) {
	key, ok := g.serverOf(e)
	if !ok {
		return Participant{}, false
	}
	return g.Participant(e.RoomID(), key), true
}

func (g *Engine) serverOf(e *matrix.Event) (key matrix.ServerName, ok bool) {
	switch {
	case e.Version().Identity == matrix.ServerKeyIdentity:
		return e.Sender().Domain(), true
	case !e.Version().HasPortableAccounts():
		return "", false
	case e.IsCreate():
		return founderOf(e)
	}
	err := g.view(func(events source) (err error) {
		key, err = e.Cosigner(events.Event)
		return err
	})
	return key, err == nil
}

// founderOf is D-53: the server that began a room of MSC4348 has signed the create event beside its
// sender. A signature can be added by anybody, so that it only tells when there is one.
func founderOf(create *matrix.Event) (matrix.ServerName, bool) {
	founder := matrix.ServerName("")
	for _, entity := range create.SignatureEntities() {
		if entity == create.Sender().Localpart() {
			continue
		}
		if create.VerifyServerKey(matrix.ServerName(entity)) != nil || founder != "" {
			return "", false
		}
		founder = matrix.ServerName(entity)
	}
	return founder, founder != ""
}

// ServerOfUser is the server of a user, as the room names users: in rooms of MSC4345 the one in the user
// ID, in rooms of MSC4348 the one that has co-signed the user's membership in the current state (D-54). ok
// is false when the user has no server there. EDUs about the user are taken from the server's unverified
// domain, and sent there.
func (g *Engine) ServerOfUser(roomID string, user matrix.UserID) (p Participant, ok bool) {
	r, err := g.live(roomID)
	if err != nil || r == nil {
		return Participant{}, false
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	key, ok := g.serverOfUser(r, user)
	if !ok {
		return Participant{}, false
	}
	return g.participant(r, key), true
}

// serverOfUser is the key of a user's server. r.mutex is held.
func (g *Engine) serverOfUser(r *liveRoom, user matrix.UserID) (key matrix.ServerName, ok bool) {
	if !r.version.HasPortableAccounts() {
		return user.Domain(), user.Domain() != ""
	}
	e := g.StateEvent(r.current, "m.room.member", string(user))
	if e == nil || e.Sender() != user {
		return "", false // of whoever invited or removed the user the co-signer says nothing
	}
	return g.serverOf(e)
}

// AccountUserID is a user of a room of MSC4348 at the unverified domain of the server that ServerOfUser
// finds, as account.At writes it. That domain is the one to ask who is behind the account key (D-51). ok
// is false when there is no such domain.
func (g *Engine) AccountUserID(roomID string, user matrix.UserID) (matrix.UserID, bool) {
	p, ok := g.ServerOfUser(roomID, user)
	if !ok || p.UnverifiedDomain == "" {
		return "", false
	}
	return account.At(user, p.UnverifiedDomain), true
}

// verifyServers finds out, for events of a room with participation that are about to be shown, which
// domains their servers are of, and in rooms of MSC4348 who is behind the account keys. It waits for a
// bounded time and for nothing that is known already; what is not verified by then is shown without
// (MSC4345, "Impositions on Client UI").
func (g *Engine) verifyServers(ctx context.Context, r *liveRoom, events ...*matrix.Event) {
	if !r.version.HasParticipation() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, verifyWait)
	defer cancel()
	claims, accounts := g.unproved(r, events)
	if !g.Defects.Has("VerifyDomainsLazily") {
		g.Domains.Verify(ctx, claims...)
	}
	g.Directory.VerifyPortableBriefly(ctx, accounts...)
}

// unproved are the claims of the servers of some events, and the accounts of their senders.
func (g *Engine) unproved(r *liveRoom, events []*matrix.Event) (claims []participant.Claim, accounts []matrix.UserID) {
	for _, e := range events {
		if claim, ok := claimOf(e); ok && e.IsParticipation() {
			claims = append(claims, claim)
		}
		key, ok := g.serverOf(e)
		if !ok {
			continue
		}
		r.mutex.Lock()
		participation := r.roster.participations[key]
		r.mutex.Unlock()
		if participation == nil {
			continue
		}
		claim, ok := claimOf(participation)
		if !ok {
			continue
		}
		claims = append(claims, claim)
		if r.version.HasPortableAccounts() {
			accounts = append(accounts, account.At(e.Sender(), g.firstDomain(e.Sender(), g.mistakenDomain(r, claim.Domain))))
		}
	}
	return claims, accounts
}
