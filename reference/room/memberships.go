package room

import (
	"encoding/json"
	"fmt"
	"slices"

	"countersign/matrix"
	"countersign/reference/account"
	"countersign/reference/store"
)

// decodeMembership reads a row of the index; key is the user and the room.
func decodeMembership(key []string, value []byte) (m Membership, err error) {
	var r membershipRecord
	if err := json.Unmarshal(value, &r); err != nil || len(key) != 2 {
		return m, fmt.Errorf("a membership cannot be read: %w", orDamaged(err))
	}
	v, ok := matrix.RoomVersionByID(r.Version)
	if !ok {
		return m, fmt.Errorf("%w: room version %q", errDamaged, r.Version)
	}
	m = Membership{
		RoomID: key[1], User: matrix.UserID(key[0]), Membership: r.Membership, EventID: r.EventID,
		Sender: r.Sender, Position: r.Position, Version: v, Through: r.Through,
	}
	for _, raw := range r.Stripped {
		e, err := matrix.ParseTrustedEvent(v, raw)
		if err != nil {
			return m, fmt.Errorf("the stripped state of a membership cannot be read: %w", err)
		}
		m.Stripped = append(m.Stripped, e)
	}
	if r.Event != nil {
		if m.Event, err = matrix.ParseTrustedEvent(v, r.Event); err != nil {
			return m, fmt.Errorf("the event of a membership cannot be read: %w", err)
		}
	}
	return m, nil
}

// noteMembership keeps a membership event of a local user in a room that this server is not in: an
// invitation, a knock, or what ended one. through is a server in the room, empty when none is known.
func (g *Engine) noteMembership(e *matrix.Event, stripped []*matrix.Event, through matrix.ServerName) error {
	target, _ := e.StateKey()
	err := g.DB.Update(func(tx *store.Tx) error {
		at, err := g.advance(tx, e.RoomID())
		if err != nil {
			return err
		}
		if err := tx.Table(tableInviters).Put(store.Key(string(e.Sender()), e.RoomID(), target), []byte{}); err != nil {
			return err
		}
		return putJSON(tx.Table(tableMemberships), store.Key(target, e.RoomID()), membershipRecord{
			Membership: e.Membership(), EventID: e.ID(), Sender: e.Sender(), Position: at,
			Version: e.Version().ID, Stripped: rawEvents(stripped), Event: e.JSON(), Through: through,
		})
	})
	if err != nil {
		return err
	}
	g.notify(e.RoomID(), []matrix.UserID{g.localName(matrix.UserID(target))})
	return nil
}

// reveal notes, in every room of a user whose account key has become verified or erased, and for
// everybody whom that user has invited, that clients see the user differently from now on.
func (g *Engine) reveal(user matrix.UserID, _ account.Entry) {
	var rooms []string
	var invited map[string][]matrix.UserID
	err := g.DB.Update(func(tx *store.Tx) error {
		rooms, invited = concernedBy(tx, user)
		if len(rooms) == 0 {
			return nil
		}
		at, err := g.advance(tx, rooms...)
		if err != nil {
			return err
		}
		if err := tx.Table(tableRevealedAt).Put(store.Key(string(user)), store.AppendInt(nil, int64(at))); err != nil {
			return err
		}
		for _, roomID := range rooms {
			if err := tx.Table(tableRevealed).Put(positionKey(roomID, at), []byte(user)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		g.Logger.Error("noting that an account key has changed its state", "user", user, "error", err)
		return
	}
	for _, roomID := range rooms {
		var users []matrix.UserID
		for _, name := range invited[roomID] {
			users = append(users, g.localName(name))
		}
		g.notify(roomID, users)
	}
}

// concernedBy are the rooms in which a user has a membership, or has invited a local user from, and the
// users who were invited.
func concernedBy(tx *store.Tx, user matrix.UserID) (rooms []string, invited map[string][]matrix.UserID) {
	tx.Table(tableMemberships).Scan(store.Key(string(user)), nil, func(key, _ []byte) bool {
		if parts, _ := store.SplitKey(key, 2); len(parts) == 2 {
			rooms = append(rooms, parts[1])
		}
		return true
	})
	invited = map[string][]matrix.UserID{}
	tx.Table(tableInviters).Scan(store.Key(string(user)), nil, func(key, _ []byte) bool {
		if parts, _ := store.SplitKey(key, 3); len(parts) == 3 {
			invited[parts[1]] = append(invited[parts[1]], matrix.UserID(parts[2]))
			if !slices.Contains(rooms, parts[1]) {
				rooms = append(rooms, parts[1])
			}
		}
		return true
	})
	return rooms, invited
}

// RevealedAt is the position at which a user's account key became verified or erased, the latest when
// there are several, or 0 when that was before the user was in any room here.
func (g *Engine) RevealedAt(user matrix.UserID) (at Position) {
	err := g.DB.View(func(tx *store.Tx) error {
		if v := tx.Table(tableRevealedAt).Get(store.Key(string(user))); v != nil {
			at = Position(store.Int(v))
		}
		return nil
	})
	if err != nil {
		g.Logger.Error("reading when an account key was verified", "user", user, "error", err)
	}
	return at
}

// rawEvents are events as a list of JSON documents.
func rawEvents(events []*matrix.Event) []json.RawMessage {
	raw := make([]json.RawMessage, 0, len(events))
	for _, e := range events {
		raw = append(raw, e.JSON())
	}
	return raw
}
