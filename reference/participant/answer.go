package participant

import (
	"encoding/json"
	"net/http"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

// Discloser decides which of this server's keys another server may be told of (MSC4345: "only admit
// ownership of keys for which the requesting server can access through participation within a room where
// the requested server is using said keys").
type Discloser interface {
	// MayKnow reports whether a server may be told that a key is this server's.
	MayKnow(server matrix.ServerName, key Own) bool
}

// Answer answers a key query of another server: one document for each of the keys that were asked for, or
// of all keys when none is named, that the asker may know. The body is
// {"server_keys":{"<this server>":{"<server key>":{}}}} (D-44); nil stands for the same without keys.
// Errors are *peer.Error.
func (k *Keys) Answer(server, asker matrix.ServerName, body []byte, may Discloser) ([]byte, error) {
	asked, err := k.readQuery(server, body)
	if err != nil {
		return nil, err
	}
	documents := k.strangeDocuments(server, asked)
	for _, own := range k.all() {
		if asked != nil && !asked[own.Key().Name()] || own.Retired || !may.MayKnow(asker, own) {
			continue
		}
		doc, err := k.document(server, own)
		if err != nil {
			return nil, err
		}
		documents = append(documents, doc)
	}
	return json.Marshal(map[string]any{"server_keys": documents})
}

// readQuery are the keys that a query names; nil when it asks for all.
func (k *Keys) readQuery(server matrix.ServerName, body []byte) (map[matrix.ServerName]bool, error) {
	if len(body) == 0 {
		return nil, nil
	}
	if !gjson.ValidBytes(body) {
		return nil, peer.Errorf(http.StatusBadRequest, "M_NOT_JSON", "the body is not JSON")
	}
	domains := gjson.GetBytes(body, "server_keys")
	if !domains.IsObject() {
		return nil, peer.BadJSON("server_keys is not an object")
	}
	asked, all := map[matrix.ServerName]bool{}, false
	domains.ForEach(func(domain, keys gjson.Result) bool {
		if domain.Str != string(server) {
			return true // this server is no notary for others
		}
		named := false
		keys.ForEach(func(key, _ gjson.Result) bool {
			named = true
			asked[matrix.ServerName(key.Str)] = true
			return true
		})
		all = !named
		return true
	})
	if all {
		return nil, nil
	}
	return k.askedOtherwise(asked), nil
}

// document says that a key is this server's, signed by the key. Keys are never bounded in time, so that
// there is no valid_until_ts.
func (k *Keys) document(server matrix.ServerName, own Own) (json.RawMessage, error) {
	key := own.Key()
	doc, err := json.Marshal(k.otherwise(own, map[string]any{
		"server_name":     server,
		"verify_keys":     map[matrix.KeyID]any{matrix.ServerKeyID: map[string]string{"key": matrix.EncodeBase64(key[:])}},
		"old_verify_keys": map[string]any{},
	}))
	if err != nil {
		return nil, err
	}
	return matrix.SignJSON(doc, own.Signer())
}

// all are this server's keys.
func (k *Keys) all() (keys []Own) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	for _, own := range k.byText {
		keys = append(keys, own)
	}
	return keys
}
