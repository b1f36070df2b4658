package account

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

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
		return d.Defects.Has("TakeOverNewNames") || d.Defects.Has("ForgetVerification")
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
