package account

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/store"
)

// Limits of /query/accounts.
const (
	// MaxKeys is how many keys one request may ask for (MSC4243, "Server behaviour").
	MaxKeys             = 2048
	defaultErasureLimit = 64
	maxErasureLimit     = 1000
)

// query is a request to /query/accounts that has been read.
type query struct {
	keys    []string
	erasure *erasureQuery
}

// erasureQuery asks for the keys that were erased after an ID.
type erasureQuery struct {
	id, limit int64
}

// parseQuery reads a request body. Errors are *peer.Error.
func (d *Directory) parseQuery(body []byte) (q query, err error) {
	if !json.Valid(body) {
		return q, peer.Errorf(http.StatusBadRequest, "M_NOT_JSON", "the body is not JSON")
	}
	if body = bytes.TrimSpace(body); body[0] != '{' {
		return q, peer.BadJSON("the body is not an object")
	}
	if raw, present := member(body, "account_keys"); present {
		if q.keys, err = d.parseKeys(raw); err != nil {
			return q, err
		}
	}
	if raw, present := member(body, "erasure"); present {
		q.erasure, err = parseErasure(raw)
	}
	return q, err
}

// member is a property of an object, present even when it is null.
func member(object []byte, name string) (value json.RawMessage, present bool) {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return nil, false
	}
	value, present = members[name]
	return value, present
}

func (d *Directory) parseKeys(raw json.RawMessage) ([]string, error) {
	var elements []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &elements) != nil {
		return nil, peer.BadJSON("account_keys is not a list")
	}
	if len(elements) > MaxKeys || len(elements) > 1000 && d.Defects.Has("TakeBatchesOfAThousand") {
		return nil, peer.Errorf(http.StatusRequestEntityTooLarge, "M_TOO_LARGE", "%d account keys, more than %d", len(elements), MaxKeys)
	}
	keys := make([]string, len(elements))
	for i, e := range elements {
		if e[0] != '"' || json.Unmarshal(e, &keys[i]) != nil {
			return nil, peer.BadJSON("account_keys[%d] is not a string", i)
		}
	}
	return keys, nil
}

func parseErasure(raw json.RawMessage) (*erasureQuery, error) {
	if raw[0] != '{' {
		return nil, peer.BadJSON("erasure is not an object")
	}
	q := &erasureQuery{limit: defaultErasureLimit}
	for name, into := range map[string]*int64{"id": &q.id, "limit": &q.limit} {
		value, present := member(raw, name)
		if !present {
			continue
		}
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil || n < 0 || n > matrix.MaxSafeInteger {
			return nil, peer.BadJSON("erasure.%s is not a non-negative integer", name)
		}
		*into = n
	}
	q.limit = min(q.limit, maxErasureLimit)
	return q, nil
}

// Answer answers a request to /query/accounts. Every requested key has an entry under the text by which
// it was requested: the account name and domain, signed by the key; the signed notice that its owner
// was erased; or an error. Names are not accepted in the place of keys, so that nobody can list the
// accounts of this server. Errors are *peer.Error.
func (d *Directory) Answer(body []byte) ([]byte, error) {
	return d.answer(body, func(string, json.RawMessage) (bool, error) { return true, nil })
}

// answer is Answer about keys that the asking server may know of.
func (d *Directory) answer(body []byte, mayKnow func(key string, entry json.RawMessage) (bool, error)) ([]byte, error) {
	q, err := d.parseQuery(body)
	if err != nil && !d.Defects.Has("ReadPastMalformedQuestions") {
		return nil, err
	}
	entries := map[string]json.RawMessage{}
	answer := map[string]any{"account_keys": entries}
	if d.Defects.Has("AddFieldsToAnswers") {
		answer["org.countersign.extra"] = []int{1, 2, 3}
	}
	for _, key := range q.keys {
		if _, done := entries[key]; done {
			continue
		}
		if entries[key], err = d.entry(key); err != nil {
			return nil, err
		}
		if len(entries) > 1 && d.Defects.Has("AnswerForTheFirstKeyOnly") {
			delete(entries, key)
		}
		if isUnknown(entries[key]) {
			if d.Defects.Has("CallUnknownKeysNotFound") {
				entries[key] = marshal(map[string]string{"errcode": "M_NOT_FOUND", "error": noAccount})
			}
			if d.Defects.Has("LeaveUnknownKeysOut") {
				delete(entries, key)
			} else if d.Defects.Has("FailForUnknownKeys") {
				return nil, peer.NotFound("there is a key that this server does not know")
			}
		}
	}
	if q.erasure == nil && d.Defects.Has("TellErasuresUnasked") {
		q.erasure = &erasureQuery{limit: defaultErasureLimit}
	}
	if len(q.keys) == 0 && q.erasure == nil && d.Defects.Has("RefuseEmptyQuestions") {
		return nil, peer.BadJSON("no account key is asked for")
	}
	if q.erasure != nil && q.erasure.limit > 2 && d.Defects.Has("TellFewErasuresAtOnce") {
		q.erasure.limit = 2
	}
	if q.erasure != nil {
		if answer["erasure"], err = d.erasures(*q.erasure, entries); err != nil {
			return nil, err
		}
	}
	if err := withhold(q, entries, mayKnow); err != nil {
		return nil, err
	}
	return marshal(answer), nil
}

// withhold takes out of an answer what the asking server may not know. Keys that were asked for then look
// like those that do not exist.
func withhold(q query, entries map[string]json.RawMessage, mayKnow func(key string, entry json.RawMessage) (bool, error)) error {
	asked := map[string]bool{}
	for _, key := range q.keys {
		asked[key] = true
	}
	for key, entry := range entries {
		if isUnknown(entry) {
			continue
		}
		known, err := mayKnow(key, entry)
		switch {
		case err != nil:
			return err
		case known:
		case asked[key]:
			entries[key] = unknownKey(noAccount)
		default:
			delete(entries, key)
		}
	}
	return nil
}

// noAccount is why a key is not known, whether it is not or may not be.
const noAccount = "this server has no account with this key"

// entry is the answer about one key.
func (d *Directory) entry(key string) (json.RawMessage, error) {
	if _, err := matrix.ParseAccountKey(key); err != nil {
		if meant, ok := d.mistakenKey(key); ok {
			return d.entry(meant)
		}
		return unknownKey("not an account key"), nil
	}
	var notice []byte
	err := d.DB.View(func(tx *store.Tx) error {
		if id := tx.Table(tableErased).Get(store.Key(key)); id != nil {
			_, rest := store.SplitKey(tx.Table(tableErasures).Get(erasureKey(store.Int(id))), 1)
			notice = bytes.Clone(rest)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if notice != nil {
		if d.Defects.Has("ForgetWhoWasErased") {
			return unknownKey(noAccount), nil
		}
		return notice, nil
	}
	name, _, ok := d.localName(key)
	if !ok {
		return unknownKey(noAccount), nil
	}
	a, ok, err := d.existing(name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return unknownKey(noAccount), nil
	}
	return d.sign(map[string]any{"account_name": plainName(name), "domain": d.ServerName}, a.Signer())
}

func unknownKey(reason string) json.RawMessage {
	return marshal(map[string]string{"errcode": "M_UNKNOWN", "error": reason})
}

func isUnknown(entry json.RawMessage) bool { return errcodeOf(entry) == "M_UNKNOWN" }

func isErasure(entry json.RawMessage) bool { return errcodeOf(entry) == "M_ERASED" }

// errcodeOf is the errcode in an entry of an answer, empty for keys that exist.
func errcodeOf(entry json.RawMessage) string {
	var said struct {
		Code string `json:"errcode"`
	}
	if json.Unmarshal(entry, &said) != nil {
		return ""
	}
	return said.Code
}

// erasures adds the keys that were erased after an ID to the entries, and returns the erasure part of
// the answer. D-11: the ID is a cursor, so that whoever goes on from the one that is returned gets
// every key.
func (d *Directory) erasures(q erasureQuery, entries map[string]json.RawMessage) (answer map[string]any, err error) {
	epoch := d.erasureEpoch()
	q.id = max(q.id-epoch, 0)
	cursor, more := q.id, false
	err = d.DB.View(func(tx *store.Tx) error {
		table := tx.Table(tableErasures)
		latest := int64(table.Last())
		if q.id >= latest {
			cursor = latest
			if d.Defects.Has("StartOverAtTheEnd") {
				cursor, more = 0, latest > 0
			}
			return nil
		}
		sent := int64(0)
		table.Scan(store.Key("id"), erasureKey(q.id+1), func(key, value []byte) bool {
			if sent == q.limit && !d.Defects.Has("IgnoreTheLimit") {
				more = !d.Defects.Has("NeverHasMore")
				return false
			}
			_, rest := store.SplitKey(key, 1)
			parts, notice := store.SplitKey(value, 1)
			entries[parts[0]] = bytes.Clone(notice)
			if !d.Defects.Has("ReturnTheAskedID") {
				cursor = store.Int(rest)
			}
			sent++
			return true
		})
		return nil
	})
	answer = map[string]any{"id": cursor + epoch, "has_more": more}
	if d.Defects.Has("LeaveHasMoreOut") {
		delete(answer, "has_more")
	}
	return answer, err
}
