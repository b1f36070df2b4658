package clientapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// invite has a user of another server invite a local user to a room there.
func (u *remoteUser) invite(target string) (roomID string) {
	u.w.t.Helper()
	v := matrix.RoomVersionMSC4243()
	build := func(p matrix.ProtoEvent) *matrix.Event {
		p.Sender, p.OriginServerTS = u.id, time.Now().UnixMilli()
		e, err := p.Build(v, u.account.Signer())
		require.NoError(u.w.t, err)
		return e
	}
	create := build(matrix.ProtoEvent{Type: "m.room.create", StateKey: matrix.StateKey(""), Content: mustJSON(map[string]string{"room_version": v.ID}), Depth: 1})
	name := build(matrix.ProtoEvent{
		Type: "m.room.name", StateKey: matrix.StateKey(""), RoomID: create.RoomID(), Content: []byte(`{"name":"Far"}`), Depth: 2, PrevEvents: []string{create.ID()},
	})
	invite := build(matrix.ProtoEvent{
		Type: "m.room.member", StateKey: &target, RoomID: create.RoomID(), Content: []byte(`{"membership":"invite"}`), Depth: 3, PrevEvents: []string{name.ID()},
	})
	_, err := u.w.engine.Invited(context.Background(), remoteServer, create.RoomID(), room.CosignRequest{
		Event: invite.JSON(), RoomVersion: v.ID, InviteRoomState: []json.RawMessage{create.JSON(), name.JSON()},
	})
	require.NoError(u.w.t, err)
	return create.RoomID()
}

func TestInvitationsFromAfar(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	bob := w.remoteUser()
	w.named(map[string]*remoteUser{"bob": bob})
	since := alice.sync().Get("next_batch").Str
	roomID := bob.invite(alice.id)
	state := alice.sync("since", since).Get("rooms.invite").Map()[roomID].Get("invite_state.events")
	require.Equal(t, "@bob:fs.test", find(state, "m.room.member", alice.id).Get("sender").Str, state.Raw)
	require.Equal(t, "Far", find(state, "m.room.name", "").Get("content.name").Str)
	bob.hides("invite", alice.sync())
	alice.ok(http.MethodPut, path("user", alice.id, "account_data", "m.ignored_user_list"), map[string]any{"ignored_users": map[string]any{"@bob:fs.test": map[string]any{}}})
	require.Empty(t, alice.sync().Get("rooms.invite").Map())
}

func TestInvitationsByHiddenUsersAreWithheld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	bob := w.remoteUser()
	roomID := bob.invite(alice.id)
	answer := alice.sync()
	require.Empty(t, answer.Get("rooms.invite").Map())
	w.named(map[string]*remoteUser{"bob": bob})
	w.verify(bob)
	require.Contains(t, alice.sync().Get("rooms.invite").Map(), roomID)
	require.Contains(t, alice.sync("since", answer.Get("next_batch").Str).Get("rooms.invite").Map(), roomID)
}

func TestSpaces(t *testing.T) {
	t.Parallel()
	forVersions(t, func(t *testing.T, version string) {
		w := newWorld(t)
		alice, bob := w.register("alice"), w.register("bob")
		space := alice.createRoom(map[string]any{"room_version": version, "preset": "public_chat", "creation_content": map[string]string{"type": "m.space"}})
		open := alice.createRoom(map[string]any{"room_version": version, "preset": "public_chat"})
		private := alice.createRoom(map[string]any{"room_version": version})
		restricted := alice.createRoom(map[string]any{"room_version": version, "initial_state": []any{map[string]any{
			"type": "m.room.join_rules", "content": map[string]any{"join_rule": "restricted", "allow": []any{map[string]string{"type": "m.room_membership", "room_id": space}}},
		}}})
		for _, child := range []string{open, private, restricted, "!far"} {
			alice.ok(http.MethodPut, path("rooms", space, "state", "m.space.child", child), map[string]any{"via": []string{"fs.test"}})
		}
		w.net.answer("/_matrix/federation/v1/hierarchy/%21far", func(peer.Call) ([]byte, error) {
			return []byte(`{"room":{"room_id":"!far","children_state":[]},"children":[]}`), nil
		})
		hierarchy := func(c *client) []any {
			rooms, _ := c.ok(http.MethodGet, "/_matrix/client/v1/rooms/"+space+"/hierarchy", nil).Get("rooms.#.room_id").Value().([]any)
			return rooms
		}
		require.ElementsMatch(t, []any{space, open, private, restricted, "!far"}, hierarchy(alice))
		require.ElementsMatch(t, []any{space, open, "!far"}, hierarchy(bob))
		bob.ok(http.MethodPost, path("join", space), nil)
		require.ElementsMatch(t, []any{space, open, restricted, "!far"}, hierarchy(bob))
		listed := bob.ok(http.MethodGet, "/_matrix/client/v1/rooms/"+space+"/hierarchy", nil).Get("rooms.0")
		require.Equal(t, "m.space", listed.Get("room_type").Str)
		require.Equal(t, alice.id, listed.Get("children_state.0.sender").Str)
		require.Equal(t, "join", bob.ok(http.MethodGet, "/_matrix/client/v1/room_summary/"+space, nil).Get("membership").Str)
		bob.refused(http.StatusNotFound, "M_NOT_FOUND", http.MethodGet, "/_matrix/client/v1/room_summary/"+private, nil)

		answer, err := w.api.Hierarchy(context.Background(), "other.test", space, false)
		require.NoError(t, err)
		require.Equal(t, []any{open}, gjson.GetBytes(answer, "children.#.room_id").Value())
		require.Len(t, gjson.GetBytes(answer, "inaccessible_children").Array(), 2)
		_, err = w.api.Hierarchy(context.Background(), "other.test", private, false)
		require.Error(t, err)
	})
}

func TestRestrictedRoomsLetMembersIn(t *testing.T) {
	t.Parallel()
	forVersions(t, func(t *testing.T, version string) {
		w := newWorld(t)
		alice, bob, eve := w.register("alice"), w.register("bob"), w.register("eve")
		space := alice.createRoom(map[string]any{"room_version": version, "preset": "public_chat"})
		inner := alice.createRoom(map[string]any{"room_version": version, "initial_state": []any{map[string]any{
			"type": "m.room.join_rules", "content": map[string]any{"join_rule": "restricted", "allow": []any{map[string]string{"type": "m.room_membership", "room_id": space}}},
		}}})
		bob.ok(http.MethodPost, path("join", space), nil)
		bob.ok(http.MethodPost, path("join", inner), nil)
		member := alice.ok(http.MethodGet, path("rooms", inner, "state", "m.room.member", bob.id), nil)
		require.Equal(t, alice.id, member.Get("join_authorised_via_users_server").Str, member.Raw)
		require.Equal(t, 4, eve.do(http.MethodPost, path("join", inner), nil).status/100)
	})
}

func TestTimeFindsEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	room := publicKeyRoom(alice)
	said := alice.say(room, "x")
	at := alice.ok(http.MethodGet, path("rooms", room, "event", said), nil).Get("origin_server_ts").Int()
	url := "/_matrix/client/v1/rooms/" + room + "/timestamp_to_event"
	require.Equal(t, said, alice.ok(http.MethodGet, fmt.Sprint(url, "?dir=b&ts=", at+1000), nil).Get("event_id").Str)
	require.Contains(t, alice.ok(http.MethodGet, url+"?dir=f&ts=0", nil).Raw, "event_id")
	alice.refused(http.StatusNotFound, "M_NOT_FOUND", http.MethodGet, url+"?dir=b&ts=1", nil)
	alice.refused(http.StatusBadRequest, "M_MISSING_PARAM", http.MethodGet, url, nil)
}

func TestDeviceListsOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	roomID := publicKeyRoom(alice)
	bob := w.remoteUser()
	w.named(map[string]*remoteUser{"bob": bob})
	start := alice.sync().Get("next_batch").Str
	bob.join(roomID)
	joined := alice.sync("since", start)
	require.Equal(t, []any{"@bob:fs.test"}, joined.Get("device_lists.changed").Value())
	since := joined.Get("next_batch").Str
	update := mustJSON(map[string]any{"user_id": "@bob:fs.test", "device_id": "D", "stream_id": 1})
	require.NoError(t, w.api.EDU(context.Background(), "evil.test", "m.device_list_update", update))
	require.Empty(t, alice.sync("since", since).Get("device_lists.changed").Array())
	require.NoError(t, w.api.EDU(context.Background(), remoteServer, "m.device_list_update", update))
	news := alice.sync("since", since)
	require.Equal(t, []any{"@bob:fs.test"}, news.Get("device_lists.changed").Value())
	since = news.Get("next_batch").Str
	key := string(bob.id)
	bob.send(roomID, "m.room.member", &key, map[string]string{"membership": "leave"})
	require.Equal(t, []any{"@bob:fs.test"}, alice.sync("since", since).Get("device_lists.left").Value())
	changes := alice.ok(http.MethodGet, path("keys", "changes")+"?from="+start+"&to="+since, nil)
	require.Contains(t, changes.Get("changed").Raw, "@bob:fs.test")

	// What others are told names the user by account name.
	bob.join(roomID)
	alice.ok(http.MethodPost, path("keys", "upload"), map[string]any{"device_keys": deviceKeys(alice.id, alice.device())})
	edu := w.net.sent("m.device_list_update")
	require.NotEmpty(t, edu)
	require.Equal(t, alice.id, edu[0].content.Get("user_id").Str)
	require.Equal(t, []matrix.ServerName{remoteServer}, edu[0].servers)
}

func TestPasswordsChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	login := func(password string) answer {
		return w.anonymous().do(http.MethodPost, path("login"), map[string]any{"type": "m.login.password", "user": "alice", "password": password})
	}
	other := &client{w, alice.id, login("pw alice").body.Get("access_token").Str}
	auth := map[string]any{"type": "m.login.password", "user": alice.id, "password": "pw alice"}
	require.Equal(t, http.StatusUnauthorized, alice.do(http.MethodPost, path("account", "password"), map[string]any{"new_password": "new"}).status)
	alice.ok(http.MethodPost, path("account", "password"), map[string]any{"new_password": "new", "auth": auth})
	require.Equal(t, http.StatusForbidden, login("pw alice").status)
	require.Equal(t, http.StatusOK, login("new").status)
	other.refused(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", http.MethodGet, path("account", "whoami"), nil)
	alice.ok(http.MethodGet, path("account", "whoami"), nil)
	alice.ok(http.MethodPost, path("logout", "all"), nil)
	alice.refused(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", http.MethodGet, path("account", "whoami"), nil)
}

func TestThreadsAndSearch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	room := publicKeyRoom(alice)
	root := alice.say(room, "root of the matter")
	reply := alice.ok(http.MethodPut, path("rooms", room, "send", "m.room.message", "r"), map[string]any{
		"msgtype": "m.text", "body": "reply to the matter", "m.relates_to": map[string]string{"rel_type": "m.thread", "event_id": root},
	}).Get("event_id").Str
	threads := alice.ok(http.MethodGet, "/_matrix/client/v1/rooms/"+room+"/threads", nil)
	require.Equal(t, []string{root}, ids(threads.Get("chunk")))
	require.Equal(t, reply, threads.Get(`chunk.0.unsigned.m\.relations.m\.thread.latest_event.event_id`).Str)
	found := alice.ok(http.MethodPost, path("search"), map[string]any{"search_categories": map[string]any{"room_events": map[string]any{
		"search_term": "MATTER", "filter": map[string]any{"senders": []string{alice.id}, "limit": 1}, "groupings": map[string]any{"group_by": []any{map[string]string{"key": "sender"}}},
	}}}).Get("search_categories.room_events")
	require.Equal(t, int64(2), found.Get("count").Int())
	require.Equal(t, reply, found.Get("results.0.result.event_id").Str)
	require.Equal(t, reply, found.Get("groups.sender").Map()[alice.id].Get("results.0").Str)
	more := alice.ok(http.MethodPost, path("search")+"?next_batch="+found.Get("next_batch").Str, map[string]any{"search_categories": map[string]any{"room_events": map[string]any{"search_term": "matter"}}})
	require.Equal(t, root, more.Get("search_categories.room_events.results.0.result.event_id").Str)
}

func TestStateKeysAreWhateverTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	room := publicKeyRoom(alice)
	for i, key := range []string{"", ".", "..", "a/b", "ü", "%"} {
		target := path("rooms", room, "state", "org.x", key)
		alice.ok(http.MethodPut, target, map[string]int{"i": i})
		require.Equal(t, int64(i), alice.ok(http.MethodGet, target, nil).Get("i").Int(), key)
		require.Equal(t, int64(i), find(alice.ok(http.MethodGet, path("rooms", room, "state"), nil), "org.x", key).Get("content.i").Int())
	}
	full := alice.ok(http.MethodGet, path("rooms", room, "state", "org.x", "")+"?format=event", nil)
	require.Equal(t, alice.id, full.Get("sender").Str)
	alice.refused(http.StatusNotFound, "M_NOT_FOUND", http.MethodGet, path("rooms", room, "state", "org.y"), nil)
}

func TestRelationsAreSeenOfNewHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	x := newRelationIndex(w.engine)
	alice := w.register("alice")
	roomID := publicKeyRoom(alice)
	root := alice.say(roomID, "root")
	found, err := x.children(roomID, root)
	require.NoError(t, err)
	require.Empty(t, found)
	alice.ok(http.MethodPut, path("rooms", roomID, "send", "m.reaction", "r"), map[string]any{"m.relates_to": map[string]string{"rel_type": "m.annotation", "event_id": root}})
	for range 2 {
		found, err = x.children(roomID, root)
		require.NoError(t, err)
		require.Len(t, found, 1)
		x.forget(roomID)
	}
}
