package clientapi

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
)

func versions() []string { return []string{matrix.Version12, matrix.VersionMSC4243} }

// forVersions runs a test in rooms of every version.
func forVersions(t *testing.T, test func(t *testing.T, version string)) {
	for _, version := range versions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, version)
		})
	}
}

func TestTwoUsersTalk(t *testing.T) {
	t.Parallel()
	forVersions(t, func(t *testing.T, version string) {
		w := newWorld(t)
		alice, bob := w.register("alice"), w.register("bob")
		first := alice.sync()
		room := alice.createRoom(map[string]any{"room_version": version, "preset": "private_chat", "invite": []string{bob.id}, "name": "Tea"})

		invite := bob.sync()
		require.Equal(t, "invite", find(invite.Get("rooms.invite.*.invite_state.events"), "m.room.member", bob.id).Get("content.membership").Str, invite.Raw)
		require.Equal(t, "Tea", find(invite.Get("rooms.invite.*.invite_state.events"), "m.room.name", "").Get("content.name").Str)

		bob.ok(http.MethodPost, path("join", room), struct{}{})
		joined := bob.sync("since", invite.Get("next_batch").Str)
		require.Equal(t, alice.id, find(joined.Get("rooms.join.*.timeline.events"), "m.room.create", "").Get("sender").Str, joined.Raw)

		said := alice.say(room, "hello")
		next := bob.sync("since", joined.Get("next_batch").Str)
		event := next.Get("rooms.join.*.timeline.events.0")
		require.Equal(t, said, event.Get("event_id").Str)
		require.Equal(t, alice.id, event.Get("sender").Str)
		require.False(t, next.Get("rooms.join.*.timeline.limited").Bool())
		require.Equal(t, version == matrix.VersionMSC4243, event.Get("unsigned.sender_account").Exists())
		if version == matrix.VersionMSC4243 {
			require.Equal(t, alice.id, event.Get("unsigned.sender_account.user_id").Str)
			require.Len(t, event.Get("unsigned.sender_account.key").Str, matrix.AccountKeyLength)
		}
		require.Equal(t, int64(1), next.Get("rooms.join.*.unread_notifications.notification_count").Int(), next.Raw)

		mine := alice.sync("since", first.Get("next_batch").Str)
		require.Equal(t, "join", find(mine.Get("rooms.join.*.timeline.events"), "m.room.member", bob.id).Get("content.membership").Str, mine.Raw)
		members := alice.ok(http.MethodGet, path("rooms", room, "joined_members"), nil)
		require.Len(t, members.Get("joined").Map(), 2)
		require.Contains(t, members.Get("joined").Map(), bob.id)
		require.Equal(t, "join", alice.ok(http.MethodGet, path("rooms", room, "state", "m.room.member", bob.id), nil).Get("membership").Str)
	})
}
