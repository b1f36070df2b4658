package fakeserver

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// The paths of the query by which a server confirms that it holds a server key (MSC4345, "Introducing
// /_matrix/key/v3/query" and "Unstable prefix").
const (
	ServerKeysPath       = "/_matrix/key/v3/" + unstableMSC4345 + "/query"
	StableServerKeysPath = "/_matrix/key/v3/query"
)

// KeyQuery is a request for server keys (D-44: the proposal gives it no shape).
type KeyQuery struct {
	// Domain is the server whose keys are asked for; empty means the server that is asked.
	Domain matrix.ServerName
	// Keys are the keys that are to be confirmed, as texts of any form; none means all that may be seen.
	Keys []matrix.ServerName
	// Path is ServerKeysPath when empty.
	Path string
	// Get asks by GET and in the path, as the query of keys in version 2 can be asked, in place of POST.
	Get bool
	// Unsigned leaves the signature out.
	Unsigned bool
}

// QueryServerKeys asks a server for server keys. The answer is returned whatever its status; see
// [Response.ServerKeys].
func (s *Server) QueryServerKeys(ctx context.Context, dest matrix.ServerName, q KeyQuery) (*Response, error) {
	if q.Domain == "" {
		q.Domain = dest
	}
	r := Request{Destination: dest, Method: http.MethodPost, URI: q.Path, Unsigned: q.Unsigned}
	if r.URI == "" {
		r.URI = ServerKeysPath
	}
	if q.Get {
		r.Method = http.MethodGet
		r.URI += "/" + url.PathEscape(string(q.Domain))
		if len(q.Keys) > 0 {
			query := url.Values{}
			for _, key := range q.Keys {
				query.Add("key", string(key))
			}
			r.URI += "?" + query.Encode()
		}
		return s.DoRequest(ctx, r)
	}
	keys := map[matrix.ServerName]struct{}{}
	for _, key := range q.Keys {
		keys[key] = struct{}{}
	}
	body, err := json.Marshal(map[string]any{"server_keys": map[matrix.ServerName]any{q.Domain: keys}})
	if err != nil {
		return nil, fmt.Errorf("asking %s for server keys: %w", dest, err)
	}
	r.Body = body
	return s.DoRequest(ctx, r)
}

// ServerKeys are the keys that an answer to [Server.QueryServerKeys] lists for a domain, as texts, in order:
// of every object with that server_name, in either alphabet of base64. Signatures are not looked at.
func (r *Response) ServerKeys(domain matrix.ServerName) []matrix.ServerName {
	objects := r.Get("server_keys").Array()
	if len(objects) == 0 {
		objects = []gjson.Result{r.Get("@this")}
	}
	found := map[matrix.ServerName]bool{}
	for _, object := range objects {
		if object.Get("server_name").String() != string(domain) {
			continue
		}
		object.Get("verify_keys").ForEach(func(_, entry gjson.Result) bool {
			text := entry.Get("key").String()
			if key, err := matrix.DecodeBase64Padded(text); err == nil && len(key) == ed25519.PublicKeySize {
				text = matrix.EncodeURLBase64(key)
			}
			found[matrix.ServerName(text)] = true
			return true
		})
	}
	return sortedKeys(found)
}

// AskedServerKeys are the server keys that an inbound request to /_matrix/key/v3/query asks to have
// confirmed, as texts; none when it asks for all.
func (e Exchange) AskedServerKeys() []matrix.ServerName {
	u, err := url.ParseRequestURI(e.URI)
	if err != nil {
		return nil
	}
	return askedServerKeys(e.RequestBody, u.Query())
}

func askedServerKeys(body []byte, query url.Values) []matrix.ServerName {
	asked := map[matrix.ServerName]bool{}
	gjson.GetBytes(body, "server_keys").ForEach(func(_, keys gjson.Result) bool {
		keys.ForEach(func(key, _ gjson.Result) bool {
			asked[matrix.ServerName(key.String())] = true
			return true
		})
		return true
	})
	for _, key := range query["key"] {
		asked[matrix.ServerName(key)] = true
	}
	return sortedKeys(asked)
}

// AsksForServerKey matches inbound requests that ask about a server key: those that name it, and those that
// ask for all.
func AsksForServerKey(key matrix.ServerName) Matcher {
	return func(e Exchange) bool {
		asked := e.AskedServerKeys()
		return Is(OpServerKeyQuery)(e) && (len(asked) == 0 || slices.Contains(asked, key))
	}
}

// serveServerKeys answers /_matrix/key/v3/query: an object for every key that is asked for and held, or for
// all. To whom keys may be shown is not looked at.
func (s *Server) serveServerKeys(q *Inquiry) Answer {
	held := map[matrix.ServerName]matrix.ServerKeyPair{}
	s.chain.mu.Lock()
	maps.Copy(held, s.chain.held)
	whole, answers := s.chain.answer, maps.Clone(s.chain.answers)
	s.chain.mu.Unlock()

	asked := askedServerKeys(q.Body, q.Query)
	if len(asked) == 0 {
		asked = sortedKeys(held)
	}
	objects := []json.RawMessage{}
	for _, text := range asked {
		a, own := answers[text]
		if !own {
			a = whole
		} else if whole.wholly() == (KeyAnswer{}).wholly() {
			whole = a
		}
		pair, ok := held[text]
		if !ok || a.Omit {
			continue
		}
		object, err := s.keyObject(pair, a)
		if err != nil {
			return Errorf(http.StatusInternalServerError, "M_UNKNOWN", "%v", err)
		}
		objects = append(objects, object)
	}
	return whole.reply(objects)
}
