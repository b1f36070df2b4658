// Package participant keeps what makes this server a participant of rooms (MSC4345): its own server
// keys, one for each room, and which domains other servers' keys have been verified to belong to.
package participant

import (
	"encoding/json"
	"fmt"
	"sync"

	"countersign/matrix"
	"countersign/reference/defect"
	"countersign/reference/store"
)

// Tables.
const (
	tableRooms = "participant_rooms" // room ID -> the text of this server's latest key there
	tableKeys  = "participant_keys"  // key text -> keyRecord
)

// Keys are the server keys of this server. D-31: "long lived" keys are minted for one room each, so that
// rooms cannot be told to have a server in common, and for each room once more after a revocation, as a
// revoked key never takes part again (MSC4345, "Revoked participation"). It is safe for concurrent use.
// Those of its methods that return an error must not be called inside a transaction of its store.
type Keys struct {
	// Defects are what the server does wrong on purpose.
	Defects defect.Set

	db *store.DB
	// writing is held while keys are minted or changed, and mutex while the maps are used.
	writing sync.Mutex
	mutex   sync.Mutex
	byText  map[matrix.ServerName]Own
	latest  map[string]matrix.ServerName
	// restarted: there were keys when this was opened. Mutants ask.
	restarted bool
}

// Own is one of this server's keys.
type Own struct {
	matrix.ServerKeyPair
	RoomID  string
	Version string
	// Through is the server that this server has handed its request to participate to. It is empty when
	// this server has not requested, or is the one that began the room.
	Through matrix.ServerName
	// Retired is set once the key was revoked.
	Retired bool
	// Doubtful is set once somebody has said that the key was revoked in a room that this server is not in,
	// so that it cannot know.
	Doubtful bool
}

// Requested reports whether this server has requested to participate with the key.
func (o Own) Requested() bool { return o.Through != "" }

type keyRecord struct {
	Seed     []byte            `json:"seed"`
	RoomID   string            `json:"room_id"`
	Version  string            `json:"version"`
	Through  matrix.ServerName `json:"through,omitempty"`
	Retired  bool              `json:"retired,omitempty"`
	Doubtful bool              `json:"doubtful,omitempty"`
}

// NewKeys opens the keys that are kept in a store. The error says which of them is damaged.
func NewKeys(db *store.DB, defects defect.Set) (*Keys, error) {
	k := &Keys{Defects: defects, db: db, byText: map[matrix.ServerName]Own{}, latest: map[string]matrix.ServerName{}}
	err := db.View(func(tx *store.Tx) (err error) {
		tx.Table(tableKeys).Scan(nil, nil, func(key, value []byte) bool {
			var r keyRecord
			if err = json.Unmarshal(value, &r); err != nil || len(r.Seed) != 32 {
				err = fmt.Errorf("the stored server key %q is damaged: %w", key, err)
				return false
			}
			o := Own{matrix.ServerKeyPairFromSeed(r.Seed), r.RoomID, r.Version, r.Through, r.Retired, r.Doubtful}
			k.byText[o.Key().Name()] = o
			return true
		})
		if err != nil {
			return err
		}
		tx.Table(tableRooms).Scan(nil, nil, func(key, value []byte) bool {
			parts, _ := store.SplitKey(key, 1)
			k.latest[parts[0]] = matrix.ServerName(value)
			return true
		})
		if k.restarted = len(k.byText) > 0; k.restarted {
			k.loseAtRestart()
		}
		return nil
	})
	return k, err
}

// Find is this server's key of a text, in whichever room, retired or not.
func (k *Keys) Find(text matrix.ServerName) (o Own, ok bool) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	o, ok = k.byText[text]
	return o, ok
}

// Latest is this server's key in a room, or the last one that it had there.
func (k *Keys) Latest(roomID string) (o Own, ok bool) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	o, ok = k.byText[k.latest[roomID]]
	return o, ok
}

// Current is this server's key in a room; there is none when the last one was retired.
func (k *Keys) Current(roomID string) (o Own, ok bool) {
	o, ok = k.Latest(roomID)
	return o, ok && !o.Retired
}

// Mint is Current, or else a new key, which is kept from then on; concurrent first uses get one key.
func (k *Keys) Mint(roomID string, v matrix.RoomVersion) (Own, error) {
	if o, ok := k.Current(roomID); ok {
		return o, nil
	}
	k.writing.Lock()
	defer k.writing.Unlock()
	if o, ok := k.Current(roomID); ok {
		return o, nil
	}
	pair, err := matrix.NewServerKeyPair()
	if err != nil {
		return Own{}, err
	}
	o := Own{ServerKeyPair: pair, RoomID: roomID, Version: v.ID}
	return o, k.keep(o)
}

// Adopt makes a key that was minted before its room had an ID this server's key in the room.
func (k *Keys) Adopt(roomID string, v matrix.RoomVersion, pair matrix.ServerKeyPair) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	return k.keep(Own{ServerKeyPair: pair, RoomID: roomID, Version: v.ID})
}

// NoteRequest remembers that this server has requested to participate with a key, and through whom.
func (k *Keys) NoteRequest(text, through matrix.ServerName) error {
	return k.change(text, func(o *Own) { o.Through = through })
}

// Retire remembers that a key was revoked. What is none of this server's is not looked at.
func (k *Keys) Retire(text matrix.ServerName) error {
	return k.change(text, func(o *Own) { o.Retired = true })
}

// Doubt remembers that a key was revoked, as somebody says.
func (k *Keys) Doubt(text matrix.ServerName) error {
	return k.change(text, func(o *Own) { o.Doubtful = true })
}

func (k *Keys) change(text matrix.ServerName, change func(*Own)) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	o, ok := k.Find(text)
	if !ok {
		return nil
	}
	before := o
	if change(&o); o.Through == before.Through && o.Retired == before.Retired && o.Doubtful == before.Doubtful {
		return nil
	}
	return k.keep(o)
}

// keep stores a key. k.writing is held.
func (k *Keys) keep(o Own) error {
	text := o.Key().Name()
	record, err := json.Marshal(keyRecord{o.Seed(), o.RoomID, o.Version, o.Through, o.Retired, o.Doubtful})
	if err != nil {
		return err
	}
	latest, known := k.Latest(o.RoomID)
	isLatest := !known || !o.Retired || latest.Key() == o.Key()
	err = k.db.Update(func(tx *store.Tx) error {
		if err := tx.Table(tableKeys).Put(store.Key(string(text)), record); err != nil || !isLatest {
			return err
		}
		return tx.Table(tableRooms).Put(store.Key(o.RoomID), []byte(text))
	})
	if err != nil {
		return fmt.Errorf("keeping a server key for the room %s: %w", o.RoomID, err)
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.byText[text] = o
	if isLatest {
		k.latest[o.RoomID] = text
	}
	return nil
}
