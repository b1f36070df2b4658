package room

import (
	"context"
	"encoding/json"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

// The mistakes that a homeserver can make when it is asked to sign for others, or lets servers and users in.

// signWhatIsAsked completes a template without looking at what it is for.
func (g *Engine) signWhatIsAsked(t gjson.Result, v matrix.RoomVersion, roomID string, a actor) (*matrix.Event, error) {
	e, err := matrix.ProtoEvent{
		Type: t.Get("type").Str, StateKey: matrix.StateKey(t.Get("state_key").Str), Sender: matrix.UserID(t.Get("sender").Str),
		RoomID: t.Get("room_id").Str, Content: []byte(t.Get("content").Raw), Depth: t.Get("depth").Int(),
		OriginServerTS: g.Clock().UnixMilli(), PrevEvents: stringsOf(t.Get("prev_events")), AuthEvents: stringsOf(t.Get("auth_events")),
	}.Build(v, a.signers...)
	if err != nil {
		return nil, err
	}
	return matrix.ParseEvent(v, e.JSON())
}

// signsOthers reports whether the endpoint for invites, or that for bans, signs something else.
func (g *Engine) signsOthers(e *matrix.Event, membership string) bool {
	if _, isState := e.StateKey(); !isState {
		return false
	}
	if membership == "ban" {
		return g.Defects.Has("SignOthersThanBans")
	}
	return g.Defects.Has("SignOthersThanInvites")
}

// mistakenSubstitute is what a mutant returns for an invite or a ban of its user.
func (g *Engine) mistakenSubstitute(e *matrix.Event, a actor) (*matrix.Event, bool) {
	changed := func(stateKey string, signers ...matrix.Signer) (*matrix.Event, bool) {
		out, err := matrix.ProtoEvent{
			Type: e.Type(), StateKey: &stateKey, Sender: e.Sender(), RoomID: e.RoomID(), Content: e.Content(),
			PrevEvents: e.PrevEvents(), AuthEvents: e.AuthEvents(), Depth: e.Depth(), OriginServerTS: e.OriginServerTS(),
		}.Build(e.Version(), signers...)
		return out, err == nil
	}
	asked, _ := e.StateKey()
	switch {
	case e.Version().Identity != matrix.AccountKeyIdentity:
	case g.Defects.Has("ReturnTheAccountName"):
		return changed(asked, a.personal())
	case e.Membership() == "invite" && g.Defects.Has("ReturnInvitesUnsigned"):
		return changed(string(a.user))
	case e.Membership() == "ban" && g.Defects.Has("ReturnBansUnsigned"):
		return changed(string(a.user))
	case g.Defects.Has("SignInvitesWithTheServerKey"):
		return changed(string(a.user), g.ServerKey)
	case g.Defects.Has("KeepTheHashesOfInvites"):
		raw, err := sjson.SetBytes(e.JSON(), "state_key", string(a.user))
		if err != nil {
			return nil, false
		}
		out, err := matrix.ParseEvent(e.Version(), raw)
		if err != nil {
			return nil, false
		}
		return out.WithSignature(a.personal()), true
	}
	return nil, false
}

// mistakenState is a state event as a joining server is given it.
func (g *Engine) mistakenState(e *matrix.Event) json.RawMessage {
	if e.Version().Identity == matrix.AccountKeyIdentity && e.Sender().Domain() != g.ServerName && g.Defects.Has("SignTheStateAnew") {
		return e.WithSignature(g.ServerKey).JSON()
	}
	return e.JSON()
}

// InvitedOfOld answers the first version of the invite endpoint, as a mutant does: it takes the room to be
// of the version with account keys, and asks for no room state.
func (g *Engine) InvitedOfOld(ctx context.Context, origin matrix.ServerName, roomID string, event []byte) (json.RawMessage, error) {
	v, e, err := g.admitCosign(origin, roomID, "invite", CosignRequest{Event: event, RoomVersion: matrix.RoomVersionMSC4243().ID})
	if err != nil {
		return nil, err
	}
	signed, err := g.substitute(v, e)
	if err != nil {
		return nil, err
	}
	return signed.JSON(), g.noteMembership(signed, nil, origin)
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

// withReason is the content of a request with a reason, which a variant gives.
func (g *Engine) withReason(content []byte) []byte {
	if g.Defects.Has("GiveReasons") {
		return append([]byte(`{"reason":"we would like to be there",`), content[1:]...)
	}
	return content
}

// askedRoom is hostedRoom for requests to participate, of which a mutant forgets that ACLs hold for them.
func (g *Engine) askedRoom(roomID string, origin matrix.ServerName) (*liveRoom, error) {
	r, err := g.hostedRoom(roomID, origin)
	if err != nil && r != nil && g.Defects.Has("IgnoreACLsForRequests") {
		return r, nil
	}
	return r, err
}
