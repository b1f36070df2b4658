package fakeserver

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"

	"countersign/matrix"
)

// KeyAnswer is how /_matrix/key/v3/query (MSC4345) is answered for a server key. The zero value is honest:
// an object with this server's name and the key, signed by the key. Strings may hold the templates
// {server-key}, {std-server-key}, {other-key} (a key that was never used), {domain} and {elsewhere}.
type KeyAnswer struct {
	// Omit leaves the key out.
	Omit bool
	// Edits change the key's object before the key signs it, LateEdits afterwards.
	Edits, LateEdits []Edit
	// SignWithOther makes the signature with another key.
	SignWithOther bool
	// Single answers the object of the key itself, without the list around it.
	Single bool
	// Body replaces the whole answer.
	Body string
	// Status is the status of the answer; 0 means 200.
	Status int
	// Location is where a redirection leads.
	Location string
	// Manner is how the answer is sent.
	Manner Manner
}

// wholeKeyAnswer is what of an answer concerns it as a whole.
type wholeKeyAnswer struct {
	single         bool
	body, location string
	status         int
	manner         Manner
}

func (a KeyAnswer) wholly() wholeKeyAnswer {
	return wholeKeyAnswer{a.Single, a.Body, a.Location, a.Status, a.Manner}
}

// NamedKeyAnswer is a row of the table of answers about server keys.
type NamedKeyAnswer struct {
	// Name is unique, and fit for a test name.
	Name string
	// Verifies says whether the answer verifies the domain: it is the domain's, and lists the key
	// ("Introducing /_matrix/key/v3/query", by the reading of D-44).
	Verifies bool
	// Answer is the answer.
	Answer KeyAnswer
}

// KeyAnswers is the table of answers to /_matrix/key/v3/query. Those that verify the domain in spite of a
// deviation are what the proposal leaves open; a server that is stricter about them breaks nothing that it
// says.
func KeyAnswers() []NamedKeyAnswer {
	const key = "verify_keys.ed25519:1.key"
	edits := func(path, json string) []Edit { return []Edit{{path, json}} }
	return []NamedKeyAnswer{
		{"honest", true, KeyAnswer{}},
		{"single-object", true, KeyAnswer{Single: true}},
		{"url-safe-key", true, KeyAnswer{Edits: edits(key, `"{server-key}"`)}},
		{"extra-property", true, KeyAnswer{Edits: edits("org.countersign.extra", `true`)}},
		{"missing-key", false, KeyAnswer{Omit: true}},
		{"other-key", false, KeyAnswer{Edits: edits(key, `"{other-key}"`)}},
		{"no-keys", false, KeyAnswer{Edits: edits("verify_keys", `{}`)}},
		{"old-key-only", false, KeyAnswer{Edits: []Edit{
			{"verify_keys", `{}`}, {"old_verify_keys", `{"ed25519:1":{"key":"{std-server-key}","expired_ts":1}}`}}}},
		{"key-is-a-number", false, KeyAnswer{Edits: edits(key, `5`)}},
		{"keys-are-a-list", false, KeyAnswer{Edits: edits("verify_keys", `["{std-server-key}"]`)}},
		{"key-of-31-bytes", false, KeyAnswer{Edits: edits(key, `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"`)}},
		{"other-domain", false, KeyAnswer{Edits: edits("server_name", `"{elsewhere}"`)}},
		{"no-domain", false, KeyAnswer{Edits: edits("server_name", "")}},
		{"not-found", false, KeyAnswer{Status: http.StatusNotFound, Body: `{"errcode":"M_UNRECOGNIZED","error":"what is that?"}`}},
		{"forbidden", false, KeyAnswer{Status: http.StatusForbidden, Body: `{"errcode":"M_FORBIDDEN","error":"no"}`}},
		{"server-error", false, KeyAnswer{Status: http.StatusInternalServerError, Body: `{}`}},
		{"server-error-with-the-keys", false, KeyAnswer{Status: http.StatusInternalServerError}},
		{"rate-limited", false, KeyAnswer{Status: http.StatusTooManyRequests, Body: `{"errcode":"M_LIMIT_EXCEEDED","error":"later","retry_after_ms":1000}`}},
		{"redirect", false, KeyAnswer{Status: http.StatusTemporaryRedirect, Body: `{}`, Location: "https://elsewhere.invalid" + ServerKeysPath}},
		{"garbage", false, KeyAnswer{Body: "certainly not JSON"}},
		{"empty-object", false, KeyAnswer{Body: "{}"}},
		{"null", false, KeyAnswer{Body: "null"}},
		{"keys-are-null", false, KeyAnswer{Body: `{"server_keys":null}`}},
		{"truncated", false, KeyAnswer{Manner: Truncate}},
		{"gzip-bomb", false, KeyAnswer{Manner: GzipBomb}},
		{"endless", false, KeyAnswer{Manner: Endless}},
		{"trickle", false, KeyAnswer{Manner: Trickle}},
		{"reset", false, KeyAnswer{Manner: Reset}},
		{"hang", false, KeyAnswer{Manner: Hang}},
	}
}

// UnsignedKeyAnswers are answers whose signatures say less, or something else, than those of an honest one.
// The proposal does not say that they are checked, so that they neither verify a domain nor fail to.
func UnsignedKeyAnswers() []NamedKeyAnswer {
	edit := func(path, json string) KeyAnswer { return KeyAnswer{LateEdits: []Edit{{path, json}}} }
	return []NamedKeyAnswer{
		{"no-signatures", true, edit("signatures", "")},
		{"empty-signatures", true, edit("signatures", "{}")},
		{"bad-signature", true, KeyAnswer{SignWithOther: true}},
		{"signed-and-changed", true, edit("org.countersign.extra", "true")},
	}
}

// AnswerServerKeys answers /_matrix/key/v3/query for every key as told from now on, but for those with an
// answer of their own. The zero value makes it honest again.
func (s *Server) AnswerServerKeys(a KeyAnswer) {
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	s.chain.answer = a
}

// AnswerServerKey answers /_matrix/key/v3/query for one key as told from now on, whatever
// [Server.AnswerServerKeys] says. What concerns the answer as a whole happens to every query that names the
// key.
func (s *Server) AnswerServerKey(key matrix.ServerName, a KeyAnswer) {
	s.chain.mu.Lock()
	defer s.chain.mu.Unlock()
	s.chain.answers[key] = a
}

// keyObject is what is said about one key.
func (s *Server) keyObject(pair matrix.ServerKeyPair, a KeyAnswer) (json.RawMessage, error) {
	key, other := pair.Key(), s.chain.stranger()
	n := names{
		"server-key": key.String(), "std-server-key": matrix.EncodeBase64(key[:]), "domain": string(s.name),
		"elsewhere": "elsewhere.invalid", "other-key": standardAlphabet(other.Key().String()),
	}
	object, err := json.Marshal(map[string]any{
		"server_name":     s.name,
		"verify_keys":     map[matrix.KeyID]any{matrix.ServerKeyID: map[string]string{"key": n["std-server-key"]}},
		"old_verify_keys": struct{}{},
	})
	if err != nil {
		return nil, err
	}
	if object, err = applyEdits(object, a.Edits, n); err != nil {
		return nil, fmt.Errorf("answering for the server key %s: %w", key, err)
	}
	signer := pair.Signer()
	if a.SignWithOther {
		signer.Key = ed25519.PrivateKey(other.Signer().Key)
	}
	if object, err = matrix.SignJSON(object, signer); err != nil {
		return nil, fmt.Errorf("answering for the server key %s: %w", key, err)
	}
	return applyEdits(object, a.LateEdits, n)
}

// reply is the answer as a whole.
func (a KeyAnswer) reply(objects []json.RawMessage) Answer {
	answer := Answer{Status: http.StatusOK, Manner: a.Manner}
	if a.Status != 0 {
		answer.Status = a.Status
	}
	if a.Location != "" {
		answer.Header = http.Header{"Location": {a.Location}}
	}
	switch {
	case a.Body != "":
		answer.Body = []byte(a.Body)
	case a.Single && len(objects) > 0:
		answer.Body = objects[0]
	default:
		answer.Body = append(appendArray([]byte(`{"server_keys":`), objects), '}')
	}
	return answer
}
