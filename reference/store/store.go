// Package store keeps the reference homeserver's data: ordered tables of bytes, in memory, and a file from
// which they are read when the homeserver starts again.
//
// Every commit is written through to the operating system before Update returns, so a killed process
// loses nothing that it had answered; the disk is not waited for, so a power cut may. Writers run one
// at a time, which is what makes stream positions that are taken inside Update appear in order. Readers wait
// for nobody: what is committed is never changed, each commit makes new tables that share with the old ones
// whatever is the same.
//
// Nothing is ever removed from the file. A test server does not live long enough to mind.
package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/btree"
)

// lockWait bounds how long Open waits for a process that still holds the file.
const lockWait = 2 * time.Second

// DB is an open store. It is safe for concurrent use.
type DB struct {
	committed atomic.Pointer[tables]
	writing   sync.Mutex // one Update at a time
	journal   *journal
}

// tables are all tables by name. They and what is in them are not changed any more once they are committed.
type tables map[string]*rows

// rows are the rows of a table, and the number that Next has returned last.
type rows struct {
	tree     *btree.BTreeG[row]
	sequence uint64
}

type row struct{ key, value []byte }

// degree is small, as a change copies the nodes above it.
const degree = 8

func newRows() *rows {
	less := func(a, b row) bool { return bytes.Compare(a.key, b.key) < 0 }
	return &rows{tree: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true, Degree: degree})}
}

// Open opens the store in a folder, which is made when it does not exist. It fails when another
// process has the store open, or when the folder cannot be written.
func Open(dir string) (*DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the data folder cannot be made: %w", err)
	}
	path := filepath.Join(dir, "countersign.journal")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the store %s cannot be opened: %w", path, err)
	}
	if err := lockInTime(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	db, stored := &DB{}, tables{}
	if db.journal, err = readJournal(file, stored.apply); err != nil {
		return nil, errors.Join(fmt.Errorf("the store %s cannot be read: %w", path, err), file.Close())
	}
	db.committed.Store(&stored)
	return db, nil
}

func lockInTime(file *os.File) error {
	for deadline := time.Now().Add(lockWait); ; time.Sleep(lockWait / 100) {
		taken, err := lock(file)
		switch {
		case err != nil:
			return fmt.Errorf("the store %s cannot be locked: %w", file.Name(), err)
		case !taken:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%s is in use by another process; give each server its own data folder", file.Name())
		}
	}
}

// apply does a change of the journal again.
func (t tables) apply(c change) {
	r := t[c.table]
	if r == nil {
		r = newRows()
		t[c.table] = r
	}
	switch c.kind {
	case put:
		r.tree.Set(row{c.key, c.value})
	case deletion:
		r.tree.Delete(row{key: c.key})
	case next:
		r.sequence++
	}
}

// Close waits for an update that is under way and closes the file.
func (db *DB) Close() error {
	db.writing.Lock()
	defer db.writing.Unlock()
	return db.journal.file.Close()
}

// View runs a function on one consistent state of the store. It must not call Update.
func (db *DB) View(f func(*Tx) error) error { return f(&Tx{tables: *db.committed.Load()}) }

// Update runs a function that may write; all of its writes are kept, or none when it returns an
// error. It must not call View or Update, and must not wait for anything that may.
func (db *DB) Update(f func(*Tx) error) error {
	db.writing.Lock()
	defer db.writing.Unlock()
	tx := &Tx{tables: *db.committed.Load(), writes: true}
	if err := f(tx); err != nil {
		return err
	}
	if tx.record != nil {
		if err := db.journal.write(tx.record); err != nil {
			return fmt.Errorf("the store cannot be written: %w", err)
		}
		db.committed.Store(&tx.tables)
	}
	for _, f := range tx.onCommit {
		f()
	}
	return nil
}

// Tx is a transaction. It is for one goroutine and ends with its function.
type Tx struct {
	tables   tables
	writes   bool
	changed  map[string]bool // the tables that are this transaction's own, to be changed
	record   []byte          // the changes, for the journal; nil when there are none
	onCommit []func()
}

// OnCommit has f called after the transaction has been committed. It must not call Update.
func (tx *Tx) OnCommit(f func()) { tx.onCommit = append(tx.onCommit, f) }

// change makes a change in a table of the transaction's own.
func (tx *Tx) change(c change) error {
	if !tx.writes {
		return fmt.Errorf("table %s: a view cannot write", c.table)
	}
	if tx.record == nil {
		tx.record, tx.tables, tx.changed = newRecord(), maps.Clone(tx.tables), map[string]bool{}
	}
	if r := tx.tables[c.table]; r != nil && !tx.changed[c.table] {
		tx.tables[c.table] = &rows{r.tree.Copy(), r.sequence}
	}
	tx.changed[c.table] = true
	tx.record = c.appendTo(tx.record)
	tx.tables.apply(c)
	return nil
}

// Table is the table of a name. It need not exist: an absent table is empty, and Put makes it.
func (tx *Tx) Table(name string) Table { return Table{tx, name} }

// Table is an ordered map from keys to values. Keys must not be empty. Values that Get and Scan
// return must not be changed.
type Table struct {
	tx   *Tx
	name string
}

// Get returns the value of a key, or nil.
func (t Table) Get(key []byte) []byte {
	if r := t.tx.tables[t.name]; r != nil {
		found, _ := r.tree.Get(row{key: key})
		return found.value
	}
	return nil
}

// Put sets the value of a key.
func (t Table) Put(key, value []byte) error {
	if len(key) == 0 {
		return fmt.Errorf("table %s: a key is empty", t.name)
	}
	kept := append(append(make([]byte, 0, len(key)+len(value)), key...), value...)
	return t.tx.change(change{put, t.name, kept[:len(key):len(key)], kept[len(key):]})
}

// Delete removes a key, if it is there.
func (t Table) Delete(key []byte) error {
	if t.Get(key) == nil {
		return nil
	}
	return t.tx.change(change{kind: deletion, table: t.name, key: key})
}

// Next returns the table's next sequence number, from 1 on.
func (t Table) Next() (uint64, error) {
	err := t.tx.change(change{kind: next, table: t.name})
	return t.Last(), err
}

// Last returns the sequence number that Next returned last, 0 before the first.
func (t Table) Last() uint64 {
	if r := t.tx.tables[t.name]; r != nil {
		return r.sequence
	}
	return 0
}

// Scan calls f with every entry whose key starts with prefix and is not less than from, in order,
// until f returns false. from may be nil. f must not change the table.
func (t Table) Scan(prefix, from []byte, f func(key, value []byte) bool) {
	r := t.tx.tables[t.name]
	if r == nil {
		return
	}
	start := prefix
	if bytes.Compare(from, prefix) > 0 {
		start = from
	}
	r.tree.Ascend(row{key: start}, func(e row) bool {
		return bytes.HasPrefix(e.key, prefix) && f(e.key, e.value)
	})
}

// ScanBack calls f with every entry whose key starts with prefix and is less than before, in
// descending order, until f returns false. A nil before means from the last entry on. f must not
// change the table.
func (t Table) ScanBack(prefix, before []byte, f func(key, value []byte) bool) {
	r := t.tx.tables[t.name]
	if r == nil {
		return
	}
	if before == nil {
		before = successor(prefix)
	}
	visit := func(e row) bool {
		return bytes.Equal(e.key, before) || bytes.HasPrefix(e.key, prefix) && f(e.key, e.value)
	}
	if before == nil {
		r.tree.Reverse(visit)
		return
	}
	r.tree.Descend(row{key: before}, visit)
}
