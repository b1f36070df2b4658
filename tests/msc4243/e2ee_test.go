package msc4243

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// encrypted is the setting by which alice's room is encrypted.
func encrypted() blueprints.Setting {
	return blueprints.Create("initial_state", []any{
		map[string]any{"type": "m.room.encryption", "state_key": "", "content": map[string]any{"algorithm": "m.megolm.v1.aes-sha2"}},
	})
}

// equip gives a user of the fake server a device, which is found under the account name user ID only.
func equip(t *testing.T, peer *blueprints.Peer, user *fakeserver.User) csapi.Device {
	t.Helper()
	d := csapi.NewDevice(t, string(user.NameID()), "FAKEDEVICE")
	keys, oneTime := d.Keys(t), d.OneTimeKey(t)
	peer.Override(fakeserver.OpUserDevices, func(q *fakeserver.Inquiry, honest fakeserver.Handler) fakeserver.Answer {
		if q.Var("userID") != d.UserID {
			return honest(q)
		}
		return fakeserver.JSON(http.StatusOK, map[string]any{"user_id": d.UserID, "stream_id": 1, "devices": []any{map[string]any{"device_id": d.ID, "keys": keys}}})
	})
	found := func(member string, value any) fakeserver.Override {
		return func(q *fakeserver.Inquiry, honest fakeserver.Handler) fakeserver.Answer {
			asked := gjson.GetBytes(q.Body, member)
			if !asked.Get(gjson.Escape(d.UserID)).Exists() {
				return honest(q)
			}
			return fakeserver.JSON(http.StatusOK, map[string]any{member: map[string]any{d.UserID: map[string]any{d.ID: value}}})
		}
	}
	peer.Override(fakeserver.OpKeysQuery, found("device_keys", keys))
	peer.Override(fakeserver.OpKeysClaim, found("one_time_keys", map[string]json.RawMessage{"signed_curve25519:AAAAAA": oneTime}))
	return d
}

// lookedUp are the user IDs whose devices or keys a homeserver has asked a fake server for.
func lookedUp(t *testing.T, peer *blueprints.Peer) (ids []string) {
	t.Helper()
	for _, e := range peer.Transcript().Exchanges(func(e fakeserver.Exchange) bool { return e.Direction == fakeserver.Inbound }) {
		switch e.Operation {
		case fakeserver.OpUserDevices:
			path, _, _ := strings.Cut(e.URI, "?")
			id, err := url.PathUnescape(path[strings.LastIndexByte(path, '/')+1:])
			must.NoError(t, "reading "+e.URI, err)
			ids = append(ids, id)
		case fakeserver.OpKeysQuery, fakeserver.OpKeysClaim:
			for _, member := range []string{"device_keys", "one_time_keys"} {
				gjson.GetBytes(e.RequestBody, member).ForEach(func(id, _ gjson.Result) bool {
					ids = append(ids, id.Str)
					return true
				})
			}
		}
	}
	return ids
}

// Impacts on end-to-end encryption: devices belong to account names, for the user ID is part of what
// their keys sign. Here a client looks for those of a user of another server.
func TestDevices_AreLookedUpByAccountName(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-E2EE-01", "MSC4243-E2EE-02")
	// Fay has a device before she joins, since a homeserver may look for devices then and keep the list.
	r := blueprints.Hosted(t, conform.AccountKeyVersion(t), encrypted())
	device := equip(t, r.Peer, r.Fay)
	r.FayJoins(t)
	keys := r.Alice.QueryKeys(t, device.UserID).MustOK(t)
	if got := keys.Get("device_keys").Get(gjson.Escape(device.UserID)).Get(device.ID + ".user_id"); got.Str != device.UserID {
		conform.Violation(t, "MSC4243-E2EE-02", "the keys of "+device.String(), keys.Raw)
	}
	claimed := r.Alice.ClaimKey(t, device.UserID, device.ID, "signed_curve25519").MustOK(t)
	if !claimed.Get("one_time_keys").Get(gjson.Escape(device.UserID)).Get(device.ID).Exists() {
		conform.Violation(t, "MSC4243-E2EE-02", "a one-time key of "+device.String(), claimed.Raw)
	}
	ids := lookedUp(t, r.Peer)
	for _, id := range ids {
		if id != device.UserID {
			conform.Violation(t, "MSC4243-E2EE-01", "other servers are asked for devices by account name user ID", id)
		}
	}
	must.Be(conform.Setup(t), len(ids) > 0, "the homeserver to ask for the devices of %s", device.UserID)
}

// The same in the other direction: another server looks for alice's devices.
func TestDevices_AreServedByAccountName(t *testing.T) {
	t.Parallel()
	r := hosting(t, encrypted())
	setup := conform.Setup(t)
	device := r.Alice.MustUploadDevice(setup)
	crossSigning := device.CrossSigningKeys(setup)
	r.Alice.UploadCrossSigning(setup, crossSigning).MustOK(setup)
	name, key := r.Alice.UserID, string(idOf(t, r, r.Alice))
	keysOf := func(endpoint, member, id string, value any) blueprints.Reply {
		return r.Peer.Ask(setup, r.At, http.MethodPost, "/_matrix/federation/v1/user/keys/"+endpoint, map[string]any{member: map[string]any{id: value}})
	}
	devicesOf := func(id string) blueprints.Reply {
		return r.Peer.Ask(setup, r.At, http.MethodGet, "/_matrix/federation/v1/user/devices/"+url.PathEscape(id), nil)
	}
	query := func(id string) blueprints.Reply { return keysOf("query", "device_keys", id, []string{}) }
	claim := func(id string) blueprints.Reply {
		return keysOf("claim", "one_time_keys", id, map[string]string{device.ID: "signed_curve25519"})
	}

	t.Run("by account name", func(t *testing.T) {
		conform.Covers(t, "MSC4243-E2EE-02")
		for what, answer := range map[string]blueprints.Reply{"devices": devicesOf(name), "keys": query(name), "one-time keys": claim(name)} {
			if !strings.Contains(string(must.Succeed(t, answer).Raw), device.ID) {
				conform.Violation(t, "MSC4243-E2EE-02", "the "+what+" of "+name, answer.String())
			}
		}
	})
	// Last, for a homeserver that answers has one one-time key less.
	t.Run("by account key", func(t *testing.T) {
		conform.Covers(t, "MSC4243-E2EE-02")
		for what, answer := range map[string]blueprints.Reply{"devices": devicesOf(key), "keys": query(key), "one-time keys": claim(key)} {
			found := map[bool]string{true: "are told", false: "are not told"}[strings.Contains(string(answer.Response.Body), device.ID)]
			conform.Info(t, "MSC4243-E2EE-02", what+" under an account key user ID "+found)
		}
	})
	t.Run("signed user ID", func(t *testing.T) {
		conform.Covers(t, "MSC4243-E2EE-03")
		answer := must.Succeed(t, query(name))
		for what, object := range map[string]gjson.Result{
			"device keys": answer.Get("device_keys").Get(gjson.Escape(name)).Get(device.ID),
			"master key":  answer.Get("master_keys").Get(gjson.Escape(name)), "self-signing key": answer.Get("self_signing_keys").Get(gjson.Escape(name)),
		} {
			if got := object.Get("user_id").Str; got != name {
				conform.Violation(t, "MSC4243-E2EE-03", "the "+what+" with the user_id "+name+", as it was signed", answer.Raw)
			}
		}
		if got, want := answer.Get("master_keys").Get(gjson.Escape(name)), crossSigning["master_key"].(json.RawMessage); !sameJSON(t, got.Raw, string(want)) {
			conform.Violation(t, "MSC4243-E2EE-03", "the master key as it was uploaded: "+string(want), got.Raw)
		}
	})
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	one, err := matrix.CanonicalJSON([]byte(a))
	if err != nil {
		return false
	}
	other, err := matrix.CanonicalJSON([]byte(b))
	must.NoError(t, "reading "+b, err)
	return string(one) == string(other)
}

// Impacts on end-to-end encryption: whoever has no name has no devices. The fence is a lookup for
// somebody who has.
func TestDevices_AreNotLookedUpWithoutAName(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-E2EE-04")
	r := hosting(t, encrypted())
	setup := conform.Setup(t)
	equip(t, r.Peer, r.Fay)
	mallory := r.JoinUnverified(t, "mallory")
	r.Alice.MustUploadDevice(setup)
	r.Peer.MustReceiveEvent(setup, r.Alice.MustSend(setup, r.ID, "m.room.encrypted", map[string]any{
		"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AAAA", "session_id": "AAAA",
	}))
	r.MustHide(t, mallory, fakeserver.Draft{Type: "m.room.encrypted", Content: map[string]any{"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AAAA", "session_id": "AAAA"}})
	r.Alice.QueryKeys(setup, r.ClientID(r.Fay)).MustOK(setup)
	ids := lookedUp(t, r.Peer)
	if !slices.Contains(ids, r.ClientID(r.Fay)) {
		conform.Inconclusive(t, "the fence failed: the homeserver has not asked for the devices of a verified user either")
	}
	for _, id := range ids {
		if strings.Contains(id, mallory.Key()) {
			conform.Violation(t, "MSC4243-E2EE-04", "nobody is asked for the devices of an unverified user", id)
		}
	}
}

// lists waits until a later sync names a user in device_lists, and returns everybody who was named
// there.
func lists(t *testing.T, r *blueprints.Room, since, list, userID string) (ids []string, err error) {
	t.Helper()
	err = wait.Until(wait.Context(t), wait.Limit(), userID+" in device_lists."+list, func(context.Context) (bool, error) {
		ids = nil
		for _, id := range r.Alice.Sync(conform.Setup(t), csapi.SyncRequest{Since: since}).Get("device_lists." + list).Array() {
			ids = append(ids, id.Str)
		}
		return slices.Contains(ids, userID), nil
	})
	return ids, err
}

// Server-server API, "Device Management": clients are told by account name whose devices they have to
// look at, and whose no longer.
func TestDeviceLists_NameAccounts(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-E2EE-05")
	r := hosting(t, encrypted())
	setup := conform.Setup(t)
	since := func() string { return r.Alice.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch") }
	for list, does := range map[string]func(gil *fakeserver.User) string{
		"changed": func(gil *fakeserver.User) string {
			at := since()
			r.Room = r.Peer.MustJoin(setup, r.At, r.Version, r.ID, gil)
			return at
		},
		"left": func(gil *fakeserver.User) string {
			r.Room = r.Peer.MustJoin(setup, r.At, r.Version, r.ID, gil)
			r.Alice.MustSeeMember(setup, r.ID, r.ClientID(gil), "join")
			at := since()
			blueprints.MustSend(setup, r.Room, gil, fakeserver.Membership(gil.KeyID(), "leave"))
			return at
		},
	} {
		gil := r.Peer.Member(t, "gil")
		at := does(gil)
		ids, err := lists(t, r, at, list, r.ClientID(gil))
		if err != nil || slices.Contains(ids, string(gil.KeyID())) {
			conform.Violation(t, "MSC4243-E2EE-05", r.ClientID(gil)+" in device_lists."+list, strings.Join(ids, ", "))
		}
		if list != "changed" {
			continue
		}
		changes := r.Alice.Request(t, http.MethodGet, csapi.Path("v3", "keys", "changes"), csapi.Query("from", at), csapi.Query("to", since()))
		if named := changes.Get("changed"); changes.OK() && (!strings.Contains(named.Raw, r.ClientID(gil)) || strings.Contains(named.Raw, gil.Key())) {
			conform.Violation(t, "MSC4243-E2EE-05", r.ClientID(gil)+" in /keys/changes", changes.String())
		}
	}
}

// Server-server API, "Device Management": other servers are told by account name whose devices have
// changed, wherever the user shares a room with theirs.
func TestDeviceUpdates_NameAccounts(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-E2EE-06")
	r := hosting(t, encrypted())
	setup := conform.Setup(t)
	elsewhere := r.Scene.Peer(t)
	gil := elsewhere.Member(t, "gil")
	elsewhere.MustJoin(setup, r.At, r.Version, r.ID, gil)
	r.Alice.MustSeeMember(setup, r.ID, r.ClientID(gil), "join")

	device := r.Alice.MustUploadDevice(setup)
	for _, peer := range []*blueprints.Peer{r.Peer, elsewhere} {
		ctx, cancel := context.WithTimeout(wait.Context(t), wait.Limit())
		defer cancel()
		update, err := peer.WaitEDU(ctx, func(e fakeserver.EDU) bool {
			return e.Type == "m.device_list_update" && gjson.GetBytes(e.Content, "device_id").Str == device.ID
		})
		if err != nil {
			conform.Violation(t, "MSC4243-E2EE-06", "m.device_list_update to every server in the room", err.Error())
			continue
		}
		if got := gjson.GetBytes(update.Content, "user_id").Str; got != r.Alice.UserID {
			conform.Violation(t, "MSC4243-E2EE-06", "m.device_list_update about "+r.Alice.UserID, string(update.Content))
		}
	}
}

// Server-server API, "Send-to-device messaging".
func TestToDevice_NamesAccounts(t *testing.T) {
	t.Parallel()
	t.Run("to another server", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-E2EE-07")
		r := hosting(t)
		setup := conform.Setup(t)
		device, kind := equip(t, r.Peer, r.Fay), blueprints.Unique("org.countersign.message")
		r.Alice.SendToDevice(setup, kind, device.UserID, device.ID, map[string]any{"body": "hello"}).MustOK(setup)
		ctx, cancel := context.WithTimeout(wait.Context(t), wait.Limit())
		defer cancel()
		message, err := r.Peer.WaitEDU(ctx, func(e fakeserver.EDU) bool {
			return e.Type == "m.direct_to_device" && gjson.GetBytes(e.Content, "type").Str == kind
		})
		must.NoError(t, "waiting for a message to "+device.String(), err)
		content := gjson.ParseBytes(message.Content)
		if content.Get("sender").Str != r.Alice.UserID || !content.Get("messages").Get(gjson.Escape(device.UserID)).Get(device.ID).Exists() {
			conform.Violation(t, "MSC4243-E2EE-07", "a message from "+r.Alice.UserID+" to "+device.UserID, content.Raw)
		}
	})
	t.Run("from another server", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-E2EE-07")
		r := hosting(t)
		kind := blueprints.Unique("org.countersign.message")
		must.NoError(conform.Setup(t), "sending m.direct_to_device", r.Room.SendEDU(wait.Context(t), "m.direct_to_device", map[string]any{
			"sender": r.Fay.NameID(), "type": kind, "message_id": blueprints.Unique("message"),
			"messages": map[string]any{r.Alice.UserID: map[string]any{r.Alice.DeviceID: map[string]any{"body": "hello"}}},
		}))
		r.Alice.MustSyncUntil(t, "a message to alice's device from "+r.ClientID(r.Fay), func(v *csapi.View) bool {
			return slices.ContainsFunc(v.ToDevice, func(message gjson.Result) bool {
				return message.Get("type").Str == kind && message.Get("sender").Str == r.ClientID(r.Fay)
			})
		})
	})
}

// Server behaviour: somebody who becomes verified has devices from then on.
func TestDeviceLists_LateVerification(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-E2EE-08")
	r := hosting(t, encrypted())
	mallory := r.JoinUnverified(t, "mallory")
	since := r.Alice.Sync(conform.Setup(t), csapi.SyncRequest{}).MustString(conform.Setup(t), "next_batch")
	r.ConfirmLate(t, mallory)
	if ids, err := lists(t, r, since, "changed", r.ClientID(mallory)); err != nil {
		conform.Violation(t, "MSC4243-E2EE-08", r.ClientID(mallory)+" in device_lists.changed, now that the account key is verified", strings.Join(ids, ", "))
	}
}
