package userdb

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"time"

	"countersign/matrix"
	"countersign/reference/store"
)

// User is an account.
type User struct {
	// ID is the account name user ID.
	ID matrix.UserID `json:"id"`
	// Admin marks an administrator of the server.
	Admin bool `json:"admin,omitempty"`
	// Guest marks an account without a password.
	Guest bool `json:"guest,omitempty"`
	// Deactivated accounts cannot log in, and their names are not given out again.
	Deactivated bool `json:"deactivated,omitempty"`
	// Created is when the account was made.
	Created time.Time `json:"created"`

	Salt     []byte `json:"salt,omitempty"`
	Password []byte `json:"password,omitempty"` // derived, never the text
}

// passwordRounds is the cost of deriving a password. It is low: the accounts of a server under test
// live for seconds, and a test suite makes them by the hundred.
const passwordRounds = 1000

// SetPassword replaces the password; the caller stores the user.
func (u *User) SetPassword(password string) error {
	u.Salt = make([]byte, 16)
	if _, err := rand.Read(u.Salt); err != nil {
		return fmt.Errorf("salting a password: %w", err)
	}
	derived, err := pbkdf2.Key(sha256.New, password, u.Salt, passwordRounds, sha256.Size)
	if err != nil {
		return fmt.Errorf("deriving a password: %w", err)
	}
	u.Password = derived
	return nil
}

// CheckPassword reports whether password is the user's. Accounts without a password have none that
// fits.
func (u *User) CheckPassword(password string) bool {
	if len(u.Password) == 0 || u.Deactivated {
		return false
	}
	derived, err := pbkdf2.Key(sha256.New, password, u.Salt, passwordRounds, sha256.Size)
	return err == nil && subtle.ConstantTimeCompare(derived, u.Password) == 1
}

// CreateUser stores a new account; the error wraps ErrExists when the name was ever taken.
func (db *DB) CreateUser(u User) error {
	return db.store.Update(func(tx *store.Tx) error {
		k := key(string(u.ID))
		if tableUsers.has(tx, k) {
			return fmt.Errorf("user %s: %w", u.ID, ErrExists)
		}
		return tableUsers.put(tx, k, u)
	})
}

// User returns an account; the error wraps ErrNotFound when there is none.
func (db *DB) User(id matrix.UserID) (u User, err error) {
	err = db.store.View(func(tx *store.Tx) error { return tableUsers.get(tx, key(string(id)), &u) })
	if err != nil {
		return User{}, fmt.Errorf("user %s: %w", id, err)
	}
	return u, nil
}

// Exists reports whether this server has an active account of a name.
func (db *DB) Exists(name string) bool {
	u, err := db.User(matrix.UserID("@" + name + ":" + string(db.server)))
	return err == nil && !u.Deactivated
}

// UpdateUser changes an account in place; the error wraps ErrNotFound when there is none.
func (db *DB) UpdateUser(id matrix.UserID, change func(*User) error) error {
	return db.store.Update(func(tx *store.Tx) error {
		var u User
		if err := tableUsers.get(tx, key(string(id)), &u); err != nil {
			return fmt.Errorf("user %s: %w", id, err)
		}
		if err := change(&u); err != nil {
			return err
		}
		return tableUsers.put(tx, key(string(id)), u)
	})
}

// Users calls visit for every account until it returns false.
func (db *DB) Users(visit func(User) bool) error {
	return db.store.View(func(tx *store.Tx) error {
		return tableUsers.scan(tx, nil, func(k, _ []byte) (bool, error) {
			var u User
			if err := tableUsers.get(tx, k, &u); err != nil {
				return false, err
			}
			return visit(u), nil
		})
	})
}

// ForgetUserData deletes what an account has stored: profile, account data, filters, keys, devices and
// messages. The account itself stays, so that its name is not given out again.
func (db *DB) ForgetUserData(id matrix.UserID) error {
	return db.store.Update(func(tx *store.Tx) error {
		for _, t := range []table{
			tableProfiles, tableAccountData, tableFilters, tableDeviceKeys, tableOneTimeKeys, tableFallbackKeys,
			tableCrossSigning, tableToDevice, tableForgotten,
		} {
			if err := t.deleteAll(tx, key(string(id))); err != nil {
				return err
			}
		}
		return nil
	})
}
