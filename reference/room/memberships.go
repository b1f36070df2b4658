package room

import (
	"encoding/json"
	"fmt"
	"slices"

	"countersign/matrix"
	"countersign/reference/account"
	"countersign/reference/participant"
	"countersign/reference/store"
)

// decodeMembership reads a row of the index; key is the user and the room.
func (g *Engine) decodeMembership(key []string, value []byte) (m Membership, err error) {
	var r membershipRecord
	if err := json.Unmarshal(value, &r); err != nil || len(key) != 2 {
		return m, fmt.Errorf("a membership cannot be read: %w", orDamaged(err))
	}
	v, ok := g.storedVersion(r.Version)
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
		if err := g.indexLocal(tx, e.Version(), e.RoomID(), matrix.UserID(target)); err != nil {
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
	g.notify(e.RoomID(), []matrix.UserID{g.localName(e.Version(), matrix.UserID(target))})
	return nil
}

// reveal notes, in every room of a user whose account key has become verified or erased, and for
// everybody whom that user has invited, that clients see the user differently from now on.
func (g *Engine) reveal(user matrix.UserID, _ account.Entry) {
	g.revealAs(user)
	g.revealAs(account.Portable(user)) // in rooms of MSC4348
}

// revealAs is reveal for the rooms that know the user by one user ID.
func (g *Engine) revealAs(user matrix.UserID) {
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
			users = append(users, g.invitedName(roomID, name))
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

// invitedName is the account name user ID of a local user who was invited to a room.
func (g *Engine) invitedName(roomID string, user matrix.UserID) matrix.UserID {
	m, _ := g.Membership(roomID, user)
	return g.localName(m.Version, user)
}

// revealServer notes, in every room in which a server key has participation, that clients see what comes
// from there differently from now on, as the domain of the key is known (MSC4345, "Impositions on Client
// UI").
func (g *Engine) revealServer(c participant.Claim) {
	rooms := map[string][]matrix.UserID{}
	for _, roomID := range g.roomsOfServer(c.Key) {
		rooms[roomID] = g.usersOfServer(roomID, c.Key)
	}
	if len(rooms) == 0 {
		return
	}
	err := g.DB.Update(func(tx *store.Tx) error {
		for roomID, users := range rooms {
			for _, user := range users {
				at, err := g.advance(tx, roomID)
				if err != nil {
					return err
				}
				if err := tx.Table(tableRevealedAt).Put(store.Key(string(user)), store.AppendInt(nil, int64(at))); err != nil {
					return err
				}
				if err := tx.Table(tableRevealed).Put(positionKey(roomID, at), []byte(user)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		g.Logger.Error("noting that the domain of a server key is known", "key", c.Key, "error", err)
		return
	}
	for roomID := range rooms {
		g.notify(roomID, nil)
	}
}

// roomsOfServer are the rooms that say something of a server key.
func (g *Engine) roomsOfServer(key matrix.ServerName) (rooms []string) {
	err := g.DB.View(func(tx *store.Tx) error {
		tx.Table(tableParticipants).Scan(store.Key(string(key)), nil, func(k, _ []byte) bool {
			if parts, _ := store.SplitKey(k, 2); len(parts) == 2 {
				rooms = append(rooms, parts[1])
			}
			return true
		})
		return nil
	})
	if err != nil {
		g.Logger.Error("reading the rooms of a server key", "key", key, "error", err)
	}
	return rooms
}

// usersOfServer are the joined users of a server in a room.
func (g *Engine) usersOfServer(roomID string, key matrix.ServerName) (users []matrix.UserID) {
	current, err := g.CurrentState(roomID)
	if err != nil {
		return nil
	}
	err = g.view(func(events source) error {
		for user, id := range current.OfType("m.room.member") {
			e := events.Event(id)
			if e == nil || e.Membership() != "join" {
				continue
			}
			if server, ok := serverOfMember(events.Event, e); ok && server == key {
				users = append(users, matrix.UserID(user))
			}
		}
		return nil
	})
	if err != nil {
		g.Logger.Error("reading the users of a server", "room", roomID, "key", key, "error", err)
	}
	return users
}
