package userdb

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"countersign/matrix"
	"countersign/reference/store"
)

// Device is a device of a user.
type Device struct {
	ID          string `json:"device_id"`
	DisplayName string `json:"display_name,omitempty"`
	// LastSeenTS and LastSeenIP say when, in milliseconds since the Unix epoch, and from where the
	// device last logged in.
	LastSeenTS int64  `json:"last_seen_ts,omitempty"`
	LastSeenIP string `json:"last_seen_ip,omitempty"`
}

// deviceRow is a device as it is stored.
type deviceRow struct {
	Device
	// TokenKey is where the device's access token is filed.
	TokenKey []byte `json:"token_key,omitempty"`
}

// Session is what an access token stands for.
type Session struct {
	User     matrix.UserID `json:"user"`
	DeviceID string        `json:"device"`
	// Guest is set for the device of a guest.
	Guest bool `json:"guest,omitempty"`
}

// tokenKey is where a token is filed: under its hash, so that the database gives no tokens away.
func tokenKey(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// randomText returns n random bytes as URL-safe base64.
func randomText(n int) (string, error) {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		return "", fmt.Errorf("drawing random bytes: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// CreateSession stores a device, new or known, and returns a fresh access token for it. Older tokens
// of the device stop working.
func (db *DB) CreateSession(user matrix.UserID, device Device) (token string, err error) {
	secret, err := randomText(24)
	if err != nil {
		return "", err
	}
	token = "cst_" + secret
	err = db.store.Update(func(tx *store.Tx) error {
		if err := deleteToken(tx, user, device.ID); err != nil {
			return err
		}
		var known deviceRow
		k := key(string(user), device.ID)
		if tableDevices.get(tx, k, &known) == nil && device.DisplayName == "" {
			device.DisplayName = known.DisplayName
		}
		if err := tableDevices.put(tx, k, deviceRow{device, tokenKey(token)}); err != nil {
			return err
		}
		var account User
		if err := tableUsers.get(tx, key(string(user)), &account); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		return tableTokens.put(tx, tokenKey(token), Session{user, device.ID, account.Guest})
	})
	return token, err
}

// Session returns what an access token stands for; the error wraps ErrNotFound when it is not, or no
// longer, valid.
func (db *DB) Session(token string) (s Session, err error) {
	err = db.store.View(func(tx *store.Tx) error { return tableTokens.get(tx, tokenKey(token), &s) })
	if err != nil {
		return Session{}, fmt.Errorf("access token: %w", err)
	}
	return s, nil
}

// deleteToken deletes the access token of a device, if it has one.
func deleteToken(tx *store.Tx, user matrix.UserID, device string) error {
	var row deviceRow
	err := tableDevices.get(tx, key(string(user), device), &row)
	if errors.Is(err, ErrNotFound) || err == nil && row.TokenKey == nil {
		return nil
	}
	if err != nil {
		return err
	}
	return tableTokens.delete(tx, row.TokenKey)
}

// Device returns a device; the error wraps ErrNotFound when there is none.
func (db *DB) Device(user matrix.UserID, id string) (d Device, err error) {
	err = db.store.View(func(tx *store.Tx) error { return tableDevices.get(tx, key(string(user), id), &d) })
	if err != nil {
		return Device{}, fmt.Errorf("device %s of %s: %w", id, user, err)
	}
	return d, nil
}

// Devices returns the devices of a user in order of their IDs.
func (db *DB) Devices(user matrix.UserID) (devices []Device, err error) {
	err = db.store.View(func(tx *store.Tx) error {
		return tableDevices.scan(tx, key(string(user)), func(k, _ []byte) (bool, error) {
			var d Device
			err := tableDevices.get(tx, k, &d)
			devices = append(devices, d)
			return true, err
		})
	})
	return devices, err
}

// RenameDevice changes a device's display name; the error wraps ErrNotFound when there is none.
func (db *DB) RenameDevice(user matrix.UserID, id, displayName string) error {
	return db.store.Update(func(tx *store.Tx) error {
		var d deviceRow
		k := key(string(user), id)
		if err := tableDevices.get(tx, k, &d); err != nil {
			return fmt.Errorf("device %s of %s: %w", id, user, err)
		}
		d.DisplayName = displayName
		return tableDevices.put(tx, k, d)
	})
}

// DeleteDevices deletes devices with their access tokens, keys and messages; devices that do not
// exist are passed over. It reports whether any of them had published keys.
func (db *DB) DeleteDevices(user matrix.UserID, ids ...string) (hadKeys bool, err error) {
	err = db.store.Update(func(tx *store.Tx) error {
		for _, id := range ids {
			k := key(string(user), id)
			if !tableDevices.has(tx, k) {
				continue
			}
			if err := deleteToken(tx, user, id); err != nil {
				return err
			}
			hadKeys = hadKeys || tableDeviceKeys.has(tx, k)
			for _, t := range []table{tableDevices, tableDeviceKeys, tableOneTimeKeys, tableFallbackKeys, tableToDevice, tableTransactions} {
				if err := t.deleteAll(tx, k); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return hadKeys, err
}
