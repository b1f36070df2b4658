package room

import (
	"net/http"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/rules"
)

// authoriserFor is the local user who can authorise a user's restricted join, as the room names users
// (room version 12, rule 5.3.5). It is empty when the join needs nobody: the room's join rule is
// another one, or the user is invited or joined.
func (g *Engine) authoriserFor(r *liveRoom, user matrix.UserID) (authoriser matrix.UserID, err error) {
	current, err := g.CurrentState(r.id)
	if err != nil {
		return "", err
	}
	var joinRules *matrix.Event
	var inviters []matrix.UserID
	membership := "leave"
	err = g.view(func(events source) error {
		state := events.state(current)
		joinRules = state.Event(matrix.StateTuple{Type: "m.room.join_rules"})
		membership = rules.Membership(state, user)
		inviters = g.localInviters(r, events, current)
		return nil
	})
	if err != nil || !isRestricted(joinRules) || membership == "join" || membership == "invite" {
		return "", err
	}
	for _, user := range inviters {
		if _, ok := g.authoriserSigner(r, user); ok {
			authoriser = user
			break
		}
	}
	if membership == "ban" {
		return "", peer.Forbidden("the user is banned")
	}
	met, known := g.meetsCondition(r, joinRules, user)
	switch {
	case met && authoriser != "":
		return authoriser, nil
	case met:
		return "", peer.Errorf(http.StatusBadRequest, "M_UNABLE_TO_GRANT_JOIN", "nobody on this server may invite to the room")
	case !known:
		return "", peer.Errorf(http.StatusBadRequest, "M_UNABLE_TO_AUTHORISE_JOIN", "this server is in none of the rooms that would allow the join")
	}
	return "", peer.Forbidden("the user is in none of the rooms that would allow the join")
}

func isRestricted(joinRules *matrix.Event) bool {
	if joinRules == nil {
		return false
	}
	rule := joinRules.Get("join_rule").String()
	return rule == "restricted" || rule == "knock_restricted"
}

// localInviters are the joined users who may invite and, as far as the room says, are this server's. It runs
// inside of a transaction, where nobody can be asked whether they are.
func (g *Engine) localInviters(r *liveRoom, events source, current State) (users []matrix.UserID) {
	levels := r.rules.PowerLevels(events.state(current))
	for key, id := range current.OfType("m.room.member") {
		user := matrix.UserID(key)
		if levels.User(user) < levels.Invite() && !g.Defects.Has("GrantJoinsWithoutPower") {
			continue
		}
		e := events.Event(id)
		if e == nil || e.Membership() != "join" {
			continue
		}
		if server, ok := serverOfMember(events.Event, e); ok && server == g.ownName(r) {
			users = append(users, user)
		}
	}
	return users
}

// meetsCondition reports whether a user is joined to one of the rooms that a restricted join rule
// allows, and whether this server is in any of them. Where the rooms name users in different ways, the user
// is looked for under the name that the other room knows.
func (g *Engine) meetsCondition(r *liveRoom, joinRules *matrix.Event, user matrix.UserID) (met, known bool) {
	allow := joinRules.Get("allow")
	if !allow.IsArray() {
		return false, true
	}
	for _, condition := range allow.Array() {
		if condition.Get("type").String() != "m.room_membership" {
			continue
		}
		other, err := g.live(conditionRoom(condition))
		if err != nil || other == nil || !g.inRoom(other) {
			continue
		}
		known = true
		for _, name := range g.namesIn(other, r, user) {
			if m, ok := g.Membership(other.id, name); ok && m.Membership == "join" {
				return true, true
			}
		}
	}
	return false, known
}

func conditionRoom(condition gjson.Result) string { return condition.Get("room_id").String() }

// authoriserSigner is what signs for a user of this server who authorises a restricted join: the domain's
// key, the user's account key (MSC4243, "Impacts on restricted rooms", and so in MSC4348), or in rooms of
// MSC4345 this server's key there.
func (g *Engine) authoriserSigner(r *liveRoom, user matrix.UserID) (s matrix.Signer, ok bool) {
	_, ok = g.LocalUser(r.version, user)
	if !ok {
		return s, false
	}
	if r.version.Identity == matrix.ServerIdentity {
		return g.ServerKey, true
	}
	if r.version.HasAccountKeys() {
		account, _, ok := g.Directory.LocalAccount(user)
		return account.Signer(), ok
	}
	own, ok := g.ServerKeys.Current(r.id)
	if !ok || own.Key().Name() != user.Domain() {
		return s, false
	}
	return own.Signer(), true
}

// cosignJoin adds the signature that authorises a restricted join, when a user of this server is named
// as the authoriser: that of the server, or, in rooms with account keys, that of the authoriser's
// account key (MSC4243, "Impacts on restricted rooms").
func (g *Engine) cosignJoin(r *liveRoom, h Handshake, e *matrix.Event) (*matrix.Event, error) {
	authoriser := matrix.UserID(e.Get("join_authorised_via_users_server").String())
	if h != JoinHandshake || !g.isOwnUser(r, authoriser) {
		return e, nil
	}
	allowed, err := g.authoriserFor(r, e.Sender())
	if err != nil {
		return nil, err
	}
	signer, ok := g.authoriserSigner(r, authoriser)
	if allowed == "" || !ok {
		return nil, peer.Forbidden("%s cannot authorise this join", authoriser)
	}
	if g.Defects.Has("AuthoriseJoinsUnsigned") {
		return e, nil
	}
	if r.version.HasAccountKeys() && g.Defects.Has("AuthoriseJoinsWithTheServerKey") {
		return e.WithSignature(g.ServerKey), nil
	}
	return e.WithSignature(signer), nil
}

// isOwnUser reports whether a room names a user as one of this server's: by its domain, by its key, or, as
// user IDs of MSC4348 name no server, by an account key of a user's of this server.
func (g *Engine) isOwnUser(r *liveRoom, user matrix.UserID) bool {
	if r.version.HasPortableAccounts() {
		_, ok := g.LocalUser(r.version, user)
		return ok
	}
	return user != "" && user.Domain() == g.ownName(r)
}
