package blueprints

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/fakeserver"
	"countersign/helpers/csapi"
	"countersign/matrix"
)

// A world for the sweepers: hs is under test and has the user alice.
const (
	hs       matrix.ServerName = "hs"
	keyRoom  string            = "!keys"
	nameRoom string            = "!names"
)

var (
	alice = matrix.AccountFromSeed([]byte(strings.Repeat("a", 32)))
	other = matrix.AccountFromSeed([]byte(strings.Repeat("o", 32)))
)

func world() *knowledge {
	k := newKnowledge(matrix.RoomVersions())
	k.homeservers[hs] = true
	k.names["@alice:hs"] = true
	k.versions[keyRoom] = matrix.RoomVersionMSC4243()
	k.versions[nameRoom] = matrix.RoomVersion12()
	k.senders["$known"] = alice.Key().UserID(hs)
	return k
}

// requirements are the IDs of what was found, in order.
func requirements(found []departure) string {
	ids := []string{}
	for _, d := range found {
		ids = append(ids, strings.TrimPrefix(d.requirement, "MSC4243-"))
	}
	return strings.Join(ids, " ")
}

// clientEvent is an honest event of a room with account keys as a client sees it, with members added
// or replaced.
func clientEvent(members string) string {
	event := map[string]any{
		"type": "m.room.message", "event_id": "$known", "sender": "@alice:hs", "content": map[string]any{"body": "hello"},
		"unsigned": map[string]any{"sender_account": map[string]any{"key": alice.Key().String(), "user_id": "@alice:hs"}},
	}
	if err := json.Unmarshal([]byte("{"+members+"}"), &event); err != nil {
		panic(err)
	}
	raw, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func TestSweepResponse(t *testing.T) {
	t.Parallel()
	k := world()
	account := func(key, id string) string {
		return fmt.Sprintf(`"unsigned":{"sender_account":{"key":%q,"user_id":%q}}`, key, id)
	}
	aliceKey := alice.Key().String()
	aliceID := `"` + string(alice.Key().UserID(hs)) + `"`
	timeline := func(room, event string) string {
		return fmt.Sprintf(`{"rooms":{"join":{%q:{"timeline":{"events":[%s]}}}}}`, room, event)
	}
	for _, c := range []struct {
		name, target, body, want string
	}{
		{"an honest event", "sync", timeline(keyRoom, clientEvent("")), ""},
		{"an event outside of any known room", "sync", timeline("!elsewhere", clientEvent(`"unsigned":{}`)), ""},

		{"a sender that is an account key", "sync", timeline(keyRoom, clientEvent(`"sender":`+aliceID)), "VIS-04 CS-04"},
		{"a state key that is an account key", "sync", timeline(keyRoom, clientEvent(`"state_key":`+aliceID)), "VIS-04"},
		{"a key of an object", "rooms/!keys/joined_members", `{"joined":{` + aliceID + `:{}}}`, "VIS-04"},
		{"typing", "sync", timeline(keyRoom, `{"type":"m.typing","content":{"user_ids":[`+aliceID+`]}}`), "VIS-04"},
		{"power levels in an event", "sync", timeline(keyRoom, clientEvent(`"type":"m.room.power_levels","content":{"users":{`+aliceID+`:50}}`)), "VIS-04"},
		{"power levels as content", "rooms/%21keys/state/m.room.power_levels", `{"users":{` + aliceID + `:50}}`, "VIS-04"},
		{"creators", "sync", timeline(keyRoom, clientEvent(`"type":"m.room.create","content":{"additional_creators":[`+aliceID+`]}`)), "VIS-04"},
		{"an authoriser", "sync", timeline(keyRoom, clientEvent(`"type":"m.room.member","content":{"join_authorised_via_users_server":`+aliceID+`}`)), "VIS-04"},
		{"the content before", "sync", timeline(keyRoom, clientEvent(`"type":"m.room.power_levels","unsigned":{"prev_content":{"users":{`+aliceID+`:50}},"sender_account":{"key":"`+aliceKey+`","user_id":"@alice:hs"}}`)), "VIS-04"},
		{"an event in an event", "sync", timeline(keyRoom, clientEvent(`"unsigned":{"redacted_because":`+clientEvent(`"sender":`+aliceID)+`,"sender_account":{"key":"`+aliceKey+`","user_id":"@alice:hs"}}`)), "VIS-04 CS-04"},
		{"in a room without account keys", "sync", timeline(nameRoom, clientEvent(`"sender":`+aliceID+`,"unsigned":{}`)), "RV-02"},

		{"the text of a message", "sync", timeline(keyRoom, clientEvent(`"content":{"body":`+aliceID+`}`)), ""},
		{"what the client asked for", "profile/" + strings.Trim(aliceID, `"`), `{"user_id":` + aliceID + `}`, ""},
		{"a user of no domain", "sync", timeline(keyRoom, clientEvent(`"state_key":"@`+aliceKey+`:invalid"`)), ""},
		{"a user of a domain that does not exist", "sync", timeline(keyRoom, clientEvent(`"state_key":"@`+aliceKey+`:x.invalid"`)), "VIS-04"},
		{"a long account name", "sync", timeline(keyRoom, clientEvent(`"state_key":"@`+strings.Repeat("_", 43)+`:hs"`)), ""},

		{"no sender_account", "rooms/!keys/event/x", clientEvent(`"unsigned":{}`), "CS-03"},
		{"no unsigned", "rooms/!keys/event/x", clientEvent(`"unsigned":null`), "CS-03"},
		{"state without unsigned", "rooms/!keys/state", `[` + strings.Replace(clientEvent(`"state_key":""`), `"unsigned"`, `"x"`, 1) + `]`, ""},
		{"somebody else's key", "sync", timeline(keyRoom, clientEvent(account(other.Key().String(), "@alice:hs"))), "CS-03"},
		{"no key at all", "sync", timeline(keyRoom, clientEvent(`"event_id":"$unknown",`+account("alice", "@alice:hs"))), "CS-03"},
		{"a key user ID for a key", "sync", timeline(keyRoom, clientEvent(`"event_id":"$unknown",`+account(strings.Trim(aliceID, `"`), "@alice:hs"))), "VIS-04 CS-03"},
		{"somebody else's name", "sync", timeline(keyRoom, clientEvent(account(aliceKey, "@bob:hs"))), "CS-04"},
		{"no name", "sync", timeline(keyRoom, clientEvent(`"unsigned":{"sender_account":{"key":"`+aliceKey+`"}}`)), "CS-04"},
		{"a sender_account without account keys", "sync", timeline(nameRoom, clientEvent("")), "CS-31"},
		{"stripped state", "sync", `{"rooms":{"invite":{"!keys":{"invite_state":{"events":[` + clientEvent(`"unsigned":{}`) + `]}}}}}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &csapi.Response{Method: http.MethodGet, Target: "/_matrix/client/v3/" + c.target, Status: 200, Body: []byte(c.body)}
			require.True(t, json.Valid(r.Body), c.body)
			found := k.sweepResponse(r)
			assert.Equal(t, c.want, requirements(found), "%v", found)
			r.Status = 403
			assert.NotContains(t, requirements(k.sweepResponse(r)), "VIS-04", "errors are texts for people")
		})
	}
}

// pdu builds an event of alice's.
func pdu(t *testing.T, v matrix.RoomVersion, p matrix.ProtoEvent, signers ...matrix.Signer) fakeserver.PDU {
	t.Helper()
	if p.Type == "" {
		p.Type = "m.room.message"
	}
	if p.Content == nil {
		p.Content = []byte(`{}`)
	}
	p.Depth, p.OriginServerTS = 1, 1
	p.RoomID = map[bool]string{true: keyRoom, false: nameRoom}[v.HasAccountKeys()]
	e, err := p.Build(v, signers...)
	require.NoError(t, err)
	return fakeserver.PDU{Raw: e.JSON(), Event: e, Version: v, Via: fakeserver.OpSend}
}

func TestSweepPDU(t *testing.T) {
	t.Parallel()
	keys, names := matrix.RoomVersionMSC4243(), matrix.RoomVersion12()
	server := matrix.Signer{Entity: string(hs), KeyID: "ed25519:auto", Key: other.Signer().Key}
	id, key := alice.Key().UserID(hs), alice.Signer()
	filed := func(entity string) matrix.Signer {
		return matrix.Signer{Entity: entity, KeyID: key.KeyID, Key: key.Key}
	}
	named := matrix.StateKey("@alice:hs")
	for _, c := range []struct {
		name    string
		version matrix.RoomVersion
		event   matrix.ProtoEvent
		signers []matrix.Signer
		want    string
	}{
		{"an honest event", keys, matrix.ProtoEvent{Sender: id}, []matrix.Signer{key}, ""},
		{"no signature", keys, matrix.ProtoEvent{Sender: id}, nil, "SIG-01"},
		{"a signature by another key", keys, matrix.ProtoEvent{Sender: id}, []matrix.Signer{{Entity: key.Entity, KeyID: key.KeyID, Key: other.Signer().Key}}, "SIG-01"},
		{"another key ID", keys, matrix.ProtoEvent{Sender: id}, []matrix.Signer{{Entity: key.Entity, KeyID: "ed25519:2", Key: key.Key}}, "SIG-01"},
		{"a server's signature as well", keys, matrix.ProtoEvent{Sender: id}, []matrix.Signer{key, server}, "SIG-02"},
		{"only a server's signature", keys, matrix.ProtoEvent{Sender: id}, []matrix.Signer{server}, "SIG-01 SIG-02"},
		{"a signature under the user ID", keys, matrix.ProtoEvent{Sender: id}, []matrix.Signer{filed(string(id))}, "SIG-01 ID-06"},
		{"a signature under the account name as well", keys, matrix.ProtoEvent{Sender: id}, []matrix.Signer{key, filed("alice")}, "ID-06"},
		{"an account name as sender", keys, matrix.ProtoEvent{Sender: "@alice:hs"}, []matrix.Signer{server}, "ID-03 SIG-01 SIG-02"},
		{"an account name as state key", keys, matrix.ProtoEvent{Type: "m.room.member", Sender: id, StateKey: named}, []matrix.Signer{key}, "ID-03"},
		{"an account name in power levels", keys, matrix.ProtoEvent{Type: "m.room.power_levels", Sender: id, Content: []byte(`{"users":{"@alice:hs":50}}`)}, []matrix.Signer{key}, "ID-03"},
		{"an account name among creators", keys, matrix.ProtoEvent{Type: "m.room.create", Sender: id, Content: []byte(`{"additional_creators":["@alice:hs"]}`)}, []matrix.Signer{key}, "ID-03"},
		{"an account name as authoriser", keys, matrix.ProtoEvent{Type: "m.room.member", Sender: id, StateKey: matrix.StateKey(string(id)), Content: []byte(`{"join_authorised_via_users_server":"@alice:hs"}`)}, []matrix.Signer{key}, "ID-03"},
		{"an account name in a message", keys, matrix.ProtoEvent{Sender: id, Content: []byte(`{"body":"@alice:hs"}`)}, []matrix.Signer{key}, ""},
		{"somebody else's event", keys, matrix.ProtoEvent{Sender: other.Key().UserID("elsewhere")}, nil, ""},

		{"an honest event of version 12", names, matrix.ProtoEvent{Sender: "@alice:hs"}, []matrix.Signer{server}, ""},
		{"no server's signature in version 12", names, matrix.ProtoEvent{Sender: "@alice:hs"}, nil, "RV-02"},
		{"an account key in version 12", names, matrix.ProtoEvent{Sender: id}, []matrix.Signer{server}, "RV-02"},
		{"an account key's signature in version 12", names, matrix.ProtoEvent{Sender: "@alice:hs"}, []matrix.Signer{server, key}, "RV-02"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := world().sweepPDU(pdu(t, c.version, c.event, c.signers...))
			assert.Equal(t, c.want, requirements(found), "%v", found)
		})
	}

	t.Run("the request of an invite", func(t *testing.T) {
		p := pdu(t, keys, matrix.ProtoEvent{Type: "m.room.member", Sender: id, StateKey: matrix.StateKey("@bob:elsewhere")})
		p.Via, p.Event = fakeserver.OpInvite, nil
		assert.Empty(t, world().sweepPDU(p))
	})
	t.Run("what is not an event", func(t *testing.T) {
		p := pdu(t, keys, matrix.ProtoEvent{Sender: id}, key)
		p.Raw, p.Event = []byte(strings.Replace(string(p.Raw), `"depth":1`, `"depth":1.5`, 1)), nil
		assert.Equal(t, "SIG-01", requirements(world().sweepPDU(p)))
	})
	t.Run("a forged event that names a user of the homeserver", func(t *testing.T) {
		k := world()
		k.forgers[other.Key().String()] = true
		assert.Empty(t, k.sweepPDU(pdu(t, keys, matrix.ProtoEvent{Sender: other.Key().UserID(hs)}, key)))
	})
}

func TestLearnResponse_RoomVersions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, target, asked, body string }{
		{"a room that the client made", "createRoom", `{"room_version":"12"}`, `{"room_id":"!r"}`},
		{"a room that the client upgraded", "rooms/!old/upgrade", `{"new_version":"12"}`, `{"replacement_room":"!r"}`},
		{"a create event in /sync", "sync", "", `{"rooms":{"join":{"!r":{"state":{"events":[{"type":"m.room.create","sender":"@a:b","content":{"room_version":"12"}}]}}}}}`},
		{"a create event in other letters", "sync", "", `{"rooms":{"join":{"!r":{"state":{"events":[{"type":"m\u002eroom.create","sender":"@a:b","content":{"room_version":"12"}}]}}}}}`},
		{"a create event in the room's state", "rooms/%21r/state", "", `[{"type":"m.room.create","sender":"@a:b","content":{"room_version":"12"}}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKnowledge(matrix.RoomVersions())
			k.learnResponse(&csapi.Response{Target: "/_matrix/client/v3/" + c.target, RequestBody: []byte(c.asked), Body: []byte(c.body), Status: 200})
			assert.Equal(t, map[string]matrix.RoomVersion{"!r": matrix.RoomVersion12()}, k.versions)
		})
	}
}
