package userdb

import (
	"encoding/json"
	"errors"
	"fmt"

	"countersign/matrix"
	"countersign/reference/store"
)

// SetDeviceKeys stores the identity keys of a device as the device has signed them. It reports
// whether they differ from what was stored.
func (db *DB) SetDeviceKeys(user matrix.UserID, device string, keys json.RawMessage) (changed bool, err error) {
	err = db.store.Update(func(tx *store.Tx) error {
		k := key(string(user), device)
		changed = string(tableDeviceKeys.in(tx).Get(k)) != string(keys)
		return tableDeviceKeys.in(tx).Put(k, keys)
	})
	return changed, err
}

// DeviceKeys returns the identity keys of the user's devices by device ID.
func (db *DB) DeviceKeys(user matrix.UserID) (map[string]json.RawMessage, error) {
	return db.rawByLastPart(tableDeviceKeys, key(string(user)))
}

// rawByLastPart returns the values whose keys begin with prefix, by the last part of their keys.
func (db *DB) rawByLastPart(t table, prefix []byte) (values map[string]json.RawMessage, err error) {
	values = map[string]json.RawMessage{}
	err = db.store.View(func(tx *store.Tx) error {
		return t.scan(tx, prefix, func(k, value []byte) (bool, error) {
			parts := splitKey(k)
			values[parts[len(parts)-1]] = append(json.RawMessage(nil), value...)
			return true, nil
		})
	})
	return values, err
}

// KeyID names a one-time or fallback key: algorithm and ID, joined by a colon on the wire.
type KeyID struct{ Algorithm, ID string }

func (id KeyID) String() string { return id.Algorithm + ":" + id.ID }

// AddOneTimeKeys stores one-time keys. A key whose ID is taken by a different key is an error that
// wraps ErrExists, and then none is stored.
func (db *DB) AddOneTimeKeys(user matrix.UserID, device string, keys map[KeyID]json.RawMessage) error {
	return db.store.Update(func(tx *store.Tx) error {
		for id, value := range keys {
			k := key(string(user), device, id.Algorithm, id.ID)
			if known := tableOneTimeKeys.in(tx).Get(k); known != nil && string(known) != string(value) {
				return fmt.Errorf("one-time key %s: %w with another value", id, ErrExists)
			}
			if err := tableOneTimeKeys.in(tx).Put(k, value); err != nil {
				return err
			}
		}
		return nil
	})
}

type fallbackRow struct {
	ID   string          `json:"id"`
	Key  json.RawMessage `json:"key"`
	Used bool            `json:"used"`
}

// SetFallbackKey stores the fallback key of an algorithm, which replaces the one before.
func (db *DB) SetFallbackKey(user matrix.UserID, device string, id KeyID, value json.RawMessage) error {
	return db.store.Update(func(tx *store.Tx) error {
		return tableFallbackKeys.put(tx, key(string(user), device, id.Algorithm), fallbackRow{ID: id.ID, Key: value})
	})
}

// OneTimeKeyCounts returns how many one-time keys a device has left, by algorithm, and for which
// algorithms it has a fallback key that was not yet claimed.
func (db *DB) OneTimeKeyCounts(user matrix.UserID, device string) (counts map[string]int, unusedFallback []string, err error) {
	counts = map[string]int{"signed_curve25519": 0}
	unusedFallback = []string{}
	err = db.store.View(func(tx *store.Tx) error {
		err := tableOneTimeKeys.scan(tx, key(string(user), device), func(k, _ []byte) (bool, error) {
			counts[splitKey(k)[2]]++
			return true, nil
		})
		if err != nil {
			return err
		}
		return tableFallbackKeys.scan(tx, key(string(user), device), func(k, _ []byte) (bool, error) {
			var row fallbackRow
			if err := tableFallbackKeys.get(tx, k, &row); err != nil {
				return false, err
			}
			if !row.Used {
				unusedFallback = append(unusedFallback, splitKey(k)[2])
			}
			return true, nil
		})
	})
	return counts, unusedFallback, err
}

// ClaimOneTimeKey takes a one-time key of a device, which nobody else gets any more, or hands out the
// fallback key when none is left. The error wraps ErrNotFound when there is neither.
func (db *DB) ClaimOneTimeKey(user matrix.UserID, device, algorithm string) (id KeyID, value json.RawMessage, err error) {
	err = db.store.Update(func(tx *store.Tx) error {
		var claimed []byte
		err := tableOneTimeKeys.scan(tx, key(string(user), device, algorithm), func(k, v []byte) (bool, error) {
			claimed = append([]byte(nil), k...)
			id = KeyID{algorithm, splitKey(k)[3]}
			value = append(json.RawMessage(nil), v...)
			return false, nil
		})
		if err != nil {
			return err
		}
		if claimed != nil {
			return tableOneTimeKeys.delete(tx, claimed)
		}
		var row fallbackRow
		k := key(string(user), device, algorithm)
		if err := tableFallbackKeys.get(tx, k, &row); err != nil {
			return fmt.Errorf("one-time key of %s of %s: %w", device, user, err)
		}
		id, value = KeyID{algorithm, row.ID}, row.Key
		row.Used = true
		return tableFallbackKeys.put(tx, k, row)
	})
	return id, value, err
}

// SetCrossSigningKey stores a user's cross-signing key of a usage: master, self_signing or
// user_signing.
func (db *DB) SetCrossSigningKey(user matrix.UserID, usage string, value json.RawMessage) error {
	return db.store.Update(func(tx *store.Tx) error {
		return tableCrossSigning.in(tx).Put(key(string(user), usage), value)
	})
}

// CrossSigningKeys returns a user's cross-signing keys by usage.
func (db *DB) CrossSigningKeys(user matrix.UserID) (map[string]json.RawMessage, error) {
	return db.rawByLastPart(tableCrossSigning, key(string(user)))
}

// MarkDevicesChanged notes that the devices or cross-signing keys of a user, local or remote, have
// changed, and returns the position of the note.
func (db *DB) MarkDevicesChanged(user matrix.UserID) (at Position, err error) {
	err = db.store.Update(func(tx *store.Tx) error {
		var before Position
		err := tableDeviceListAt.get(tx, key(string(user)), &before)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err == nil {
			if err := tableDeviceLists.delete(tx, positionKey(before)); err != nil {
				return err
			}
		}
		if at, err = nextPosition(tx); err != nil {
			return err
		}
		if err := tableDeviceLists.put(tx, positionKey(at), user); err != nil {
			return err
		}
		return tableDeviceListAt.put(tx, key(string(user)), at)
	})
	return at, err
}

// DevicesChangedAt returns the position of the newest change to the devices of a user, 0 when none
// was noted. Over federation it is the stream ID of the user's device list.
func (db *DB) DevicesChangedAt(user matrix.UserID) (at Position, err error) {
	err = db.store.View(func(tx *store.Tx) error { return tableDeviceListAt.get(tx, key(string(user)), &at) })
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return at, err
}

// DevicesChangedBetween returns the users whose newest device change is after since and no later
// than until.
func (db *DB) DevicesChangedBetween(since, until Position) (users []matrix.UserID, err error) {
	err = db.store.View(func(tx *store.Tx) error {
		return tableDeviceLists.scanFrom(tx, positionKey(since+1), func(k, _ []byte) (bool, error) {
			if keyPosition(k) > until {
				return false, nil
			}
			var user matrix.UserID
			err := tableDeviceLists.get(tx, k, &user)
			users = append(users, user)
			return true, err
		})
	})
	return users, err
}
