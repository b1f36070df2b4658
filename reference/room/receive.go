package room

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

// Bounds of the work that one event from another server may cause.
const (
	receiveTimeout = 30 * time.Second // one event, with everything that is fetched for it
	verifyWait     = 5 * time.Second  // asking for the sender's account name before delivery
	maxGapEvents   = 20               // events asked for with get_missing_events
	maxUnknown     = 5                // parents whose state is asked for
)

// Receive takes one event that another server has sent in a transaction, and does the checks of the
// server-server API, "Checks performed on receipt of a PDU", in their order. It returns the event's ID,
// when it has one, and, when the event was dropped or rejected, why. A soft-failed event is no error.
func (g *Engine) Receive(ctx context.Context, origin matrix.ServerName, pdu []byte) (eventID string, err error) {
	ctx, cancel := context.WithTimeout(ctx, receiveTimeout)
	defer cancel()
	roomID := gjson.GetBytes(pdu, "room_id").String()
	r, err := g.live(roomID)
	if err != nil {
		return "", err
	}
	if r == nil || !g.inRoom(r) {
		return g.receiveElsewhere(ctx, pdu)
	}
	if err := g.checkACL(roomID, origin); err != nil {
		return "", err
	}
	e, err := g.admit(ctx, r.version, pdu)
	if err != nil {
		return "", fmt.Errorf("dropped: %w", err)
	}
	return e.ID(), g.process(ctx, r, origin, e)
}

// ErrRejected is wrapped by the errors of events that were rejected.
var ErrRejected = errors.New("rejected")

// process does the checks from the fourth on. e has been admitted.
func (g *Engine) process(ctx context.Context, r *liveRoom, origin matrix.ServerName, e *matrix.Event) error {
	unlock, err := g.fetching.lock(ctx, e.ID())
	if err != nil {
		return err
	}
	defer unlock()
	if e.RoomID() != r.id || e.IsCreate() {
		return fmt.Errorf("dropped: the event is not for the room %s", r.id)
	}
	if g.settledAlready(e) {
		return nil
	}
	if g.isKnownAsBad(e) {
		return errors.New("dropped: a copy of the event was bad")
	}
	if err := g.haveAuthEvents(ctx, r, origin, e); err != nil {
		g.noteBad(e)
		return fmt.Errorf("dropped: %w", err)
	}
	if err := g.closeGap(ctx, r, origin, e); err != nil {
		return fmt.Errorf("dropped: %w", err)
	}
	before, hole, err := g.stateBefore(ctx, r, origin, e)
	if err != nil {
		return fmt.Errorf("dropped: %w", err)
	}
	rejection, err := g.judge(r, e, before)
	if err != nil {
		return fmt.Errorf("dropped: %w", err)
	}
	v := verdict{event: e, before: before, hole: hole}
	if rejection != nil {
		v.outcome, v.reason = Rejected, rejection.Error()
	} else {
		if !g.Defects.Has("NeverLookUpNewUsers") {
			g.verifyUsers(ctx, e)
		}
		g.verifyServers(ctx, r, e)
		if g.isUnverified(e) && g.Defects.Has("RejectUnverifiedUsers") {
			v.outcome, v.reason = Rejected, "the sender is unverified"
		}
		v.event, v.refusal = g.checkPolicy(ctx, r, e)
	}
	if err := g.settle(r, v); err != nil {
		return err
	}
	if e.Version().Identity == matrix.AccountKeyIdentity && e.Membership() == "leave" && e.Sender().Domain() != g.ServerName {
		g.Directory.Gone(e.Sender())
	}
	if rejection != nil {
		return fmt.Errorf("%w: %w", ErrRejected, rejection)
	}
	return nil
}

// judge does the fourth and the fifth check. rejection says why the event is rejected, if it is.
func (g *Engine) judge(r *liveRoom, e *matrix.Event, before State) (rejection, err error) {
	err = g.view(func(events source) error {
		auth, missing := events.authEvents(e)
		if len(missing) > 0 {
			return fmt.Errorf("auth events are missing: %v", missing)
		}
		rules := r.judging(events)
		if rejection = rules.AuthoriseByAuthEvents(e, auth); rejection != nil {
			rejection = fmt.Errorf("by its auth events: %w", rejection)
		} else if rejection = rules.Authorise(e, events.state(before)); rejection != nil {
			rejection = fmt.Errorf("by the state before it: %w", rejection)
		}
		return nil
	})
	if rejection != nil && g.acceptsEverything() {
		return nil, err
	}
	return rejection, err
}

// settle does the sixth check, unless the event is rejected, heeds the seventh, and stores the event.
func (g *Engine) settle(r *liveRoom, v verdict) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if g.settledAlready(v.event) {
		return nil
	}
	if v.outcome != Rejected {
		v.outcome = Accepted
		var refusal error
		err := g.view(func(events source) error {
			refusal = r.judging(events).Authorise(v.event, events.state(r.current))
			return nil
		})
		if err != nil {
			return err
		}
		if refusal = g.mistakenRefusal(v.event, refusal); refusal != nil {
			v.outcome, v.reason = SoftFailed, "by the current state: "+refusal.Error()
		} else if v.refusal != nil {
			v.outcome, v.reason = SoftFailed, v.refusal.Error()
		}
	}
	if v.outcome != Accepted {
		g.Logger.Info("an event is "+v.outcome.String(), "event", v.event.ID(), "type", v.event.Type(), "reason", v.reason)
	}
	return g.commit(r, v)
}

// verifyUsers finds out who is behind the account keys of an event before it is shown to clients. It
// waits for a bounded time and for nothing that is known already (MSC4243, "Server behaviour").
func (g *Engine) verifyUsers(ctx context.Context, events ...*matrix.Event) {
	users := accountKeysOf(events)
	if len(users) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, verifyWait)
	defer cancel()
	g.Directory.VerifyBriefly(ctx, users...)
}

// accountKeysOf are the users in rooms with account keys who sent events or whose membership they are.
func accountKeysOf(events []*matrix.Event) (users []matrix.UserID) {
	seen := map[matrix.UserID]bool{}
	add := func(user matrix.UserID) {
		if _, err := user.AccountKey(); err == nil && !seen[user] {
			seen[user] = true
			users = append(users, user)
		}
	}
	for _, e := range events {
		if e.Version().Identity != matrix.AccountKeyIdentity {
			continue
		}
		add(e.Sender())
		if key, ok := e.StateKey(); ok && e.Type() == "m.room.member" {
			add(matrix.UserID(key))
		}
	}
	return users
}

// receiveElsewhere takes an event of a room that this server is not in. The only ones of interest end
// an invitation or a knock of a local user, or are about this server's participation.
func (g *Engine) receiveElsewhere(ctx context.Context, pdu []byte) (string, error) {
	unknown := peer.NotFound("this server is not in the room")
	roomID, user := gjson.GetBytes(pdu, "room_id").String(), matrix.UserID(gjson.GetBytes(pdu, "state_key").String())
	if own, ok := g.ServerKeys.Find(matrix.ServerName(user)); ok && own.RoomID == roomID {
		return g.receiveOwnParticipation(ctx, own, pdu)
	}
	m, ok := g.Membership(roomID, user)
	if !ok || g.localName(m.Version, user) == "" || m.Event == nil || m.Membership != "invite" && m.Membership != "knock" {
		return "", unknown
	}
	e, err := g.admit(ctx, m.Version, pdu)
	if err != nil {
		return "", fmt.Errorf("dropped: %w", err)
	}
	if e.Type() != "m.room.member" || e.Membership() != "leave" && e.Membership() != "ban" {
		return e.ID(), unknown
	}
	// Without the room's state this cannot be authorised; whoever is in the room of the invitation
	// could have withdrawn it.
	return e.ID(), g.noteMembership(e, m.Stripped, m.Through)
}

// statesAfter are the states after those of an event's parents that are known, and the other parents.
func (g *Engine) statesAfter(events source, e *matrix.Event) (states []State, unknown []string, err error) {
	for _, id := range e.PrevEvents() {
		k, err := g.event(events.tx, id)
		if err != nil {
			return nil, nil, err
		}
		if k == nil || !k.hasState() || k.RoomID() != e.RoomID() {
			unknown = append(unknown, id)
			continue
		}
		s, err := g.loadState(events.tx, k.after)
		if err != nil {
			return nil, nil, err
		}
		states = append(states, s)
	}
	return states, unknown, nil
}

// stateBefore is the state before an event: the resolution of the states after its parents. For
// parents that this server does not have, origin is asked for the state; they are returned as a hole
// in the history. When a parent cannot be had, as it was rejected or dropped by some server, the state
// before the event itself is asked for and takes the parent's part.
func (g *Engine) stateBefore(ctx context.Context, r *liveRoom, origin matrix.ServerName, e *matrix.Event) (before State, hole []string, err error) {
	var states []State
	err = g.view(func(events source) (err error) {
		states, hole, err = g.statesAfter(events, e)
		return err
	})
	if err != nil {
		return State{}, nil, err
	}
	if len(hole) > maxUnknown {
		return State{}, nil, fmt.Errorf("%d parents are not known", len(hole))
	}
	for _, id := range hole {
		s, err := g.remoteStateAfter(ctx, r, origin, id)
		if err != nil {
			g.Logger.Info("a parent cannot be fetched", "event", e.ID(), "parent", id, "server", origin, "error", err)
			if s, err = g.remoteStateBefore(ctx, r, origin, e); err != nil {
				return State{}, nil, fmt.Errorf("the state before the event cannot be found: %w", err)
			}
		}
		states = append(states, s)
	}
	if len(states) == 0 {
		return State{}, nil, errors.New("it has no parents")
	}
	err = g.view(func(events source) (err error) {
		before, err = g.resolve(r, events, states)
		return err
	})
	return before, hole, err
}
