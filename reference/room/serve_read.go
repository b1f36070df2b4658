package room

import (
	"encoding/json"
	"slices"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/store"
)

// Bounds of what one request is answered with.
const (
	maxServedBackfill = 100
	maxServedMissing  = 50
	maxWalk           = 2000 // events looked at for get_missing_events
)

// ServeEvent answers /event: an accepted or soft-failed event of a room that origin is in, too.
func (g *Engine) ServeEvent(origin matrix.ServerName, eventID string) (*matrix.Event, error) {
	k := g.lookup(eventID)
	if k == nil || k.outcome == Rejected && !g.Defects.Has("ServeRejectedEvents") {
		return nil, peer.NotFound("there is no event %s here", eventID)
	}
	if g.isUnverified(k.Event) && g.Defects.Has("ServeNothingOfUnverifiedUsers") {
		return nil, peer.NotFound("there is no event %s here", eventID)
	}
	return g.servedOtherwise(k.Event), g.checkReader(k.RoomID(), origin, eventID)
}

// ServeState answers /state and /state_ids: the state before an event, and its auth chain.
func (g *Engine) ServeState(origin matrix.ServerName, roomID, eventID string) (state, chain []*matrix.Event, err error) {
	if r, err := g.live(roomID); err == nil && r != nil && r.version.Identity == matrix.ServerIdentity && g.Defects.Has("V12ServeNoState") {
		return nil, nil, peer.NotFound("the state is not served")
	}
	if err := g.checkReader(roomID, origin, eventID); err != nil {
		return nil, nil, err
	}
	before, err := g.StateBefore(roomID, eventID)
	if err != nil {
		return nil, nil, err
	}
	err = g.view(func(events source) error {
		if k := events.find(eventID); k == nil || k.outcome == Rejected {
			return peer.NotFound("there is no event %s here", eventID)
		}
		var ids []string
		for _, id := range before.All() {
			k := events.find(id)
			if k == nil {
				return errDamaged
			}
			state, ids = append(state, g.servedOtherwise(k.Event)), append(ids, id)
		}
		chain = events.authChain(ids)
		return nil
	})
	return state, chain, err
}

// ServeAuthChain answers /event_auth.
func (g *Engine) ServeAuthChain(origin matrix.ServerName, roomID, eventID string) (chain []*matrix.Event, err error) {
	if err := g.checkReader(roomID, origin, eventID); err != nil {
		return nil, err
	}
	err = g.view(func(events source) error {
		k := events.find(eventID)
		if k == nil || k.outcome == Rejected || k.RoomID() != roomID {
			return peer.NotFound("there is no event %s here", eventID)
		}
		chain = events.authChain([]string{eventID})
		return nil
	})
	return chain, err
}

// ServeBackfill answers /backfill: the events from some, and what leads to them, latest first.
func (g *Engine) ServeBackfill(origin matrix.ServerName, roomID string, from []string, limit int) (found []*matrix.Event, err error) {
	if err := g.checkReader(roomID, origin, from...); err != nil {
		return nil, err
	}
	if limit = min(max(limit, 0), maxServedBackfill); g.Defects.Has("BackfillWithoutLimit") {
		limit = maxServedBackfill
	}
	err = g.view(func(events source) error {
		found = events.walk(roomID, from, nil, limit)
		return nil
	})
	if len(found) > 1 && g.Defects.Has("BackfillLess") {
		found = found[:(len(found)+1)/2]
	}
	return g.readable(roomID, origin, found), err
}

// ServeMissing answers /get_missing_events: the events between earliest and latest, neither included,
// oldest first.
func (g *Engine) ServeMissing(origin matrix.ServerName, roomID string, earliest, latest []string, limit int, minDepth int64) (found []*matrix.Event, err error) {
	if err := g.checkReader(roomID, origin, latest...); err != nil {
		return nil, err
	}
	limit = min(max(limit, 0), maxServedMissing)
	err = g.view(func(events source) error {
		var from []string
		for _, id := range latest {
			if k := events.find(id); k != nil && k.RoomID() == roomID {
				from = append(from, k.PrevEvents()...)
			}
		}
		if g.Defects.Has("ServeMissingEventsBeyondTheEarliest") {
			earliest = nil
		}
		found = events.walk(roomID, from, append(slices.Clone(earliest), latest...), limit)
		return nil
	})
	found = slices.DeleteFunc(found, func(e *matrix.Event) bool { return e.Depth() < minDepth })
	return byParents(g.readable(roomID, origin, found)), err
}

// walk collects the events that lead to some, those included, breadth first, without what leads only to
// stops. Rejected events are passed over; soft-failed ones are there when an event refers to them.
func (s source) walk(roomID string, from, stops []string, limit int) (found []*matrix.Event) {
	seen := map[string]bool{}
	for _, id := range stops {
		seen[id] = true
	}
	queue := slices.Clone(from)
	for looked := 0; len(queue) > 0 && len(found) < limit && looked < maxWalk; looked++ {
		id := queue[0]
		queue = queue[1:]
		if seen[id] {
			continue
		}
		seen[id] = true
		k := s.find(id)
		if k == nil || k.RoomID() != roomID {
			continue
		}
		if k.outcome != Rejected {
			found = append(found, s.g.servedOtherwise(k.Event))
		}
		queue = append(queue, k.PrevEvents()...)
	}
	return found
}

// ServePDU is the JSON of an event that is queued for delivery, or nil when there is none.
func (g *Engine) ServePDU(tx *store.Tx, eventID string) (json.RawMessage, error) {
	k, err := g.event(tx, eventID)
	if err != nil || k == nil {
		return nil, err
	}
	return g.mistakenUnsigned(k.Event), nil
}
