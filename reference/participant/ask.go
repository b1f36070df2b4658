package participant

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

// queryPath is the unstable path of the key query (MSC4345, "Unstable prefix").
const queryPath = "/_matrix/key/v3/org.matrix.msc4345/query"

// maxKeysAsked is how many keys one request asks for.
const maxKeysAsked = 500

// start has a domain's open questions asked. d.mutex is held.
func (d *Domains) start(domain matrix.ServerName) {
	if d.busy[domain] || d.closing.Err() != nil {
		return
	}
	d.busy[domain] = true
	d.group.Go(func() { d.askAll(domain) })
}

// askAll asks a domain until no question about it is open.
func (d *Domains) askAll(domain matrix.ServerName) {
	for {
		claims := d.open(domain)
		if len(claims) == 0 {
			return
		}
		confirmed, err := d.query(domain, claims)
		if err == nil {
			d.silent.Delete(domain)
		} else {
			d.silent.Put(domain, struct{}{})
			d.Logger.Info("server keys cannot be verified", "domain", domain, "keys", len(claims), "error", err)
		}
		d.conclude(claims, confirmed)
	}
}

// open are the open questions about a domain; when there are none the domain is no longer busy.
func (d *Domains) open(domain matrix.ServerName) (claims []Claim) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for c, q := range d.questions {
		if c.Domain == domain && q.done != nil && len(claims) < maxKeysAsked {
			claims = append(claims, c)
		}
	}
	if len(claims) == 0 {
		delete(d.busy, domain)
	}
	return claims
}

// query asks a domain which of some keys are its own. D-44: the proposal gives neither method nor shape.
func (d *Domains) query(domain matrix.ServerName, claims []Claim) (map[matrix.ServerName]bool, error) {
	keys := map[matrix.ServerName]struct{}{}
	for _, c := range claims {
		keys[c.Key] = struct{}{}
	}
	body, err := json.Marshal(map[string]any{"server_keys": map[matrix.ServerName]any{domain: keys}})
	if err != nil {
		return nil, err
	}
	answer, err := d.Peers.Call(d.closing, domain, d.otherwiseAsked(domain, claims, peer.Call{Method: http.MethodPost, Path: queryPath, Body: body, Timeout: askTimeout}))
	if err != nil {
		return nil, err
	}
	return d.mistakenAnswer(answer, claims, advertised(answer, domain)), nil
}

// advertised are the keys that an answer to a key query lists as those of a domain: under verify_keys of
// any object with the right server_name, in either base64 alphabet. A single object in the place of a list
// is understood, too (D-44).
func advertised(answer []byte, domain matrix.ServerName) map[matrix.ServerName]bool {
	documents := gjson.GetBytes(answer, "server_keys").Array()
	if gjson.GetBytes(answer, "verify_keys").Exists() {
		documents = append(documents, gjson.ParseBytes(answer))
	}
	keys := map[matrix.ServerName]bool{}
	for _, doc := range documents {
		if doc.Get("server_name").Str != string(domain) {
			continue
		}
		doc.Get("verify_keys").ForEach(func(_, entry gjson.Result) bool {
			if key, ok := readKey(entry.Get("key").Str); ok {
				keys[key] = true
			}
			return true
		})
	}
	return keys
}

// readKey is a published key as user IDs write it.
func readKey(text string) (matrix.ServerName, bool) {
	if key, err := matrix.ParseServerKey(text); err == nil {
		return key.Name(), true
	}
	raw, err := matrix.DecodeBase64Padded(text)
	if err != nil || len(raw) != len(matrix.ServerKey{}) {
		return "", false
	}
	return matrix.ServerKey(raw).Name(), true
}

// conclude deals with the answer to some questions.
func (d *Domains) conclude(claims []Claim, confirmed map[matrix.ServerName]bool) {
	var verified []Claim
	d.mutex.Lock()
	for _, c := range claims {
		q := d.questions[c]
		done := q.done
		q.done = nil
		if confirmed[c.Key] {
			d.confirmed.Put(c, d.Clock().Add(lifetime))
			delete(d.questions, c)
			d.believed.Store(c.Key, true)
			verified = append(verified, c)
		} else {
			d.askAgain(c, q)
		}
		defer close(done)
	}
	listeners := d.listeners
	d.mutex.Unlock()
	for _, c := range verified {
		for _, f := range listeners {
			f(c)
		}
	}
}

// askAgain has an unconfirmed claim asked about later. d.mutex is held.
func (d *Domains) askAgain(c Claim, q *question) {
	if d.closing.Err() != nil {
		return
	}
	pause := min(firstRetry<<min(q.failures, 20), lastRetry)
	q.failures++
	q.timer = time.AfterFunc(pause, func() { d.reopen(c) })
}

// reopen asks about an unconfirmed claim once more.
func (d *Domains) reopen(c Claim) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	q, ok := d.questions[c]
	if !ok || q.done != nil || d.closing.Err() != nil {
		return
	}
	q.timer, q.done = nil, make(chan struct{})
	d.start(c.Domain)
}
