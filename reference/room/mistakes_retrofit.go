package room

import (
	"encoding/json"
	"slices"

	"github.com/tidwall/sjson"

	"countersign/matrix"
	"countersign/reference/account"
)

// mistakenUnsigned is an event as another server is sent it: a mutant adds what is meant for clients, a variant
// what says nothing.
func (g *Engine) mistakenUnsigned(e *matrix.Event) json.RawMessage {
	var name string
	var value any
	switch {
	case e.Version().Identity == matrix.AccountKeyIdentity && g.Defects.Has("TellServersOfSenderAccounts"):
		name, value = "unsigned.sender_account", map[string]any{"key": e.Sender().Localpart()}
	case g.Defects.Has("SendAgesOfEvents"):
		name, value = "unsigned.age", 1
	default:
		return e.JSON()
	}
	raw, err := sjson.SetBytes(e.JSON(), name, value)
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

// exceptInvited are servers that an invitation is not sent to: a variant trusts that the server which has signed it
// has kept it (D-64).
func (g *Engine) exceptInvited(r *liveRoom, e *matrix.Event, except []matrix.ServerName) []matrix.ServerName {
	key, _ := e.StateKey()
	invited := matrix.UserID(key).Domain()
	if !slices.Contains(r.domains(), invited) && g.Defects.Has("SendNoInvitesToTheInvited") {
		return append(slices.Clone(except), invited)
	}
	return except
}

// banPrefix is where bans are asked for (D-02).
func (g *Engine) banPrefix() string {
	if g.Defects.Has("BanAtTheStablePath") {
		return federationV1
	}
	return federation4243
}

// onlyJoined are those events of a state by whose senders a variant asks when it joins: the text speaks of the
// account keys that are joined.
func (g *Engine) onlyJoined(events []*matrix.Event) []*matrix.Event {
	gone := func(e *matrix.Event) bool { return e.Type() == "m.room.member" && e.Membership() != "join" }
	if !slices.ContainsFunc(events, gone) || !g.Defects.Has("AskForJoinedUsersOnly") {
		return events
	}
	return slices.DeleteFunc(slices.Clone(events), gone)
}

// foreign is a room in which a variant has its users use keys of their own, as another server has made it; empty for
// other rooms.
func (g *Engine) foreign(roomID string) string {
	if roomID == "" || !g.Defects.Has("KeepKeysForRoomsOfOthers") {
		return ""
	}
	if r, err := g.live(roomID); err != nil || r != nil && r.create.Sender().Domain() == g.ServerName {
		return ""
	}
	return roomID
}
