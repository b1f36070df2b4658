package room

import (
	"fmt"

	"countersign/matrix"
)

// checkCosigner checks that the server which an event of a room of MSC4348 names in its auth events has
// co-signed it (D-55); the account key's signature was checked before. An event that fails is dropped, as
// one without its sender's signature is, and nothing of it is remembered: signatures are no part of the
// event ID, so that a bad copy must not stand in the way of a good one.
//
// The event's auth events must be known. Events of other versions have no co-signer.
func checkCosigner(events source, e *matrix.Event) error {
	if !e.Version().HasPortableAccounts() || e.IsCreate() {
		return nil
	}
	server, err := e.Cosigner(events.Event)
	if err != nil && events.g.Defects.Has("LetAccountsBeTheirOwnServers") {
		server, err = matrix.ServerName(e.Sender().Localpart()), nil
	}
	if err != nil {
		return err
	}
	if _, err := matrix.ParseServerKey(string(server)); err != nil {
		return fmt.Errorf("the co-signer: %w", err)
	}
	if err := e.VerifyServerKey(server); err != nil && !events.g.mistakenCosignature(e, server) {
		return err
	}
	return nil
}

// settledAlready reports whether an event has been through all the checks before, so that they need not
// be done for another copy of it.
func (g *Engine) settledAlready(e *matrix.Event) bool {
	k := g.lookup(e.ID())
	return k != nil && k.hasState() && !completes(e, k)
}

// completes reports whether a copy of an event has what a stored copy was rejected for the lack of: the
// signature of whoever authorises the event besides its sender. Everybody can strip it off or hand out the
// event before it is there, and the event ID stays the same (D-55).
func completes(e *matrix.Event, stored *known) bool {
	if stored.outcome != Rejected || !e.Version().HasParticipation() {
		return false
	}
	return lacksAuthoriser(stored.Event) && !lacksAuthoriser(e)
}

// lacksAuthoriser reports whether an event names somebody who has to authorise it and has not signed it:
// the accepted server of a request to participate (MSC4345, rule 1.1.1.4), or who authorises a restricted
// join (rule 5.2).
func lacksAuthoriser(e *matrix.Event) bool {
	if e.IsParticipation() && e.Participation() == matrix.Requested {
		return e.VerifyServerKey(e.RequestAuthorisedVia()) != nil
	}
	authoriser := matrix.UserID(e.Get("join_authorised_via_users_server").String())
	if e.Type() != "m.room.member" || authoriser == "" {
		return false
	}
	if e.Version().HasPortableAccounts() {
		return e.VerifyAccountKey(authoriser) != nil
	}
	return e.VerifyServerKey(authoriser.Domain()) != nil
}
