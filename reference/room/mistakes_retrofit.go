package room

import (
	"encoding/json"

	"github.com/tidwall/sjson"

	"countersign/matrix"
	"countersign/reference/account"
)

// mistakenUnsigned is an event as another server is sent it: a mutant adds what is meant for clients.
func (g *Engine) mistakenUnsigned(e *matrix.Event) json.RawMessage {
	local, ok := g.LocalUser(e.Version(), e.Sender())
	if !ok || e.Version().Identity != matrix.AccountKeyIdentity || !g.Defects.Has("TellServersOfSenderAccounts") {
		return e.JSON()
	}
	raw, err := sjson.SetBytes(e.JSON(), "unsigned.sender_account", map[string]any{"key": e.Sender().Localpart(), "user_id": local})
	if err != nil {
		return e.JSON()
	}
	return raw
}

// mistakenCosigners are what signs an invitation or a ban of a local user.
func (g *Engine) mistakenCosigners(v matrix.RoomVersion, a actor) []matrix.Signer {
	if v.Identity == matrix.AccountKeyIdentity && g.Defects.Has("SignInvitesWithTheServerKeyToo") {
		return []matrix.Signer{a.personal(), g.ServerKey}
	}
	return []matrix.Signer{a.personal()}
}

// hasMet reports whether a server is in a room of which a user has a membership.
func (g *Engine) hasMet(user matrix.UserID, server matrix.ServerName) (bool, error) {
	memberships, err := g.Memberships(user + ":" + matrix.UserID(g.ServerName))
	for _, m := range memberships {
		if g.serverJoined(m.RoomID, server) {
			return true, err
		}
	}
	return false, err
}

// favourVerified has what verified users have set win over what unverified ones have, in a resolved state.
func (g *Engine) favourVerified(events source, states []State, resolved map[matrix.StateTuple]string) {
	if g.Defects.None() {
		return
	}
	unverified := func(id string) bool {
		e := events.Event(id)
		return e != nil && e.Version().Identity == matrix.AccountKeyIdentity && g.Directory.Lookup(e.Sender()).State == account.Unverified
	}
	for place, id := range resolved {
		for _, s := range states {
			if other := s.Get(place); other != "" && other != id && g.Defects.Has("LetVerifiedUsersWin") && unverified(id) && !unverified(other) {
				resolved[place] = other
			}
		}
	}
}
