package room

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/rules"
	"countersign/reference/store"
)

// Send builds, signs, checks, stores and distributes an event of a local user (account name user ID).
// Errors are *peer.Error: 403 when the rules forbid the event, 404 when the room is not known, 413 when
// it is too large, 400 when it has no canonical form. A redaction names its target in
// content.redacts, and is forbidden when it would take no effect. Where nobody on this server is in the
// room, nothing can be sent but the revocation of this server's own key.
func (g *Engine) Send(ctx context.Context, roomID string, local matrix.UserID, d Draft) (*matrix.Event, error) {
	r, err := g.joinedRoom(roomID)
	if err != nil && g.revokesOwnKey(roomID, local, d) {
		r, err = g.live(roomID)
	}
	if err != nil {
		return nil, err
	}
	a, err := g.actor(r.version, r.id, local)
	if err != nil {
		return nil, err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return g.send(r, a, d)
}

// joinedRoom is a room that a user of this server is joined to.
func (g *Engine) joinedRoom(roomID string) (*liveRoom, error) {
	r, err := g.live(roomID)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		return nil, peer.NotFound("this server does not know the room %s", roomID)
	case !g.inRoom(r):
		return nil, peer.Forbidden("nobody on this server is in the room %s", roomID)
	}
	return r, nil
}

// revokesOwnKey reports whether a draft revokes this server's key in a room that all of its users have left:
// "A key controller can revoke their own key at any time", by any localpart, "regardless of room membership"
// (MSC4345, "Revoked participation" and "Situations where m.server.participation is sent on behalf of the
// server"). It is built on what this server has last seen of the room, and sent to the servers that it has seen
// there. That only somebody may do it who was in the room is a policy of this server.
func (g *Engine) revokesOwnKey(roomID string, local matrix.UserID, d Draft) bool {
	own, ok := g.ServerKeys.Current(roomID)
	if !ok || d.Type != matrix.ParticipationType || d.StateKey == nil || *d.StateKey != string(own.Key().Name()) ||
		gjson.GetBytes(d.Content, "participation").Str != string(matrix.Revoked) {
		return false
	}
	user, ok := g.InRoom(roomID, local)
	if !ok {
		return false
	}
	_, ok = g.Membership(roomID, user)
	return ok && g.Participant(roomID, own.Key().Name()).Participation == matrix.Accepted
}

// inRoom reports whether a user of this server is joined.
func (g *Engine) inRoom(r *liveRoom) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.roster.takesPart(g.ownName(r))
}

// send is Send with r.mutex held, but for while a policy server is waited for.
func (g *Engine) send(r *liveRoom, a actor, d Draft, cosigners ...matrix.Signer) (*matrix.Event, error) {
	e, err := g.build(r, a, d, cosigners...)
	if err != nil {
		return nil, err
	}
	if err := g.checkLocal(r, e); err != nil {
		return nil, err
	}
	before := r.current
	if e, err = g.recommended(r, e); err != nil {
		return nil, err
	}
	err = g.commit(r, verdict{
		event: e, outcome: Accepted, before: before, destinations: g.destinations(r, e), hook: d.Commit,
	})
	if err != nil {
		return nil, err
	}
	return e, g.revokesServerToo(r, a, e)
}

// build makes an event that follows everything the room has. r.mutex is held.
func (g *Engine) build(r *liveRoom, a actor, d Draft, cosigners ...matrix.Signer) (*matrix.Event, error) {
	p, err := g.template(r, a.user, a.server, d)
	if err != nil {
		return nil, err
	}
	e, err := p.Build(r.version, append(cosigners, g.signersOf(r.version, a, d.Type)...)...)
	if err != nil {
		return nil, peer.BadJSON("%v", err)
	}
	if g.Defects.Has("SignInURLSafeBase64") {
		return g.inURLSafeBase64(e)
	}
	if r.version.HasPortableAccounts() && g.Defects.Has("CosignWholeEvents") {
		return g.cosignedWhole(e, a.signers[0])
	}
	return e, checkSize(e)
}

// template is an event that follows everything the room has, before it is signed. server is the sender's
// server, as the room names servers. r.mutex is held.
func (g *Engine) template(r *liveRoom, sender matrix.UserID, server matrix.ServerName, d Draft) (matrix.ProtoEvent, error) {
	p := matrix.ProtoEvent{
		Type: d.Type, StateKey: d.StateKey, Sender: sender, RoomID: r.id, Content: d.Content,
		OriginServerTS: d.OriginServerTS,
	}
	if p.OriginServerTS == 0 {
		// No two events of ours have one time: state resolution goes by it before it goes by chance.
		r.latest = max(g.Clock().UnixMilli(), r.latest+1)
		p.OriginServerTS = r.latest
	}
	for _, place := range r.version.AuthEventTuples(d.Type, d.StateKey, sender, d.Content, server) {
		if id := r.current.Get(place); id != "" {
			p.AuthEvents = append(p.AuthEvents, id)
		}
	}
	p.PrevEvents = r.extremities
	if len(p.PrevEvents) > matrix.MaxPrevEvents {
		p.PrevEvents = p.PrevEvents[len(p.PrevEvents)-matrix.MaxPrevEvents:]
	}
	p.PrevEvents = slices.Clone(p.PrevEvents)
	p.AuthEvents = g.mistakenAuthEvents(r, p)
	depth, err := g.depthAfter(p.PrevEvents)
	p.Depth = depth
	return p, err
}

// depthAfter is one more than the greatest depth of some events. It stays within what JSON can carry,
// whatever depth a peer has claimed.
func (g *Engine) depthAfter(parents []string) (depth int64, err error) {
	err = g.DB.View(func(tx *store.Tx) error {
		for _, id := range parents {
			k, err := g.event(tx, id)
			if err != nil || k == nil {
				return fmt.Errorf("the parent %s cannot be read: %w", id, orDamaged(err))
			}
			depth = max(depth, k.Depth())
		}
		return nil
	})
	if g.Defects.Has("CountDepthInTens") {
		depth += 9
	}
	return min(depth+1, matrix.MaxSafeInteger), err
}

// checkSize applies the size limits of events to an event of our own.
func checkSize(e *matrix.Event) error {
	stateKey, _ := e.StateKey()
	switch {
	case len(e.JSON()) > matrix.MaxEventSize:
		return peer.Errorf(http.StatusRequestEntityTooLarge, "M_TOO_LARGE", "the event has %d bytes, more than %d", len(e.JSON()), matrix.MaxEventSize)
	case len(e.Type()) > matrix.MaxIDLength || len(stateKey) > matrix.MaxIDLength:
		return peer.Errorf(http.StatusBadRequest, "M_TOO_LARGE", "the type or the state key has more than %d bytes", matrix.MaxIDLength)
	case e.Type() == "":
		return peer.InvalidParam("the event type is empty")
	}
	return nil
}

// checkLocal applies the rules to an event of our own. r.mutex is held.
func (g *Engine) checkLocal(r *liveRoom, e *matrix.Event) error {
	return g.DB.View(func(tx *store.Tx) error {
		events := source{g: g, tx: tx}
		auth, missing := events.authEvents(e)
		if len(missing) > 0 {
			return fmt.Errorf("auth events of an event of ours are missing: %v", missing)
		}
		rules := r.judging(events)
		if err := rules.AuthoriseByAuthEvents(e, auth); err != nil && !g.citesTooMuch() {
			return forbidden(err)
		}
		if err := rules.Authorise(e, events.state(r.current)); err != nil {
			return forbidden(err)
		}
		if e.Type() == "m.room.redaction" {
			return g.checkRedaction(r, events, e)
		}
		return nil
	})
}

func (g *Engine) checkRedaction(r *liveRoom, events source, e *matrix.Event) error {
	target := gjson.GetBytes(e.Content(), "redacts").String()
	k := events.find(target)
	if k == nil || k.RoomID() != r.id || k.outcome == Rejected {
		return peer.NotFound("there is no event %s in the room to redact", target)
	}
	if k.IsCreate() {
		return peer.Forbidden("a create event cannot be redacted")
	}
	if !r.judging(events).MayRedact(e, k.Event, events.state(r.current)) {
		return peer.Forbidden("you may not redact the events of %s", k.Sender())
	}
	return nil
}

// forbidden is what a client, or a server in a handshake, is told of a rejection.
func forbidden(err error) error {
	if rejection, ok := errors.AsType[*rules.Rejection](err); ok {
		return peer.Forbidden("%v", rejection)
	}
	return err
}
