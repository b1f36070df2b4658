package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// Paths by which a server is asked for what it has to confirm of rooms with participation.
const (
	serverKeysQuery       = "/_matrix/key/v3/org.matrix.msc4345/query"
	portableAccountsQuery = "/_matrix/federation/v1/query/org.matrix.4348.accounts"
)

// guest is a user of another server in rooms with participation.
type guest struct {
	w       *world
	v       matrix.RoomVersion
	server  matrix.ServerKeyPair
	account matrix.Account
	id      matrix.UserID
}

func (w *world) guest(v matrix.RoomVersion, name string) *guest {
	w.t.Helper()
	g := &guest{w: w, v: v}
	var err error
	g.server, err = matrix.NewServerKeyPair()
	require.NoError(w.t, err)
	g.account, err = matrix.NewAccount()
	require.NoError(w.t, err)
	g.id = g.server.Key().UserID(name)
	if v.HasPortableAccounts() {
		g.id = g.account.Key().PortableUserID()
	}
	key := g.server.Key()
	document, err := matrix.SignJSON(mustJSON(map[string]any{
		"server_name": remoteServer, "old_verify_keys": map[string]any{},
		"verify_keys": map[string]any{"ed25519:1": map[string]string{"key": matrix.EncodeBase64(key[:])}},
	}), g.server.Signer())
	require.NoError(w.t, err)
	w.net.answer(serverKeysQuery, func(peer.Call) ([]byte, error) {
		return mustJSON(map[string]any{"server_keys": []json.RawMessage{document}}), nil
	})
	return g
}

// confirm has the guest's server confirm the guest's account name.
func (g *guest) confirm(name string) {
	key := g.account.Key().String()
	g.w.net.answer(portableAccountsQuery, func(peer.Call) ([]byte, error) {
		object, err := matrix.SignJSON(mustJSON(map[string]any{"account_name": name, "domain": remoteServer}), g.account.Signer())
		return mustJSON(map[string]any{"account_keys": map[string]json.RawMessage{key: object}}), err
	})
}

func (g *guest) sign(p matrix.ProtoEvent) *matrix.Event {
	g.w.t.Helper()
	signers := []matrix.Signer{g.server.Signer()}
	if g.v.HasPortableAccounts() {
		signers = append(signers, g.account.Signer())
	}
	e, err := p.Build(g.v, signers...)
	require.NoError(g.w.t, err)
	return e
}

// build signs an event that follows the newest one of the room.
func (g *guest) build(roomID, eventType string, stateKey *string, content any) *matrix.Event {
	g.w.t.Helper()
	events, _, err := g.w.engine.Timeline(roomID, room.Place{Major: g.w.engine.Now() + 1}, true, 1)
	require.NoError(g.w.t, err)
	require.NotEmpty(g.w.t, events)
	state, err := g.w.engine.StateAfter(roomID, events[0].ID())
	require.NoError(g.w.t, err)
	raw := mustJSON(content)
	p := matrix.ProtoEvent{
		Type: eventType, StateKey: stateKey, Sender: g.id, RoomID: roomID, Content: raw, PrevEvents: []string{events[0].ID()},
		Depth: events[0].Depth() + 1, OriginServerTS: time.Now().UnixMilli(),
		Unsigned: []byte(`{"server_domain":"liar.test","account":"liar"}`),
	}
	for _, place := range g.v.AuthEventTuples(eventType, stateKey, g.id, raw, g.server.Key().Name()) {
		if id := state.Get(place); id != "" {
			p.AuthEvents = append(p.AuthEvents, id)
		}
	}
	return g.sign(p)
}

// request has the guest's server request to participate.
func (g *guest) request(roomID string) {
	g.w.t.Helper()
	template, err := g.w.engine.MakeParticipation(remoteServer, roomID, g.id, []string{g.v.ID})
	require.NoError(g.w.t, err)
	t := gjson.ParseBytes(template.Event)
	content := with([]byte(t.Get("content").Raw), "unverified_domain", remoteServer)
	p := matrix.ProtoEvent{
		Type: matrix.ParticipationType, StateKey: matrix.StateKey(g.server.Key().String()), Sender: g.id, RoomID: roomID,
		Content: content, Depth: t.Get("depth").Int(), OriginServerTS: time.Now().UnixMilli(),
	}
	for _, id := range t.Get("prev_events").Array() {
		p.PrevEvents = append(p.PrevEvents, id.Str)
	}
	for _, id := range t.Get("auth_events").Array() {
		p.AuthEvents = append(p.AuthEvents, id.Str)
	}
	e := g.sign(p)
	_, err = g.w.engine.SendParticipation(context.Background(), remoteServer, roomID, e.ID(), e.JSON())
	require.NoError(g.w.t, err)
}

// participation has a client say something of the guest's server.
func (g *guest) participation(by *client, roomID string, p matrix.Participation) answer {
	g.w.t.Helper()
	return by.do(http.MethodPut, path("rooms", roomID, "state", matrix.ParticipationType, g.server.Key().String()),
		map[string]any{"participation": p, "unverified_domain": remoteServer})
}

func (g *guest) join(roomID string) error {
	key := string(g.id)
	e := g.build(roomID, "m.room.member", &key, map[string]string{"membership": "join", "displayname": "Guest"})
	_, err := g.w.engine.SendHandshake(context.Background(), remoteServer, room.JoinHandshake, roomID, e.ID(), e.JSON())
	return err
}

func (g *guest) say(roomID, text string) string {
	g.w.t.Helper()
	e := g.build(roomID, "m.room.message", nil, map[string]string{"msgtype": "m.text", "body": text})
	_, err := g.w.engine.Receive(context.Background(), remoteServer, e.JSON())
	require.NoError(g.w.t, err)
	return e.ID()
}

// enter takes the guest into a room, by the consent of one of its admins.
func (g *guest) enter(by *client, roomID string) {
	g.w.t.Helper()
	g.request(roomID)
	accepted := g.participation(by, roomID, matrix.Accepted)
	require.Equal(g.w.t, http.StatusOK, accepted.status, accepted.body.Raw)
	require.NoError(g.w.t, g.join(roomID))
}

func TestServersAreAcceptedAndRevokedByClients(t *testing.T) {
	t.Parallel()
	eachParticipation(t, func(t *testing.T, w *world, v matrix.RoomVersion) {
		alice, bob := w.register("alice"), w.register("bob")
		roomID := alice.createRoom(map[string]any{"room_version": v.ID, "preset": "public_chat"})
		bob.ok(http.MethodPost, path("join", roomID), map[string]any{})
		g := w.guest(v, "carol")
		g.request(roomID)
		requested := alice.ok(http.MethodGet, path("rooms", roomID, "state", matrix.ParticipationType, g.server.Key().String()), nil)
		require.Equal(t, "requested", requested.Get("participation").Str)
		require.Error(t, g.join(roomID), "before it is accepted")
		require.Equal(t, http.StatusForbidden, g.participation(bob, roomID, matrix.Accepted).status, "without the power to accept")
		require.Equal(t, http.StatusOK, g.participation(alice, roomID, matrix.Accepted).status)
		require.NoError(t, g.join(roomID))
		require.Equal(t, http.StatusForbidden, g.participation(alice, roomID, matrix.Accepted).status, "twice")
		g.say(roomID, "hello")
		require.Equal(t, http.StatusOK, g.participation(alice, roomID, matrix.Revoked).status)
		require.Equal(t, http.StatusForbidden, g.participation(alice, roomID, matrix.Accepted).status, "a revocation is for good")
	})
}

func TestServersThatAreLeftAreRevokedByClients(t *testing.T) {
	t.Parallel()
	eachParticipation(t, func(t *testing.T, w *world, v matrix.RoomVersion) {
		alice := w.register("alice")
		roomID := alice.createRoom(map[string]any{"room_version": v.ID, "preset": "public_chat"})
		own, ok := w.engine.ServerKeys.Current(roomID)
		require.True(t, ok)
		alice.ok(http.MethodPost, path("rooms", roomID, "leave"), map[string]any{})
		key := path("rooms", roomID, "state", matrix.ParticipationType, own.Key().String())
		alice.ok(http.MethodPut, key, map[string]string{"participation": "revoked"})
		require.Equal(t, matrix.Revoked, w.engine.Participant(roomID, own.Key().Name()).Participation)
		w.register("bob").refused(http.StatusForbidden, "M_FORBIDDEN", http.MethodPut, key, map[string]string{"participation": "revoked"})
	})
}

func TestGuestsAreShownWithWhatIsVerified(t *testing.T) {
	t.Parallel()
	eachParticipation(t, func(t *testing.T, w *world, v matrix.RoomVersion) {
		alice := w.register("alice")
		roomID := alice.createRoom(map[string]any{"room_version": v.ID, "preset": "public_chat"})
		g := w.guest(v, "carol")
		g.confirm("carol")
		g.enter(alice, roomID)
		said := g.say(roomID, "a secret")
		shown := alice.event(roomID, said)
		require.Equal(t, string(g.id), shown.Get("sender").Str)
		require.Equal(t, string(remoteServer), shown.Get("unsigned.server_domain").Str)
		if v.HasPortableAccounts() {
			require.Equal(t, "carol", shown.Get("unsigned.account").Str)
		}
		for name, answer := range alice.surfaces(roomID) {
			require.NotContains(t, answer.Raw, "liar", name)
		}
		timeline := alice.sync().Get("rooms.join").Get(gjson.Escape(roomID)).Get("timeline.events")
		require.Contains(t, ids(timeline), said)
		require.Equal(t, "join", alice.membershipOf(roomID, "@carol:"+string(remoteServer)), "by a verified name")
		people := alice.ok(http.MethodPost, path("user_directory", "search"), map[string]any{"search_term": "carol"})
		require.Equal(t, "@carol:"+string(remoteServer), people.Get("results.0.user_id").Str)

		w.api.receiveTyping(remoteServer, gjson.ParseBytes(mustJSON(map[string]any{"room_id": roomID, "user_id": g.id, "typing": true})))
		w.api.receiveTyping("elsewhere.test", gjson.ParseBytes(mustJSON(map[string]any{"room_id": roomID, "user_id": alice.in(roomID), "typing": true})))
		require.NoError(t, w.api.receiveReceipts(remoteServer, gjson.ParseBytes(mustJSON(map[string]any{
			roomID: map[string]any{"m.read": map[matrix.UserID]any{g.id: map[string]any{"event_ids": []string{said}, "data": map[string]any{"ts": 1}}}},
		}))))
		ephemeral := alice.sync().Get("rooms.join").Get(gjson.Escape(roomID)).Get("ephemeral.events")
		require.JSONEq(t, string(mustJSON([]matrix.UserID{g.id})), ephemeral.Get(`#(type=="m.typing").content.user_ids`).Raw)
		require.True(t, ephemeral.Get(`#(type=="m.receipt").content`).Get(gjson.Escape(said)).Get(`m\.read`).Get(gjson.Escape(string(g.id))).Exists())
		alice.ok(http.MethodPut, path("rooms", roomID, "typing", alice.id), map[string]any{"typing": true})
		typing := w.net.sent("m.typing")
		require.Equal(t, alice.in(roomID), typing[len(typing)-1].content.Get("user_id").Str)
		require.Equal(t, []matrix.ServerName{remoteServer}, typing[len(typing)-1].servers)

		alice.ok(http.MethodPost, path("rooms", roomID, "kick"), map[string]string{"user_id": "@carol:" + string(remoteServer)})
		require.Equal(t, "leave", alice.membershipOf(roomID, string(g.id)))
		alice.ok(http.MethodPost, path("rooms", roomID, "ban"), map[string]string{"user_id": string(g.id)})
		require.Equal(t, "ban", alice.membershipOf(roomID, string(g.id)))
	})
}

// An account that is confirmed late is named to whoever looks again; nobody is hidden until then.
func TestLateNamesOfGuests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := matrix.RoomVersionMSC4348()
	alice := w.register("alice")
	roomID := alice.createRoom(map[string]any{"room_version": v.ID, "preset": "public_chat"})
	g := w.guest(v, "carol")
	g.enter(alice, roomID)
	said := g.say(roomID, "a secret")
	shown := alice.event(roomID, said)
	require.False(t, shown.Get("unsigned.account").Exists())
	require.Equal(t, string(remoteServer), shown.Get("unsigned.server_domain").Str)
	timeline := alice.sync().Get("rooms.join").Get(gjson.Escape(roomID)).Get("timeline.events")
	require.Contains(t, ids(timeline), said)
	require.NoError(t, w.directory.Start())
	g.confirm("carol")
	require.Eventually(t, func() bool { return alice.event(roomID, said).Get("unsigned.account").Str == "carol" }, 10*time.Second, 10*time.Millisecond)
}

func TestDevicesOfGuestsAreFollowedByName(t *testing.T) {
	t.Parallel()
	eachParticipation(t, func(t *testing.T, w *world, v matrix.RoomVersion) {
		alice := w.register("alice")
		roomID := alice.createRoom(map[string]any{"room_version": v.ID, "preset": "public_chat"})
		since := alice.sync().Get("next_batch").Str
		g := w.guest(v, "carol")
		g.confirm("carol")
		g.enter(alice, roomID)
		name := "@carol:" + string(remoteServer)
		require.Contains(t, alice.sync("since", since).Get("device_lists.changed").Raw, name)
		since = alice.sync().Get("next_batch").Str
		require.NoError(t, w.api.receiveDeviceList(remoteServer, matrix.UserID(name)))
		require.Contains(t, alice.sync("since", since).Get("device_lists.changed").Raw, name)
		w.api.receivePresence(remoteServer, gjson.ParseBytes(mustJSON(map[string]any{"push": []any{map[string]any{"user_id": name, "presence": "online"}}})))
		require.Equal(t, "online", alice.ok(http.MethodGet, path("presence", name, "status"), nil).Get("presence").Str)
	})
}

// Who is behind a portable account is told to servers that participate in a room with it (D-51).
func TestPortableAccountsAreKnownToParticipants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := matrix.RoomVersionMSC4348()
	alice := w.register("alice")
	roomID := alice.createRoom(map[string]any{"room_version": v.ID, "preset": "public_chat"})
	user := matrix.UserID(alice.in(roomID))
	mayKnow := func(server matrix.ServerName, erased bool) bool {
		known, err := w.engine.MayKnowAccount(user, erased, server)
		require.NoError(t, err)
		return known
	}
	g := w.guest(v, "carol")
	require.False(t, mayKnow(remoteServer, false), "a stranger")
	g.request(roomID)
	require.False(t, mayKnow(remoteServer, false), "a server that has only requested to participate")
	g.participation(alice, roomID, matrix.Accepted)
	require.True(t, mayKnow(remoteServer, false))
	require.False(t, mayKnow("elsewhere.test", false))
	alice.ok(http.MethodPost, path("rooms", roomID, "leave"), map[string]any{})
	require.False(t, mayKnow(remoteServer, false), "no longer in a room")
	require.True(t, mayKnow(remoteServer, true), "but of an erasure everybody hears who was")
}

func TestRevokedServersKnowNoPortableAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := matrix.RoomVersionMSC4348()
	alice := w.register("alice")
	roomID := alice.createRoom(map[string]any{"room_version": v.ID, "preset": "public_chat"})
	g := w.guest(v, "carol")
	g.enter(alice, roomID)
	g.participation(alice, roomID, matrix.Revoked)
	known, err := w.engine.MayKnowAccount(matrix.UserID(alice.in(roomID)), false, remoteServer)
	require.NoError(t, err)
	require.False(t, known)
}
