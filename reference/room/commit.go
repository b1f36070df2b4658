package room

import (
	"countersign/matrix"
	"countersign/reference/store"
)

// verdict is an event with what came of it, ready to be stored.
type verdict struct {
	event   *matrix.Event
	outcome Outcome
	reason  string
	// refusal is why the room's policy server does not recommend the event, if it does not.
	refusal error
	// before is the state before the event.
	before State
	// hole are parents of the event that this server does not have.
	hole []string
	// destinations are the servers to which the event is to be sent.
	destinations []matrix.ServerName
	// hook runs in the transaction that stores the event, or is nil.
	hook func(*store.Tx, *matrix.Event) error
	// restart makes the event the only extremity, and the state after it the current state: this
	// server has just joined, or joined again, by it.
	restart bool
}

// after is the state after the event: a rejected event changes nothing, a soft-failed one does
// (server-server API, "Rejection" and "Soft failure").
func (v verdict) after() State {
	if key, ok := v.event.StateKey(); ok && v.outcome != Rejected {
		return v.before.with(matrix.StateTuple{Type: v.event.Type(), StateKey: key}, v.event.ID())
	}
	return v.before
}

// consequence is what accepting an event does to the room.
type consequence struct {
	extremities []string
	current     State
}

// commit stores an event and everything that follows from it, in one transaction, and then makes it
// visible. r.mutex is held.
func (g *Engine) commit(r *liveRoom, v verdict) error {
	next, err := g.consequence(r, v)
	if err != nil {
		return err
	}
	roster := r.roster.clone()
	err = g.DB.Update(func(tx *store.Tx) error {
		v.before, err = g.saveState(tx, r.current, v.before)
		if err != nil {
			return err
		}
		after, err := g.saveState(tx, v.before, v.after())
		if err != nil {
			return err
		}
		if next.current.root == after.root {
			next.current = after
		}
		w := writer{g: g, tx: tx, room: r, verdict: v, after: after}
		if err := w.write(); err != nil {
			return err
		}
		if v.outcome != Accepted {
			return nil
		}
		if next.current, err = g.saveState(tx, r.current, next.current); err != nil {
			return err
		}
		if err := w.moveTo(next); err != nil {
			return err
		}
		if v.hook != nil {
			if err := v.hook(tx, v.event); err != nil {
				return err
			}
		}
		return r.follow(source{g: g, tx: tx}, &roster, r.current, next.current)
	})
	if err != nil {
		return err
	}
	if v.outcome == Accepted {
		users := g.localChanges(r.version, r.current, next.current)
		r.extremities, r.current, r.roster = next.extremities, next.current, roster
		g.retireRevoked(r)
		g.Outbox.Flush(v.destinations)
		g.notify(r.id, users)
	}
	return nil
}

// consequence computes what the room looks like once the event has been stored, outside of the
// transaction that stores it, as resolution may take a while.
func (g *Engine) consequence(r *liveRoom, v verdict) (c consequence, err error) {
	if v.outcome != Accepted {
		return consequence{r.extremities, r.current}, nil
	}
	if v.restart {
		return consequence{[]string{v.event.ID()}, v.after()}, nil
	}
	neglected := g.neglects(v.event)
	err = g.DB.View(func(tx *store.Tx) error {
		self := &known{Event: v.event, record: record{outcome: v.outcome}}
		events := source{g: g, tx: tx, pending: map[string]*known{v.event.ID(): self}}
		if c.extremities = r.nextExtremities(events, v.event); neglected {
			c.extremities = r.extremities
		}
		var states []State
		for _, id := range c.extremities {
			if id == v.event.ID() {
				states = append(states, v.after())
				continue
			}
			k, err := g.event(tx, id)
			if err != nil || k == nil {
				return orDamaged(err)
			}
			s, err := g.loadState(tx, k.after)
			if err != nil {
				return err
			}
			states = append(states, s)
		}
		c.current, err = g.resolve(r, events, states)
		return err
	})
	return c, err
}

// writer stores one event.
type writer struct {
	g     *Engine
	tx    *store.Tx
	room  *liveRoom
	after State
	verdict
	place Place
}

func (w *writer) write() error {
	id := w.event.ID()
	r := record{outcome: w.outcome, reason: w.reason, before: w.before.group, after: w.after.group}
	shown, err := w.redact(&r)
	if err != nil {
		return err
	}
	if w.outcome == Accepted {
		p, err := w.g.advance(w.tx, w.room.id)
		if err != nil {
			return err
		}
		w.place = Place{Major: p}
		if shown {
			r.place = w.place
			if err := w.tx.Table(tableTimeline).Put(placeKey(w.room.id, r.place), []byte(id)); err != nil {
				return err
			}
		}
		if len(w.hole) > 0 {
			if err := putJSON(w.tx.Table(tableHoles), placeKey(w.room.id, w.place), w.hole); err != nil {
				return err
			}
		}
		if err := w.g.Outbox.QueuePDU(w.tx, w.destinations, id); err != nil {
			return err
		}
	}
	return w.put(r)
}

// writePast stores an event of the past. It moves nothing in the room; w.place says where it stands in
// the timeline, if it has a place there.
func (w *writer) writePast() error {
	id := w.event.ID()
	r := record{outcome: w.outcome, reason: w.reason, before: w.before.group, after: w.after.group}
	shown, err := w.redact(&r)
	if err != nil {
		return err
	}
	if shown && w.outcome == Accepted && w.place != (Place{}) {
		r.place = w.place
		if err := w.tx.Table(tableTimeline).Put(placeKey(w.room.id, r.place), []byte(id)); err != nil {
			return err
		}
	}
	if len(w.hole) > 0 && w.place != (Place{}) {
		if err := putJSON(w.tx.Table(tableHoles), placeKey(w.room.id, w.place), w.hole); err != nil {
			return err
		}
	}
	return w.put(r)
}

// put stores the event and its record, and what others want to find it by.
func (w *writer) put(r record) error {
	if err := w.g.putEvent(w.tx, w.event, r); err != nil {
		return err
	}
	for _, prev := range w.event.PrevEvents() {
		if err := w.tx.Table(tableChildren).Put(store.Key(prev, w.event.ID()), []byte{}); err != nil {
			return err
		}
	}
	return w.showPendingRedactions()
}

// moveTo makes the room what it is after an accepted event.
func (w *writer) moveTo(next consequence) error {
	if next.current.group != w.room.current.group {
		group := store.AppendInt(nil, int64(next.current.group))
		if err := w.tx.Table(tableCurrent).Put(positionKey(w.room.id, w.place.Major), group); err != nil {
			return err
		}
		if err := w.g.indexMemberships(w.tx, w.room, w.room.current, next.current, w.place.Major); err != nil {
			return err
		}
	}
	return putJSON(w.tx.Table(tableRooms), store.Key(w.room.id), roomRecord{
		Version: w.room.version.ID, Create: w.room.create.ID(),
		Extremities: next.extremities, Current: next.current.group,
	})
}

// indexMemberships brings the indexes of memberships and participations up to date with a change of the
// current state.
func (g *Engine) indexMemberships(tx *store.Tx, r *liveRoom, old, new State, at Position) error {
	events := source{g: g, tx: tx}
	table := tx.Table(tableMemberships)
	for place, ids := range Diff(old, new) {
		if place.Type == matrix.ParticipationType && r.version.HasParticipation() {
			if err := tx.Table(tableParticipants).Put(store.Key(place.StateKey, r.id), []byte{}); err != nil {
				return err
			}
		}
		if place.Type != "m.room.member" {
			continue
		}
		key := store.Key(place.StateKey, r.id)
		e := events.Event(ids[1])
		if e == nil {
			if err := table.Delete(key); err != nil {
				return err
			}
			continue
		}
		err := putJSON(table, key, membershipRecord{
			Membership: e.Membership(), EventID: e.ID(), Sender: e.Sender(), Position: at, Version: r.version.ID,
		})
		if err != nil {
			return err
		}
		if err := g.indexLocal(tx, r.version, r.id, matrix.UserID(place.StateKey)); err != nil {
			return err
		}
	}
	return nil
}
