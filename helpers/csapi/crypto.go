package csapi

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"countersign/matrix"
)

// Device is the device of a user of any server, with the keys that it publishes for end-to-end
// encryption. They are well-formed and signed, and nobody can decrypt with them.
type Device struct {
	// UserID is the user ID that the keys name, and ID the device ID.
	UserID, ID string
	signer     matrix.Signer
}

// NewDevice makes a device. The user ID is taken as it is.
func NewDevice(t testing.TB, userID, deviceID string) Device {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatalf("generating a device key: %v", err)
	}
	return Device{UserID: userID, ID: deviceID, signer: matrix.Signer{Entity: userID, KeyID: matrix.KeyID("ed25519:" + deviceID), Key: key}}
}

// Keys is the device's DeviceKeys object, signed by itself.
func (d Device) Keys(t testing.TB) json.RawMessage {
	t.Helper()
	return d.sign(t, map[string]any{
		"user_id": d.UserID, "device_id": d.ID,
		"algorithms": []string{"m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"},
		"keys":       map[string]string{"ed25519:" + d.ID: d.public(), "curve25519:" + d.ID: d.public()},
	})
}

// OneTimeKey is a signed one-time key of the device. Its algorithm is signed_curve25519.
func (d Device) OneTimeKey(t testing.TB) json.RawMessage {
	t.Helper()
	return d.sign(t, map[string]any{"key": d.public()})
}

// CrossSigningKeys are the user's master and self-signing keys, as keys/device_signing/upload takes
// them: the master key signs itself and the other.
func (d Device) CrossSigningKeys(t testing.TB) map[string]any {
	t.Helper()
	key := func(usage string, public ed25519.PublicKey) json.RawMessage {
		name := matrix.EncodeBase64(public)
		master := matrix.Signer{Entity: d.UserID, KeyID: matrix.KeyID("ed25519:" + d.public()), Key: d.signer.Key}
		return sign(t, master, map[string]any{
			"user_id": d.UserID, "usage": []string{usage}, "keys": map[string]string{"ed25519:" + name: name},
		})
	}
	second, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatalf("generating a self-signing key: %v", err)
	}
	return map[string]any{"master_key": key("master", d.signer.Key.Public().(ed25519.PublicKey)), "self_signing_key": key("self_signing", second)}
}

func (d Device) public() string {
	return matrix.EncodeBase64(d.signer.Key.Public().(ed25519.PublicKey))
}

func (d Device) sign(t testing.TB, object map[string]any) json.RawMessage {
	t.Helper()
	return sign(t, d.signer, object)
}

func sign(t testing.TB, signer matrix.Signer, object map[string]any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(object)
	if err == nil {
		raw, err = matrix.SignJSON(raw, signer)
	}
	if err != nil {
		t.Fatalf("signing keys of %s: %v", signer.Entity, err)
	}
	return raw
}

// MustUploadDevice publishes keys for the client's own device, with one one-time key, and returns it.
func (c *Client) MustUploadDevice(t testing.TB) Device {
	t.Helper()
	d := NewDevice(t, c.UserID, c.DeviceID)
	c.UploadKeys(t, map[string]any{
		"device_keys": d.Keys(t), "one_time_keys": map[string]any{"signed_curve25519:AAAAAA": d.OneTimeKey(t)},
	}).MustOK(t)
	return d
}

// UploadCrossSigning asks to publish cross-signing keys. The client repeats its password when the
// server asks for it.
func (c *Client) UploadCrossSigning(t testing.TB, keys map[string]any) *Response {
	t.Helper()
	path := Path("v3", "keys", "device_signing", "upload")
	answer := c.Request(t, http.MethodPost, path, Body(keys))
	session := answer.Get("session").Str
	if answer.Status != http.StatusUnauthorized || session == "" {
		return answer
	}
	again := map[string]any{"auth": map[string]any{
		"type": "m.login.password", "session": session, "password": c.Password,
		"identifier": map[string]string{"type": "m.id.user", "user": c.UserID},
	}}
	for name, value := range keys {
		again[name] = value
	}
	return c.Request(t, http.MethodPost, path, Body(again))
}

// String names the device.
func (d Device) String() string { return fmt.Sprintf("%s of %s", d.ID, d.UserID) }
