package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/room"
)

const accountsQuery = "/_matrix/federation/unstable/org.matrix.msc4243/query/accounts"

// remoteUser is a user of another server with an account key.
type remoteUser struct {
	w       *world
	account matrix.Account
	// id is the account key user ID.
	id matrix.UserID
}

func (w *world) remoteUser() *remoteUser {
	w.t.Helper()
	account, err := matrix.NewAccount()
	require.NoError(w.t, err)
	return &remoteUser{w, account, account.Key().UserID(remoteServer)}
}

// named has the other server confirm the users' account names.
func (w *world) named(users map[string]*remoteUser) {
	w.net.answer(accountsQuery, func(call peer.Call) ([]byte, error) {
		keys := map[string]json.RawMessage{}
		for _, asked := range gjson.GetBytes(call.Body, "account_keys").Array() {
			keys[asked.Str] = json.RawMessage(`{"errcode":"M_UNKNOWN"}`)
			for name, u := range users {
				if u.account.Key().String() != asked.Str {
					continue
				}
				object, err := matrix.SignJSON(mustJSON(map[string]any{"account_name": name, "domain": remoteServer}), u.account.Signer())
				require.NoError(w.t, err)
				keys[asked.Str] = object
			}
		}
		return mustJSON(map[string]any{"account_keys": keys}), nil
	})
}

// erased has the other server say that the users are erased.
func (w *world) erased(users ...*remoteUser) {
	w.net.answer(accountsQuery, func(peer.Call) ([]byte, error) {
		keys := map[string]json.RawMessage{}
		for _, u := range users {
			object, err := matrix.SignJSON(mustJSON(map[string]any{"errcode": "M_ERASED", "domain": remoteServer}), u.account.Signer())
			require.NoError(w.t, err)
			keys[u.account.Key().String()] = object
		}
		return mustJSON(map[string]any{"account_keys": keys, "erasure": map[string]any{"id": len(users), "has_more": false}}), nil
	})
}

// build signs an event that follows the newest one of the room.
func (u *remoteUser) build(roomID, eventType string, stateKey *string, content any) *matrix.Event {
	u.w.t.Helper()
	events, _, err := u.w.engine.Timeline(roomID, room.Place{Major: u.w.engine.Now() + 1}, true, 1)
	require.NoError(u.w.t, err)
	require.NotEmpty(u.w.t, events)
	state, err := u.w.engine.StateAfter(roomID, events[0].ID())
	require.NoError(u.w.t, err)
	raw := mustJSON(content)
	p := matrix.ProtoEvent{
		Type: eventType, StateKey: stateKey, Sender: u.id, RoomID: roomID, Content: raw, PrevEvents: []string{events[0].ID()},
		Depth: events[0].Depth() + 1, OriginServerTS: time.Now().UnixMilli(),
	}
	for _, place := range matrix.AuthEventTuples(eventType, stateKey, u.id, raw) {
		if id := state.Get(place); id != "" {
			p.AuthEvents = append(p.AuthEvents, id)
		}
	}
	e, err := p.Build(matrix.RoomVersionMSC4243(), u.account.Signer())
	require.NoError(u.w.t, err)
	return e
}

// send delivers an event of the user.
func (u *remoteUser) send(roomID, eventType string, stateKey *string, content any) string {
	u.w.t.Helper()
	e := u.build(roomID, eventType, stateKey, content)
	_, err := u.w.engine.Receive(context.Background(), remoteServer, e.JSON())
	require.NoError(u.w.t, err)
	return e.ID()
}

func (u *remoteUser) say(roomID, text string) string {
	u.w.t.Helper()
	return u.send(roomID, "m.room.message", nil, map[string]string{"msgtype": "m.text", "body": text})
}

// join takes the user into a room of the server.
func (u *remoteUser) join(roomID string) {
	u.w.t.Helper()
	key := string(u.id)
	e := u.build(roomID, "m.room.member", &key, map[string]string{"membership": "join"})
	_, err := u.w.engine.SendHandshake(context.Background(), remoteServer, room.JoinHandshake, roomID, e.ID(), e.JSON())
	require.NoError(u.w.t, err)
}

// hides fails the test when a text that was given to a client names a user of another server by key.
func (u *remoteUser) hides(what string, answer gjson.Result) {
	u.w.t.Helper()
	require.NotContains(u.w.t, answer.Raw, string(u.id), what)
}

// surfaces are the answers about a room in which events may be found.
func (c *client) surfaces(roomID string) map[string]gjson.Result {
	c.w.t.Helper()
	return map[string]gjson.Result{
		"sync":         c.sync("filter", `{"room":{"timeline":{"limit":100}}}`),
		"state_after":  c.sync("use_state_after", "true"),
		"lazy":         c.sync("filter", `{"room":{"state":{"lazy_load_members":true}}}`),
		"messages b":   c.ok(http.MethodGet, path("rooms", roomID, "messages")+"?dir=b&limit=100", nil),
		"messages f":   c.ok(http.MethodGet, path("rooms", roomID, "messages")+"?dir=f&limit=100", nil),
		"state":        c.ok(http.MethodGet, path("rooms", roomID, "state"), nil),
		"members":      c.ok(http.MethodGet, path("rooms", roomID, "members"), nil),
		"joined":       c.ok(http.MethodGet, path("rooms", roomID, "joined_members"), nil),
		"search":       c.ok(http.MethodPost, path("search"), map[string]any{"search_categories": map[string]any{"room_events": map[string]any{"search_term": "secret", "include_state": true, "event_context": map[string]any{"include_profile": true}}}}),
		"people":       c.ok(http.MethodPost, path("user_directory", "search"), map[string]any{"search_term": ""}),
		"publicRooms":  c.ok(http.MethodGet, path("publicRooms"), nil),
		"hierarchy":    c.ok(http.MethodGet, "/_matrix/client/v1/rooms/"+roomID+"/hierarchy", nil),
		"summary":      c.ok(http.MethodGet, "/_matrix/client/v1/room_summary/"+roomID, nil),
		"threads":      c.ok(http.MethodGet, "/_matrix/client/v1/rooms/"+roomID+"/threads", nil),
		"power_levels": c.ok(http.MethodGet, path("rooms", roomID, "state", "m.room.power_levels"), nil),
	}
}

func publicKeyRoom(c *client) string {
	return c.createRoom(map[string]any{"room_version": matrix.VersionMSC4243, "preset": "public_chat", "visibility": "public", "name": "Square"})
}

func TestVerifiedUsersAreShownByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	roomID := publicKeyRoom(alice)
	bob := w.remoteUser()
	w.named(map[string]*remoteUser{"bob": bob})
	bob.join(roomID)
	said := bob.say(roomID, "a secret")
	for name, answer := range alice.surfaces(roomID) {
		bob.hides(name, answer)
	}
	event := alice.ok(http.MethodGet, path("rooms", roomID, "event", said), nil)
	require.Equal(t, "@bob:fs.test", event.Get("sender").Str)
	require.Equal(t, bob.account.Key().String(), event.Get("unsigned.sender_account.key").Str)
	require.Equal(t, "@bob:fs.test", event.Get("unsigned.sender_account.user_id").Str)
	require.Contains(t, alice.surfaces(roomID)["search"].Raw, said)
	require.Contains(t, alice.surfaces(roomID)["people"].Raw, "@bob:fs.test")
	filtered := alice.ok(http.MethodGet, path("rooms", roomID, "messages")+`?dir=b&filter={"senders":["@bob:fs.test"]}`, nil)
	require.Equal(t, said, filtered.Get("chunk.0.event_id").Str)
	require.Equal(t, "join", alice.ok(http.MethodGet, path("rooms", roomID, "state", "m.room.member", "@bob:fs.test"), nil).Get("membership").Str)
}

func TestUnverifiedUsersAreHidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	roomID := publicKeyRoom(alice)
	mallory := w.remoteUser()
	mallory.join(roomID)
	said := mallory.say(roomID, "a secret")
	sentinel := alice.say(roomID, "hello")
	for name, answer := range alice.surfaces(roomID) {
		mallory.hides(name, answer)
		require.NotContains(t, answer.Raw, mallory.account.Key().String(), name)
		require.NotContains(t, answer.Raw, said, name)
	}
	alice.refused(http.StatusNotFound, "M_NOT_FOUND", http.MethodGet, path("rooms", roomID, "event", said), nil)
	alice.refused(http.StatusNotFound, "M_NOT_FOUND", http.MethodGet, path("rooms", roomID, "context", said), nil)
	around := alice.ok(http.MethodGet, path("rooms", roomID, "context", sentinel), nil)
	mallory.hides("context", around)
	alice.refused(http.StatusNotFound, "M_NOT_FOUND", http.MethodGet, "/_matrix/client/v1/rooms/"+roomID+"/relations/"+said, nil)
}

func TestPowerLevelsKeepHiddenUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	roomID := publicKeyRoom(alice)
	mallory, bob := w.remoteUser(), w.remoteUser()
	mallory.join(roomID)
	w.named(map[string]*remoteUser{"bob": bob})
	bob.join(roomID)
	empty := ""
	levels, err := sjson.SetBytes([]byte(alice.ok(http.MethodGet, path("rooms", roomID, "state", "m.room.power_levels"), nil).Raw), "users", map[string]int{})
	require.NoError(t, err)
	levels = with(levels, "users", map[matrix.UserID]int{mallory.id: 40})
	_, err = w.engine.Send(context.Background(), roomID, matrix.UserID(alice.id), room.Draft{Type: "m.room.power_levels", StateKey: &empty, Content: levels})
	require.NoError(t, err)

	shown := alice.ok(http.MethodGet, path("rooms", roomID, "state", "m.room.power_levels"), nil)
	require.Empty(t, shown.Get("users").Map())
	written, err := sjson.Set(shown.Raw, "users", map[string]int{"@bob:fs.test": 50})
	require.NoError(t, err)
	alice.ok(http.MethodPut, path("rooms", roomID, "state", "m.room.power_levels"), json.RawMessage(written))

	state, err := w.engine.CurrentState(roomID)
	require.NoError(t, err)
	users := w.engine.StateEvent(state, "m.room.power_levels", "").Get("users").Map()
	require.Equal(t, int64(40), users[string(mallory.id)].Int())
	require.Equal(t, int64(50), users[string(bob.id)].Int())
	require.Len(t, users, 2)
	require.Equal(t, int64(50), alice.ok(http.MethodGet, path("rooms", roomID, "state", "m.room.power_levels"), nil).Get("users").Map()["@bob:fs.test"].Int())

	refused, err := sjson.Set(written, "users", map[string]int{"@nobody:fs.test": 10})
	require.NoError(t, err)
	alice.refused(http.StatusBadRequest, "M_INVALID_PARAM", http.MethodPut, path("rooms", roomID, "state", "m.room.power_levels"), json.RawMessage(refused))
}

func TestLateVerification(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	roomID := publicKeyRoom(alice)
	bob := w.remoteUser()
	bob.join(roomID)
	old := bob.say(roomID, "early")
	classic := alice.sync().Get("next_batch").Str
	after := alice.sync("use_state_after", "true").Get("next_batch").Str

	w.named(map[string]*remoteUser{"bob": bob})
	w.verify(bob)
	fresh := bob.say(roomID, "late")

	news := alice.sync("since", classic)
	require.Equal(t, []string{fresh}, ids(news.Get("rooms.join.*.timeline.events")))
	require.Empty(t, news.Get("rooms.join.*.state.events").Array(), news.Raw)
	require.False(t, news.Get("rooms.join.*.state_after").Exists())
	require.Contains(t, news.Get("device_lists.changed").Raw, "@bob:fs.test")

	news = alice.sync("since", after, "use_state_after", "true")
	require.Equal(t, []string{fresh}, ids(news.Get("rooms.join.*.timeline.events")))
	require.Equal(t, "join", find(news.Get("rooms.join.*.state_after.events"), "m.room.member", "@bob:fs.test").Get("content.membership").Str, news.Raw)
	require.False(t, news.Get("rooms.join.*.state").Exists())

	// The old message is in the history, and not in any sync.
	require.NotContains(t, alice.sync().Raw, old)
	require.Contains(t, alice.ok(http.MethodGet, path("rooms", roomID, "messages")+"?dir=b", nil).Raw, old)
	require.Contains(t, find(alice.sync().Get("rooms.join.*.state.events"), "m.room.member", "@bob:fs.test").Raw, "join")
}

// verify has the directory ask again about a user whose domain has refused before.
func (w *world) verify(u *remoteUser) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		w.directory.Verify(context.Background(), u.id)
		_, ok := w.directory.ClientUser(matrix.RoomVersionMSC4243(), u.id)
		return ok
	}, 10*time.Second, 10*time.Millisecond)
}

func TestErasedUsersDisappear(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	roomID := publicKeyRoom(alice)
	bob, carol := w.remoteUser(), w.remoteUser()
	w.named(map[string]*remoteUser{"bob": bob})
	bob.join(roomID)
	said := bob.say(roomID, "a secret")
	since := alice.sync().Get("next_batch").Str
	w.erased(bob)
	w.directory.Verify(context.Background(), carol.id) // brings the news about bob
	require.Eventually(t, func() bool {
		_, ok := w.directory.ClientUser(matrix.RoomVersionMSC4243(), bob.id)
		return !ok
	}, 10*time.Second, time.Millisecond)
	later := bob.say(roomID, "another secret")
	sentinel := alice.say(roomID, "hello")
	require.Equal(t, []string{sentinel}, ids(alice.sync("since", since).Get("rooms.join.*.timeline.events")))
	for name, answer := range alice.surfaces(roomID) {
		for _, text := range []string{string(bob.id), "@bob:fs.test", said, later} {
			require.NotContains(t, answer.Raw, text, name)
		}
	}
	alice.refused(http.StatusNotFound, "M_NOT_FOUND", http.MethodGet, path("rooms", roomID, "event", said), nil)
}

func TestPaginationGetsPastHiddenEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	roomID := publicKeyRoom(alice)
	mallory := w.remoteUser()
	mallory.join(roomID)
	first := alice.say(roomID, "first")
	since := alice.sync().Get("next_batch").Str
	for range 120 {
		mallory.say(roomID, "spam")
	}
	last := alice.say(roomID, "last")

	answer := alice.sync("since", since)
	require.Equal(t, []string{last}, ids(answer.Get("rooms.join.*.timeline.events")))
	require.False(t, answer.Get("rooms.join.*.timeline.limited").Bool())
	answer = alice.sync("filter", `{"room":{"timeline":{"limit":1}}}`)
	require.Equal(t, []string{last}, ids(answer.Get("rooms.join.*.timeline.events")))
	require.True(t, answer.Get("rooms.join.*.timeline.limited").Bool())
	prev := answer.Get("rooms.join.*.timeline.prev_batch").Str
	require.Equal(t, []string{first}, ids(alice.ok(http.MethodGet, path("rooms", roomID, "messages")+"?dir=b&limit=1&from="+prev, nil).Get("chunk")))

	var seen []string
	from := ""
	for range 200 {
		page := alice.ok(http.MethodGet, path("rooms", roomID, "messages")+"?dir=b&limit=1"+from, nil)
		seen = append(seen, ids(page.Get("chunk"))...)
		if !page.Get("end").Exists() {
			break
		}
		from = "&from=" + page.Get("end").Str
	}
	require.Equal(t, []string{last, first}, seen[:2])
	require.Equal(t, 0, strings.Count(strings.Join(seen[2:], " "), first))
}
