package room

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"countersign/matrix"
	"countersign/reference/store"
)

// haveAuthEvents makes sure that an event's auth events are known, asking a server for those that are
// not, and that the server which they name has co-signed the event.
func (g *Engine) haveAuthEvents(ctx context.Context, r *liveRoom, server matrix.ServerName, e *matrix.Event) error {
	if err := g.fetchAuthEvents(ctx, r, server, e); err != nil {
		return err
	}
	return g.view(func(events source) error { return checkCosigner(events, e) })
}

// fetchAuthEvents asks a server for those of an event's auth events that are not known. Nothing says that
// the server gives all of them.
func (g *Engine) fetchAuthEvents(ctx context.Context, r *liveRoom, server matrix.ServerName, e *matrix.Event) error {
	missing, err := g.missingAuth(e)
	if err != nil || len(missing) == 0 {
		return err
	}
	chain, err := g.fetchAuthChain(ctx, server, r.id, e.ID())
	if err != nil {
		g.Logger.Info("the auth chain of an event cannot be fetched", "event", e.ID(), "server", server, "error", err)
	} else if err := g.keepOutliers(r, g.admitAll(ctx, r.version, chain)); err != nil {
		return err
	}
	if missing, err = g.missingAuth(e); err != nil || len(missing) == 0 {
		return err
	}
	if err := g.fetchOutliers(ctx, r, server, missing); err != nil {
		return err
	}
	if missing, err = g.missingAuth(e); err == nil && len(missing) > 0 {
		err = fmt.Errorf("auth events are missing: %v", missing)
	}
	return err
}

func (g *Engine) missingAuth(e *matrix.Event) (missing []string, err error) {
	err = g.view(func(events source) error {
		_, missing = events.authEvents(e)
		return nil
	})
	return missing, err
}

// closeGap asks for the events between what this server has and an event whose parents it has not,
// and processes them.
func (g *Engine) closeGap(ctx context.Context, r *liveRoom, origin matrix.ServerName, e *matrix.Event) error {
	unknown, err := g.unknownParents(e)
	if err != nil || len(unknown) == 0 || inGap(ctx) {
		return err
	}
	pdus, err := g.fetchMissing(ctx, r, origin, e)
	if err != nil {
		g.Logger.Info("missing events cannot be fetched", "before", e.ID(), "server", origin, "error", err)
		return nil
	}
	ctx = context.WithValue(ctx, gapKey{}, true)
	missing, err := g.fillers(unknown, g.admitAll(trusting(ctx, "TrustMissingEvents"), r.version, pdus))
	if err != nil {
		return err
	}
	for _, p := range byParents(missing) {
		if err := g.process(ctx, r, origin, p); err != nil {
			g.Logger.Info("a missing event is not accepted", "event", p.ID(), "error", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// fillers are those of the events with which a server has answered that the gap consists of: the unknown
// parents, and what leads from them to events of which this server has the state. The server may have gone
// back further, by as many events as it was asked for. Of those, some would be new here, such as the state
// at a join; given a place now, they would be the latest events of the room, and old state would come back.
func (g *Engine) fillers(unknown []string, answer []*matrix.Event) (missing []*matrix.Event, err error) {
	byID := make(map[string]*matrix.Event, len(answer))
	for _, e := range answer {
		byID[e.ID()] = e
	}
	err = g.view(func(events source) error {
		for len(unknown) > 0 {
			e := byID[unknown[0]]
			unknown = unknown[1:]
			if e == nil {
				continue
			}
			delete(byID, e.ID())
			missing = append(missing, e)
			_, more, err := g.statesAfter(events, e)
			if err != nil {
				return err
			}
			unknown = append(unknown, more...)
		}
		return nil
	})
	return missing, err
}

// gapKey marks the context of events that are processed to close a gap: they do not open another.
type gapKey struct{}

func inGap(ctx context.Context) bool { return ctx.Value(gapKey{}) != nil }

func (g *Engine) unknownParents(e *matrix.Event) (unknown []string, err error) {
	err = g.view(func(events source) error {
		_, unknown, err = g.statesAfter(events, e)
		return err
	})
	return unknown, err
}

// remoteStateAfter is the state after an event that this server does not have, as another server
// sees it. The event is kept, with that state, but has no place in the timeline.
func (g *Engine) remoteStateAfter(ctx context.Context, r *liveRoom, server matrix.ServerName, eventID string) (State, error) {
	unlock, err := g.fetching.lock(ctx, eventID)
	if err != nil {
		return State{}, err
	}
	defer unlock()
	if k := g.lookup(eventID); k != nil && k.hasState() && k.RoomID() == r.id {
		return g.StateAfter(r.id, eventID)
	}
	e, err := g.fetchEvent(ctx, server, r.version, eventID)
	if err != nil {
		return State{}, err
	}
	if e.RoomID() != r.id {
		return State{}, fmt.Errorf("the event %s is of another room", eventID)
	}
	if err := g.haveAuthEvents(ctx, r, server, e); err != nil {
		return State{}, err
	}
	var before State
	if e.ID() != r.create.ID() { // nothing is before the create event
		if before, err = g.remoteStateBefore(ctx, r, server, e); err != nil {
			return State{}, err
		}
	}
	return g.keepWithState(r, e, before)
}

// keepWithState stores an event of the past with the state around it, but without a place in the
// timeline, and returns the state after it.
func (g *Engine) keepWithState(r *liveRoom, e *matrix.Event, before State) (after State, err error) {
	rejection, err := g.judge(r, e, before)
	if err != nil {
		return State{}, err
	}
	v := verdict{event: e, outcome: Accepted, before: before}
	if rejection != nil {
		v.outcome, v.reason = Rejected, rejection.Error()
	}
	err = g.DB.Update(func(tx *store.Tx) error {
		if v.before, err = g.saveState(tx, State{}, v.before); err != nil {
			return err
		}
		if after, err = g.saveState(tx, v.before, v.after()); err != nil {
			return err
		}
		w := writer{g: g, tx: tx, room: r, verdict: v, after: after}
		return w.writePast()
	})
	return after, err
}

// remoteStateBefore is the state before an event as another server sees it. State events that this
// server drops or rejects are left out of it.
func (g *Engine) remoteStateBefore(ctx context.Context, r *liveRoom, server matrix.ServerName, e *matrix.Event) (State, error) {
	ids, err := g.fetchStateIDs(ctx, server, r.id, e.ID())
	if err != nil {
		return State{}, err
	}
	missing, err := g.unknownEvents(append(slices.Clone(ids.AuthChainIDs), ids.PDUIDs...))
	if err != nil {
		return State{}, err
	}
	switch {
	case len(missing) > fewMissingState:
		answer, err := g.fetchState(ctx, server, r.id, e.ID())
		if err != nil {
			return State{}, err
		}
		if err := g.keepOutliers(r, g.admitAll(ctx, r.version, append(answer.AuthChain, answer.PDUs...))); err != nil {
			return State{}, err
		}
	case len(missing) > 0:
		if err := g.fetchOutliers(ctx, r, server, missing); err != nil {
			return State{}, err
		}
	}
	return g.stateOfEvents(r, ids.PDUIDs)
}

func (g *Engine) unknownEvents(ids []string) (unknown []string, err error) {
	err = g.DB.View(func(tx *store.Tx) error {
		for _, id := range ids {
			if tx.Table(tableEvents).Get([]byte(id)) == nil && !slices.Contains(unknown, id) {
				unknown = append(unknown, id)
			}
		}
		return nil
	})
	return unknown, err
}

// stateOfEvents is the state that consists of some events; those that are not known or were rejected
// are left out.
func (g *Engine) stateOfEvents(r *liveRoom, ids []string) (s State, err error) {
	err = g.view(func(events source) error {
		for _, id := range ids {
			k := events.find(id)
			if k == nil || k.outcome == Rejected || k.RoomID() != r.id {
				continue
			}
			if _, ok := k.StateKey(); ok {
				s = s.with(k.Tuple(), id)
			}
		}
		if s.Get(matrix.StateTuple{Type: "m.room.create"}) != r.create.ID() {
			return errors.New("the state has no create event")
		}
		return nil
	})
	return s, err
}
