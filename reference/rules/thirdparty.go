package rules

import (
	"crypto/ed25519"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// maxThirdPartyVerifications bounds the signature checks that one invite can ask for. An identity
// server signs once and publishes a handful of keys; without a bound the product of the two lists,
// both written by strangers, would keep a server busy for half a minute.
const maxThirdPartyVerifications = 256

// authoriseThirdPartyInvite is rules 6 and 7. Nothing after rule 7 is asked of these events.
func (r *Room) authoriseThirdPartyInvite(e *matrix.Event, server matrix.ServerName, state State) error {
	if err := r.checkJoined(e, server, state, "6"); err != nil {
		return err
	}
	if levels := r.PowerLevels(state); levels.User(e.Sender()) < levels.Invite() {
		return reject("7.1", "the sender's power level is below the invite level %s", levels.Invite())
	}
	return nil
}

// thirdPartyInvite is rule 5.4.1. D-17: with account keys the identity server's mxid names an account
// name, which never equals the state key; the rule is as version 12 has it.
func (m *memberCheck) thirdPartyInvite(third gjson.Result) error {
	if m.membership(m.target) == "ban" {
		return reject("5.4.1.1", "the invited user is banned")
	}
	signed := property(third, "signed")
	if !signed.Exists() {
		return reject("5.4.1.2", "third_party_invite has no signed property")
	}
	mxid, token := property(signed, "mxid"), property(signed, "token")
	if !mxid.Exists() || !token.Exists() {
		return reject("5.4.1.3", "signed lacks mxid or token")
	}
	if mxid.Type != gjson.String || mxid.Str != string(m.target) {
		return reject("5.4.1.4", "mxid is not the invited user")
	}
	invite := m.thirdPartyInviteEvent(token)
	if invite == nil {
		return reject("5.4.1.5", "no m.room.third_party_invite event with that token")
	}
	if m.sender != invite.Sender() {
		return reject("5.4.1.6", "the inviter has not sent the m.room.third_party_invite event")
	}
	if signedByAny([]byte(signed.Raw), thirdPartyKeys(invite)) {
		return nil // rule 5.4.1.7
	}
	return reject("5.4.1.8", "no signature of signed is by a key of the m.room.third_party_invite event")
}

func (m *memberCheck) thirdPartyInviteEvent(token gjson.Result) *matrix.Event {
	if token.Type != gjson.String {
		return nil
	}
	return m.state.Event(matrix.StateTuple{Type: "m.room.third_party_invite", StateKey: token.Str})
}

// thirdPartyKeys are the public keys of an m.room.third_party_invite event (rules 5.4.1.7.1 and
// 5.4.1.7.2). Whatever is not a key is passed over.
func thirdPartyKeys(invite *matrix.Event) (keys []ed25519.PublicKey) {
	add := func(v gjson.Result) {
		if v.Type != gjson.String {
			return
		}
		if key, err := matrix.DecodeBase64Padded(v.Str); err == nil && len(key) == ed25519.PublicKeySize {
			keys = append(keys, key)
		}
	}
	add(invite.Get("public_key"))
	list := invite.Get("public_keys")
	if !list.IsArray() {
		return keys
	}
	for _, entry := range list.Array() {
		add(property(entry, "public_key"))
	}
	return keys
}

// signedByAny is the condition of rule 5.4.1.7: under any entity and key ID there is a signature by
// any of the keys.
func signedByAny(object []byte, keys []ed25519.PublicKey) (found bool) {
	budget := maxThirdPartyVerifications
	eachProperty(gjson.GetBytes(object, "signatures"), func(entity, byKey gjson.Result) bool {
		eachProperty(byKey, func(id, _ gjson.Result) bool {
			if matrix.KeyID(id.Str).Algorithm() != "ed25519" {
				return true
			}
			for _, key := range keys {
				if budget--; budget < 0 {
					return false
				}
				if matrix.VerifyJSON(object, entity.Str, matrix.KeyID(id.Str), key) == nil {
					found = true
					return false
				}
			}
			return true
		})
		return !found && budget >= 0
	})
	return found
}

// property is a property of v when v is an object. (gjson would also look into arrays.)
func property(v gjson.Result, name string) gjson.Result {
	if !v.IsObject() {
		return gjson.Result{}
	}
	return v.Get(name)
}

// eachProperty visits the properties of v when v is an object, until visit returns false.
func eachProperty(v gjson.Result, visit func(key, value gjson.Result) bool) {
	if v.IsObject() {
		v.ForEach(visit)
	}
}
