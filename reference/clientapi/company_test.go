package clientapi

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/matrix"
)

func eachParticipation(t *testing.T, test func(*testing.T, *world, matrix.RoomVersion)) {
	for _, v := range matrix.ParticipationRoomVersions() {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t), v)
		})
	}
}

// in is the client's user as a room knows it.
func (c *client) in(roomID string) string {
	c.w.t.Helper()
	user, ok := c.w.engine.InRoom(roomID, matrix.UserID(c.id))
	require.True(c.w.t, ok, "the server has no key in %s", roomID)
	return string(user)
}

// event is an event of a room as the client sees it.
func (c *client) event(roomID, eventID string) gjson.Result {
	c.w.t.Helper()
	return c.ok(http.MethodGet, path("rooms", roomID, "event", eventID), nil)
}

// membershipOf is what the state of a room says of a user.
func (c *client) membershipOf(roomID, user string) string {
	c.w.t.Helper()
	return c.ok(http.MethodGet, path("rooms", roomID, "state", "m.room.member", user), nil).Get("membership").Str
}

func TestRoomsOfParticipantsAreMadeAndShown(t *testing.T) {
	t.Parallel()
	eachParticipation(t, func(t *testing.T, w *world, v matrix.RoomVersion) {
		alice := w.register("alice")
		for _, preset := range []string{"private_chat", "trusted_private_chat", "public_chat"} {
			roomID := alice.createRoom(map[string]any{"room_version": v.ID, "preset": preset, "name": preset})
			me := alice.in(roomID)
			_, err := v.ParseUserID(me)
			require.NoError(t, err)
			said := alice.event(roomID, alice.say(roomID, "a secret"))
			require.Equal(t, me, said.Get("sender").Str)
			require.Equal(t, string(testServer), said.Get("unsigned.server_domain").Str)
			require.False(t, said.Get("unsigned.sender_account").Exists())
			if v.HasPortableAccounts() {
				require.Equal(t, "alice", said.Get("unsigned.account").Str)
			} else {
				require.False(t, said.Get("unsigned.account").Exists())
			}
			state := alice.ok(http.MethodGet, path("rooms", roomID, "state"), nil)
			require.Equal(t, me, find(state, "m.room.create", "").Get("sender").Str)
			require.Equal(t, string(testServer), find(state, "m.room.create", "").Get("unsigned.server_domain").Str)
			require.Equal(t, "join", find(state, "m.room.member", me).Get("content.membership").Str)
			require.Equal(t, "join", alice.membershipOf(roomID, alice.id), "by account name")
		}
		require.Equal(t, alice.id, alice.ok(http.MethodGet, path("account", "whoami"), nil).Get("user_id").Str)
		require.Len(t, alice.ok(http.MethodGet, path("joined_rooms"), nil).Get("joined_rooms").Array(), 3)
	})
}

func TestEventsOfParticipantsAreAnnotatedEverywhere(t *testing.T) {
	t.Parallel()
	eachParticipation(t, func(t *testing.T, w *world, v matrix.RoomVersion) {
		alice := w.register("alice")
		roomID := alice.createRoom(map[string]any{"room_version": v.ID, "preset": "public_chat", "visibility": "public"})
		alice.say(roomID, "a secret")
		count := 0
		var check func(what string, r gjson.Result)
		check = func(what string, r gjson.Result) {
			if r.Get("event_id").Exists() && r.Get("sender").Exists() {
				count++
				require.Equal(t, string(testServer), r.Get("unsigned.server_domain").Str, "%s: %s", what, r.Raw)
				require.Equal(t, v.HasPortableAccounts(), r.Get("unsigned.account").Str == "alice", "%s: %s", what, r.Raw)
			}
			if r.IsObject() || r.IsArray() {
				r.ForEach(func(_, value gjson.Result) bool {
					check(what, value)
					return true
				})
			}
		}
		for name, answer := range alice.surfaces(roomID) {
			check(name, answer)
		}
		require.Greater(t, count, 30)
	})
}

func TestMembershipsOfParticipants(t *testing.T) {
	t.Parallel()
	eachParticipation(t, func(t *testing.T, w *world, v matrix.RoomVersion) {
		alice, bob := w.register("alice"), w.register("bob")
		roomID := alice.createRoom(map[string]any{"room_version": v.ID, "preset": "private_chat", "invite": []string{bob.id}})
		inRoom := bob.in(roomID)
		invite := bob.sync().Get("rooms.invite").Get(gjson.Escape(roomID)).Get("invite_state.events")
		require.Equal(t, "invite", find(invite, "m.room.member", inRoom).Get("content.membership").Str)
		require.Equal(t, alice.in(roomID), find(invite, "m.room.member", inRoom).Get("sender").Str)
		bob.ok(http.MethodPost, path("join", roomID), map[string]any{})
		require.True(t, bob.sync().Get("rooms.join").Get(gjson.Escape(roomID)).Exists())
		joined := alice.ok(http.MethodGet, path("rooms", roomID, "joined_members"), nil).Get("joined")
		require.True(t, joined.Get(gjson.Escape(inRoom)).Exists(), joined.Raw)

		for _, name := range []string{bob.id, inRoom} {
			target := map[string]string{"user_id": name}
			alice.ok(http.MethodPost, path("rooms", roomID, "kick"), target)
			require.Equal(t, "leave", alice.membershipOf(roomID, name))
			require.True(t, bob.sync("filter", `{"room":{"include_leave":true}}`).Get("rooms.leave").Get(gjson.Escape(roomID)).Exists())
			alice.ok(http.MethodPost, path("rooms", roomID, "ban"), target)
			require.Equal(t, "ban", alice.membershipOf(roomID, name))
			bob.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodPost, path("join", roomID), map[string]any{})
			alice.ok(http.MethodPost, path("rooms", roomID, "unban"), target)
			alice.ok(http.MethodPost, path("rooms", roomID, "invite"), target)
			require.Equal(t, "invite", alice.membershipOf(roomID, name))
			bob.ok(http.MethodPost, path("rooms", roomID, "join"), map[string]any{})
		}
		alice.ok(http.MethodPut, path("rooms", roomID, "state", "m.room.member", bob.id), map[string]string{"membership": "leave"})
		require.Equal(t, "leave", alice.membershipOf(roomID, inRoom))
		alice.ok(http.MethodPut, path("rooms", roomID, "state", "m.room.member", inRoom), map[string]string{"membership": "invite"})
		bob.ok(http.MethodPut, path("rooms", roomID, "state", "m.room.member", inRoom), map[string]string{"membership": "join"})
		bob.ok(http.MethodPost, path("rooms", roomID, "leave"), map[string]any{})
		bob.ok(http.MethodPost, path("rooms", roomID, "forget"), map[string]any{})
		for _, nobody := range []string{"@nobody:" + string(testServer), "nonsense", "@bob:" + string(remoteServer)} {
			r := alice.do(http.MethodPost, path("rooms", roomID, "invite"), map[string]string{"user_id": nobody})
			require.GreaterOrEqual(t, r.status, 400, nobody)
			require.Less(t, r.status, 500, "%s: %s", nobody, r.body.Raw)
		}
	})
}

func TestTrustedChatsOfParticipants(t *testing.T) {
	t.Parallel()
	eachParticipation(t, func(t *testing.T, w *world, v matrix.RoomVersion) {
		alice, bob, carol := w.register("alice"), w.register("bob"), w.register("carol")
		roomID := alice.createRoom(map[string]any{
			"room_version": v.ID, "preset": "trusted_private_chat", "invite": []string{bob.id},
			"power_level_content_override": map[string]any{"users": map[string]int{carol.id: 40}, "events_default": 5},
		})
		create := alice.ok(http.MethodGet, path("rooms", roomID, "state", "m.room.create"), nil)
		require.Equal(t, bob.in(roomID), create.Get("additional_creators.0").Str)
		levels := alice.ok(http.MethodGet, path("rooms", roomID, "state", "m.room.power_levels"), nil)
		require.Equal(t, int64(40), levels.Get("users").Get(gjson.Escape(carol.in(roomID))).Int(), levels.Raw)
		require.Equal(t, int64(5), levels.Get("events_default").Int())
		levels = gjson.Parse(strings.Replace(levels.Raw, `":40`, `":45`, 1)) // not what a key may contain
		alice.ok(http.MethodPut, path("rooms", roomID, "state", "m.room.power_levels"), levels.Value())
		require.Equal(t, levels.Get("users").Raw, alice.ok(http.MethodGet, path("rooms", roomID, "state", "m.room.power_levels"), nil).Get("users").Raw)
		alice.refused(http.StatusBadRequest, "M_INVALID_PARAM", http.MethodPost, path("createRoom"), map[string]any{
			"room_version": v.ID, "power_level_content_override": map[string]any{"users": map[string]int{alice.id: 100}},
		})
	})
}

func TestSyncKnowsParticipants(t *testing.T) {
	t.Parallel()
	eachParticipation(t, func(t *testing.T, w *world, v matrix.RoomVersion) {
		alice, bob := w.register("alice"), w.register("bob")
		alice.ok(http.MethodPut, path("profile", alice.id, "displayname"), map[string]string{"displayname": "Alice"})
		roomID := alice.createRoom(map[string]any{"room_version": v.ID, "preset": "public_chat"})
		bob.ok(http.MethodPost, path("join", roomID), map[string]any{})
		inSync := func(c *client, since string) gjson.Result {
			return c.sync("since", since).Get("rooms.join").Get(gjson.Escape(roomID))
		}
		summary := inSync(alice, "").Get("summary")
		require.Equal(t, bob.in(roomID), summary.Get(`m\.heroes.0`).Str)
		require.Len(t, summary.Get(`m\.heroes`).Array(), 1)
		require.Equal(t, int64(2), summary.Get(`m\.joined_member_count`).Int())

		since := alice.sync().Get("next_batch").Str
		said := bob.say(roomID, "hello Alice")
		require.Equal(t, int64(1), inSync(alice, since).Get("unread_notifications.highlight_count").Int(), "by display name")
		for _, name := range []string{alice.id, alice.in(roomID)} {
			bob.ok(http.MethodPut, path("rooms", roomID, "send", "m.room.message", "mention"+name), map[string]any{
				"msgtype": "m.text", "body": "you", "m.mentions": map[string]any{"user_ids": []string{name}},
			})
		}
		require.Equal(t, int64(3), inSync(alice, since).Get("unread_notifications.highlight_count").Int(), "by mention")
		require.Zero(t, inSync(bob, "").Get("unread_notifications.notification_count").Int(), "one's own messages")

		bob.ok(http.MethodPut, path("rooms", roomID, "typing", bob.id), map[string]any{"typing": true, "timeout": 10000})
		bob.ok(http.MethodPost, path("rooms", roomID, "receipt", "m.read", said), map[string]any{})
		alice.ok(http.MethodPost, path("rooms", roomID, "receipt", "m.read.private", said), map[string]any{})
		ephemeral := inSync(alice, "").Get("ephemeral.events")
		require.Equal(t, bob.in(roomID), ephemeral.Get(`#(type=="m.typing").content.user_ids.0`).Str)
		receipts := ephemeral.Get(`#(type=="m.receipt").content`).Get(gjson.Escape(said))
		require.True(t, receipts.Get(`m\.read`).Get(gjson.Escape(bob.in(roomID))).Exists(), ephemeral.Raw)
		require.True(t, receipts.Get(`m\.read\.private`).Get(gjson.Escape(alice.in(roomID))).Exists())
		require.Equal(t, int64(2), inSync(alice, "").Get("unread_notifications.highlight_count").Int())
		bob.ok(http.MethodPut, path("rooms", roomID, "typing", bob.in(roomID)), map[string]any{"typing": false})
		bob.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodPut, path("rooms", roomID, "typing", alice.in(roomID)), map[string]any{"typing": true})

		for _, ignored := range []string{bob.id, bob.in(roomID)} {
			alice.ok(http.MethodPut, path("user", alice.id, "account_data", "m.ignored_user_list"), map[string]any{"ignored_users": map[string]any{ignored: map[string]any{}}})
			require.NotContains(t, inSync(alice, "").Get("timeline").Raw, said)
		}
		alice.ok(http.MethodPut, path("user", alice.id, "account_data", "m.ignored_user_list"), map[string]any{"ignored_users": map[string]any{}})
		for _, sender := range []string{bob.id, bob.in(roomID)} {
			page := alice.ok(http.MethodGet, path("rooms", roomID, "messages")+"?dir=b&filter="+url.QueryEscape(`{"senders":["`+sender+`"],"types":["m.room.message"]}`), nil)
			require.Len(t, page.Get("chunk").Array(), 3)
		}
		lazy := alice.sync("filter", `{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":1}}}`).Get("rooms.join").Get(gjson.Escape(roomID))
		require.True(t, find(lazy.Get("state.events"), "m.room.member", alice.in(roomID)).Exists(), "one's own membership")
		people := alice.ok(http.MethodPost, path("user_directory", "search"), map[string]any{"search_term": ""})
		require.NotContains(t, people.Raw, bob.in(roomID))
		require.Contains(t, people.Raw, bob.id)
		require.Equal(t, "Alice", bob.ok(http.MethodGet, path("profile", alice.in(roomID)), nil).Get("displayname").Str)
		found := bob.ok(http.MethodPost, path("keys", "query"), map[string]any{"device_keys": map[string]any{alice.in(roomID): []string{}, alice.id: []string{}}})
		require.NotContains(t, found.Raw, alice.in(roomID))
	})
}

func TestClientsSayWhichServersParticipate(t *testing.T) {
	t.Parallel()
	eachParticipation(t, func(t *testing.T, w *world, v matrix.RoomVersion) {
		alice := w.register("alice")
		roomID := alice.createRoom(map[string]any{"room_version": v.ID})
		pair, err := matrix.NewServerKeyPair()
		require.NoError(t, err)
		stranger := pair.Key().String()
		set := func(key string, content map[string]any) answer {
			return alice.do(http.MethodPut, path("rooms", roomID, "state", matrix.ParticipationType, key), content)
		}
		require.Equal(t, http.StatusForbidden, set(stranger, map[string]any{"participation": "accepted", "unverified_domain": "fs.test"}).status, "who has not requested")
		require.Equal(t, http.StatusForbidden, set(stranger, map[string]any{"participation": "requested"}).status)
		require.Equal(t, http.StatusBadRequest, set(stranger, map[string]any{"participation": "maybe"}).status)
		require.Equal(t, http.StatusBadRequest, set("fs.test", map[string]any{"participation": "revoked"}).status)
		require.Equal(t, http.StatusOK, alice.do(http.MethodPut, path("rooms", alice.createRoom(map[string]any{}), "state", matrix.ParticipationType, "x"), map[string]any{}).status, "in other rooms it is any state")
	})
}

func TestCapabilitiesNameTheVersionsWithParticipation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	versions := w.register("alice").ok(http.MethodGet, path("capabilities"), nil).Get(`capabilities.m\.room_versions`)
	require.Equal(t, matrix.Version12, versions.Get("default").Str)
	for _, v := range matrix.ParticipationRoomVersions() {
		require.Equal(t, "unstable", versions.Get("available").Get(gjson.Escape(v.ID)).Str)
	}
}

func TestUpgradesToAndFromRoomsWithParticipation(t *testing.T) {
	t.Parallel()
	versions := append(matrix.RoomVersions(), matrix.ParticipationRoomVersions()...)
	for _, from := range versions {
		for _, to := range versions {
			if !from.HasParticipation() && !to.HasParticipation() {
				continue
			}
			t.Run(from.ID+"->"+to.ID, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				alice, bob, carol := w.register("alice"), w.register("bob"), w.register("carol")
				roomID := alice.createRoom(map[string]any{"room_version": from.ID, "preset": "public_chat", "name": "Old"})
				bob.ok(http.MethodPost, path("join", roomID), map[string]any{})
				carol.ok(http.MethodPost, path("join", roomID), map[string]any{})
				inOld := func(c *client) string {
					if !from.HasParticipation() {
						return c.id
					}
					return c.in(roomID)
				}
				levels := alice.ok(http.MethodGet, path("rooms", roomID, "state", "m.room.power_levels"), nil).Value().(map[string]any)
				levels["users"] = map[string]int{inOld(bob): 60}
				alice.ok(http.MethodPut, path("rooms", roomID, "state", "m.room.power_levels"), levels)
				alice.ok(http.MethodPost, path("rooms", roomID, "ban"), map[string]string{"user_id": carol.id})
				successor := alice.ok(http.MethodPost, path("rooms", roomID, "upgrade"), map[string]string{"new_version": to.ID}).Get("replacement_room").Str
				inNew := func(c *client) string {
					if !to.HasParticipation() {
						return c.id
					}
					return c.in(successor)
				}
				users := alice.ok(http.MethodGet, path("rooms", successor, "state", "m.room.power_levels"), nil).Get("users")
				require.Equal(t, int64(60), users.Get(gjson.Escape(inNew(bob))).Int(), users.Raw)
				require.Len(t, users.Map(), 1)
				require.Equal(t, "ban", alice.membershipOf(successor, inNew(carol)))
				require.Equal(t, successor, bob.ok(http.MethodGet, path("rooms", roomID, "state", "m.room.tombstone"), nil).Get("replacement_room").Str)
			})
		}
	}
}

// Once this server's key in a room was revoked, its users still are who they were there, until they are
// there again by another key.
func TestUsersOfARevokedKeyReadWhatTheyHave(t *testing.T) {
	t.Parallel()
	eachParticipation(t, func(t *testing.T, w *world, v matrix.RoomVersion) {
		alice := w.register("alice")
		roomID := alice.createRoom(map[string]any{"room_version": v.ID, "preset": "public_chat"})
		said := alice.say(roomID, "hello")
		me := alice.in(roomID)
		own, ok := w.engine.ServerKeys.Latest(roomID)
		require.True(t, ok)
		alice.ok(http.MethodPut, path("rooms", roomID, "state", matrix.ParticipationType, own.Key().String()), map[string]string{"participation": "revoked"})
		alice.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodPut, path("rooms", roomID, "send", "m.room.message", "t"), map[string]string{"body": "again"})
		_, err := w.engine.ServerKeys.Mint(roomID, v)
		require.NoError(t, err)
		if !v.HasPortableAccounts() {
			require.NotEqual(t, me, alice.in(roomID))
		}
		require.Equal(t, me, alice.event(roomID, said).Get("sender").Str)
		require.True(t, alice.sync().Get("rooms.join").Get(gjson.Escape(roomID)).Exists())
		require.Len(t, alice.ok(http.MethodGet, path("joined_rooms"), nil).Get("joined_rooms").Array(), 1)
	})
}
