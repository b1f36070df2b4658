package participant

import (
	"time"

	"github.com/tidwall/gjson"

	"countersign/matrix"
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
