package room

import (
	"fmt"

	"countersign/matrix"
	"countersign/reference/rules"
	"countersign/reference/store"
)

// known is a stored event with its record.
type known struct {
	*matrix.Event
	record
}

// parsedKey identifies the parsed form of a stored event: redaction replaces it, and so does a copy with
// the signature that a rejected one lacked.
type parsedKey struct {
	id                 string
	redacted, rejected bool
}

// event reads a stored event; it is nil when there is none.
func (g *Engine) event(tx *store.Tx, id string) (*known, error) {
	b := tx.Table(tableEvents).Get([]byte(id))
	if b == nil {
		return nil, nil
	}
	r, err := decodeRecord(b)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", id, err)
	}
	key := parsedKey{id, r.redactedBy != "", r.outcome == Rejected}
	e, ok := g.parsed.Get(key)
	if !ok {
		v, found := g.storedVersion(r.version)
		if !found {
			return nil, fmt.Errorf("event %s: %w: room version %q", id, errDamaged, r.version)
		}
		if e, err = matrix.ParseTrustedEvent(v, append([]byte(nil), r.pdu...)); err != nil {
			return nil, fmt.Errorf("event %s: %w", id, err)
		}
		g.parsed.Put(key, e)
	}
	r.pdu = nil
	return &known{Event: e, record: r}, nil
}

// putEvent stores an event under its record.
func (g *Engine) putEvent(tx *store.Tx, e *matrix.Event, r record) error {
	r.version, r.pdu = e.Version().ID, e.JSON()
	return tx.Table(tableEvents).Put([]byte(e.ID()), r.encode())
}

// lookup is event in a transaction of its own; nil when there is none or when it cannot be read.
func (g *Engine) lookup(id string) *known {
	var k *known
	err := g.DB.View(func(tx *store.Tx) (err error) {
		k, err = g.event(tx, id)
		return err
	})
	if err != nil {
		g.Logger.Error("reading an event", "event", id, "error", err)
	}
	return k
}

// source gives the rules and state resolution the events of a transaction, and those that are about
// to be stored.
type source struct {
	g       *Engine
	tx      *store.Tx
	pending map[string]*known
}

// Event implements stateres.Source.
func (s source) Event(id string) *matrix.Event {
	if k := s.find(id); k != nil {
		return k.Event
	}
	return nil
}

// Rejected implements stateres.Source.
func (s source) Rejected(id string) bool {
	k := s.find(id)
	return k != nil && k.outcome == Rejected
}

func (s source) find(id string) *known {
	if k, ok := s.pending[id]; ok {
		return k
	}
	k, err := s.g.event(s.tx, id)
	if err != nil {
		s.g.Logger.Error("reading an event", "event", id, "error", err)
	}
	return k
}

// state shows a state to the authorization rules.
func (s source) state(state State) rules.State {
	return rules.StateFunc(func(place matrix.StateTuple) *matrix.Event {
		id := state.Get(place)
		if id == "" {
			return nil
		}
		k := s.remembered(s.find(id))
		if k == nil || s.g.undone(k) {
			return nil
		}
		return k.Event
	})
}

// authEvents finds the events that e names as its auth_events, and the IDs of those that are missing.
func (s source) authEvents(e *matrix.Event) (found []rules.AuthEvent, missing []string) {
	for _, id := range e.AuthEvents() {
		if k := s.find(id); k != nil {
			if k = s.remembered(k); k == nil || s.g.undone(k) {
				continue
			}
			found = append(found, rules.AuthEvent{Event: k.Event, Rejected: k.outcome == Rejected})
		} else {
			missing = append(missing, id)
		}
	}
	return found, missing
}
