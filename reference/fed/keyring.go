package fed

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/store"
)

const (
	tableServerKeys = "server_keys" // server name -> key document
	// maxKeyValidity is how long a key document counts at most (room version 5, "Signing key
	// validity period").
	maxKeyValidity  = 7 * 24 * time.Hour
	keyFetchTimeout = 10 * time.Second
	// keyFetchPause is how long the answer to a fetch stands before a key that is not in it is
	// asked for again: whoever names keys at random must not cause a request each time.
	keyFetchPause  = time.Second
	maxKeyDocument = 64 << 10
)

// KeyRing knows the signing keys of other servers. It is safe for concurrent use.
type KeyRing struct {
	db     *store.DB
	peers  peer.Caller
	clock  func() time.Time
	mutex  sync.Mutex
	known  map[matrix.ServerName]fetchedKeys
	flight map[matrix.ServerName]*keyFetch
	// closing ends fetches; group waits for them.
	closing context.Context
	cancel  context.CancelFunc
	group   sync.WaitGroup
}

// fetchedKeys is a key document and how long it counts.
type fetchedKeys struct {
	matrix.ServerKeys
	until time.Time
	// fetched is when the document was fetched; zero when an earlier run did.
	fetched time.Time
}

// keyFetch is a fetch that is under way.
type keyFetch struct {
	done chan struct{}
	keys fetchedKeys
	err  error
}

// NewKeyRing makes a key ring that keeps what it learns in a store.
func NewKeyRing(db *store.DB, peers peer.Caller, clock func() time.Time) *KeyRing {
	closing, cancel := context.WithCancel(context.Background())
	return &KeyRing{
		db: db, peers: peers, clock: clock, closing: closing, cancel: cancel,
		known: map[matrix.ServerName]fetchedKeys{}, flight: map[matrix.ServerName]*keyFetch{},
	}
}

// Close ends the fetches that are under way and waits for that.
func (k *KeyRing) Close() {
	k.mutex.Lock()
	k.cancel()
	k.mutex.Unlock()
	k.group.Wait()
}

// VerifyKey implements room.KeyRing.
func (k *KeyRing) VerifyKey(ctx context.Context, server matrix.ServerName, id matrix.KeyID, at int64) ([]byte, error) {
	if key, ok := k.KnownKey(server, id, at); ok {
		return key, nil
	}
	keys, err := k.fetch(ctx, server)
	if err != nil {
		return nil, err
	}
	if key, ok := keys.keyAt(id, at); ok {
		return key, nil
	}
	return nil, fmt.Errorf("%s has no key %s that was valid at %d", server, id, at)
}

// KnownKey implements room.KeyRing; it looks in memory only.
func (k *KeyRing) KnownKey(server matrix.ServerName, id matrix.KeyID, at int64) ([]byte, bool) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return k.known[server].keyAt(id, at)
}

// KnownKeys implements room.KeyRing; it looks in memory only.
func (k *KeyRing) KnownKeys(server matrix.ServerName) map[matrix.KeyID]ed25519.PublicKey {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return maps.Clone(k.known[server].VerifyKeys)
}

// RequestKey is the key by which a server signs requests now.
func (k *KeyRing) RequestKey(ctx context.Context, server matrix.ServerName, id matrix.KeyID) ([]byte, error) {
	k.mutex.Lock()
	keys, ok := k.known[server]
	k.mutex.Unlock()
	if !ok {
		var err error
		if keys, ok, err = k.stored(server); err != nil {
			return nil, err
		}
	}
	if key, known := keys.VerifyKeys[id]; ok && known && k.clock().Before(keys.until) {
		return key, nil
	}
	keys, err := k.fetch(ctx, server)
	if err != nil {
		return nil, err
	}
	if key, known := keys.VerifyKeys[id]; known {
		return key, nil
	}
	return nil, fmt.Errorf("%s has no key %s", server, id)
}

// document is a server's key document as it was fetched last, or nil.
func (k *KeyRing) document(server matrix.ServerName) (doc []byte, err error) {
	err = k.db.View(func(tx *store.Tx) error {
		doc = bytes.Clone(tx.Table(tableServerKeys).Get(store.Key(string(server))))
		return nil
	})
	return doc, err
}

// keyAt is a key that was valid at a time in milliseconds since the Unix epoch.
func (f fetchedKeys) keyAt(id matrix.KeyID, at int64) ([]byte, bool) {
	if key, ok := f.VerifyKeys[id]; ok && at <= f.until.UnixMilli() {
		return key, true
	}
	if old, ok := f.OldVerifyKeys[id]; ok && at <= old.Expired.UnixMilli() {
		return old.Key, true
	}
	return nil, false
}

// stored reads what an earlier run of this server has learned.
func (k *KeyRing) stored(server matrix.ServerName) (f fetchedKeys, ok bool, err error) {
	doc, err := k.document(server)
	if err != nil || doc == nil {
		return f, false, err
	}
	keys, err := matrix.ParseServerKeys(doc)
	if err != nil {
		return f, false, nil // written by an older version of this server; it is fetched again
	}
	f = fetchedKeys{ServerKeys: keys, until: keys.ValidUntil}
	k.remember(server, f)
	return f, true, nil
}

func (k *KeyRing) remember(server matrix.ServerName, f fetchedKeys) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if len(k.known) >= maxTracked {
		clear(k.known) // peers can name any number of servers; those in use come back from the store
	}
	k.known[server] = f
}

// fetch asks a server for its keys. Callers who ask for the same server at the same time share one
// request; it goes on when one of them gives up.
func (k *KeyRing) fetch(ctx context.Context, server matrix.ServerName) (fetchedKeys, error) {
	k.mutex.Lock()
	if f, ok := k.known[server]; ok && k.clock().Sub(f.fetched) < keyFetchPause {
		k.mutex.Unlock()
		return f, nil
	}
	f, ok := k.flight[server]
	if !ok {
		if err := k.closing.Err(); err != nil {
			k.mutex.Unlock()
			return fetchedKeys{}, err
		}
		f = &keyFetch{done: make(chan struct{})}
		k.flight[server] = f
		k.group.Go(func() { k.run(server, f) })
	}
	k.mutex.Unlock()
	select {
	case <-f.done:
		return f.keys, f.err
	case <-ctx.Done():
		return fetchedKeys{}, ctx.Err()
	}
}

func (k *KeyRing) run(server matrix.ServerName, f *keyFetch) {
	f.keys, f.err = k.request(k.closing, server)
	k.mutex.Lock()
	delete(k.flight, server)
	k.mutex.Unlock()
	close(f.done)
}

func (k *KeyRing) request(ctx context.Context, server matrix.ServerName) (f fetchedKeys, err error) {
	doc, err := k.peers.Call(ctx, server, peer.Call{
		Method: http.MethodGet, Path: "/_matrix/key/v2/server", Timeout: keyFetchTimeout, MaxAnswer: maxKeyDocument,
	})
	if err != nil {
		// What is known from before still counts for events of that time.
		if stored, ok, _ := k.stored(server); ok {
			return stored, nil
		}
		return f, err
	}
	keys, err := matrix.ParseServerKeys(doc)
	if err == nil && keys.ServerName != server {
		err = fmt.Errorf("they are the keys of %s", keys.ServerName)
	}
	if err == nil && len(keys.VerifyKeys) == 0 {
		err = errors.New("there is no key")
	}
	for id, key := range keys.VerifyKeys {
		if err == nil && len(key) != ed25519.PublicKeySize {
			err = fmt.Errorf("the key %s has %d bytes", id, len(key))
		}
	}
	if err != nil {
		return f, fmt.Errorf("the keys that %s gives: %w", server, err)
	}
	f = fetchedKeys{keys, keys.ValidUntil, k.clock()}
	if latest := k.clock().Add(maxKeyValidity); f.until.After(latest) {
		f.until = latest
	}
	k.remember(server, f)
	return f, k.db.Update(func(tx *store.Tx) error {
		return tx.Table(tableServerKeys).Put(store.Key(string(server)), doc)
	})
}
