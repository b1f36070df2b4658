package clientapi

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

func deviceKeys(user, device string) map[string]any {
	return map[string]any{
		"user_id": user, "device_id": device, "algorithms": []string{"m.olm.v1.curve25519-aes-sha2"},
		"keys":       map[string]string{"ed25519:" + device: "key"},
		"signatures": map[string]any{user: map[string]string{"ed25519:" + device: "signature"}},
	}
}

func (c *client) device() string {
	return c.ok(http.MethodGet, path("account", "whoami"), nil).Get("device_id").Str
}

func TestKeysAreUploadedFoundAndClaimed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.register("alice"), w.register("bob")
	room := publicKeyRoom(alice)
	bob.ok(http.MethodPost, path("join", room), nil)
	since := bob.sync().Get("next_batch").Str
	device := alice.device()
	alice.refused(http.StatusBadRequest, "M_INVALID_PARAM", http.MethodPost, path("keys", "upload"), map[string]any{"device_keys": deviceKeys(bob.id, device)})
	counts := alice.ok(http.MethodPost, path("keys", "upload"), map[string]any{
		"device_keys":   deviceKeys(alice.id, device),
		"one_time_keys": map[string]any{"signed_curve25519:A": map[string]string{"key": "a"}},
		"fallback_keys": map[string]any{"signed_curve25519:F": map[string]any{"key": "f", "fallback": true}},
	})
	require.Equal(t, int64(1), counts.Get("one_time_key_counts.signed_curve25519").Int())
	require.Equal(t, []any{alice.id}, bob.sync("since", since).Get("device_lists.changed").Value())

	found := bob.ok(http.MethodPost, path("keys", "query"), map[string]any{"device_keys": map[string]any{alice.id: []string{}}})
	require.Equal(t, "key", found.Get("device_keys").Map()[alice.id].Get(device+".keys.ed25519:"+device).Str, found.Raw)
	claim := map[string]any{"one_time_keys": map[string]any{alice.id: map[string]string{device: "signed_curve25519"}}}
	require.Contains(t, bob.ok(http.MethodPost, path("keys", "claim"), claim).Raw, "signed_curve25519:A")
	require.Contains(t, bob.ok(http.MethodPost, path("keys", "claim"), claim).Raw, "signed_curve25519:F")
	synced := alice.sync()
	require.Equal(t, int64(0), synced.Get("device_one_time_keys_count.signed_curve25519").Int())
	require.Empty(t, synced.Get("device_unused_fallback_key_types").Array())

	// Other servers find users by account name only.
	answer, err := w.api.QueryKeys(context.Background(), mustJSON(map[string]any{"device_keys": map[string]any{alice.id: []string{}}}))
	require.NoError(t, err)
	require.Contains(t, string(answer), device)
	key := w.directory.KeyUserIDs(matrix.UserID(alice.id))[0]
	answer, err = w.api.QueryKeys(context.Background(), mustJSON(map[string]any{"device_keys": map[string]any{string(key): []string{}}}))
	require.NoError(t, err)
	require.Empty(t, gjson.GetBytes(answer, "device_keys").Map())
	_, err = w.api.Devices(context.Background(), key)
	require.Error(t, err)
	answer, err = w.api.Devices(context.Background(), matrix.UserID(alice.id))
	require.NoError(t, err)
	require.Equal(t, device, gjson.GetBytes(answer, "devices.0.device_id").Str)
}

func TestCrossSigning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	device := alice.device()
	alice.ok(http.MethodPost, path("keys", "upload"), map[string]any{"device_keys": deviceKeys(alice.id, device)})
	master := map[string]any{"user_id": alice.id, "usage": []string{"master"}, "keys": map[string]string{"ed25519:M": "M"}}
	alice.ok(http.MethodPost, path("keys", "device_signing", "upload"), map[string]any{"master_key": master})
	require.Equal(t, http.StatusUnauthorized, alice.do(http.MethodPost, path("keys", "device_signing", "upload"), map[string]any{"master_key": master}).status)
	signed := deviceKeys(alice.id, device)
	signed["signatures"] = map[string]any{alice.id: map[string]string{"ed25519:S": "by self-signing key"}}
	failures := alice.ok(http.MethodPost, path("keys", "signatures", "upload"), map[string]any{alice.id: map[string]any{device: signed}})
	require.Equal(t, "{}", failures.Get("failures").Raw)
	found := alice.ok(http.MethodPost, path("keys", "query"), map[string]any{"device_keys": map[string]any{alice.id: []string{}}})
	signatures := found.Get("device_keys").Map()[alice.id].Get(device + ".signatures").Map()[alice.id]
	require.Len(t, signatures.Map(), 2)
	require.Equal(t, "M", found.Get("master_keys").Map()[alice.id].Get("keys.ed25519:M").Str)
}

func TestRemoteKeysAreAskedForByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	asked := make(chan string, 2)
	w.net.answer("/_matrix/federation/v1/user/keys/query", func(call peer.Call) ([]byte, error) {
		asked <- string(call.Body)
		return []byte(`{"device_keys":{"@bob:fs.test":{"D":{}},"@other:hs1.test":{"X":{}}}}`), nil
	})
	found := alice.ok(http.MethodPost, path("keys", "query"), map[string]any{"device_keys": map[string]any{"@bob:fs.test": []string{}, "@x:down.test": []string{}}})
	require.Contains(t, <-asked+<-asked, "@bob:fs.test")
	require.Contains(t, found.Get("device_keys").Raw, "@bob:fs.test")
	require.NotContains(t, found.Raw, "@other")
}

func TestToDeviceMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.register("alice"), w.register("bob")
	since := bob.sync().Get("next_batch").Str
	sendTo(alice, bob, "*", "org.x")
	sendTo(alice, bob, "*", "org.x") // the same transaction
	news := bob.sync("since", since)
	require.Len(t, news.Get("to_device.events").Array(), 1)
	require.Equal(t, alice.id, news.Get("to_device.events.0.sender").Str)
	require.Len(t, bob.sync("since", since).Get("to_device.events").Array(), 1, "not yet confirmed")
	since = news.Get("next_batch").Str
	require.Empty(t, bob.sync("since", since).Get("to_device.events").Array())

	remote := &client{w: w, id: "@carol:fs.test"}
	sendTo(alice, remote, "D", "org.y")
	edu := w.net.sent("m.direct_to_device")[0]
	require.Equal(t, []matrix.ServerName{remoteServer}, edu.servers)
	require.Equal(t, alice.id, edu.content.Get("sender").Str)
	for range 2 {
		require.NoError(t, w.api.EDU(context.Background(), remoteServer, "m.direct_to_device", mustJSON(map[string]any{
			"sender": "@carol:fs.test", "type": "org.z", "message_id": "1", "messages": map[string]any{bob.id: map[string]any{"*": map[string]any{}}},
		})))
	}
	require.NoError(t, w.api.EDU(context.Background(), "evil.test", "m.direct_to_device", mustJSON(map[string]any{
		"sender": "@carol:fs.test", "type": "org.forged", "message_id": "2", "messages": map[string]any{bob.id: map[string]any{"*": map[string]any{}}},
	})))
	require.Equal(t, []any{"org.z"}, bob.sync("since", since).Get("to_device.events.#.type").Value())
}

func TestTypingAndReceipts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	room := publicKeyRoom(alice)
	bob, mallory := w.remoteUser(), w.remoteUser()
	mallory.join(room)
	w.named(map[string]*remoteUser{"bob": bob})
	bob.join(room)
	said := alice.say(room, "x")
	edu := func(origin matrix.ServerName, eduType string, content any) {
		require.NoError(t, w.api.EDU(context.Background(), origin, eduType, mustJSON(content)))
	}
	receipt := func(user string) any {
		return map[string]any{room: map[string]any{"m.read": map[string]any{user: map[string]any{"event_ids": []string{said}, "data": map[string]int{"ts": 5}}}}}
	}
	for _, name := range []string{"@bob:fs.test", string(bob.id)} {
		since := alice.sync().Get("next_batch").Str
		edu(remoteServer, "m.typing", map[string]any{"room_id": room, "user_id": name, "typing": true})
		edu(remoteServer, "m.receipt", receipt(name))
		edu("evil.test", "m.typing", map[string]any{"room_id": room, "user_id": name, "typing": false})
		edu(remoteServer, "m.typing", map[string]any{"room_id": room, "user_id": mallory.id, "typing": true})
		edu(remoteServer, "m.receipt", receipt(string(mallory.id)))
		news := alice.sync("since", since)
		require.Equal(t, []any{"@bob:fs.test"}, find(news.Get("rooms.join.*.ephemeral.events"), "m.typing", "").Get("content.user_ids").Value(), news.Raw)
		read := find(news.Get("rooms.join.*.ephemeral.events"), "m.receipt", "").Get("content").Map()[said].Get(`m\.read`).Map()
		require.Len(t, read, 1)
		require.Contains(t, read, "@bob:fs.test")
		edu(remoteServer, "m.typing", map[string]any{"room_id": room, "user_id": name, "typing": false})
	}
	alice.ok(http.MethodPut, path("rooms", room, "typing", alice.id), map[string]any{"typing": true, "timeout": 1000})
	alice.ok(http.MethodPost, path("rooms", room, "receipt", "m.read", said), map[string]any{})
	require.Equal(t, alice.id, w.net.sent("m.typing")[0].content.Get("user_id").Str)
	require.Contains(t, w.net.sent("m.receipt")[0].content.Raw, alice.id)
	since := alice.sync().Get("next_batch").Str
	alice.ok(http.MethodPost, path("rooms", room, "read_markers"), map[string]any{"m.fully_read": said})
	require.Equal(t, said, find(alice.sync("since", since).Get("rooms.join.*.account_data.events"), "m.fully_read", "").Get("content.event_id").Str)
}
