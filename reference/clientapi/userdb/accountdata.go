package userdb

import (
	"encoding/json"
	"fmt"

	"countersign/matrix"
	"countersign/reference/store"
)

// AccountDatum is one piece of account data.
type AccountDatum struct {
	// RoomID is the room that it is about, empty for the account's own.
	RoomID  string
	Type    string
	Content json.RawMessage
}

type accountDataRow struct {
	At      Position        `json:"at"`
	Content json.RawMessage `json:"content"`
}

// SetAccountData stores account data; roomID is empty for the account's own.
func (db *DB) SetAccountData(user matrix.UserID, roomID, dataType string, content json.RawMessage) error {
	return db.store.Update(func(tx *store.Tx) error {
		at, err := nextPosition(tx)
		if err != nil {
			return err
		}
		return tableAccountData.put(tx, key(string(user), roomID, dataType), accountDataRow{at, content})
	})
}

// AccountData returns the content of account data; the error wraps ErrNotFound when there is none.
func (db *DB) AccountData(user matrix.UserID, roomID, dataType string) (json.RawMessage, error) {
	var row accountDataRow
	err := db.store.View(func(tx *store.Tx) error {
		return tableAccountData.get(tx, key(string(user), roomID, dataType), &row)
	})
	if err != nil {
		return nil, fmt.Errorf("account data %s of %s: %w", dataType, user, err)
	}
	return row.Content, nil
}

// AccountDataBetween returns a user's account data, of the account and of every room, that was set
// after since and no later than until.
func (db *DB) AccountDataBetween(user matrix.UserID, since, until Position) (data []AccountDatum, err error) {
	err = db.store.View(func(tx *store.Tx) error {
		return tableAccountData.scan(tx, key(string(user)), func(k, _ []byte) (bool, error) {
			var row accountDataRow
			if err := tableAccountData.get(tx, k, &row); err != nil {
				return false, err
			}
			if row.At > since && row.At <= until {
				parts := splitKey(k)
				data = append(data, AccountDatum{RoomID: parts[1], Type: parts[2], Content: row.Content})
			}
			return true, nil
		})
	})
	return data, err
}
