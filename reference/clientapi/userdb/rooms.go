package userdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"countersign/matrix"
	"countersign/reference/store"
)

// Transaction returns the answer that was given to a request with this transaction before; the
// error wraps ErrNotFound when there was none.
func (db *DB) Transaction(s Session, transaction string) (answer json.RawMessage, err error) {
	err = db.store.View(func(tx *store.Tx) error {
		return tableTransactions.get(tx, key(string(s.User), s.DeviceID, transaction), &answer)
	})
	return answer, err
}

// PutTransaction stores the answer to a request, for when it is repeated.
func (db *DB) PutTransaction(s Session, transaction string, answer json.RawMessage) error {
	return db.store.Update(func(tx *store.Tx) error {
		return tableTransactions.put(tx, key(string(s.User), s.DeviceID, transaction), answer)
	})
}

// EventTransaction is the transaction in which a device sent an event.
type EventTransaction struct {
	Session
	TransactionID string `json:"transaction_id"`
}

// SetEventTransaction stores in which transaction an event was sent, together with the event.
func SetEventTransaction(tx *store.Tx, eventID string, txn EventTransaction) error {
	return tableEventTxns.put(tx, key(eventID), txn)
}

// EventTransaction returns in which transaction an event was sent; the error wraps ErrNotFound when
// no local device sent it.
func (db *DB) EventTransaction(eventID string) (txn EventTransaction, err error) {
	err = db.store.View(func(tx *store.Tx) error { return tableEventTxns.get(tx, key(eventID), &txn) })
	return txn, err
}

// Alias is a room alias of this server.
type Alias struct {
	Alias   string        `json:"alias"`
	RoomID  string        `json:"room_id"`
	Creator matrix.UserID `json:"creator"`
}

// CreateAlias stores an alias; the error wraps ErrExists when it is taken.
func (db *DB) CreateAlias(a Alias) error {
	return db.store.Update(func(tx *store.Tx) error {
		if tableAliases.has(tx, key(a.Alias)) {
			return fmt.Errorf("alias %s: %w", a.Alias, ErrExists)
		}
		return tableAliases.put(tx, key(a.Alias), a)
	})
}

// Alias returns an alias; the error wraps ErrNotFound when there is none.
func (db *DB) Alias(alias string) (a Alias, err error) {
	err = db.store.View(func(tx *store.Tx) error { return tableAliases.get(tx, key(alias), &a) })
	if err != nil {
		return Alias{}, fmt.Errorf("alias %s: %w", alias, err)
	}
	return a, nil
}

// DeleteAlias deletes an alias, if it exists.
func (db *DB) DeleteAlias(alias string) error {
	return db.store.Update(func(tx *store.Tx) error { return tableAliases.delete(tx, key(alias)) })
}

// MoveAliases makes every alias of one room an alias of another.
func (db *DB) MoveAliases(from, to string) error {
	return db.store.Update(func(tx *store.Tx) error {
		aliases, err := aliasesOf(tx, from)
		for _, a := range aliases {
			if err == nil {
				a.RoomID = to
				err = tableAliases.put(tx, key(a.Alias), a)
			}
		}
		return err
	})
}

// Aliases returns the aliases of a room in order.
func (db *DB) Aliases(roomID string) (aliases []string, err error) {
	err = db.store.View(func(tx *store.Tx) error {
		found, err := aliasesOf(tx, roomID)
		for _, a := range found {
			aliases = append(aliases, a.Alias)
		}
		return err
	})
	slices.Sort(aliases)
	return aliases, err
}

func aliasesOf(tx *store.Tx, roomID string) (aliases []Alias, err error) {
	err = tableAliases.scan(tx, nil, func(k, _ []byte) (bool, error) {
		var a Alias
		if err := tableAliases.get(tx, k, &a); err != nil {
			return false, err
		}
		if a.RoomID == roomID {
			aliases = append(aliases, a)
		}
		return true, nil
	})
	return aliases, err
}

// SetPublished puts a room into the server's room directory or takes it out.
func (db *DB) SetPublished(roomID string, published bool) error {
	return db.store.Update(func(tx *store.Tx) error {
		if published {
			return tableDirectory.put(tx, key(roomID), true)
		}
		return tableDirectory.delete(tx, key(roomID))
	})
}

// Published returns the rooms in the server's room directory.
func (db *DB) Published() (roomIDs []string, err error) {
	err = db.store.View(func(tx *store.Tx) error {
		return tableDirectory.scan(tx, nil, func(k, _ []byte) (bool, error) {
			roomIDs = append(roomIDs, splitKey(k)[0])
			return true, nil
		})
	})
	return roomIDs, err
}

// IsPublished reports whether a room is in the server's room directory.
func (db *DB) IsPublished(roomID string) (published bool, err error) {
	err = db.store.View(func(tx *store.Tx) error {
		published = tableDirectory.has(tx, key(roomID))
		return nil
	})
	return published, err
}

// SetForgotten notes that a user has forgotten a room, together with the event of the membership
// that was forgotten: with any other membership the room is not forgotten.
func (db *DB) SetForgotten(user matrix.UserID, roomID, membershipEventID string) error {
	return db.store.Update(func(tx *store.Tx) error {
		return tableForgotten.put(tx, key(string(user), roomID), membershipEventID)
	})
}

// Forgotten returns the event ID that SetForgotten stored, or nothing.
func (db *DB) Forgotten(user matrix.UserID, roomID string) (membershipEventID string, err error) {
	err = db.store.View(func(tx *store.Tx) error {
		return tableForgotten.get(tx, key(string(user), roomID), &membershipEventID)
	})
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	return membershipEventID, err
}
