package participant

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

// mistakenAnswer are the keys that a mutant takes an answer to a key query to confirm, beside those that it
// does.
func (d *Domains) mistakenAnswer(answer []byte, claims []Claim, confirmed map[matrix.ServerName]bool) map[matrix.ServerName]bool {
	unconfirmed := func() bool {
		for _, c := range claims {
			if !confirmed[c.Key] {
				return true
			}
		}
		return false
	}
	if !unconfirmed() {
		return confirmed
	}
	for _, doc := range gjson.GetBytes(answer, "server_keys").Array() {
		name := matrix.ServerName(doc.Get("server_name").Str)
		if name != claims[0].Domain && d.Defects.Has("BelieveOtherServerNames") {
			return advertised(answer, name)
		}
		doc.Get("old_verify_keys").ForEach(func(_, entry gjson.Result) bool {
			if key, ok := readKey(entry.Get("key").Str); ok && d.Defects.Has("BelieveOldVerifyKeys") {
				confirmed[key] = true
			}
			return true
		})
		if len(doc.Get("verify_keys").Map()) > 0 && d.Defects.Has("BelieveAnyAnswer") {
			for _, c := range claims {
				confirmed[c.Key] = true
			}
		}
	}
	return confirmed
}

// mistakenSilence reports whether a mutant asks no domain.
func (d *Domains) mistakenSilence() bool {
	return d.Defects.Has("NeverVerifyDomains") || d.Keys.restarted && d.Defects.Has("VerifyNoDomainsAfterARestart")
}

// loseAtRestart forgets the keys that should have been kept.
func (k *Keys) loseAtRestart() {
	if k.Defects.Has("LoseServerKeysAtRestart") {
		clear(k.byText)
		clear(k.latest)
	}
}

// otherwise is what is said of a key, as mutants and variants say it.
func (k *Keys) otherwise(own Own, document map[string]any) map[string]any {
	switch {
	case k.Defects.Has("PutAnEndToServerKeys"):
		document["valid_until_ts"] = time.Now().Add(time.Hour).UnixMilli()
	case k.Defects.Has("PublishKeysAsUserIDsHaveThem"):
		document["verify_keys"] = map[matrix.KeyID]any{matrix.ServerKeyID: map[string]string{"key": own.Key().String()}}
	case k.Defects.Has("AddFieldsToKeyAnswers"):
		document["org.countersign.extra"] = true
	}
	return document
}

// verifiesMore reports whether a mutant takes a claim for true because another one about its key was.
func (d *Domains) verifiesMore(c Claim) bool {
	_, ok := d.believed.Load(c.Key)
	return ok && d.Defects.Has("VerifyAllDomainsOfAKey")
}

// otherwiseAsked is a key query as variants make it (D-44).
func (d *Domains) otherwiseAsked(domain matrix.ServerName, claims []Claim, honest peer.Call) peer.Call {
	switch {
	case d.Defects.Has("AskForServerKeysAtTheStablePath"):
		honest.Path = "/_matrix/key/v3/query"
	case d.Defects.Has("AskForServerKeysWithGet"):
		honest.Method, honest.Path, honest.Body, honest.Query = http.MethodGet, honest.Path+peer.Path(string(domain)), nil, url.Values{}
		for _, c := range claims {
			honest.Query.Add("key", string(c.Key))
		}
	}
	return honest
}

// Rooms are the rooms in which this server has keys.
func (k *Keys) Rooms() (ids []string) {
	for _, own := range k.all() {
		ids = append(ids, own.RoomID)
	}
	return ids
}

// askedOtherwise are the keys of a query of which a mutant reads one only.
func (k *Keys) askedOtherwise(asked map[matrix.ServerName]bool) map[matrix.ServerName]bool {
	if len(asked) < 2 || !k.Defects.Has("ReadOneKeyOfAQuery") {
		return asked
	}
	for text := range asked {
		if _, own := k.Find(text); !own {
			return map[matrix.ServerName]bool{text: true}
		}
	}
	return asked
}

// strangeDocuments say that keys are this server's which are not: a mutant says so of any that is asked for.
func (k *Keys) strangeDocuments(server matrix.ServerName, asked map[matrix.ServerName]bool) []json.RawMessage {
	documents := []json.RawMessage{}
	for text := range asked {
		key, err := matrix.ParseServerKey(string(text))
		if _, own := k.Find(text); own || err != nil || !k.Defects.Has("AdmitAnyKey") {
			continue
		}
		documents = append(documents, json.RawMessage(`{"server_name":"`+string(server)+`","verify_keys":{"ed25519:1":{"key":"`+matrix.EncodeBase64(key[:])+`"}}}`))
	}
	return documents
}
