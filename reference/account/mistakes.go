package account

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/matrix"
	"countersign/reference/store"
)

// mistakenTransition reports whether what a domain says of a key is taken over although it must not be.
func (d *Directory) mistakenTransition(old, said Entry) bool {
	switch {
	case old.State == Verified && said.State == Unverified:
		return d.Defects.Has("ForgetVerification")
	case old.State == Erased && said.State == Verified:
		return d.Defects.Has("ForgetErasure")
	case old.State == Verified && said.State == Verified && said.Name != old.Name:
		return d.Defects.Has("TakeOverNewNames")
	}
	return false
}

// mistakenProof reports whether what a key has not signed is believed.
func (d *Directory) mistakenProof(said Entry) bool {
	if said.State == Erased {
		return d.Defects.Has("BelieveUnsignedErasures")
	}
	return d.Defects.Has("BelieveUnsignedNames")
}

// asksOnceMore reports whether keys are asked for whose state is settled.
func (d *Directory) asksOnceMore(user matrix.UserID) bool {
	switch d.Lookup(user).State {
	case Verified:
		return d.Defects.Has("AskForVerifiedKeysAgain") || d.Defects.Has("TakeOverNewNames") || d.Defects.Has("ForgetVerification")
	case Erased:
		return d.Defects.Has("ForgetErasure")
	}
	return false
}

// unaskedName is what an entry says that was not asked for, and of whom: it may be of any domain.
func (d *Directory) unaskedName(text string, entry json.RawMessage) (matrix.UserID, Entry) {
	domain := matrix.ServerName(gjson.GetBytes(entry, "domain").Str)
	return matrix.UserID("@" + text + ":" + string(domain)), d.readEntry(text, entry, domain)
}

// unlearn makes keys unverified that a domain does not confirm again.
func (d *Directory) unlearn(asked []matrix.UserID, said map[matrix.UserID]Entry, answered bool) {
	for _, user := range asked {
		if _, confirmed := said[user]; answered && !confirmed && d.Lookup(user).State == Verified && d.Defects.Has("ForgetVerification") {
			said[user] = Entry{}
		}
	}
}

// mistakenKey is the key that a text may be taken for that is none: one in another spelling, or a name.
func (d *Directory) mistakenKey(text string) (key string, ok bool) {
	meant := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
	if _, err := matrix.ParseAccountKey(meant); err == nil {
		return meant, d.Defects.Has("AnswerForOtherSpellings")
	}
	name := strings.TrimSuffix(strings.TrimPrefix(text, "@"), ":"+string(d.ServerName))
	if a, ok, err := d.existing(name); ok && err == nil {
		return a.Key().String(), d.Defects.Has("LookUpNames")
	}
	return "", false
}

// sign signs what is told about a key.
func (d *Directory) sign(entry map[string]any, signer matrix.Signer) (json.RawMessage, error) {
	switch {
	case d.Defects.Has("LeaveAnswersUnsigned"):
		return marshal(entry), nil
	case d.Defects.Has("LeaveTheDomainOut"):
		delete(entry, "domain")
	case d.Defects.Has("TellMoreThanIsSigned"):
		signed, err := matrix.SignJSON(marshal(entry), signer)
		if err != nil {
			return nil, err
		}
		return sjson.SetBytes(signed, "display_name", "unsigned")
	case d.Defects.Has("TellUserIDsForNames"):
		entry["account_name"] = fmt.Sprintf("@%s:%s", entry["account_name"], d.ServerName)
	}
	return matrix.SignJSON(marshal(entry), signer)
}

// spoiled reports whether an answer has an entry that confirms nothing.
func (r *answerRead) spoiled() bool { return r.unconfirmed > 0 }

// loseAtRestart forgets what should have been kept.
func (d *Directory) loseAtRestart() error {
	return d.DB.Update(func(tx *store.Tx) error {
		for _, lost := range [...]struct {
			table string
			lose  func() bool
		}{
			{tableSeeds, func() bool { return d.Defects.Has("LoseKeysAtRestart") }},
			{tableRemote, func() bool { return d.Defects.Has("LoseNamesAtRestart") }},
			{tableServers, func() bool { return d.Defects.Has("LoseErasureIDsAtRestart") }},
			{tableErasures, func() bool { return d.Defects.Has("LoseErasuresAtRestart") }},
		} {
			var keys [][]byte
			table := tx.Table(lost.table)
			table.Scan(nil, nil, func(key, _ []byte) bool {
				keys = append(keys, bytes.Clone(key))
				return true
			})
			if len(keys) == 0 || !lost.lose() {
				continue
			}
			for _, key := range keys {
				if err := table.Delete(key); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// giveUp has keys not asked for again.
func (d *Directory) giveUp(subjects []subject) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	never := d.Clock().Add(pollInterval)
	for _, s := range subjects {
		d.attempts[s] = attempt{asked: never, next: never}
	}
}

// mistakenSource is whom a mutant asks, and where, for the accounts that it should ask another way.
func (d *Directory) mistakenSource(from source) source {
	if from.portable && d.Defects.Has("AskForAccountsAsMSC4243Does") {
		from.portable = false
	}
	return from
}

// Departed is told that a local user has left a room. The account key stays; a mutant takes another one.
func (d *Directory) Departed(name string) error {
	if !d.Defects.Has("ReplaceKeysOfThoseWhoLeave") {
		return nil
	}
	return d.replaceKey(name)
}

// Rehomed is told that a local user comes back to a room through another server key. The account key stays; a mutant
// takes another one.
func (d *Directory) Rehomed(name string) error {
	if !d.Defects.Has("ReplaceKeysWithTheServers") {
		return nil
	}
	return d.replaceKey(name)
}

func (d *Directory) replaceKey(name string) error {
	err := d.DB.Update(func(tx *store.Tx) error { return tx.Table(tableSeeds).Delete(store.Key(name)) })
	d.forget(func() { d.accounts.Delete(name) })
	return err
}

// sameHost reports whether a mutant takes a domain in an answer for the one that was asked, as it compares them
// without their ports.
func (d *Directory) sameHost(said string, asked matrix.ServerName) bool {
	name, err := matrix.ParseServerName(said)
	if err != nil {
		return false
	}
	one, _ := name.HostPort()
	other, _ := asked.HostPort()
	return one == other && d.Defects.Has("CompareDomainsWithoutPorts")
}

// tooStrict reports whether a mutant refuses what a domain says of a key, though the key has signed it.
func (d *Directory) tooStrict(fields map[string]json.RawMessage) bool {
	if _, ok := fields["unsigned"]; ok && d.Defects.Has("CoverUnsignedOfAccounts") {
		return true
	}
	return len(gjson.ParseBytes(fields["signatures"]).Map()) > 1 && d.Defects.Has("RefuseAccountsThatOthersSigned")
}

// entryOfKey is what is known of a key that is unverified, to a mutant that goes by the key alone, whatever its domain.
func (d *Directory) entryOfKey(tx *store.Tx, user matrix.UserID) (e Entry) {
	if d.Defects.None() {
		return e
	}
	tx.Table(tableRemote).Scan(nil, nil, func(k, value []byte) bool {
		parts, _ := store.SplitKey(k, 1)
		var r remoteRecord
		if json.Unmarshal(value, &r) != nil || r.State == Unverified {
			return true
		}
		known := matrix.UserID(parts[0])
		if known.Localpart() == user.Localpart() && d.Defects.Has("VerifyByKeyAlone") {
			e = r.entry()
		}
		return e.State == Unverified
	})
	return e
}

// eraseElsewhere erases a key wherever it is used, as a mutant does.
func (d *Directory) eraseElsewhere(tx *store.Tx, user matrix.UserID, e Entry, changes map[matrix.UserID]Entry) error {
	if e.State != Erased || d.Defects.None() {
		return nil
	}
	var failed error
	for _, known := range d.sameKeys(tx, user) {
		if !d.Defects.Has("EraseByKeyAlone") {
			return nil
		}
		r, err := getRemote(tx, known)
		if failed = err; failed == nil {
			failed = putRemote(tx, known, r.entry(), e)
		}
		changes[known] = e
	}
	return failed
}

// sameKeys are the other users with the key of a user.
func (d *Directory) sameKeys(tx *store.Tx, user matrix.UserID) (users []matrix.UserID) {
	tx.Table(tableRemote).Scan(nil, nil, func(k, _ []byte) bool {
		parts, _ := store.SplitKey(k, 1)
		if known := matrix.UserID(parts[0]); known != user && known.Localpart() == user.Localpart() {
			users = append(users, known)
		}
		return true
	})
	return users
}

// dawdle is the time that passes in a mutant between looking for a key and minting one.
func (d *Directory) dawdle() {
	if d.Defects.Has("MintWithoutLooking") {
		time.Sleep(50 * time.Millisecond)
	}
}

// Gone is told that a user of another server has left a room. What is known of the key stays; a mutant forgets it.
func (d *Directory) Gone(user matrix.UserID) {
	e := d.Lookup(user)
	if e.State != Verified || !d.Defects.Has("ForgetThoseWhoLeave") {
		return
	}
	err := d.DB.Update(func(tx *store.Tx) error { return putRemote(tx, user, e, Entry{}) })
	if err != nil {
		d.Logger.Error("forgetting a user", "user", user, "error", err)
	}
	d.forget(func() { d.entries.Delete(user) })
}

// gather waits until more keys may have come that can be asked for at the same time.
func (d *Directory) gather() {
	if d.Defects.Has("AskAfterAWhile") {
		time.Sleep(300 * time.Millisecond)
	}
}

// erasureEpoch is what is added to erasure IDs, which are numbers that nobody interprets (D-11).
func (d *Directory) erasureEpoch() int64 {
	if d.Defects.Has("NumberErasuresByTime") {
		return 1_700_000_000_000
	}
	return 0
}
