package clientapi

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

func TestUnknownRequestsAreUnrecognised(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.anonymous().refused(http.StatusNotFound, "M_UNRECOGNIZED", http.MethodGet, "/_matrix/client/v3/nothing", nil)
	w.anonymous().refused(http.StatusNotFound, "M_UNRECOGNIZED", http.MethodGet, "/", nil)
	w.anonymous().refused(http.StatusMethodNotAllowed, "M_UNRECOGNIZED", http.MethodDelete, path("sync"), nil)
	w.anonymous().refused(http.StatusMethodNotAllowed, "M_UNRECOGNIZED", http.MethodPatch, path("rooms", "!r", "send", "m.t", "1"), nil)
}

func TestRequestsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	w.anonymous().refused(http.StatusUnauthorized, "M_MISSING_TOKEN", http.MethodGet, path("sync"), nil)
	(&client{w: w, token: "made up"}).refused(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", http.MethodGet, path("sync"), nil)
	require.Equal(t, alice.id, w.anonymous().ok(http.MethodGet, path("account", "whoami")+"?access_token="+alice.token, nil).Get("user_id").Str)

	for body, want := range map[string]struct {
		status int
		code   string
	}{
		"{":                            {http.StatusBadRequest, "M_NOT_JSON"},
		"[]":                           {http.StatusBadRequest, "M_BAD_JSON"},
		`{"visibility":1}`:             {http.StatusBadRequest, "M_BAD_JSON"},
		`{"room_version":"9"}`:         {http.StatusBadRequest, "M_UNSUPPORTED_ROOM_VERSION"},
		`{"preset":"odd"}`:             {http.StatusBadRequest, "M_INVALID_PARAM"},
		strings.Repeat(" ", maxBody+1): {http.StatusRequestEntityTooLarge, "M_TOO_LARGE"},
	} {
		req := httptest.NewRequest(http.MethodPost, path("createRoom"), strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+alice.token)
		recorder := httptest.NewRecorder()
		w.handler.ServeHTTP(recorder, req)
		require.Equal(t, want.status, recorder.Code, "%.20s: %s", body, recorder.Body)
		require.Equal(t, want.code, gjson.GetBytes(recorder.Body.Bytes(), "errcode").Str)
	}
}

func TestRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nobody := w.anonymous()
	challenge := nobody.do(http.MethodPost, path("register"), map[string]any{"username": "alice", "password": "pw"})
	require.Equal(t, http.StatusUnauthorized, challenge.status)
	require.Equal(t, "m.login.dummy", challenge.body.Get("flows.0.stages.0").Str)
	done := nobody.ok(http.MethodPost, path("register"), map[string]any{
		"username": "alice", "password": "pw", "device_id": "D1",
		"auth": map[string]any{"type": "m.login.dummy", "session": challenge.body.Get("session").Str},
	})
	require.Equal(t, "@alice:hs1.test", done.Get("user_id").Str)
	require.Equal(t, "D1", done.Get("device_id").Str)

	nobody.refused(http.StatusBadRequest, "M_USER_IN_USE", http.MethodPost, path("register"), map[string]any{"username": "alice", "password": "pw"})
	nobody.refused(http.StatusBadRequest, "M_INVALID_USERNAME", http.MethodPost, path("register"), map[string]any{"username": "Not A Name", "password": "pw"})
	nobody.refused(http.StatusBadRequest, "M_USER_IN_USE", http.MethodGet, path("register", "available")+"?username=alice", nil)
	require.True(t, nobody.ok(http.MethodGet, path("register", "available")+"?username=bob", nil).Get("available").Bool())

	quiet := nobody.ok(http.MethodPost, path("register"), map[string]any{
		"username": "bob", "password": "pw", "inhibit_login": true, "auth": map[string]any{"type": "m.login.dummy"},
	})
	require.False(t, quiet.Get("access_token").Exists())
	login := map[string]any{"type": "m.login.password", "identifier": map[string]any{"type": "m.id.user", "user": "bob"}, "password": "pw"}
	require.NotEmpty(t, nobody.ok(http.MethodPost, path("login"), login).Get("access_token").Str)
	login["password"] = "wrong"
	nobody.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodPost, path("login"), login)
}

func TestSharedSecretRegistration(t *testing.T) {
	t.Parallel()
	const admin = "/_synapse/admin/v1/register"
	w := newWorld(t)
	nobody := w.anonymous()
	body := func(secret, kind string) map[string]any {
		nonce := nobody.ok(http.MethodGet, admin, nil).Get("nonce").Str
		mac := hmac.New(sha1.New, []byte(secret))
		mac.Write([]byte(nonce + "\x00boss\x00pw\x00" + kind))
		return map[string]any{"nonce": nonce, "username": "boss", "password": "pw", "admin": kind == "admin", "mac": hex.EncodeToString(mac.Sum(nil))}
	}
	nobody.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodPost, admin, body("guess", "admin"))
	good := body(testSecret, "admin")
	require.Equal(t, "@boss:hs1.test", nobody.ok(http.MethodPost, admin, good).Get("user_id").Str)
	nobody.refused(http.StatusBadRequest, "M_UNKNOWN", http.MethodPost, admin, good)
}

func TestDevicesAndLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	login := w.anonymous().ok(http.MethodPost, path("login"), map[string]any{
		"type": "m.login.password", "user": "alice", "password": "pw alice", "device_id": "PHONE", "initial_device_display_name": "Phone",
	})
	phone := &client{w, alice.id, login.Get("access_token").Str}
	require.Len(t, alice.ok(http.MethodGet, path("devices"), nil).Get("devices").Array(), 2)
	require.Equal(t, "Phone", alice.ok(http.MethodGet, path("devices", "PHONE"), nil).Get("display_name").Str)
	alice.ok(http.MethodPut, path("devices", "PHONE"), map[string]any{"display_name": "New"})
	require.Equal(t, "New", alice.ok(http.MethodGet, path("devices", "PHONE"), nil).Get("display_name").Str)

	require.Equal(t, http.StatusUnauthorized, alice.do(http.MethodDelete, path("devices", "PHONE"), nil).status)
	auth := map[string]any{"type": "m.login.password", "identifier": map[string]any{"type": "m.id.user", "user": "alice"}, "password": "pw alice"}
	alice.ok(http.MethodDelete, path("devices", "PHONE"), map[string]any{"auth": auth})
	phone.refused(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", http.MethodGet, path("account", "whoami"), nil)
	alice.ok(http.MethodPost, path("logout"), nil)
	alice.refused(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", http.MethodGet, path("account", "whoami"), nil)
}

func TestDataOfOneUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.register("alice"), w.register("bob")
	since := alice.sync().Get("next_batch").Str
	alice.ok(http.MethodPut, path("user", alice.id, "account_data", "org.x"), map[string]any{"a": 1})
	require.Equal(t, int64(1), alice.ok(http.MethodGet, path("user", alice.id, "account_data", "org.x"), nil).Get("a").Int())
	bob.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodGet, path("user", alice.id, "account_data", "org.x"), nil)
	alice.refused(http.StatusNotFound, "M_NOT_FOUND", http.MethodGet, path("user", alice.id, "account_data", "org.y"), nil)
	news := alice.sync("since", since)
	require.Equal(t, int64(1), find(news.Get("account_data.events"), "org.x", "").Get("content.a").Int())

	room := alice.createRoom(map[string]any{})
	since = alice.sync().Get("next_batch").Str
	alice.ok(http.MethodPut, path("user", alice.id, "rooms", room, "tags", "m.favourite"), map[string]any{"order": 0.5})
	news = alice.sync("since", since)
	require.Equal(t, 0.5, find(news.Get("rooms.join.*.account_data.events"), "m.tag", "").Get(`content.tags.m\.favourite.order`).Float(), news.Raw)

	filter := alice.ok(http.MethodPost, path("user", alice.id, "filter"), map[string]any{"room": map[string]any{"timeline": map[string]any{"limit": 1}}}).Get("filter_id").Str
	require.Equal(t, int64(1), alice.ok(http.MethodGet, path("user", alice.id, "filter", filter), nil).Get("room.timeline.limit").Int())
	require.Len(t, alice.sync("filter", filter).Get("rooms.join.*.timeline.events").Array(), 1)
	alice.refused(http.StatusBadRequest, "M_INVALID_PARAM", http.MethodGet, path("sync")+"?filter=77", nil)
	alice.refused(http.StatusBadRequest, "M_INVALID_PARAM", http.MethodGet, path("sync")+"?since=nonsense", nil)
}

func TestPushRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	require.Equal(t, ".m.rule.master", alice.ok(http.MethodGet, path("pushrules")+"/", nil).Get("global.override.0.rule_id").Str)
	rule := path("pushrules", "global", "content", "cake")
	alice.ok(http.MethodPut, rule, map[string]any{"pattern": "cake*", "actions": []string{"notify"}})
	alice.ok(http.MethodPut, rule+"/enabled", map[string]any{"enabled": false})
	require.False(t, alice.ok(http.MethodGet, rule, nil).Get("enabled").Bool())
	require.Contains(t, alice.sync().Get("account_data").Raw, "cake*")
	alice.ok(http.MethodDelete, rule, nil)
	alice.refused(http.StatusNotFound, "M_NOT_FOUND", http.MethodGet, rule, nil)
	alice.refused(http.StatusBadRequest, "M_INVALID_PARAM", http.MethodDelete, path("pushrules", "global", "override", ".m.rule.master"), nil)
}
