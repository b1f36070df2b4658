package account

import (
	"encoding/json"
	"time"

	"countersign/matrix"
	"countersign/reference/store"
)

// Tables about the users of other servers.
const (
	tableRemote  = "account_remote"  // account key user ID -> remoteRecord
	tableNames   = "account_names"   // account name user ID, sequence number -> account key user ID
	tableServers = "account_servers" // server name -> serverRecord
	// tablePortableServers is tableServers for the endpoint of MSC4348, which tells less.
	tablePortableServers = "account_portable_servers"
)

// remoteRecord is what is kept about a key of another server.
type remoteRecord struct {
	State State         `json:"state"`
	Name  matrix.UserID `json:"name,omitempty"`
	// Portable is set while the key is unverified when it is asked for as rooms of MSC4348 know it.
	Portable bool `json:"portable,omitempty"`
}

func (r remoteRecord) entry() Entry { return Entry{r.State, r.Name} }

// serverRecord is how far this server has read another server's list of erased keys.
type serverRecord struct {
	ErasureID int64 `json:"erasure_id"`
}

// attempt is what came of asking for a key that is still unverified.
type attempt struct {
	failures int
	// asked is when it was asked for last, and next when it is asked for again without a reason. An
	// event of the user's is a reason.
	asked, next time.Time
	// answered is set when the domain has answered at all; those that never have are retried first.
	answered bool
}

func (d *Directory) remoteEntry(user matrix.UserID) (e Entry) {
	if e, ok := d.entries.Get(user); ok && (e.State != Unverified || !d.Defects.Has("VerifyByKeyAlone")) {
		return e
	}
	changes := d.changes.Load()
	err := d.DB.View(func(tx *store.Tx) error {
		r, err := getRemote(tx, user)
		if e = r.entry(); e.State == Unverified {
			e = d.entryOfKey(tx, user)
		}
		return err
	})
	if err != nil {
		d.Logger.Error("reading the verification state of an account key", "user", user, "error", err)
		return Entry{}
	}
	d.keep(changes, func() { d.entries.Put(user, e) })
	return e
}

func getRemote(tx *store.Tx, user matrix.UserID) (r remoteRecord, err error) {
	if b := tx.Table(tableRemote).Get(store.Key(string(user))); b != nil {
		err = json.Unmarshal(b, &r)
	}
	return r, err
}

func (d *Directory) remoteKeys(name matrix.UserID) (keys []matrix.UserID) {
	err := d.DB.View(func(tx *store.Tx) error {
		tx.Table(tableNames).Scan(store.Key(string(name)), nil, func(_, user []byte) bool {
			keys = append(keys, matrix.UserID(user))
			return true
		})
		return nil
	})
	if err != nil {
		d.Logger.Error("reading the account keys of a user", "user", name, "error", err)
	}
	return keys
}

// transition applies the state machine to what a domain has said about one of its keys, and reports
// whether anything changed. Verified keys keep their name, whatever is said later, and Erased is
// final (MSC4243, "Handling GDPR erasure"; matrix M2 of the catalogue).
func (d *Directory) transition(old Entry, said Entry) (Entry, bool) {
	switch {
	case d.mistakenTransition(old, said):
		return said, true
	case old.State == Erased:
		return old, false
	case said.State == Erased:
		if old.State == Verified && d.Defects.Has("EraseOnlyUnverifiedUsers") || old.State == Unverified && d.Defects.Has("EraseOnlyVerifiedUsers") {
			return old, false
		}
		return Entry{State: Erased}, true
	case old.State == Unverified && said.State == Verified:
		return said, true
	}
	return old, false
}

// learn stores what a domain has said about some of its keys.
func (d *Directory) learn(said map[matrix.UserID]Entry) error {
	if len(said) == 0 {
		return nil
	}
	changes := map[matrix.UserID]Entry{}
	err := d.DB.Update(func(tx *store.Tx) error {
		clear(changes)
		for user, s := range said {
			old, err := getRemote(tx, user)
			if err != nil {
				return err
			}
			e, changed := d.transition(old.entry(), s)
			if !changed {
				continue
			}
			if err := putRemote(tx, user, old.entry(), e); err != nil {
				return err
			}
			changes[user] = e
			if err := d.eraseElsewhere(tx, user, e, changes); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.forget(func() {
		for user := range changes {
			d.entries.Delete(user)
		}
	})
	d.mutex.Lock()
	for user := range changes {
		delete(d.attempts, subject{user: user})
		delete(d.attempts, subject{user: user, portable: true})
	}
	d.mutex.Unlock()
	for user, e := range changes {
		d.changed(user, e)
	}
	return nil
}

func putRemote(tx *store.Tx, user matrix.UserID, old, e Entry) error {
	names := tx.Table(tableNames)
	if old.Name != "" {
		var stale []byte
		names.Scan(store.Key(string(old.Name)), nil, func(k, v []byte) bool {
			if string(v) == string(user) {
				stale = append([]byte(nil), k...)
			}
			return stale == nil
		})
		if stale != nil {
			if err := names.Delete(stale); err != nil {
				return err
			}
		}
	}
	if e.Name != "" {
		n, err := names.Next()
		if err != nil {
			return err
		}
		if err := names.Put(store.AppendInt(store.Key(string(e.Name)), int64(n)), []byte(user)); err != nil {
			return err
		}
	}
	return tx.Table(tableRemote).Put(store.Key(string(user)), marshal(remoteRecord{State: e.State, Name: e.Name}))
}

// marshal is json.Marshal for values that always have a JSON form.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("account: a value of ours has no JSON form: " + err.Error())
	}
	return b
}
