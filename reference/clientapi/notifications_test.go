package clientapi

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

func TestNotifications(t *testing.T) {
	t.Parallel()
	forVersions(t, func(t *testing.T, version string) {
		w := newWorld(t)
		alice, bob := w.register("alice"), w.register("bob")
		room := alice.createRoom(map[string]any{"room_version": version, "preset": "public_chat"})
		bob.ok(http.MethodPost, path("join", room), struct{}{})
		first, second := alice.say(room, "one"), alice.say(room, "two")
		bob.say(room, "an answer")
		third := alice.say(room, "a word for bob")
		ask := func(query string) gjson.Result { return bob.ok(http.MethodGet, path("notifications")+query, nil) }
		ids := func(answer gjson.Result) (ids []string) {
			for _, n := range answer.Get("notifications").Array() {
				ids = append(ids, n.Get("event.event_id").Str)
				require.Equal(t, room, n.Get("room_id").Str)
				require.Equal(t, alice.id, n.Get("event.sender").Str)
				require.Equal(t, "notify", n.Get("actions.0").Str, n.Raw)
			}
			return ids
		}

		all := ask("")
		require.Equal(t, []string{third, second, first}, ids(all), "newest first, and not one's own")
		require.False(t, all.Get("notifications.0.read").Bool(), "nothing came after it")
		require.True(t, all.Get("notifications.1.read").Bool(), "bob has spoken after it")
		require.Equal(t, []string{third}, ids(ask("?only=highlight")), "it has bob's name in it")

		page := ask("?limit=2")
		require.Equal(t, []string{third, second}, ids(page))
		require.Equal(t, []string{first}, ids(ask("?limit=2&from="+page.Get("next_token").Str)))

		bob.ok(http.MethodPost, path("rooms", room, "receipt", "m.read", third), map[string]any{})
		require.True(t, ask("").Get("notifications.0.read").Bool())
		require.Empty(t, ids(alice.ok(http.MethodGet, path("notifications")+"?only=highlight", nil)))
	})
}
