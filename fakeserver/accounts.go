package fakeserver

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// maxErasurePage bounds how many erased keys one answer lists beyond those that were asked for.
const maxErasurePage = 1000

// serveAccounts answers /query/accounts honestly: every requested key, and when the request has an
// erasure section the keys erased since (MSC4243, "Proposal" and "Handling GDPR erasure"). Erasure
// IDs count the erased users; the answer's ID is that of the last one that it lists.
func (s *Server) serveAccounts(q *Inquiry) Answer {
	body := gjson.ParseBytes(q.Body)
	if len(q.Body) > 0 && !body.IsObject() {
		return badJSON("the request is not an object")
	}
	entries := map[string]json.RawMessage{}
	put := func(text string) error {
		entry, err := s.accountEntry(text)
		entries[text] = entry
		return err
	}
	for _, key := range body.Get("account_keys").Array() {
		if err := put(key.String()); err != nil {
			return badJSON("%v", err)
		}
	}
	answer := map[string]any{"account_keys": entries}
	if erasure := body.Get("erasure"); erasure.IsObject() {
		last, more, keys := s.erasedSince(int(erasure.Get("id").Int()), int(erasure.Get("limit").Int()))
		for _, key := range keys {
			if err := put(key); err != nil {
				return badJSON("%v", err)
			}
		}
		answer["erasure"] = map[string]any{"id": last, "has_more": more}
	}
	return JSON(http.StatusOK, answer)
}

// erasedSince lists up to limit keys that were erased after an erasure ID.
func (s *Server) erasedSince(id, limit int) (last int, more bool, keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id = min(max(id, 0), len(s.erasures))
	last = min(id+min(max(limit, 0), maxErasurePage), len(s.erasures))
	for _, u := range slices.Clone(s.erasures[id:last]) {
		keys = append(keys, u.Key())
	}
	return last, last < len(s.erasures), keys
}

// accountEntry is what is said about one key.
func (s *Server) accountEntry(text string) (json.RawMessage, error) {
	key, err := matrix.ParseAccountKey(text)
	if err != nil {
		return json.RawMessage(`{"errcode":"M_UNKNOWN"}`), nil
	}
	s.mu.Lock()
	u := s.byKey[key]
	s.mu.Unlock()
	if u == nil {
		return json.RawMessage(`{"errcode":"M_UNKNOWN"}`), nil
	}
	u.mu.Lock()
	erased := u.erased
	u.mu.Unlock()
	entry := map[string]string{"account_name": u.name, "domain": string(s.name)}
	if erased {
		entry = map[string]string{"errcode": "M_ERASED", "domain": string(s.name)}
	}
	raw, err := json.Marshal(entry)
	if err != nil {
		return nil, err
	}
	return matrix.SignJSON(raw, u.account.Signer())
}
