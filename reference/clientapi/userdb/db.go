// Package userdb holds what a homeserver knows about its own users and what they have stored with
// it: accounts, devices, access tokens, profiles, account data, filters, end-to-end encryption keys,
// to-device messages, receipts, aliases and the room directory. Users are named by account name user
// IDs throughout; account keys are the business of rooms.
//
// Everything that /sync delivers has a position in one stream that only grows, so that one number
// says what a client has seen.
package userdb

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"countersign/matrix"
	"countersign/reference/store"
)

// ErrNotFound is wrapped by the errors of look-ups that find nothing.
var ErrNotFound = errors.New("not found")

// ErrExists is wrapped by the errors of insertions that find something.
var ErrExists = errors.New("already exists")

// Position is a place in the stream of everything that the tables deliver through /sync. The first
// entry has position 1.
type Position = uint64

// DB is the users' tables in a store. It is safe for concurrent use.
type DB struct {
	store  *store.DB
	server matrix.ServerName
}

// New keeps the tables of a server's users in a store that others may use as well. The caller closes
// the store.
func New(s *store.DB, server matrix.ServerName) *DB { return &DB{s, server} }

type table string

// The tables, with the parts of their keys.
const (
	tableStream       table = "clientapi.stream"         // its sequence is the stream position
	tableUsers        table = "clientapi.users"          // account name
	tableTokens       table = "clientapi.tokens"         // SHA-256 of the token
	tableDevices      table = "clientapi.devices"        // user ID, device ID
	tableProfiles     table = "clientapi.profiles"       // user ID
	tableAccountData  table = "clientapi.account_data"   // user ID, room ID or "", type
	tableFilters      table = "clientapi.filters"        // user ID, filter ID
	tableDeviceKeys   table = "clientapi.device_keys"    // user ID, device ID
	tableOneTimeKeys  table = "clientapi.one_time_keys"  // user ID, device ID, algorithm, key ID
	tableFallbackKeys table = "clientapi.fallback_keys"  // user ID, device ID, algorithm
	tableCrossSigning table = "clientapi.cross_signing"  // user ID, usage
	tableDeviceLists  table = "clientapi.device_lists"   // position
	tableDeviceListAt table = "clientapi.device_list_of" // user ID
	tableToDevice     table = "clientapi.to_device"      // user ID, device ID, position
	tableReceipts     table = "clientapi.receipts"       // room ID, user ID, type, thread
	tableTransactions table = "clientapi.transactions"   // user ID, device ID, transaction
	tableEventTxns    table = "clientapi.event_txns"     // event ID
	tableAliases      table = "clientapi.aliases"        // alias
	tableDirectory    table = "clientapi.directory"      // room ID
	tableForgotten    table = "clientapi.forgotten"      // user ID, room ID
	tableInboundTxns  table = "clientapi.inbound_txns"   // origin, message ID
	tablePushers      table = "clientapi.pushers"        // user ID, app ID, push key
	tableAppServices  table = "clientapi.app_services"   // ID
)

// Position returns the position of the newest entry in the stream.
func (db *DB) Position() (p Position, err error) {
	err = db.store.View(func(tx *store.Tx) error {
		p = tableStream.in(tx).Last()
		return nil
	})
	return p, err
}

func nextPosition(tx *store.Tx) (Position, error) {
	return tableStream.in(tx).Next()
}

func (t table) in(tx *store.Tx) store.Table { return tx.Table(string(t)) }

// get reads the JSON value under a key into out; it returns ErrNotFound when there is none.
func (t table) get(tx *store.Tx, k []byte, out any) error {
	value := t.in(tx).Get(k)
	if value == nil {
		return ErrNotFound
	}
	if err := json.Unmarshal(value, out); err != nil {
		return fmt.Errorf("table %s holds what cannot be read: %w", t, err)
	}
	return nil
}

func (t table) has(tx *store.Tx, k []byte) bool { return t.in(tx).Get(k) != nil }

func (t table) put(tx *store.Tx, k []byte, value any) error {
	doc, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("writing table %s: %w", t, err)
	}
	return t.in(tx).Put(k, doc)
}

func (t table) delete(tx *store.Tx, k []byte) error { return t.in(tx).Delete(k) }

// scan calls visit for every entry whose key starts with prefix, in order of the keys, until visit
// returns false or an error. Key and value are only valid during the call.
func (t table) scan(tx *store.Tx, prefix []byte, visit func(k, value []byte) (bool, error)) error {
	return t.scanRange(tx, prefix, nil, visit)
}

// scanFrom is scan for every entry from a key on.
func (t table) scanFrom(tx *store.Tx, from []byte, visit func(k, value []byte) (bool, error)) error {
	return t.scanRange(tx, nil, from, visit)
}

func (t table) scanRange(tx *store.Tx, prefix, from []byte, visit func(k, value []byte) (bool, error)) error {
	var failure error
	t.in(tx).Scan(prefix, from, func(k, value []byte) bool {
		more, err := visit(k, value)
		failure = err
		return more && err == nil
	})
	return failure
}

// deleteAll deletes every entry whose key starts with prefix.
func (t table) deleteAll(tx *store.Tx, prefix []byte) error {
	var doomed [][]byte
	err := t.scan(tx, prefix, func(k, _ []byte) (bool, error) {
		doomed = append(doomed, append([]byte(nil), k...))
		return true, nil
	})
	for _, k := range doomed {
		if err == nil {
			err = t.delete(tx, k)
		}
	}
	return err
}

// key joins the parts of a key. Every part is closed by 0x00 0x01, and a zero byte inside a part is
// written 0x00 0xFF, so that no part can reach into the next one and a key of fewer parts is a
// prefix of exactly the keys that begin with them.
func key(parts ...string) []byte {
	var k []byte
	for _, part := range parts {
		for i := range len(part) {
			k = append(k, part[i])
			if part[i] == 0 {
				k = append(k, 0xFF)
			}
		}
		k = append(k, 0, 1)
	}
	return k
}

// splitKey is the inverse of key.
func splitKey(k []byte) (parts []string) {
	var part []byte
	for i := 0; i < len(k); i++ {
		if k[i] != 0 || i+1 == len(k) {
			part = append(part, k[i])
			continue
		}
		i++
		if k[i] == 0xFF {
			part = append(part, 0)
			continue
		}
		parts = append(parts, string(part))
		part = part[:0]
	}
	return parts
}

func positionKey(p Position) []byte { return binary.BigEndian.AppendUint64(nil, p) }

func keyPosition(k []byte) Position { return binary.BigEndian.Uint64(k[len(k)-8:]) }
