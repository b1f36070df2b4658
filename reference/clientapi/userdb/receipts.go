package userdb

import (
	"countersign/matrix"
	"countersign/reference/store"
)

// Receipt is how far a user, local or remote, has read in a room, or says to have read.
type Receipt struct {
	RoomID  string        `json:"room_id"`
	User    matrix.UserID `json:"user"`
	Type    string        `json:"type"` // m.read or m.read.private
	EventID string        `json:"event_id"`
	// TS is when, in milliseconds since the Unix epoch.
	TS int64 `json:"ts"`
	// Thread is the thread that the receipt is for, empty when it is for the whole room.
	Thread string `json:"thread,omitempty"`
	// At is set by the database.
	At Position `json:"at"`
}

// SetReceipt stores a receipt, which replaces the one of the same user, type and thread in the room.
func (db *DB) SetReceipt(r Receipt) error {
	return db.store.Update(func(tx *store.Tx) (err error) {
		if r.At, err = nextPosition(tx); err != nil {
			return err
		}
		return tableReceipts.put(tx, key(r.RoomID, string(r.User), r.Type, r.Thread), r)
	})
}

// ReceiptsBetween returns the receipts of a room that were stored after since and no later than
// until.
func (db *DB) ReceiptsBetween(roomID string, since, until Position) (receipts []Receipt, err error) {
	err = db.scanReceipts(key(roomID), func(r Receipt) {
		if r.At > since && r.At <= until {
			receipts = append(receipts, r)
		}
	})
	return receipts, err
}

// ReceiptsOf returns the receipts of one user in a room.
func (db *DB) ReceiptsOf(roomID string, user matrix.UserID) (receipts []Receipt, err error) {
	err = db.scanReceipts(key(roomID, string(user)), func(r Receipt) { receipts = append(receipts, r) })
	return receipts, err
}

func (db *DB) scanReceipts(prefix []byte, visit func(Receipt)) error {
	return db.store.View(func(tx *store.Tx) error {
		return tableReceipts.scan(tx, prefix, func(k, _ []byte) (bool, error) {
			var r Receipt
			if err := tableReceipts.get(tx, k, &r); err != nil {
				return false, err
			}
			visit(r)
			return true, nil
		})
	})
}
