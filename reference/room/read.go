package room

import (
	"errors"
	"fmt"
	"slices"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/store"
)

// Room describes a room. ok is false when this server has never been in it.
func (g *Engine) Room(roomID string) (info Info, ok bool) {
	r, err := g.live(roomID)
	if err != nil {
		g.Logger.Error("reading a room", "room", roomID, "error", err)
	}
	if r == nil {
		return Info{}, false
	}
	return Info{ID: r.id, Version: r.version, Create: r.create, Joined: g.inRoom(r)}, true
}

// Event returns a stored event of a room unless it was rejected. Whether its Place is zero tells
// events of the timeline from soft-failed ones and from those that are only known as part of an auth
// chain.
func (g *Engine) Event(roomID, eventID string) (Stored, bool) {
	k := g.lookup(eventID)
	if k == nil || k.outcome == Rejected || k.RoomID() != roomID {
		return Stored{}, false
	}
	return k.stored(), true
}

func (k *known) stored() Stored {
	return Stored{Event: k.Event, Place: k.place, Outcome: k.outcome, RedactedBy: k.redactedBy}
}

// CurrentState is the room's current state, 404 when the room is not known.
func (g *Engine) CurrentState(roomID string) (State, error) {
	r, err := g.live(roomID)
	if err != nil {
		return State{}, err
	}
	if r == nil {
		return State{}, peer.NotFound("this server does not know the room %s", roomID)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.current, nil
}

// StateAt is what the current state was at a position; it is empty before the room was known.
func (g *Engine) StateAt(roomID string, at Position) (s State, err error) {
	err = g.DB.View(func(tx *store.Tx) error {
		var group uint64
		tx.Table(tableCurrent).ScanBack(store.Key(roomID), positionKey(roomID, at+1), func(_, v []byte) bool {
			group = uint64(store.Int(v))
			return false
		})
		s, err = g.loadState(tx, group)
		return err
	})
	return s, err
}

// StateBefore is the state of the event graph before an event: 404 when there is no such event, or
// when the state around it is not known, as for events of an auth chain.
func (g *Engine) StateBefore(roomID, eventID string) (State, error) {
	return g.stateAround(roomID, eventID, func(r record) uint64 { return r.before })
}

// StateAfter is StateBefore, and the event itself.
func (g *Engine) StateAfter(roomID, eventID string) (State, error) {
	return g.stateAround(roomID, eventID, func(r record) uint64 { return r.after })
}

func (g *Engine) stateAround(roomID, eventID string, group func(record) uint64) (s State, err error) {
	err = g.DB.View(func(tx *store.Tx) error {
		k, err := g.event(tx, eventID)
		if err != nil {
			return err
		}
		if k == nil || k.RoomID() != roomID || !k.hasState() {
			return peer.NotFound("the state at %s is not known", eventID)
		}
		s, err = g.loadState(tx, group(k.record))
		return err
	})
	return s, err
}

// StateEvent is the event at a place of a state, or nil.
func (g *Engine) StateEvent(s State, eventType, stateKey string) *matrix.Event {
	id := s.Get(matrix.StateTuple{Type: eventType, StateKey: stateKey})
	if id == "" {
		return nil
	}
	if k := g.lookup(id); k != nil {
		return k.Event
	}
	return nil
}

// Events are the events at all the places of a state, sorted by place, in one read.
func (g *Engine) Events(s State) (events []Stored, err error) {
	err = g.DB.View(func(tx *store.Tx) error {
		for _, id := range s.All() {
			k, err := g.event(tx, id)
			if err != nil || k == nil {
				return fmt.Errorf("the state event %s cannot be read: %w", id, orDamaged(err))
			}
			events = append(events, k.stored())
		}
		return nil
	})
	return events, err
}

// errHole stops a scan of the timeline.
var errHole = errors.New("history is missing here")

// Timeline reads up to limit events of a room's timeline: those after from, in order, or, backwards,
// those before it, latest first. Only accepted events are there, including those of senders whose
// account keys are unverified. next is where to go on; it equals from when there is nothing more.
// Reading backwards stops after an event before which history is missing, see Backfill.
func (g *Engine) Timeline(roomID string, from Place, backwards bool, limit int) (events []Stored, next Place, err error) {
	next = from
	err = g.DB.View(func(tx *store.Tx) error {
		var failed error
		visit := func(key, id []byte) bool {
			if len(events) == limit {
				return false
			}
			place := parsePlace(key)
			if !backwards && place == from {
				return true
			}
			k, err := g.event(tx, string(id))
			if err != nil || k == nil {
				failed = fmt.Errorf("the timeline event %s cannot be read: %w", id, orDamaged(err))
				return false
			}
			events, next = append(events, k.stored()), place
			if backwards && tx.Table(tableHoles).Get(key) != nil {
				failed = errHole
			}
			return failed == nil
		}
		timeline := tx.Table(tableTimeline)
		if backwards {
			timeline.ScanBack(store.Key(roomID), placeKey(roomID, from), visit)
		} else {
			timeline.Scan(store.Key(roomID), placeKey(roomID, from), visit)
		}
		if errors.Is(failed, errHole) {
			return nil
		}
		return failed
	})
	return events, next, err
}

// Memberships are the memberships of a user in all rooms, in no particular order. A local user is
// given by account name user ID, and the rooms that know the user by account key or by server key are
// included; any other user ID is looked up as it is.
func (g *Engine) Memberships(user matrix.UserID) (all []Membership, err error) {
	keys := g.Directory.KeyUserIDs(user)
	err = g.DB.View(func(tx *store.Tx) error {
		for _, name := range g.namesOf(tx, user, keys, "") {
			var failed error
			tx.Table(tableMemberships).Scan(store.Key(string(name)), nil, func(key, value []byte) bool {
				parts, _ := store.SplitKey(key, 2)
				m, err := g.decodeMembership(parts, value)
				all, failed = append(all, m), err
				return err == nil
			})
			if failed != nil {
				return failed
			}
		}
		return nil
	})
	return g.withoutFormer(all), err
}

// withoutFormer leaves out the memberships that a user of this server has had in rooms of MSC4345 by a
// former key of this server's, where there is one by the latest key.
func (g *Engine) withoutFormer(all []Membership) []Membership {
	latest := map[string]bool{}
	for _, m := range all {
		latest[m.RoomID] = latest[m.RoomID] || g.isByLatestKey(m)
	}
	return slices.DeleteFunc(all, func(m Membership) bool {
		return m.Version.Identity == matrix.ServerKeyIdentity && latest[m.RoomID] && !g.isByLatestKey(m)
	})
}

func (g *Engine) isByLatestKey(m Membership) bool {
	own, ok := g.ServerKeys.Latest(m.RoomID)
	return ok && m.User.Domain() == own.Key().Name()
}

// Membership is the membership of a user, as the room names users, in one room. ok is false when
// there never was any.
func (g *Engine) Membership(roomID string, user matrix.UserID) (m Membership, ok bool) {
	err := g.DB.View(func(tx *store.Tx) (err error) {
		key := store.Key(string(user), roomID)
		if value := tx.Table(tableMemberships).Get(key); value != nil {
			m, err = g.decodeMembership([]string{string(user), roomID}, value)
			ok = true
		}
		return err
	})
	if err != nil {
		g.Logger.Error("reading a membership", "room", roomID, "user", user, "error", err)
		return Membership{}, false
	}
	return m, ok
}

// Revealed are the users, as the room names them, whose account keys became verified or erased after
// one position and not after another: the current state of a user who becomes verified is sent to
// clients (MSC4243, "Server behaviour").
func (g *Engine) Revealed(roomID string, after, until Position) (users []matrix.UserID, err error) {
	err = g.DB.View(func(tx *store.Tx) error {
		tx.Table(tableRevealed).Scan(store.Key(roomID), positionKey(roomID, after+1), func(key, user []byte) bool {
			_, rest := store.SplitKey(key, 1)
			if Position(store.Int(rest)) > until {
				return false
			}
			users = append(users, matrix.UserID(user))
			return true
		})
		return nil
	})
	return users, err
}
