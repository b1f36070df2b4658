package clientapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

func TestMemberships(t *testing.T) {
	t.Parallel()
	forVersions(t, func(t *testing.T, version string) {
		w := newWorld(t)
		alice, bob := w.register("alice"), w.register("bob")
		room := alice.createRoom(map[string]any{"room_version": version, "preset": "public_chat"})
		membership := func() string {
			return alice.ok(http.MethodGet, path("rooms", room, "state", "m.room.member", bob.id), nil).Get("membership").Str
		}
		target := map[string]any{"user_id": bob.id, "reason": "because"}
		bob.ok(http.MethodPost, path("rooms", room, "join"), nil)
		alice.ok(http.MethodPost, path("rooms", room, "kick"), target)
		require.Equal(t, "leave", membership())
		require.Equal(t, "because", find(bob.sync("filter", `{"room":{"include_leave":true}}`).Get("rooms.leave.*.timeline.events"), "m.room.member", bob.id).Get("content.reason").Str)
		alice.ok(http.MethodPost, path("rooms", room, "ban"), target)
		require.Equal(t, "ban", membership())
		bob.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodPost, path("join", room), nil)
		alice.ok(http.MethodPost, path("rooms", room, "unban"), target)
		require.Equal(t, "leave", membership())
		alice.ok(http.MethodPost, path("rooms", room, "invite"), target)
		require.Equal(t, "invite", membership())
		bob.ok(http.MethodPost, path("rooms", room, "leave"), nil)
		require.Equal(t, "leave", membership())
		bob.ok(http.MethodPost, path("rooms", room, "forget"), nil)
		require.False(t, bob.sync("filter", `{"room":{"include_leave":true}}`).Get("rooms.leave.*").Exists())
		bob.ok(http.MethodPost, path("join", room), nil)
		bob.refused(http.StatusBadRequest, "M_UNKNOWN", http.MethodPost, path("rooms", room, "forget"), nil)
		require.Equal(t, room, bob.ok(http.MethodGet, path("joined_rooms"), nil).Get("joined_rooms.0").Str)
		bob.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodPost, path("rooms", room, "kick"), map[string]any{"user_id": alice.id})
		// Memberships can be written as state, too.
		alice.ok(http.MethodPut, path("rooms", room, "state", "m.room.member", bob.id), map[string]any{"membership": "ban"})
		require.Equal(t, "ban", membership())
		alice.ok(http.MethodPut, path("rooms", room, "state", "m.room.member", bob.id), map[string]any{"membership": "leave"})
		require.Equal(t, "leave", membership())
		alice.refused(http.StatusNotFound, "M_NOT_FOUND", http.MethodPost, path("rooms", room, "invite"), map[string]any{"user_id": "@ghost:hs1.test"})
	})
}

func TestKnocking(t *testing.T) {
	t.Parallel()
	forVersions(t, func(t *testing.T, version string) {
		w := newWorld(t)
		alice, bob := w.register("alice"), w.register("bob")
		room := alice.createRoom(map[string]any{"room_version": version, "name": "Door", "initial_state": []any{
			map[string]any{"type": "m.room.join_rules", "content": map[string]string{"join_rule": "knock"}},
		}})
		bob.ok(http.MethodPost, path("knock", room), map[string]any{"reason": "please"})
		knock := bob.sync()
		require.Equal(t, "Door", find(knock.Get("rooms.knock.*.knock_state.events"), "m.room.name", "").Get("content.name").Str, knock.Raw)
		alice.ok(http.MethodPost, path("rooms", room, "invite"), map[string]any{"user_id": bob.id})
		bob.ok(http.MethodPost, path("join", room), nil)
	})
}

func TestPresetsAndInitialState(t *testing.T) {
	t.Parallel()
	forVersions(t, func(t *testing.T, version string) {
		w := newWorld(t)
		alice, bob := w.register("alice"), w.register("bob")
		room := alice.createRoom(map[string]any{
			"room_version": version, "preset": "trusted_private_chat", "invite": []string{bob.id}, "is_direct": true,
			"name": "N", "topic": "T", "room_alias_name": "tea",
			"initial_state":                []any{map[string]any{"type": "m.room.history_visibility", "content": map[string]string{"history_visibility": "joined"}}, map[string]any{"type": "org.x", "state_key": alice.id, "content": map[string]any{}}},
			"power_level_content_override": map[string]any{"events_default": 7},
			"creation_content":             map[string]any{"m.federate": false, "creator": "@someone:else"},
		})
		state := alice.ok(http.MethodGet, path("rooms", room, "state"), nil)
		create := find(state, "m.room.create", "")
		require.Equal(t, version, create.Get("content.room_version").Str)
		require.False(t, create.Get(`content.m\.federate`).Bool())
		require.False(t, create.Get("content.creator").Exists())
		require.Equal(t, []any{bob.id}, create.Get("content.additional_creators").Value())
		require.Equal(t, int64(7), find(state, "m.room.power_levels", "").Get("content.events_default").Int())
		require.Equal(t, int64(150), find(state, "m.room.power_levels", "").Get(`content.events.m\.room\.tombstone`).Int())
		require.Equal(t, "joined", find(state, "m.room.history_visibility", "").Get("content.history_visibility").Str)
		require.Equal(t, "invite", find(state, "m.room.join_rules", "").Get("content.join_rule").Str)
		require.Equal(t, "#tea:hs1.test", find(state, "m.room.canonical_alias", "").Get("content.alias").Str)
		require.True(t, find(state, "m.room.member", bob.id).Get("content.is_direct").Bool())
		require.Equal(t, "{}", alice.ok(http.MethodGet, path("rooms", room, "state", "org.x", alice.id), nil).Raw)
		require.Equal(t, room, w.anonymous().ok(http.MethodGet, path("directory", "room", "#tea:hs1.test"), nil).Get("room_id").Str)
		alice.refused(http.StatusBadRequest, "M_ROOM_IN_USE", http.MethodPost, path("createRoom"), map[string]any{"room_alias_name": "tea"})
		alice.refused(http.StatusBadRequest, "M_INVALID_PARAM", http.MethodPost, path("createRoom"), map[string]any{
			"room_version": version, "power_level_content_override": map[string]any{"users": map[string]int{alice.id: 100}},
		})
	})
}

func TestNamesThatCannotBeResolvedAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	stranger := "@stranger:fs.test"
	for name, body := range map[string]map[string]any{
		"additional creator": {"creation_content": map[string]any{"additional_creators": []string{stranger}}},
		"trusted invite":     {"preset": "trusted_private_chat", "invite": []string{stranger}},
		"power levels":       {"power_level_content_override": map[string]any{"users": map[string]int{stranger: 50}}},
		"no such user":       {"power_level_content_override": map[string]any{"users": map[string]int{"@ghost:hs1.test": 50}}},
	} {
		body["room_version"] = matrix.VersionMSC4243
		r := alice.do(http.MethodPost, path("createRoom"), body)
		require.Equal(t, http.StatusBadRequest, r.status, "%s: %s", name, r.body.Raw)
	}
	room := alice.createRoom(map[string]any{"room_version": matrix.VersionMSC4243})
	alice.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodPut, path("rooms", room, "state", "org.x", stranger), map[string]any{})
	require.Equal(t, 4, alice.do(http.MethodPost, path("rooms", room, "kick"), map[string]any{"user_id": stranger}).status/100)
	key, err := matrix.NewAccount()
	require.NoError(t, err)
	alice.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodPut, path("rooms", room, "state", "org.x", string(key.Key().UserID(testServer))), map[string]any{})
}

func TestSendingIsIdempotent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	room := alice.createRoom(map[string]any{"room_version": matrix.VersionMSC4243})
	since := alice.sync().Get("next_batch").Str
	send := path("rooms", room, "send", "m.room.message", "txn1")
	body := map[string]any{"body": "once", "msgtype": "m.text"}
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() { ids[i] = alice.do(http.MethodPut, send, body).body.Get("event_id").Str })
	}
	wg.Wait()
	for _, id := range ids {
		require.Equal(t, ids[0], id)
	}
	events := alice.sync("since", since).Get("rooms.join.*.timeline.events")
	require.Len(t, events.Array(), 1)
	require.Equal(t, "txn1", events.Get("0.unsigned.transaction_id").Str)
	alice.refused(http.StatusBadRequest, "M_BAD_JSON", http.MethodPut, path("rooms", room, "send", "m.room.message", "2"), map[string]any{"n": 1.5})
}

func TestRedactionAndEdits(t *testing.T) {
	t.Parallel()
	forVersions(t, func(t *testing.T, version string) {
		w := newWorld(t)
		alice, bob := w.register("alice"), w.register("bob")
		room := alice.createRoom(map[string]any{"room_version": version, "preset": "public_chat"})
		bob.ok(http.MethodPost, path("join", room), nil)
		said := bob.say(room, "rude")
		reaction := alice.ok(http.MethodPut, path("rooms", room, "send", "m.reaction", "r"), map[string]any{"m.relates_to": map[string]string{"rel_type": "m.reference", "event_id": said}}).Get("event_id").Str
		require.Equal(t, reaction, bob.ok(http.MethodGet, path("rooms", room, "event", said), nil).Get(`unsigned.m\.relations.m\.reference.chunk.0.event_id`).Str)
		require.Equal(t, reaction, bob.ok(http.MethodGet, "/_matrix/client/v1/rooms/"+room+"/relations/"+said+"/m.reference", nil).Get("chunk.0.event_id").Str)
		redaction := alice.ok(http.MethodPut, path("rooms", room, "redact", said, "1"), map[string]any{"reason": "rude"}).Get("event_id").Str
		shown := bob.ok(http.MethodGet, path("rooms", room, "event", said), nil)
		require.Equal(t, "{}", shown.Get("content").Raw)
		require.Equal(t, redaction, shown.Get("unsigned.redacted_because.event_id").Str, shown.Raw)
		require.Equal(t, alice.id, shown.Get("unsigned.redacted_because.sender").Str)
		require.Equal(t, said, shown.Get("unsigned.redacted_because.redacts").Str)
	})
}

func TestStateEventsTellWhatTheyReplace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	room := alice.createRoom(map[string]any{"room_version": matrix.VersionMSC4243, "name": "old"})
	alice.ok(http.MethodPut, path("rooms", room, "state", "m.room.name"), map[string]any{"name": "new"})
	event := alice.ok(http.MethodGet, path("rooms", room, "messages")+"?dir=b&limit=1", nil).Get("chunk.0")
	require.Equal(t, "old", event.Get("unsigned.prev_content.name").Str, event.Raw)
	require.Equal(t, alice.id, event.Get("unsigned.prev_sender").Str)
}

func TestHistoryVisibility(t *testing.T) {
	t.Parallel()
	forVersions(t, func(t *testing.T, version string) {
		for visibility, wants := range map[string]bool{"shared": true, "joined": false, "invited": false, "world_readable": true} {
			w := newWorld(t)
			alice, bob, eve := w.register("alice"), w.register("bob"), w.register("eve")
			room := alice.createRoom(map[string]any{"room_version": version, "preset": "public_chat", "initial_state": []any{
				map[string]any{"type": "m.room.history_visibility", "content": map[string]string{"history_visibility": visibility}},
			}})
			early := alice.say(room, "early")
			bob.ok(http.MethodPost, path("join", room), nil)
			during := alice.say(room, "during")
			bob.ok(http.MethodPost, path("rooms", room, "leave"), nil)
			late := alice.say(room, "late")
			got := ids(bob.ok(http.MethodGet, path("rooms", room, "messages")+"?dir=b&limit=100", nil).Get("chunk"))
			require.Equal(t, wants, has(got, early), visibility)
			require.Contains(t, got, during, visibility)
			require.Equal(t, visibility == "world_readable", has(got, late), visibility)
			r := eve.do(http.MethodGet, path("rooms", room, "messages")+"?dir=b", nil)
			require.Equal(t, visibility == "world_readable", r.status == http.StatusOK, visibility)
		}
	})
}

func has(texts []string, text string) bool {
	for _, t := range texts {
		if t == text {
			return true
		}
	}
	return false
}

func TestDecliningAnInviteOpensNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.register("alice"), w.register("bob")
	room := alice.createRoom(map[string]any{"room_version": matrix.VersionMSC4243, "invite": []string{bob.id}})
	secret := alice.say(room, "secret")
	since := bob.sync().Get("next_batch").Str
	bob.ok(http.MethodPost, path("rooms", room, "leave"), nil)
	answer := bob.sync("since", since)
	require.Equal(t, "leave", answer.Get("rooms.leave.*.timeline.events.0.content.membership").Str, answer.Raw)
	require.NotContains(t, answer.Raw, secret)
	require.Empty(t, answer.Get("rooms.leave.*.state.events").Array())
	bob.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodGet, path("rooms", room, "messages")+"?dir=b", nil)
	bob.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodGet, path("rooms", room, "state"), nil)
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	for _, direction := range [][2]string{{matrix.Version12, matrix.VersionMSC4243}, {matrix.VersionMSC4243, matrix.Version12}} {
		t.Run(direction[0]+" to "+direction[1], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			alice, bob := w.register("alice"), w.register("bob")
			old := alice.createRoom(map[string]any{"room_version": direction[0], "preset": "public_chat", "name": "Room", "room_alias_name": "room", "visibility": "public"})
			bob.ok(http.MethodPost, path("join", old), nil)
			levels := alice.ok(http.MethodGet, path("rooms", old, "state", "m.room.power_levels"), nil)
			alice.ok(http.MethodPut, path("rooms", old, "state", "m.room.power_levels"), json.RawMessage(with([]byte(levels.Raw), "users", map[string]int{bob.id: 50})))
			bob.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodPost, path("rooms", old, "upgrade"), map[string]any{"new_version": direction[1]})
			fresh := alice.ok(http.MethodPost, path("rooms", old, "upgrade"), map[string]any{"new_version": direction[1]}).Get("replacement_room").Str
			state := alice.ok(http.MethodGet, path("rooms", fresh, "state"), nil)
			require.Equal(t, old, find(state, "m.room.create", "").Get("content.predecessor.room_id").Str)
			require.Equal(t, direction[1], find(state, "m.room.create", "").Get("content.room_version").Str)
			require.Equal(t, "Room", find(state, "m.room.name", "").Get("content.name").Str)
			require.Equal(t, int64(50), find(state, "m.room.power_levels", "").Get("content.users").Map()[bob.id].Int())
			require.Equal(t, fresh, alice.ok(http.MethodGet, path("rooms", old, "state", "m.room.tombstone"), nil).Get("replacement_room").Str)
			require.Equal(t, fresh, alice.ok(http.MethodGet, path("directory", "room", "#room:hs1.test"), nil).Get("room_id").Str)
			require.Equal(t, fresh, alice.ok(http.MethodGet, path("publicRooms"), nil).Get("chunk.0.room_id").Str)
			current, err := w.engine.CurrentState(fresh)
			require.NoError(t, err)
			inRoom := w.engine.StateEvent(current, "m.room.power_levels", "").Get("users").Raw
			require.Equal(t, direction[1] == matrix.Version12, gjson.Get(inRoom, "@keys.0").Str == bob.id, inRoom)
		})
	}
}

func TestLongPollWakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.register("alice"), w.register("bob")
	room := alice.createRoom(map[string]any{"room_version": matrix.VersionMSC4243})
	for name, happens := range map[string]func(){
		"message":  func() { alice.say(room, "x") },
		"invite":   func() { alice.ok(http.MethodPost, path("rooms", room, "invite"), map[string]any{"user_id": bob.id}) },
		"todevice": func() { sendTo(bob, alice, "*", "org.x") },
		"typing": func() {
			alice.ok(http.MethodPut, path("rooms", room, "typing", alice.id), map[string]any{"typing": true})
		},
		"data": func() { alice.ok(http.MethodPut, path("user", alice.id, "account_data", "org.x"), map[string]any{}) },
	} {
		who := alice
		if name == "invite" {
			who = bob
		}
		since := who.sync().Get("next_batch").Str
		done := make(chan answer)
		go func() { done <- who.do(http.MethodGet, path("sync")+"?timeout=30000&since="+since, nil) }()
		happens()
		r := <-done
		require.NotEqual(t, since, r.body.Get("next_batch").Str, name)
	}
	since := alice.sync().Get("next_batch").Str
	require.Equal(t, "{}", alice.sync("since", since, "timeout", "10").Get("rooms.join").Raw)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := w.api.syncRequest(&call{Request: mustRequest(ctx)})
	require.NoError(t, err)
}

func mustRequest(ctx context.Context) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, path("sync"), nil)
	if err != nil {
		panic(err)
	}
	return r
}

func sendTo(from, to *client, device, eventType string) {
	from.ok(http.MethodPut, path("sendToDevice", eventType, fmt.Sprint(eventType, device)), map[string]any{
		"messages": map[string]any{to.id: map[string]any{device: map[string]any{"k": "v"}}},
	})
}

func TestPublicRoomsAndAliases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.register("alice"), w.register("bob")
	room := publicKeyRoom(alice)
	listed := w.anonymous().ok(http.MethodGet, path("publicRooms"), nil)
	require.Equal(t, "Square", listed.Get("chunk.0.name").Str)
	require.Equal(t, int64(1), listed.Get("chunk.0.num_joined_members").Int())
	found := alice.ok(http.MethodPost, path("publicRooms"), map[string]any{"filter": map[string]any{"generic_search_term": "circle"}})
	require.Empty(t, found.Get("chunk").Array())
	alice.ok(http.MethodPut, path("directory", "list", "room", room), map[string]any{"visibility": "private"})
	require.Empty(t, w.anonymous().ok(http.MethodGet, path("publicRooms"), nil).Get("chunk").Array())

	alias := "#square:hs1.test"
	alice.ok(http.MethodPut, path("directory", "room", alias), map[string]any{"room_id": room})
	require.Equal(t, room, bob.ok(http.MethodPost, path("join", alias), nil).Get("room_id").Str)
	alice.refused(http.StatusConflict, "M_UNKNOWN", http.MethodPut, path("directory", "room", alias), map[string]any{"room_id": room})
	require.Equal(t, alias, bob.ok(http.MethodGet, path("rooms", room, "aliases"), nil).Get("aliases.0").Str)
	bob.refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodDelete, path("directory", "room", alias), nil)
	alice.ok(http.MethodPut, path("rooms", room, "state", "m.room.canonical_alias"), map[string]any{"alias": alias})
	alice.refused(http.StatusBadRequest, "M_BAD_ALIAS", http.MethodPut, path("rooms", room, "state", "m.room.canonical_alias"), map[string]any{"alias": "#other:hs1.test"})
	alice.ok(http.MethodDelete, path("directory", "room", alias), nil)
	alice.refused(http.StatusNotFound, "M_NOT_FOUND", http.MethodGet, path("directory", "room", alias), nil)

	w.net.answer("/_matrix/federation/v1/query/directory", func(peer.Call) ([]byte, error) {
		return []byte(`{"room_id":"!r","servers":["fs.test"]}`), nil
	})
	require.Equal(t, "!r", alice.ok(http.MethodGet, path("directory", "room", "#x:fs.test"), nil).Get("room_id").Str)
}
