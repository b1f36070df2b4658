package room

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/store"
)

// Bounds of one attempt to fill a hole in the history.
const (
	backfillTimeout = 15 * time.Second
	backfillServers = 4
	maxBackfill     = 100
)

// Backfill fetches history that is missing directly before a place, if any is, and reports whether the
// timeline has grown there. Whoever reads backwards calls it before each call of Timeline.
func (g *Engine) Backfill(ctx context.Context, roomID string, before Place, limit int) (grown bool, err error) {
	r, err := g.live(roomID)
	if err != nil || r == nil {
		return false, err
	}
	unlock, err := g.fetching.lock(ctx, "history of "+roomID)
	if err != nil {
		return false, err
	}
	defer unlock()
	missing, anchor, err := g.hole(roomID, before)
	if len(missing) > 0 && g.Defects.Has("NeverAskForHistory") {
		return false, nil
	}
	if err != nil || len(missing) == 0 {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, backfillTimeout)
	defer cancel()
	limit = min(max(limit, 20), maxBackfill)
	failures := []error{errors.New("no other server in the room has it")}
	for _, server := range g.historians(r, anchor) {
		pdus, err := g.fetchBackfill(ctx, server, r.id, missing, limit)
		if err == nil {
			if grown, err = g.keepHistory(ctx, r, server, before, missing, pdus); grown {
				return true, nil
			}
		}
		if failures = append(failures, err); ctx.Err() != nil {
			break
		}
	}
	return false, errors.Join(failures...)
}

// hole is what is missing directly before a place, and the event at the place.
func (g *Engine) hole(roomID string, at Place) (missing []string, anchor *matrix.Event, err error) {
	err = g.DB.View(func(tx *store.Tx) error {
		key := placeKey(roomID, at)
		if _, err := getJSON(tx.Table(tableHoles), key, &missing); err != nil || missing == nil {
			return err
		}
		id := tx.Table(tableTimeline).Get(key)
		k, err := g.event(tx, string(id))
		if k != nil {
			anchor = k.Event
		}
		return err
	})
	return missing, anchor, err
}

// historians are the servers to ask for history: the one that built on it first, then others in the room.
func (g *Engine) historians(r *liveRoom, anchor *matrix.Event) []matrix.ServerName {
	r.mutex.Lock()
	servers := r.domains()
	r.mutex.Unlock()
	servers = slices.DeleteFunc(servers, func(s matrix.ServerName) bool { return s == g.ServerName })
	if creator := g.originOf(r, r.create); slices.Contains(servers, creator) {
		servers = append([]matrix.ServerName{creator}, without(servers, creator)...)
	}
	if anchor != nil {
		if first := g.originOf(r, anchor); slices.Contains(servers, first) {
			servers = append([]matrix.ServerName{first}, without(servers, first)...)
		}
	}
	return servers[:min(len(servers), backfillServers)]
}

// originOf is the domain that an event comes from, as far as the room says.
func (g *Engine) originOf(r *liveRoom, e *matrix.Event) matrix.ServerName {
	if !r.version.HasParticipation() {
		return e.Sender().Domain()
	}
	p, _ := g.ServerOf(e)
	return p.UnverifiedDomain
}

func without(servers []matrix.ServerName, server matrix.ServerName) []matrix.ServerName {
	return slices.DeleteFunc(slices.Clone(servers), func(s matrix.ServerName) bool { return s == server })
}

// keepHistory checks the events that a server has given for a hole and puts them there, latest last.
// It reports whether the hole has become smaller.
func (g *Engine) keepHistory(ctx context.Context, r *liveRoom, server matrix.ServerName, at Place, missing []string, pdus []json.RawMessage) (bool, error) {
	events := byParents(g.connected(missing, g.admitAll(trusting(ctx, "TrustBackfill"), r.version, pdus)))
	if len(events) == 0 {
		return false, peer.NotFound("%s gave none of the events that are missing", server)
	}
	g.verifyUsers(ctx, events...)
	var kept []pastEvent
	for _, e := range events {
		p, err := g.judgePast(ctx, r, server, e)
		if err != nil {
			g.Logger.Info("an event of the past is dropped", "event", e.ID(), "server", server, "error", err)
			continue
		}
		kept = append(kept, p)
	}
	if len(kept) == 0 {
		return false, peer.NotFound("%s gave no event that could be kept", server)
	}
	return g.fill(r, at, missing, kept)
}

// connected are those events that lead to the missing ones, up to what the timeline has already; a
// server may answer with any others.
func (g *Engine) connected(missing []string, events []*matrix.Event) []*matrix.Event {
	byID := map[string]*matrix.Event{}
	for _, e := range events {
		if k := g.lookup(e.ID()); k == nil || k.place == (Place{}) {
			byID[e.ID()] = e
		}
	}
	var found []*matrix.Event
	queue := slices.Clone(missing)
	for len(queue) > 0 {
		e := byID[queue[0]]
		queue = queue[1:]
		if e == nil {
			continue
		}
		delete(byID, e.ID())
		found = append(found, e)
		queue = append(queue, e.PrevEvents()...)
	}
	return found
}

// pastEvent is an event of the past that has been stored, and its parents that are not known.
type pastEvent struct {
	event *matrix.Event
	hole  []string
}

// judgePast checks an event of the past and stores it with the state around it.
func (g *Engine) judgePast(ctx context.Context, r *liveRoom, server matrix.ServerName, e *matrix.Event) (p pastEvent, err error) {
	p.event = e
	if e.RoomID() != r.id {
		return p, peer.NotFound("the event is of another room")
	}
	if p.hole, err = g.unknownParents(e); err != nil {
		return p, err
	}
	if g.settledAlready(e) {
		return p, nil
	}
	var before State
	switch {
	case e.IsCreate():
		if e.ID() != r.create.ID() {
			return p, peer.NotFound("it is not the room's create event")
		}
	case len(p.hole) == len(e.PrevEvents()):
		if err := g.haveAuthEvents(ctx, r, server, e); err != nil {
			return p, err
		}
		if before, err = g.remoteStateBefore(ctx, r, server, e); err != nil {
			return p, err
		}
	default:
		if err := g.haveAuthEvents(ctx, r, server, e); err != nil {
			return p, err
		}
		if before, p.hole, err = g.stateBefore(ctx, r, server, e); err != nil {
			return p, err
		}
	}
	_, err = g.keepWithState(r, e, before)
	return p, err
}

// fill gives events of the past their places before a place, and moves the hole to what they lack.
func (g *Engine) fill(r *liveRoom, at Place, missing []string, past []pastEvent) (grown bool, err error) {
	err = g.DB.Update(func(tx *store.Tx) error {
		grown = false
		next := g.lowest(tx, r.id, at.Major)
		for _, p := range slices.Backward(past) {
			k, err := g.event(tx, p.event.ID())
			if err != nil || k == nil {
				return orDamaged(err)
			}
			if !g.belongsInTimeline(tx, k) || k.place != (Place{}) {
				continue
			}
			next.Minor--
			k.place = next
			if err := g.putEvent(tx, k.Event, k.record); err != nil {
				return err
			}
			if err := tx.Table(tableTimeline).Put(placeKey(r.id, next), []byte(k.ID())); err != nil {
				return err
			}
			if len(p.hole) > 0 {
				if err := putJSON(tx.Table(tableHoles), placeKey(r.id, next), p.hole); err != nil {
					return err
				}
			}
			grown = true
		}
		shrunk, err := g.shrinkHole(tx, r, at, missing)
		grown = grown || shrunk
		return err
	})
	return grown, err
}

// lowest is the first place that is taken under a position.
func (g *Engine) lowest(tx *store.Tx, roomID string, major Position) (place Place) {
	place = Place{Major: major}
	tx.Table(tableTimeline).Scan(positionKey(roomID, major), nil, func(key, _ []byte) bool {
		place = parsePlace(key)
		return false
	})
	return place
}

// belongsInTimeline reports whether an event of the past is to be shown: it was accepted, and is not a
// redaction that has taken no effect.
func (g *Engine) belongsInTimeline(tx *store.Tx, k *known) bool {
	if k.outcome != Accepted || k.Type() != "m.room.redaction" {
		return k.outcome == Accepted
	}
	target, err := g.event(tx, k.Get("redacts").String())
	return err == nil && (target == nil || target.redactedBy == k.ID())
}

// shrinkHole leaves in a hole what has no place in the timeline yet, and reports whether that is less
// than before.
func (g *Engine) shrinkHole(tx *store.Tx, r *liveRoom, at Place, missing []string) (bool, error) {
	left := slices.DeleteFunc(slices.Clone(missing), func(id string) bool {
		k, err := g.event(tx, id)
		return err == nil && k != nil && (k.place != (Place{}) || !g.belongsInTimeline(tx, k))
	})
	key := placeKey(r.id, at)
	if len(left) == 0 {
		return true, tx.Table(tableHoles).Delete(key)
	}
	return len(left) < len(missing), putJSON(tx.Table(tableHoles), key, left)
}
