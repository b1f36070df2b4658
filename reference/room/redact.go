package room

import (
	"countersign/matrix"
	"countersign/reference/store"
)

// redact finds out what redactions do to the event, which is about to be stored: whether it is
// redacted already, and, when it is a redaction, what it does to its target. shown is false for a
// redaction that takes no effect (yet), which clients are not told of (room version 3, "Handling
// redactions").
func (w *writer) redact(r *record) (shown bool, err error) {
	by, err := w.pendingRedaction()
	if err != nil {
		return false, err
	}
	if known, err := w.g.event(w.tx, w.event.ID()); err != nil {
		return false, err
	} else if known != nil && known.redactedBy != "" {
		by = known.redactedBy // it was redacted while only the graph knew it
	}
	if by != "" {
		r.redactedBy = by
		w.event = w.event.Redacted()
	}
	if w.event.Type() != "m.room.redaction" || w.outcome != Accepted && !w.carriesOutRejected() {
		return true, nil
	}
	target := w.event.Get("redacts").String()
	k, err := w.g.event(w.tx, target)
	if err != nil {
		return false, err
	}
	if k == nil {
		return false, w.tx.Table(tableRedactions).Put(store.Key(target, w.event.ID()), []byte(w.room.id))
	}
	if w.g.Defects.Has("IgnoreHiddenRedactions") && w.g.isUnverified(w.event) {
		return false, nil
	}
	if !w.mayRedact(w.event, w.before, k.Event) && !w.g.Defects.Has("LetAnybodyRedact") {
		return false, nil
	}
	if w.g.Defects.Has("KeepRedactedContent") || k.IsParticipation() && w.g.Defects.Has("KeepRedactedReasons") {
		return true, nil
	}
	if k.redactedBy != "" {
		return true, nil
	}
	k.redactedBy = w.event.ID()
	return true, w.g.putEvent(w.tx, k.Event.Redacted(), k.record)
}

func (w *writer) mayRedact(redaction *matrix.Event, before State, target *matrix.Event) bool {
	events := source{g: w.g, tx: w.tx}
	// D-16: in rooms with account keys the domains that are compared are those that the sender and
	// the target claim; the rule is applied as it is written.
	return target.RoomID() == redaction.RoomID() && !target.IsCreate() &&
		w.room.judging(events).MayRedact(redaction, target, events.state(before))
}

// pendingRedaction is the first redaction that was accepted before its target, the event that is
// about to be stored, and that takes effect on it.
func (w *writer) pendingRedaction() (by string, err error) {
	for _, id := range w.g.pendingRedactions(w.tx, w.event.ID()) {
		k, err := w.g.event(w.tx, id)
		if err != nil || k == nil {
			return "", orDamaged(err)
		}
		before, err := w.g.loadState(w.tx, k.before)
		if err != nil {
			return "", err
		}
		if w.mayRedact(k.Event, before, w.event) {
			return id, nil
		}
	}
	return "", nil
}

func (g *Engine) pendingRedactions(tx *store.Tx, target string) (ids []string) {
	tx.Table(tableRedactions).Scan(store.Key(target), nil, func(k, _ []byte) bool {
		if parts, _ := store.SplitKey(k, 2); len(parts) == 2 {
			ids = append(ids, parts[1])
		}
		return true
	})
	return ids
}

// showPendingRedactions gives the redactions that waited for the event, and take effect on it, their
// places in the timeline.
func (w *writer) showPendingRedactions() error {
	for _, id := range w.g.pendingRedactions(w.tx, w.event.ID()) {
		k, err := w.g.event(w.tx, id)
		if err != nil || k == nil {
			return orDamaged(err)
		}
		if err := w.tx.Table(tableRedactions).Delete(store.Key(w.event.ID(), id)); err != nil {
			return err
		}
		before, err := w.g.loadState(w.tx, k.before)
		if err != nil {
			return err
		}
		if !w.mayRedact(k.Event, before, w.event) {
			if err := w.hide(k); err != nil {
				return err
			}
			continue
		}
		if k.place != (Place{}) {
			continue // a redaction of the past, which stands where it belongs
		}
		p, err := w.g.advance(w.tx, w.room.id)
		if err != nil {
			return err
		}
		k.place = Place{Major: p}
		if err := w.tx.Table(tableTimeline).Put(placeKey(w.room.id, k.place), []byte(id)); err != nil {
			return err
		}
		if err := w.g.putEvent(w.tx, k.Event, k.record); err != nil {
			return err
		}
	}
	return nil
}

// hide takes a redaction of the past out of the timeline that turns out to take no effect.
func (w *writer) hide(k *known) error {
	if k.place == (Place{}) {
		return nil
	}
	if err := w.tx.Table(tableTimeline).Delete(placeKey(w.room.id, k.place)); err != nil {
		return err
	}
	k.place = Place{}
	return w.g.putEvent(w.tx, k.Event, k.record)
}
