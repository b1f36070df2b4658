package userdb

import (
	"encoding/json"
	"errors"
	"fmt"

	"countersign/matrix"
	"countersign/reference/store"
)

// Profile is a user's profile: the displayname, the avatar_url and whatever fields the user has made
// up, each as JSON.
type Profile map[string]json.RawMessage

// Text returns a field that is a string, or nothing.
func (p Profile) Text(field string) string {
	var text string
	if json.Unmarshal(p[field], &text) != nil {
		return ""
	}
	return text
}

// Profile returns a user's profile, which is empty for users who have set nothing.
func (db *DB) Profile(user matrix.UserID) (p Profile, err error) {
	err = db.store.View(func(tx *store.Tx) error {
		err := tableProfiles.get(tx, key(string(user)), &p)
		if errors.Is(err, ErrNotFound) {
			p = Profile{}
			return nil
		}
		return err
	})
	return p, err
}

// SetProfileField sets a field of a user's profile to a JSON value, or deletes it when value is nil.
func (db *DB) SetProfileField(user matrix.UserID, field string, value json.RawMessage) error {
	return db.store.Update(func(tx *store.Tx) error {
		p := Profile{}
		if err := tableProfiles.get(tx, key(string(user)), &p); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if value == nil {
			delete(p, field)
		} else {
			p[field] = value
		}
		return tableProfiles.put(tx, key(string(user)), p)
	})
}

// PutFilter stores a filter and returns its ID. Equal filters of one user have one ID.
func (db *DB) PutFilter(user matrix.UserID, filter json.RawMessage) (id string, err error) {
	err = db.store.Update(func(tx *store.Tx) error {
		next := 1
		err := tableFilters.scan(tx, key(string(user)), func(k, value []byte) (bool, error) {
			next++
			if string(value) == string(filter) {
				id = splitKey(k)[1]
			}
			return id == "", nil
		})
		if err != nil || id != "" {
			return err
		}
		id = fmt.Sprint(next)
		return tableFilters.put(tx, key(string(user), id), filter)
	})
	return id, err
}

// Filter returns a stored filter; the error wraps ErrNotFound when there is none.
func (db *DB) Filter(user matrix.UserID, id string) (filter json.RawMessage, err error) {
	err = db.store.View(func(tx *store.Tx) error { return tableFilters.get(tx, key(string(user), id), &filter) })
	if err != nil {
		return nil, fmt.Errorf("filter %s of %s: %w", id, user, err)
	}
	return filter, nil
}
