package account

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"countersign/matrix"
	"countersign/reference/internal/lru"
	"countersign/reference/store"
)

// Tables.
const (
	tableSeeds    = "account_seeds"    // account name -> seed of the key
	tableKeys     = "account_keys"     // account key's text -> account name
	tableErasures = "account_erasures" // erasure ID -> the signed object that says so
	tableErased   = "account_erased"   // account key's text -> erasure ID
)

// Directory maps names and keys. It is safe for concurrent use. Its methods must not be called
// inside a transaction of its store.
type Directory struct {
	Options
	// mutex guards what follows.
	mutex     sync.Mutex
	listeners []func(matrix.UserID, Entry)
	// asking has a channel for every key that is being asked for; it is closed when the answer has
	// been dealt with.
	asking map[subject]chan struct{}
	// pending are the keys that are still to be asked for, by whom to ask; order are those who wait for
	// a worker.
	pending map[source][]matrix.UserID
	order   []source
	// busy are those who are being asked, one request at a time, with the time of the request.
	busy map[source]time.Time
	// paces are those who have not answered, or not confirmed anything, when asked last.
	paces   map[source]pace
	workers int
	// attempts are the keys that were asked for and are still unverified.
	attempts map[subject]attempt
	// wake tells the retrying that there is something to retry.
	wake chan struct{}
	// closing ends requests; group waits for the goroutines.
	closing context.Context
	close   context.CancelFunc
	group   sync.WaitGroup
	// accounts are local accounts by name, names the names by key, and entries what is known of
	// keys of other servers.
	accounts *lru.Cache[string, matrix.Account]
	names    *lru.Cache[string, string]
	entries  *lru.Cache[matrix.UserID, Entry]
	// changes counts what could make a cached value stale: what was read before a change is not
	// cached after it. fresh is held while that is checked.
	changes atomic.Uint64
	fresh   sync.Mutex
}

// cached bounds each of the caches.
const cached = 32_768

// New makes the directory of a server. Start sets its retries going, Close ends them.
func New(options Options) *Directory {
	closing, cancel := context.WithCancel(context.Background())
	return &Directory{
		Options: options, asking: map[subject]chan struct{}{}, pending: map[source][]matrix.UserID{},
		attempts: map[subject]attempt{}, wake: make(chan struct{}, 1), busy: map[source]time.Time{}, paces: map[source]pace{}, closing: closing, close: cancel,
		accounts: lru.New[string, matrix.Account](cached), names: lru.New[string, string](cached),
		entries: lru.New[matrix.UserID, Entry](cached),
	}
}

// Close ends the questions that are under way and waits for that.
func (d *Directory) Close() {
	d.close()
	d.group.Wait()
}

// keep caches a value that was read when changes was what it is given as, unless it may be stale.
func (d *Directory) keep(changes uint64, put func()) {
	d.fresh.Lock()
	defer d.fresh.Unlock()
	if changes == d.changes.Load() {
		put()
	}
}

// forget drops cached values that have changed in the store.
func (d *Directory) forget(drop func()) {
	d.fresh.Lock()
	defer d.fresh.Unlock()
	d.changes.Add(1)
	drop()
}

// Account is the account key of a local user, by account name. It is minted when it is first asked
// for and stays the same from then on; concurrent first uses get one key. Whether the user exists is
// for the caller to know.
func (d *Directory) Account(name string) (matrix.Account, error) {
	if a, ok, err := d.existing(name); ok || err != nil {
		return a, err
	}
	minted, err := matrix.NewAccount()
	if err != nil {
		return matrix.Account{}, err
	}
	if d.Defects.Has("DeriveKeysFromNames") {
		seed := sha256.Sum256([]byte(name))
		minted = matrix.AccountFromSeed(seed[:])
	}
	result := minted
	d.dawdle()
	err = d.DB.Update(func(tx *store.Tx) error {
		if seed := tx.Table(tableSeeds).Get(store.Key(name)); seed != nil && !d.Defects.Has("MintWithoutLooking") {
			result, err = accountFromSeed(name, seed)
			return err
		}
		if err := tx.Table(tableSeeds).Put(store.Key(name), minted.Seed()); err != nil {
			return err
		}
		return tx.Table(tableKeys).Put(store.Key(minted.Key().String()), []byte(name))
	})
	return result, err
}

// existing is the account key of a local user who has one.
func (d *Directory) existing(name string) (a matrix.Account, ok bool, err error) {
	if a, ok := d.accounts.Get(name); ok {
		return a, true, nil
	}
	changes := d.changes.Load()
	err = d.DB.View(func(tx *store.Tx) error {
		seed := tx.Table(tableSeeds).Get(store.Key(name))
		if seed == nil {
			return nil
		}
		ok = true
		a, err = accountFromSeed(name, seed)
		return err
	})
	if ok && err == nil {
		d.keep(changes, func() { d.accounts.Put(name, a) })
	}
	return a, ok, err
}

func accountFromSeed(name string, seed []byte) (matrix.Account, error) {
	if len(seed) != 32 {
		return matrix.Account{}, fmt.Errorf("the stored account key of %q is damaged: %d bytes, not 32", name, len(seed))
	}
	return matrix.AccountFromSeed(seed), nil
}

// LocalAccount is the account behind an account key user ID of this server. ok is false when the key
// is not this server's, or its owner has been erased. The user ID may also be a portable one, without
// a domain: an account of this server has one key for rooms of all versions.
func (d *Directory) LocalAccount(user matrix.UserID) (a matrix.Account, name string, ok bool) {
	if domain := user.Domain(); domain != d.ServerName && domain != "" {
		return matrix.Account{}, "", false
	}
	name, _, ok = d.localName(user.Localpart())
	if !ok {
		return matrix.Account{}, "", false
	}
	a, ok, err := d.existing(name)
	return a, plainName(name), ok && err == nil
}

// localName is who has an account key on this server, and whether the key was this server's before
// its owner was erased.
func (d *Directory) localName(key string) (name string, erased, ok bool) {
	if name, ok := d.names.Get(key); ok {
		return name, false, true
	}
	changes := d.changes.Load()
	err := d.DB.View(func(tx *store.Tx) error {
		if n := tx.Table(tableKeys).Get(store.Key(key)); n != nil {
			name, ok = string(n), true
		}
		erased = tx.Table(tableErased).Get(store.Key(key)) != nil
		return nil
	})
	if ok && err == nil {
		d.keep(changes, func() { d.names.Put(key, name) })
	}
	return name, erased, ok && err == nil
}

// Erase forgets who is behind a local user's account key, and the private key: from now on the key is
// Erased, here and in what other servers are told. The user should have left every room before, as
// the key signs nothing any more. A user without a key needs no erasure. The name may be used again
// and then gets another key.
func (d *Directory) Erase(name string) error {
	for _, kept := range d.keptUnder(name) {
		if err := d.erase(kept); err != nil {
			return err
		}
	}
	return nil
}

func (d *Directory) erase(name string) error {
	a, ok, err := d.existing(name)
	if err != nil || !ok {
		return err
	}
	notice, err := d.erasureNotice(a, d.ServerName)
	if err != nil {
		return err
	}
	key := a.Key().String()
	err = d.DB.Update(func(tx *store.Tx) error {
		id, err := tx.Table(tableErasures).Next()
		if err != nil {
			return err
		}
		return errors.Join(
			tx.Table(tableErasures).Put(erasureKey(int64(id)), append(store.Key(key), notice...)),
			tx.Table(tableErased).Put(store.Key(key), store.AppendInt(nil, int64(id))),
			tx.Table(tableSeeds).Delete(store.Key(name)),
			tx.Table(tableKeys).Delete(store.Key(key)),
		)
	})
	if err != nil {
		return fmt.Errorf("erasing %q: %w", name, err)
	}
	d.forget(func() {
		d.accounts.Delete(name)
		d.names.Delete(key)
	})
	d.changed(a.Key().UserID(d.ServerName), Entry{State: Erased})
	return nil
}

// erasureNotice is the object that tells other servers of an erasure. It is signed now, so that the
// private key need not be kept for it (D-27).
func (d *Directory) erasureNotice(a matrix.Account, domain matrix.ServerName) ([]byte, error) {
	notice := map[string]any{"errcode": "M_ERASED", "domain": domain}
	switch {
	case d.Defects.Has("LeaveErasuresUnsigned"):
		return marshal(notice), nil
	case d.Defects.Has("TellTheErasedName"):
		if name, _, ok := d.localName(a.Key().String()); ok {
			notice["account_name"] = name
		}
	case d.Defects.Has("EraseWithoutDomain"):
		delete(notice, "domain")
	}
	return matrix.SignJSON(marshal(notice), a.Signer())
}

func erasureKey(id int64) []byte { return store.AppendInt(store.Key("id"), id) }

// Lookup is what is known about an account key user ID. Local users are Verified by definition; a key
// of this server's domain that this server does not know stays Unverified, and nobody is asked.
func (d *Directory) Lookup(user matrix.UserID) Entry {
	if user.Domain() != d.ServerName {
		return d.remoteEntry(user)
	}
	name, erased, ok := d.localName(user.Localpart())
	switch {
	case ok:
		return Entry{State: Verified, Name: matrix.UserID("@" + plainName(name) + ":" + string(d.ServerName))}
	case erased:
		return Entry{State: Erased}
	}
	if d.Defects.Has("ClaimUnknownKeysOfItsOwn") {
		return Entry{State: Verified, Name: matrix.UserID("@" + strings.ToLower(user.Localpart()) + ":" + string(d.ServerName))}
	}
	return Entry{}
}

// RoomUser is the user ID by which rooms of a version know an account name user ID. A local user's
// key is minted when it has none. The error is ErrUnknownAccount when a remote user's key is not
// known; a name with several keys (D-19) stands for the one that was verified first. In rooms of
// MSC4345 users are called by server keys, of which this knows nothing: the user is as given.
func (d *Directory) RoomUser(v matrix.RoomVersion, user matrix.UserID) (matrix.UserID, error) {
	switch {
	case !v.HasAccountKeys():
		return user, nil
	case v.HasPortableAccounts():
		u, err := d.RoomUser(matrix.RoomVersionMSC4243(), user)
		return Portable(u), err
	}
	if user.Domain() == d.ServerName {
		a, err := d.Account(user.Localpart())
		if err != nil {
			return "", err
		}
		return a.Key().UserID(d.ServerName), nil
	}
	if keys := d.KeyUserIDs(user); len(keys) > 0 {
		return keys[0], nil
	}
	return "", fmt.Errorf("%w: %s", ErrUnknownAccount, user)
}

// KeyUserIDs are the verified account key user IDs of an account name user ID, in the order in which
// they were verified. Nothing is minted.
func (d *Directory) KeyUserIDs(user matrix.UserID) (keys []matrix.UserID) {
	if user.Domain() != d.ServerName {
		return d.remoteKeys(user)
	}
	for _, name := range d.keptUnder(user.Localpart()) {
		if a, ok, err := d.existing(name); err == nil && ok {
			keys = append(keys, a.Key().UserID(d.ServerName))
		}
	}
	return keys
}

// ClientUser is the user ID by which clients know a user of a room. ok is false when clients must not
// be told about the user: the key is unverified or erased, or it is not an account key at all.
//
// In rooms with participation clients know users as the room does, and nobody is hidden (D-45).
func (d *Directory) ClientUser(v matrix.RoomVersion, user matrix.UserID) (name matrix.UserID, ok bool) {
	if !v.HasAccountKeys() || v.HasParticipation() {
		return user, true
	}
	e := d.Lookup(user)
	return e.Name, e.State == Verified
}

// Erased reports whether the owner of an account key user ID has been erased.
func (d *Directory) Erased(user matrix.UserID) bool { return d.Lookup(user).State == Erased }

// OnChange has f called whenever an account key user ID becomes Verified or Erased, after that has
// been stored. f must not block.
func (d *Directory) OnChange(f func(user matrix.UserID, e Entry)) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.listeners = append(d.listeners, f)
}

func (d *Directory) changed(user matrix.UserID, e Entry) {
	d.mutex.Lock()
	listeners := d.listeners
	d.mutex.Unlock()
	for _, f := range listeners {
		f(user, e)
	}
}

// cleanName is an account name without what a user ID must not contain, or "" (QC-08).
func (d *Directory) cleanName(name string, domain matrix.ServerName) matrix.UserID {
	if strings.ContainsAny(name, "\x00\r\n") {
		return ""
	}
	user, err := matrix.ParseAccountName(name, domain)
	if err != nil {
		if name != "" && d.Defects.Has("TakeAnyAccountName") {
			return matrix.UserID("@" + name + ":" + string(domain))
		}
		return ""
	}
	return user
}
