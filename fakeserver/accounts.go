package fakeserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// AccountsPath is the unstable path of /query/accounts (MSC4243, "Unstable prefix").
const AccountsPath = "/_matrix/federation/unstable/" + unstableMSC4243 + "/query/accounts"

// unstableAccountsMSC4348 is the last part of the path of MSC4348's query ("Obtaining account
// information"); D-51: it is as irregular as that in the text.
const unstableAccountsMSC4348 = "org.matrix.4348.accounts"

// PortableAccountsPath is the unstable path of the query of MSC4348.
const PortableAccountsPath = "/_matrix/federation/v1/query/" + unstableAccountsMSC4348

// maxErasurePage bounds how many erased keys one answer lists beyond those that were asked for.
const maxErasurePage = 1000

// AnswerAccounts answers /query/accounts for every key as told from now on, but for those of users
// with an answer of their own; see [User.AnswerWith]. The zero value makes it honest again.
func (s *Server) AnswerAccounts(a AccountAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = a
}

// QueryAccounts asks a server about account keys, given as texts of any form. The answer is returned
// whatever its status.
func (s *Server) QueryAccounts(ctx context.Context, dest matrix.ServerName, keys ...string) (*Response, error) {
	return s.Do(ctx, dest, http.MethodPost, AccountsPath, map[string]any{"account_keys": nonNil(keys)})
}

// QueryPortableAccounts is QueryAccounts at the path of MSC4348, for the accounts of its rooms.
func (s *Server) QueryPortableAccounts(ctx context.Context, dest matrix.ServerName, keys ...string) (*Response, error) {
	return s.Do(ctx, dest, http.MethodPost, PortableAccountsPath, map[string]any{"account_keys": nonNil(keys)})
}

// AskedKeys are the account keys that an exchange about /query/accounts asks for.
func (e Exchange) AskedKeys() []string {
	return textList(gjson.GetBytes(e.RequestBody, "account_keys"))
}

// AsksForErasures reports whether an exchange about /query/accounts has an erasure section in its
// request, and so asks for keys that it does not name.
func (e Exchange) AsksForErasures() bool {
	return gjson.GetBytes(e.RequestBody, "erasure").IsObject()
}

// AsksFor matches inbound requests that ask about an account key.
func AsksFor(key string) Matcher {
	return func(e Exchange) bool { return Is(OpQueryAccounts)(e) && slices.Contains(e.AskedKeys(), key) }
}

// accountsReply collects the answer to one query.
type accountsReply struct {
	server *Server
	cast   Cast
	body   []byte
	keys   map[string]bool
	whole  AccountAnswer // what concerns the answer as a whole
}

// put adds a member, unless its key is there already.
func (r *accountsReply) put(key string, entry json.RawMessage) {
	if r.keys[key] {
		return
	}
	if len(r.keys) > 0 {
		r.body = append(r.body, ',')
	}
	r.keys[key] = true
	r.body = append(append(append(r.body, quoted(key)...), ':'), entry...)
}

// about answers for one key that is asked for, or that is among the erased.
func (r *accountsReply) about(asked string) error {
	u, a := r.server.accountAnswer(asked)
	r.take(a)
	switch {
	case a.Omit:
		return nil
	case u == nil && a.Entry != "":
		r.put(asked, json.RawMessage(a.Entry))
		return nil
	case u == nil:
		r.put(asked, json.RawMessage(`{"errcode":"M_UNKNOWN"}`))
		return nil
	}
	key, entry, err := a.entry(u, asked, r.cast)
	if err != nil {
		return fmt.Errorf("answering for %s: %w", u.name, err)
	}
	r.put(key, entry)
	return nil
}

// take keeps the first answer that says anything about the answer as a whole.
func (r *accountsReply) take(a AccountAnswer) {
	whole := AccountAnswer{
		Unsolicited: a.Unsolicited, IgnoreErasureLimit: a.IgnoreErasureLimit, AnswerEdits: a.AnswerEdits,
		Body: a.Body, Status: a.Status, Header: a.Header, Manner: a.Manner,
	}
	if reflect.ValueOf(r.whole).IsZero() {
		r.whole = whole
	}
}

// serveAccounts answers /query/accounts: every requested key, and when the request has an erasure
// section the keys erased since (MSC4243, "Proposal" and "Handling GDPR erasure"). Erasure IDs count
// the erased users; the answer's ID is that of the last one that it lists.
func (s *Server) serveAccounts(q *Inquiry) Answer {
	request := gjson.ParseBytes(q.Body)
	if len(q.Body) > 0 && (!gjson.ValidBytes(q.Body) || !request.IsObject()) {
		return badJSON("the request is not an object")
	}
	stranger, err := s.extra("stranger")
	if err != nil {
		return Errorf(http.StatusInternalServerError, "M_UNKNOWN", "%v", err)
	}
	r := &accountsReply{server: s, cast: Cast{Stranger: stranger}, body: []byte(`{"account_keys":{`), keys: map[string]bool{}}
	s.mu.Lock()
	r.take(s.answer)
	s.mu.Unlock()
	for _, key := range request.Get("account_keys").Array() {
		if err := r.about(key.String()); err != nil {
			return Errorf(http.StatusInternalServerError, "M_UNKNOWN", "%v", err)
		}
	}
	body, err := r.finish(request.Get("erasure"))
	if err != nil {
		return Errorf(http.StatusInternalServerError, "M_UNKNOWN", "%v", err)
	}
	a := Answer{Status: http.StatusOK, Body: body, Header: r.whole.Header, Manner: r.whole.Manner}
	if r.whole.Status != 0 {
		a.Status = r.whole.Status
	}
	return a
}

// finish adds what nobody asked for, the erased keys and the edits of the whole.
func (r *accountsReply) finish(erasure gjson.Result) ([]byte, error) {
	for _, extra := range r.whole.Unsolicited {
		u := r.server.User(extra.Name)
		if u == nil {
			var err error
			if u, err = r.server.NewUser(extra.Name); err != nil {
				return nil, err
			}
		}
		key, entry, err := extra.Answer.entry(u, u.Key(), r.cast)
		if err != nil {
			return nil, fmt.Errorf("answering for %s: %w", u.name, err)
		}
		r.put(key, entry)
	}
	var section []byte
	if erasure.IsObject() {
		limit := erasure.Get("limit").Int()
		if r.whole.IgnoreErasureLimit {
			limit = maxErasurePage
		}
		last, more, keys := r.server.erasedSince(int(erasure.Get("id").Int()), int(limit))
		for _, key := range keys {
			if err := r.about(key); err != nil {
				return nil, err
			}
		}
		section = fmt.Appendf(nil, `,"erasure":{"id":%d,"has_more":%t}`, last, more)
	}
	body := append(append(append(r.body, '}'), section...), '}')
	if r.whole.Body != "" {
		return []byte(r.whole.Body), nil
	}
	return applyEdits(body, r.whole.AnswerEdits, names{
		"asked-id": strconv.FormatInt(erasure.Get("id").Int(), 10), "domain": string(r.server.name),
		"stranger": string(r.cast.Stranger.KeyID()), "stranger-key": r.cast.Stranger.Key(),
	})
}

// erasedSince lists up to limit keys that were erased after an erasure ID.
func (s *Server) erasedSince(id, limit int) (last int, more bool, keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id = min(max(id, 0), len(s.erasures))
	last = min(id+min(max(limit, 0), maxErasurePage), len(s.erasures))
	for _, u := range s.erasures[id:last] {
		keys = append(keys, u.Key())
	}
	return last, last < len(s.erasures), keys
}

// accountAnswer finds the account of a key's text, nil when there is none, and the answer to give.
func (s *Server) accountAnswer(text string) (*User, AccountAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := matrix.ParseAccountKey(text)
	if err != nil {
		return nil, s.answer
	}
	u := s.byKey[key]
	if u == nil {
		return nil, s.answer
	}
	if a := u.ownAnswer(); a != nil {
		return u, *a
	}
	return u, s.answer
}
