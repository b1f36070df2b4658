package userdb

import (
	"encoding/json"
	"errors"

	"countersign/matrix"
	"countersign/reference/store"
)

// Pusher is where a user wants to be notified of events (client-server API, "Push Notifications").
type Pusher struct {
	User    matrix.UserID   `json:"user"`
	AppID   string          `json:"app_id"`
	PushKey string          `json:"pushkey"`
	URL     string          `json:"url"`
	Format  string          `json:"format,omitempty"`
	Raw     json.RawMessage `json:"raw"` // as the client has set it
	// TS is when it was set, in milliseconds since the Unix epoch.
	TS int64 `json:"ts"`
}

func (p Pusher) key() []byte { return key(string(p.User), p.AppID, p.PushKey) }

// SetPusher stores a pusher, in place of the one with the same user, app ID and push key.
func (db *DB) SetPusher(p Pusher) error {
	return db.store.Update(func(tx *store.Tx) error { return tablePushers.put(tx, p.key(), p) })
}

// DeletePusher deletes a pusher, if it is there.
func (db *DB) DeletePusher(p Pusher) error {
	return db.store.Update(func(tx *store.Tx) error { return tablePushers.delete(tx, p.key()) })
}

// Pushers are the pushers of a user, or those of all users when the user is empty.
func (db *DB) Pushers(user matrix.UserID) (pushers []Pusher, err error) {
	var prefix []byte
	if user != "" {
		prefix = key(string(user))
	}
	err = db.store.View(func(tx *store.Tx) error {
		return tablePushers.scan(tx, prefix, func(k, _ []byte) (bool, error) {
			var p Pusher
			if err := tablePushers.get(tx, k, &p); err != nil {
				return false, err
			}
			pushers = append(pushers, p)
			return true, nil
		})
	})
	return pushers, err
}

// AppServicePosition is the position of the last event that an application service was told of; 0 when
// it was never told of any.
func (db *DB) AppServicePosition(id string) (position uint64, err error) {
	err = db.store.View(func(tx *store.Tx) error { return tableAppServices.get(tx, key(id), &position) })
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	return position, err
}

// SetAppServicePosition sets what AppServicePosition returns.
func (db *DB) SetAppServicePosition(id string, position uint64) error {
	return db.store.Update(func(tx *store.Tx) error { return tableAppServices.put(tx, key(id), position) })
}
