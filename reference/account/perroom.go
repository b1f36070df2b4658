package account

import (
	"strings"

	"countersign/matrix"
	"countersign/reference/store"
)

// MSC4243 has a user use one key in all rooms, and lets servers use several (footnote perroom). This one uses one;
// a variant has another key for every room of another server. Such a key is kept under the account's name and the
// room.

// AccountIn is Account for a room of another server.
func (d *Directory) AccountIn(roomID, name string) (matrix.Account, error) {
	if roomID != "" && d.Defects.Has("KeepKeysForRoomsOfOthers") {
		return d.Account(name + "\n" + roomID)
	}
	return d.Account(name)
}

// plainName is the account's name that a key is kept under.
func plainName(kept string) string {
	name, _, _ := strings.Cut(kept, "\n")
	return name
}

// keptUnder are the texts under which the keys of an account are kept, that of its one key first.
func (d *Directory) keptUnder(name string) []string {
	kept := []string{name}
	if !d.Defects.Has("KeepKeysForRoomsOfOthers") {
		return kept
	}
	err := d.DB.View(func(tx *store.Tx) error {
		tx.Table(tableKeys).Scan(nil, nil, func(_, value []byte) bool {
			if text := string(value); text != name && plainName(text) == name {
				kept = append(kept, text)
			}
			return true
		})
		return nil
	})
	if err != nil {
		d.Logger.Error("reading the account keys of a user", "user", name, "error", err)
	}
	return kept
}
