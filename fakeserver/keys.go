package fakeserver

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// keyValidity is how long the server's key document may be cached.
const keyValidity = 24 * time.Hour

// keyRing remembers the signing keys of other servers, for checking their requests.
type keyRing struct {
	mu      sync.Mutex
	servers map[matrix.ServerName]*peerKeys
}

// peerKeys are the keys of one server; the lock is held while they are fetched, so that requests
// that arrive together cause one fetch.
type peerKeys struct {
	mu   sync.Mutex
	keys map[matrix.KeyID]ed25519.PublicKey
}

func (k *keyRing) peer(name matrix.ServerName) *peerKeys {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.servers == nil {
		k.servers = map[matrix.ServerName]*peerKeys{}
	}
	p := k.servers[name]
	if p == nil {
		p = &peerKeys{keys: map[matrix.KeyID]ed25519.PublicKey{}}
		k.servers[name] = p
	}
	return p
}

// PeerKey is the public signing key of another server, from its key document. It is fetched once and
// then remembered. The error says why it cannot be had.
func (s *Server) PeerKey(ctx context.Context, name matrix.ServerName, id matrix.KeyID) (ed25519.PublicKey, error) {
	if name == s.name {
		if id == s.signer.KeyID {
			return s.signer.Key.Public().(ed25519.PublicKey), nil
		}
		return nil, fmt.Errorf("%s has no key %q", name, id)
	}
	p := s.keys.peer(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	if key, ok := p.keys[id]; ok {
		return key, nil
	}
	const uri = "/_matrix/key/v2/server"
	r, err := s.DoRequest(ctx, Request{Destination: name, Method: http.MethodGet, URI: uri, Unsigned: true})
	if r, err = need(name, http.MethodGet, uri, r, err); err != nil {
		return nil, fmt.Errorf("signing keys of %s: %w", name, err)
	}
	doc, err := matrix.ParseServerKeys(r.Body)
	if err != nil {
		return nil, err
	}
	if doc.ServerName != name {
		return nil, fmt.Errorf("the key document of %s is that of %s", name, doc.ServerName)
	}
	for id, key := range doc.VerifyKeys {
		p.keys[id] = key
	}
	for id, old := range doc.OldVerifyKeys {
		p.keys[id] = old.Key
	}
	if key, ok := p.keys[id]; ok {
		return key, nil
	}
	return nil, fmt.Errorf("%s has no key %q", name, id)
}

// EditKeyDocument changes the key document that this server publishes from now on, before it is
// signed: another validity, other keys, another name. Nil makes it honest again.
func (s *Server) EditKeyDocument(edit func(matrix.ServerKeys) matrix.ServerKeys) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keyDoc = edit
}

func (s *Server) keyDocument() (json.RawMessage, error) {
	doc := matrix.ServerKeys{
		ServerName: s.name,
		VerifyKeys: map[matrix.KeyID]ed25519.PublicKey{s.signer.KeyID: s.signer.Key.Public().(ed25519.PublicKey)},
		ValidUntil: time.Now().Add(keyValidity),
	}
	s.mu.Lock()
	edit := s.keyDoc
	s.mu.Unlock()
	if edit != nil {
		doc = edit(doc)
	}
	return doc.Sign(s.signer)
}

// serveKeys answers GET /_matrix/key/v2/server.
func (s *Server) serveKeys(*Inquiry) Answer {
	doc, err := s.keyDocument()
	if err != nil {
		return Errorf(http.StatusInternalServerError, "M_UNKNOWN", "%v", err)
	}
	return JSON(http.StatusOK, doc)
}

// serveNotary answers both forms of /_matrix/key/v2/query, for this server's own keys only.
func (s *Server) serveNotary(q *Inquiry) Answer {
	asked := q.Var("serverName") == string(s.name)
	gjson.GetBytes(q.Body, "server_keys").ForEach(func(name, _ gjson.Result) bool {
		asked = asked || name.String() == string(s.name)
		return true
	})
	docs := []json.RawMessage{}
	if asked {
		doc, err := s.keyDocument()
		if err != nil {
			return Errorf(http.StatusInternalServerError, "M_UNKNOWN", "%v", err)
		}
		docs = append(docs, doc)
	}
	return JSON(http.StatusOK, map[string]any{"server_keys": docs})
}
