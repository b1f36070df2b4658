// Package store keeps the reference homeserver's data: ordered tables of bytes in one bbolt file.
//
// Every commit is written through to the operating system before Update returns, so a killed process
// loses nothing that it had answered; the disk is not waited for, so a power cut may. Writers run one
// at a time, which is what makes stream positions that are taken inside Update appear in order.
package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// lockWait bounds how long Open waits for a process that still holds the file.
const lockWait = 2 * time.Second

// DB is an open store. It is safe for concurrent use.
type DB struct{ bolt *bbolt.DB }

// Open opens the store in a folder, which is made when it does not exist. It fails when another
// process has the store open, or when the folder cannot be written.
func Open(dir string) (*DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the data folder cannot be made: %w", err)
	}
	path := filepath.Join(dir, "countersign.db")
	b, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockWait, NoSync: true, NoGrowSync: true, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%s is in use by another process; give each server its own data folder", path)
	}
	if err != nil {
		return nil, fmt.Errorf("the store %s cannot be opened: %w", path, err)
	}
	return &DB{bolt: b}, nil
}

// Close waits for transactions that are under way and closes the file.
func (db *DB) Close() error { return db.bolt.Close() }

// View runs a function on one consistent state of the store. It must not call Update.
func (db *DB) View(f func(*Tx) error) error {
	return db.bolt.View(func(tx *bbolt.Tx) error { return f(&Tx{tx: tx}) })
}

// Update runs a function that may write; all of its writes are kept, or none when it returns an
// error. It must not call View or Update, and must not wait for anything that may.
func (db *DB) Update(f func(*Tx) error) error {
	return db.bolt.Update(func(tx *bbolt.Tx) error { return f(&Tx{tx: tx}) })
}

// Tx is a transaction. It is for one goroutine and ends with its function.
type Tx struct{ tx *bbolt.Tx }

// OnCommit has f called after the transaction has been committed.
func (tx *Tx) OnCommit(f func()) { tx.tx.OnCommit(f) }

// Table is the table of a name. It need not exist: an absent table is empty, and Put makes it.
func (tx *Tx) Table(name string) Table { return Table{tx: tx.tx, name: []byte(name)} }

// Table is an ordered map from keys to values. Keys must not be empty. Values that Get and Scan
// return live until the transaction ends and must not be changed.
type Table struct {
	tx   *bbolt.Tx
	name []byte
}

// Get returns the value of a key, or nil.
func (t Table) Get(key []byte) []byte {
	if b := t.tx.Bucket(t.name); b != nil {
		return b.Get(key)
	}
	return nil
}

// Put sets the value of a key.
func (t Table) Put(key, value []byte) error {
	b, err := t.tx.CreateBucketIfNotExists(t.name)
	if err != nil {
		return fmt.Errorf("table %s: %w", t.name, err)
	}
	if err := b.Put(key, value); err != nil {
		return fmt.Errorf("table %s: %w", t.name, err)
	}
	return nil
}

// Delete removes a key, if it is there.
func (t Table) Delete(key []byte) error {
	b := t.tx.Bucket(t.name)
	if b == nil {
		return nil
	}
	if err := b.Delete(key); err != nil {
		return fmt.Errorf("table %s: %w", t.name, err)
	}
	return nil
}

// Next returns the table's next sequence number, from 1 on.
func (t Table) Next() (uint64, error) {
	b, err := t.tx.CreateBucketIfNotExists(t.name)
	if err != nil {
		return 0, fmt.Errorf("table %s: %w", t.name, err)
	}
	n, err := b.NextSequence()
	if err != nil {
		return 0, fmt.Errorf("table %s: %w", t.name, err)
	}
	return n, nil
}

// Last returns the sequence number that Next returned last, 0 before the first.
func (t Table) Last() uint64 {
	if b := t.tx.Bucket(t.name); b != nil {
		return b.Sequence()
	}
	return 0
}

// Scan calls f with every entry whose key starts with prefix and is not less than from, in order,
// until f returns false. from may be nil. f must not change the table.
func (t Table) Scan(prefix, from []byte, f func(key, value []byte) bool) {
	b := t.tx.Bucket(t.name)
	if b == nil {
		return
	}
	start := prefix
	if bytes.Compare(from, prefix) > 0 {
		start = from
	}
	c := b.Cursor()
	for k, v := c.Seek(start); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if !f(k, v) {
			return
		}
	}
}

// ScanBack calls f with every entry whose key starts with prefix and is less than before, in
// descending order, until f returns false. A nil before means from the last entry on. f must not
// change the table.
func (t Table) ScanBack(prefix, before []byte, f func(key, value []byte) bool) {
	b := t.tx.Bucket(t.name)
	if b == nil {
		return
	}
	if before == nil {
		before = successor(prefix)
	}
	c := b.Cursor()
	var k, v []byte
	if before == nil {
		k, v = c.Last()
	} else if k, _ = c.Seek(before); k == nil {
		k, v = c.Last()
	} else {
		k, v = c.Prev()
	}
	for ; k != nil && bytes.HasPrefix(k, prefix); k, v = c.Prev() {
		if !f(k, v) {
			return
		}
	}
}

// successor is the least key that is greater than every key with a prefix, or nil when there is none.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			s := bytes.Clone(prefix[:i+1])
			s[i]++
			return s
		}
	}
	return nil
}

// Key joins strings to a key. Each is closed by a zero byte, so that the key of fewer parts is a
// prefix of the keys of more, and of no others.
func Key(parts ...string) []byte {
	n := 0
	for _, p := range parts {
		n += len(p) + 1
	}
	key := make([]byte, 0, n+16)
	for _, p := range parts {
		key = append(append(key, p...), 0)
	}
	return key
}

// AppendInt appends an integer so that keys sort by it, negative numbers first.
func AppendInt(key []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(key, uint64(n)^(1<<63))
}

// Int reads what AppendInt appended at the start of b. It returns 0 when b is too short.
func Int(b []byte) int64 {
	if len(b) < 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(b) ^ (1 << 63))
}

// SplitKey returns the strings that Key joined, and what was appended after them when there are more
// than n.
func SplitKey(key []byte, n int) (parts []string, rest []byte) {
	for range n {
		i := bytes.IndexByte(key, 0)
		if i < 0 {
			break
		}
		parts = append(parts, string(key[:i]))
		key = key[i+1:]
	}
	return parts, key
}
