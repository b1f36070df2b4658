package clientapi

import (
	"encoding/json"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

// uploadCrossSigning answers POST /keys/device_signing/upload. The first upload needs no further
// authentication (client-server API 1.11).
func (a *API) uploadCrossSigning(c *call) (any, error) {
	var body struct {
		Auth        *authDict       `json:"auth"`
		Master      json.RawMessage `json:"master_key"`
		SelfSigning json.RawMessage `json:"self_signing_key"`
		UserSigning json.RawMessage `json:"user_signing_key"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	uploaded := map[string]json.RawMessage{"master": body.Master, "self_signing": body.SelfSigning, "user_signing": body.UserSigning}
	known, err := a.users.CrossSigningKeys(c.user())
	if err != nil {
		return nil, err
	}
	for usage, key := range uploaded {
		if key == nil {
			continue
		}
		if owner := gjson.GetBytes(key, "user_id").Str; owner != string(c.user()) {
			return nil, peer.InvalidParam("the %s key is of %q", usage, owner)
		}
	}
	if _, again := known["master"]; again {
		if err := a.requirePassword(c.user(), body.Auth); err != nil {
			return nil, err
		}
	}
	for usage, key := range uploaded {
		if key == nil {
			continue
		}
		if err := a.users.SetCrossSigningKey(c.user(), usage, mustJSON(key)); err != nil {
			return nil, err
		}
	}
	if err := a.devicesChanged(c.user()); err != nil {
		return nil, err
	}
	return empty()
}

// uploadSignatures answers POST /keys/signatures/upload: signatures of one's own keys and devices, and
// of others' master keys, are added to what they sign.
func (a *API) uploadSignatures(c *call) (any, error) {
	var body map[matrix.UserID]map[string]json.RawMessage
	if err := c.read(&body); err != nil {
		return nil, err
	}
	failures := map[matrix.UserID]map[string]any{}
	for user, objects := range body {
		for name, object := range objects {
			if err := a.addSignatures(c.user(), user, name, object); err != nil {
				if failures[user] == nil {
					failures[user] = map[string]any{}
				}
				failures[user][name] = json.RawMessage(answerOf(err).JSON())
			}
		}
		if user.Domain() == a.server && len(failures[user]) < len(objects) {
			if err := a.devicesChanged(user); err != nil {
				return nil, err
			}
		}
	}
	return map[string]any{"failures": failures}, nil
}

// addSignatures adds a signer's signatures to a device of a user, named by the device ID, or to a
// cross-signing key, named by the public key.
func (a *API) addSignatures(signer, user matrix.UserID, name string, object json.RawMessage) error {
	if user.Domain() != a.server {
		return peer.NotFound("signatures of the keys of other servers' users are not kept")
	}
	signatures := gjson.GetBytes(object, "signatures").Map()[string(signer)]
	devices, err := a.users.DeviceKeys(user)
	if err != nil {
		return err
	}
	if device, ok := devices[name]; ok && user == signer {
		signed, err := mergeSignatures(device, signer, signatures)
		if err != nil {
			return err
		}
		_, err = a.users.SetDeviceKeys(user, name, signed)
		return err
	}
	keys, err := a.users.CrossSigningKeys(user)
	if err != nil {
		return err
	}
	for usage, key := range keys {
		if usage != "master" && user != signer {
			continue
		}
		named := false
		gjson.GetBytes(key, "keys").ForEach(func(_, public gjson.Result) bool {
			named = named || public.Str == name
			return true
		})
		if !named {
			continue
		}
		signed, err := mergeSignatures(key, signer, signatures)
		if err != nil {
			return err
		}
		return a.users.SetCrossSigningKey(user, usage, signed)
	}
	return peer.NotFound("%s has no device or key %s", user, name)
}

// mergeSignatures adds signatures, by key ID, to those of a signer on an object.
func mergeSignatures(object json.RawMessage, signer matrix.UserID, signatures gjson.Result) (json.RawMessage, error) {
	all := map[string]map[string]json.RawMessage{}
	if existing := gjson.GetBytes(object, "signatures"); existing.Exists() {
		if err := json.Unmarshal([]byte(existing.Raw), &all); err != nil {
			return nil, peer.BadJSON("the signatures have the wrong shape: %v", err)
		}
	}
	if all[string(signer)] == nil {
		all[string(signer)] = map[string]json.RawMessage{}
	}
	signatures.ForEach(func(id, signature gjson.Result) bool {
		all[string(signer)][id.Str] = json.RawMessage(signature.Raw)
		return true
	})
	return sjson.SetRawBytes(object, "signatures", mustJSON(all))
}
