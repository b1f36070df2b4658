package account

import (
	"encoding/json"
	"fmt"

	"countersign/matrix"
)

// answerRead is what an answer to /query/accounts says.
type answerRead struct {
	// said are the keys that the domain has confirmed, or whose erasure it has proved.
	said map[matrix.UserID]Entry
	// cursor is the erasure ID to go on from, and more whether there is more; 0 and false when the
	// answer does not say so in a way that can be trusted.
	cursor int64
	more   bool
	// unconfirmed counts the entries that confirm nothing.
	unconfirmed int
}

// readAnswer reads a domain's answer about some of its keys. Whatever is not as it should be counts as
// not being there: the key stays what it was (matrix M2 of the catalogue). The error is for answers
// that are unusable as a whole.
func (d *Directory) readAnswer(body []byte, domain matrix.ServerName, asked []matrix.UserID) (r answerRead, err error) {
	r.said = map[matrix.UserID]Entry{}
	var answer struct {
		Keys    map[string]json.RawMessage `json:"account_keys"`
		Erasure json.RawMessage            `json:"erasure"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return r, fmt.Errorf("the answer of %s has another shape: %w", domain, err)
	}
	requested := map[string]bool{}
	for _, user := range asked {
		requested[user.Localpart()] = true
	}
	unsolicited := map[matrix.UserID]Entry{}
	others := 0
	for text, entry := range answer.Keys {
		e := d.readEntry(text, entry, domain)
		user := matrix.UserID("@" + text + ":" + string(domain))
		switch {
		case requested[text] && e.State != Unverified:
			r.said[user] = e
		case requested[text]:
			r.unconfirmed++
		default:
			// Only erasures are told without being asked for (QC-12).
			if others++; e.State == Erased {
				unsolicited[user] = e
			}
			if other, e := d.unaskedName(text, entry); e.State == Verified && d.Defects.Has("BelieveUnaskedNames") {
				unsolicited[other] = e
			}
		}
	}
	if others > erasureLimit {
		return r, fmt.Errorf("%s tells of %d keys that were not asked for; at most %d were wanted", domain, others, erasureLimit)
	}
	for user, e := range unsolicited {
		r.said[user] = e
	}
	r.cursor, r.more = readCursor(answer.Erasure)
	return r, nil
}

func readCursor(raw json.RawMessage) (cursor int64, more bool) {
	var erasure struct {
		ID   int64 `json:"id"`
		More bool  `json:"has_more"`
	}
	if raw == nil || json.Unmarshal(raw, &erasure) != nil || erasure.ID < 0 || erasure.ID > matrix.MaxSafeInteger {
		return 0, false
	}
	return erasure.ID, erasure.More
}

// readEntry is what an entry proves about a key of a domain; Unverified when it proves nothing. The
// entry must name the domain, and the key must have signed it (D-07: the entity is the key's text and
// the key ID is that of events). A signature over an erasure holds for no account, and the other way
// around, as the objects differ.
func (d *Directory) readEntry(text string, entry json.RawMessage, domain matrix.ServerName) Entry {
	key, err := matrix.ParseAccountKey(text)
	if err != nil {
		return Entry{}
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(entry, &fields) != nil {
		return Entry{}
	}
	if said := stringOf(fields["domain"]); said != string(domain) && !d.Defects.Has("BelieveAnyDomain") && !d.sameHost(said, domain) {
		return Entry{}
	}
	said := Entry{}
	if errcode, failed := fields["errcode"]; failed {
		if stringOf(errcode) == "M_ERASED" {
			said.State = Erased
		}
	} else if name := d.cleanName(stringOf(fields["account_name"]), domain); name != "" {
		said = Entry{State: Verified, Name: name}
	}
	if said.State == Unverified {
		return Entry{}
	}
	if matrix.VerifyJSON(entry, text, matrix.AccountKeyID, key.PublicKey()) != nil && !d.mistakenProof(said) {
		return Entry{}
	}
	if d.tooStrict(fields) {
		return Entry{}
	}
	return said
}

// stringOf is a JSON string's value, or empty.
func stringOf(raw json.RawMessage) (s string) {
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
