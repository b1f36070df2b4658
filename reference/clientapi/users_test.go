package clientapi

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/peer"
)

func TestProfilesReachRooms(t *testing.T) {
	t.Parallel()
	forVersions(t, func(t *testing.T, version string) {
		w := newWorld(t)
		alice, bob := w.register("alice"), w.register("bob")
		room := alice.createRoom(map[string]any{"room_version": version})
		alice.ok(http.MethodPut, path("profile", alice.id, "displayname"), map[string]string{"displayname": "Alice!"})
		require.Equal(t, "Alice!", w.anonymous().ok(http.MethodGet, path("profile", alice.id), nil).Get("displayname").Str)
		require.Equal(t, "Alice!", alice.ok(http.MethodGet, path("rooms", room, "state", "m.room.member", alice.id), nil).Get("displayname").Str)
		require.Equal(t, "Alice!", alice.ok(http.MethodGet, path("rooms", room, "joined_members"), nil).Get("joined").Map()[alice.id].Get("display_name").Str)
		bob.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodPut, path("profile", alice.id, "displayname"), map[string]string{"displayname": "x"})
		w.anonymous().refused(http.StatusNotFound, "M_NOT_FOUND", http.MethodGet, path("profile", "@ghost:hs1.test"), nil)
		alice.ok(http.MethodPut, path("profile", alice.id, "org.x"), map[string]any{"org.x": []int{1}})
		require.Equal(t, int64(1), alice.ok(http.MethodGet, path("profile", alice.id, "org.x"), nil).Get(`org\.x.0`).Int())
		alice.ok(http.MethodDelete, path("profile", alice.id, "org.x"), nil)
		alice.refused(http.StatusNotFound, "M_NOT_FOUND", http.MethodGet, path("profile", alice.id, "org.x"), nil)

		w.net.answer("/_matrix/federation/v1/query/profile", func(call peer.Call) ([]byte, error) {
			require.Equal(t, "@bob:fs.test", call.Query.Get("user_id"))
			return []byte(`{"displayname":"Far Bob"}`), nil
		})
		require.Equal(t, "Far Bob", alice.ok(http.MethodGet, path("profile", "@bob:fs.test"), nil).Get("displayname").Str)
	})
}

func TestIgnoredUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	room := publicKeyRoom(alice)
	bob := w.remoteUser()
	w.named(map[string]*remoteUser{"bob": bob})
	bob.join(room)
	alice.ok(http.MethodPut, path("user", alice.id, "account_data", "m.ignored_user_list"), map[string]any{"ignored_users": map[string]any{"@bob:fs.test": map[string]any{}}})
	said := bob.say(room, "hello?")
	require.NotContains(t, alice.sync().Raw, said)
	require.NotContains(t, alice.ok(http.MethodGet, path("rooms", room, "messages")+"?dir=b", nil).Raw, said)
}

func TestNotificationsCount(t *testing.T) {
	t.Parallel()
	forVersions(t, func(t *testing.T, version string) {
		w := newWorld(t)
		alice, bob := w.register("alice"), w.register("bob")
		room := alice.createRoom(map[string]any{"room_version": version, "preset": "public_chat"})
		bob.ok(http.MethodPost, path("join", room), nil)
		alice.say(room, "plain")
		mention := alice.ok(http.MethodPut, path("rooms", room, "send", "m.room.message", "m"), map[string]any{
			"msgtype": "m.text", "body": "you", "m.mentions": map[string]any{"user_ids": []string{bob.id}},
		}).Get("event_id").Str
		counts := bob.sync().Get("rooms.join.*.unread_notifications")
		require.Equal(t, int64(2), counts.Get("notification_count").Int(), counts.Raw)
		require.Equal(t, int64(1), counts.Get("highlight_count").Int())
		since := bob.sync().Get("next_batch").Str
		bob.ok(http.MethodPost, path("rooms", room, "receipt", "m.read", mention), nil)
		require.Equal(t, int64(0), bob.sync("since", since).Get("rooms.join.*.unread_notifications.notification_count").Int())
	})
}

func TestHiddenUsersNotifyNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	room := publicKeyRoom(alice)
	mallory := w.remoteUser()
	mallory.join(room)
	mallory.send(room, "m.room.message", nil, map[string]any{"body": "alice", "msgtype": "m.text", "m.mentions": map[string]any{"user_ids": []string{alice.id}}})
	require.Equal(t, int64(0), alice.sync().Get("rooms.join.*.unread_notifications.notification_count").Int())
}

func TestDeactivationErases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.register("alice"), w.register("bob")
	room := publicKeyRoom(alice)
	bob.ok(http.MethodPost, path("join", room), nil)
	said := bob.say(room, "secret")
	key := w.directory.KeyUserIDs(matrix.UserID(bob.id))[0]
	require.Equal(t, http.StatusUnauthorized, bob.do(http.MethodPost, path("account", "deactivate"), map[string]any{"erase": true}).status)
	bob.ok(http.MethodPost, path("account", "deactivate"), map[string]any{"erase": true, "auth": map[string]any{"type": "m.login.password", "user": bob.id, "password": "pw bob"}})
	bob.refused(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", http.MethodGet, path("sync"), nil)
	w.anonymous().refused(http.StatusForbidden, "M_USER_DEACTIVATED", http.MethodPost, path("login"), map[string]any{"type": "m.login.password", "user": "bob", "password": "pw bob"})
	w.anonymous().refused(http.StatusBadRequest, "M_USER_IN_USE", http.MethodGet, path("register", "available")+"?username=bob", nil)
	for name, answer := range alice.surfaces(room) {
		for _, text := range []string{string(key), bob.id, said} {
			require.NotContains(t, answer.Raw, text, name)
		}
	}
	m, _ := w.engine.Membership(room, key)
	require.Equal(t, "leave", m.Membership)
}

func TestLazyLoading(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob, carol := w.register("alice"), w.register("bob"), w.register("carol")
	room := publicKeyRoom(alice)
	for _, c := range []*client{bob, carol} {
		c.ok(http.MethodPost, path("join", room), nil)
	}
	for range 12 {
		bob.say(room, "x")
	}
	state := alice.sync("filter", `{"room":{"state":{"lazy_load_members":true}}}`).Get("rooms.join.*.state.events")
	require.True(t, find(state, "m.room.member", bob.id).Exists())
	require.True(t, find(state, "m.room.member", alice.id).Exists())
	require.False(t, find(state, "m.room.member", carol.id).Exists())
	page := alice.ok(http.MethodGet, path("rooms", room, "messages")+`?dir=b&limit=3&filter={"lazy_load_members":true}`, nil)
	require.Equal(t, bob.id, page.Get("state.0.state_key").Str)
	summary := alice.sync().Get("rooms.join.*.summary")
	require.Equal(t, int64(3), summary.Get(`m\.joined_member_count`).Int())
}

func TestHeroes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.register("alice"), w.register("bob")
	alice.createRoom(map[string]any{"room_version": matrix.VersionMSC4243, "invite": []string{bob.id}})
	require.Equal(t, []any{bob.id}, alice.sync().Get(`rooms.join.*.summary.m\.heroes`).Value())
}

func TestPresence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, carol := w.register("alice"), w.register("carol")
	room := publicKeyRoom(alice)
	bob, mallory := w.remoteUser(), w.remoteUser()
	mallory.join(room)
	w.named(map[string]*remoteUser{"bob": bob})
	bob.join(room)
	since, apart := alice.sync().Get("next_batch").Str, carol.sync().Get("next_batch").Str
	for _, name := range []string{"@bob:fs.test", string(bob.id), string(mallory.id), "@bob:evil.test", "@stranger:fs.test"} {
		require.NoError(t, w.api.EDU(context.Background(), remoteServer, "m.presence", mustJSON(map[string]any{
			"push": []any{map[string]any{"user_id": name, "presence": "online", "status_msg": "here", "last_active_ago": 5}},
		})))
		news := alice.sync("since", since).Get("presence.events")
		require.Equal(t, []any{"@bob:fs.test"}, news.Get("#.sender").Value(), "%s: %s", name, news.Raw)
		require.Equal(t, "here", news.Get("0.content.status_msg").Str)
	}
	require.Empty(t, carol.sync("since", apart).Get("presence.events").Array())
	alice.ok(http.MethodPut, path("presence", alice.id, "status"), map[string]string{"presence": "unavailable"})
	require.Equal(t, alice.id, w.net.sent("m.presence")[0].content.Get("push.0.user_id").Str)
	require.Equal(t, "unavailable", alice.ok(http.MethodGet, path("presence", alice.id, "status"), nil).Get("presence").Str)
	require.Equal(t, "online", alice.ok(http.MethodGet, path("presence", "@bob:fs.test", "status"), nil).Get("presence").Str)
	carol.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodGet, path("presence", alice.id, "status"), nil)
	alice.refused(http.StatusBadRequest, "M_INVALID_PARAM", http.MethodPut, path("presence", alice.id, "status"), map[string]string{"presence": "asleep"})
}
