package fed_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// swallow has a server answer transactions without reading them.
func (h *homeserver) swallow() {
	h.answerWith(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/v1/send/") {
			return false
		}
		_, _ = w.Write([]byte(`{"pdus":{}}`))
		return true
	})
}

// without is an event without the signatures of an entity.
func without(t *testing.T, e *matrix.Event, entity matrix.ServerName) []byte {
	t.Helper()
	out, err := sjson.DeleteBytes(e.JSON(), "signatures."+gjson.Escape(string(entity)))
	require.NoError(t, err)
	return out
}

// signerIn signs as a server in a room.
func (h *homeserver) signerIn(roomID string) matrix.Signer {
	own, ok := h.serverKeys.Latest(roomID)
	require.True(h.t, ok)
	return own.Signer()
}

// TestBadCopyDoesNotPoisonGoodOne hands in copies of one event with other signatures (D-55).
func TestBadCopyDoesNotPoisonGoodOne(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		hs1.admit(id, "alice", hs2, "bob")
		hs1.swallow()
		e := hs2.say(id, "bob", "signed")
		stripped := without(t, e, hs2.keyIn(id))
		stolen, err := matrix.ParseEvent(v, stripped)
		require.NoError(t, err)
		bad := [][]byte{stripped, stolen.WithSignature(hs1.signerIn(id)).JSON()}
		if v.HasPortableAccounts() {
			bad = append(bad, without(t, e, matrix.ServerName(e.Sender().Localpart())))
		}
		for _, pdu := range bad {
			_, err := hs1.engine.Receive(background, hs2.name, pdu)
			require.ErrorContains(t, err, "dropped")
			_, known := hs1.engine.Event(id, e.ID())
			require.False(t, known)
		}
		_, err = hs1.engine.Receive(background, hs2.name, e.JSON())
		require.NoError(t, err)
		require.Equal(t, room.Accepted, hs1.waitForEvent(id, e.ID()).Outcome)
	})
}

// TestRequestIsJudgedAgainOnceItIsAuthorised hands in a request without the signature of the server that
// authorises it, and then with it.
func TestRequestIsJudgedAgainOnceItIsAuthorised(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2, hs3 := n.start(t), n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		hs1.admit(id, "alice", hs2, "bob")
		hs1.swallow()
		hs3.request(id, "carol", hs2)
		key := hs3.keyIn(id)
		current, err := hs2.engine.CurrentState(id)
		require.NoError(t, err)
		request := hs2.engine.StateEvent(current, matrix.ParticipationType, string(key))
		require.NotNil(t, request)

		_, err = hs1.engine.Receive(background, hs2.name, without(t, request, hs2.keyIn(id)))
		require.ErrorIs(t, err, room.ErrRejected)
		require.Empty(t, hs1.engine.Participant(id, key).Participation)
		_, err = hs1.engine.Receive(background, hs2.name, request.JSON())
		require.NoError(t, err)
		require.Equal(t, matrix.Requested, hs1.engine.Participant(id, key).Participation)
		stored, ok := hs1.engine.Event(id, request.ID())
		require.True(t, ok)
		require.Contains(t, stored.SignatureEntities(), string(hs2.keyIn(id)))
		_, err = hs1.engine.Receive(background, hs2.name, without(t, request, hs2.keyIn(id)))
		require.NoError(t, err, "what was accepted stays accepted")
		require.Equal(t, matrix.Requested, hs1.engine.Participant(id, key).Participation)
	})
}

// TestResidentRefusesToAuthorise hands in requests that must not be co-signed.
func TestResidentRefusesToAuthorise(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2, hs3 := n.start(t), n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		own, err := hs2.serverKeys.Mint(id, v)
		require.NoError(t, err)
		bob := hs2.in(id, "bob")
		if !v.HasPortableAccounts() {
			require.Equal(t, own.Key().UserID("bob"), bob)
		}
		all := []string{v.ID}
		_, err = hs1.engine.MakeParticipation(hs2.name, id, bob, []string{matrix.Version12})
		require.Equal(t, "M_INCOMPATIBLE_ROOM_VERSION", peer.AsError(err).Code)
		template, err := hs1.engine.MakeParticipation(hs2.name, id, bob, all)
		require.NoError(t, err)
		for _, h := range []room.Handshake{room.JoinHandshake, room.KnockHandshake, room.LeaveHandshake} {
			_, err = hs1.engine.Make(hs2.name, h, id, bob, all)
			requireRefused(t, err, http.StatusForbidden)
		}

		event := gjson.ParseBytes(template.Event)
		signers := []matrix.Signer{own.Signer()}
		if v.HasPortableAccounts() {
			account, err := hs2.directory.Account("bob")
			require.NoError(t, err)
			signers = append(signers, account.Signer())
		}
		build := func(content map[string]any, signers ...matrix.Signer) *matrix.Event {
			body, err := json.Marshal(content)
			require.NoError(t, err)
			e, err := matrix.ProtoEvent{
				Type: matrix.ParticipationType, StateKey: matrix.StateKey(own.Key().String()), Sender: bob, RoomID: id, Content: body,
				PrevEvents: []string{event.Get("prev_events.0").String()}, AuthEvents: texts(event.Get("auth_events")),
				Depth: event.Get("depth").Int(), OriginServerTS: 1,
			}.Build(v, signers...)
			require.NoError(t, err)
			return e
		}
		honest := map[string]any{"participation": "requested", "request_authorised_via_server": hs1.keyIn(id), "unverified_domain": hs2.name}
		but := func(property string, value any) map[string]any {
			content := map[string]any{property: value}
			for k, v := range honest {
				if _, changed := content[k]; !changed {
					content[k] = v
				}
			}
			return content
		}
		for name, e := range map[string]*matrix.Event{
			"no request":                 build(but("participation", "accepted"), signers...),
			"of another authoriser":      build(but("request_authorised_via_server", own.Key().String()), signers...),
			"of another domain":          build(but("unverified_domain", hs3.name), signers...),
			"unsigned":                   build(honest),
			"signed by the account only": build(honest, signers[1:]...),
		} {
			_, err := hs1.engine.SendParticipation(background, hs2.name, id, e.ID(), e.JSON())
			require.Error(t, err, name)
			require.Less(t, peer.AsError(err).Status, 500, name)
		}
		e := build(honest, signers...)
		_, err = hs1.engine.SendParticipation(background, hs3.name, id, e.ID(), e.JSON())
		requireRefused(t, err, http.StatusForbidden)
		// hs2 has not asked by itself, so that it does not tell anybody of its key.
		_, err = hs1.engine.SendParticipation(background, hs2.name, id, e.ID(), e.JSON())
		requireRefused(t, err, http.StatusForbidden)
		require.Empty(t, hs1.engine.Participant(id, own.Key().Name()).Participation)
	})
}

func texts(list gjson.Result) (out []string) {
	for _, s := range list.Array() {
		out = append(out, s.String())
	}
	return out
}

// TestKeysAreDisclosedToParticipants queries server keys as servers that have more and less to do with
// their room.
func TestKeysAreDisclosedToParticipants(t *testing.T) {
	v := matrix.RoomVersionMSC4345()
	n := newNetwork(t)
	hs1, hs2, hs3 := n.start(t), n.start(t), n.start(t)
	id := hs1.create(v, "alice", joinRules("public"))
	hs2.request(id, "bob", hs1)
	ask := func(asker *homeserver, key matrix.ServerName) int {
		body, err := json.Marshal(map[string]any{"server_keys": map[matrix.ServerName]any{hs1.name: map[matrix.ServerName]any{key: struct{}{}}}})
		require.NoError(t, err)
		answer, err := asker.client.Call(background, hs1.name, peer.Call{Method: http.MethodPost, Path: "/_matrix/key/v3/org.matrix.msc4345/query", Body: body})
		require.NoError(t, err)
		documents := gjson.GetBytes(answer, "server_keys").Array()
		for _, doc := range documents {
			require.Equal(t, string(hs1.name), doc.Get("server_name").String())
			parsed, err := matrix.ParseServerKey(string(key))
			require.NoError(t, err)
			require.NoError(t, matrix.VerifyJSON([]byte(doc.Raw), string(key), matrix.ServerKeyID, parsed.PublicKey()))
		}
		return len(documents)
	}
	require.Equal(t, 1, ask(hs2, hs1.keyIn(id)), "who has requested may know")
	require.Zero(t, ask(hs3, hs1.keyIn(id)), "others may not")
	require.Zero(t, ask(hs2, hs2.keyIn(id)), "it is another server's")

	get := func(asker *homeserver, path string, of matrix.ServerName) []string {
		answer, err := asker.client.Call(background, hs1.name, peer.Call{Method: http.MethodGet, Path: path + peer.Path(string(of))})
		require.NoError(t, err)
		return texts(gjson.GetBytes(answer, "server_keys.#.verify_keys.ed25519:1.key"))
	}
	parsed, err := matrix.ParseServerKey(string(hs1.keyIn(id)))
	require.NoError(t, err)
	for _, path := range []string{"/_matrix/key/v3/query", "/_matrix/key/v3/org.matrix.msc4345/query"} {
		require.Equal(t, []string{matrix.EncodeBase64(parsed[:])}, get(hs2, path, hs1.name))
		require.Empty(t, get(hs2, path, hs2.name), "this server is no notary")
		require.Empty(t, get(hs3, path, hs1.name), "a stranger is told nothing")
	}
}

// TestAccountMovesToAnotherServer has one account key join through two servers (MSC4348; D-54).
func TestAccountMovesToAnotherServer(t *testing.T) {
	v := matrix.RoomVersionMSC4348()
	n := newNetwork(t)
	hs1, hs2, hs3 := n.start(t), n.start(t), n.start(t)
	id := hs1.create(v, "alice", joinRules("public"))
	hs1.admit(id, "alice", hs2, "bob")
	hs1.admit(id, "alice", hs3, "carol")
	bob := hs2.in(id, "bob")
	account, err := hs2.directory.Account("bob")
	require.NoError(t, err)

	// bob's key is given to hs3, which co-signs another join.
	template, err := hs1.engine.Make(hs3.name, room.JoinHandshake, id, bob, []string{v.ID})
	require.NoError(t, err)
	join := gjson.ParseBytes(template.Event)
	e, err := matrix.ProtoEvent{
		Type: "m.room.member", StateKey: matrix.StateKey(string(bob)), Sender: bob, RoomID: id, Content: []byte(`{"membership":"join"}`),
		PrevEvents: texts(join.Get("prev_events")), AuthEvents: texts(join.Get("auth_events")),
		Depth: join.Get("depth").Int(), OriginServerTS: join.Get("origin_server_ts").Int(),
	}.Build(v, account.Signer(), hs3.signerIn(id))
	require.NoError(t, err)
	_, err = hs1.engine.SendHandshake(background, hs3.name, room.JoinHandshake, id, e.ID(), e.JSON())
	require.NoError(t, err)
	for _, hs := range []*homeserver{hs1, hs2, hs3} {
		_, err := hs.engine.Receive(background, hs1.name, e.JSON())
		require.NoError(t, err)
		hs.waitForEvent(id, e.ID())
		server, ok := hs.engine.ServerOfUser(id, bob)
		require.True(t, ok)
		require.Equal(t, hs3.keyIn(id), server.Key)
	}
	_, err = hs2.engine.Send(background, id, hs2.user("bob"), room.Draft{Type: "m.room.message", Content: object("body", "from the old server")})
	requireRefused(t, err, http.StatusForbidden)
	hs2.join(id, "bob", hs1)
	hs1.waitForEvent(id, hs2.say(id, "bob", "back again").ID())
	require.Equal(t, hs1.state(id), hs2.state(id))
}
