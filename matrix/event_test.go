package matrix

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// message is an honest event of a room with account keys.
func message(t testing.TB, account Account, content string) *Event {
	e, err := ProtoEvent{
		Type: "m.room.message", Sender: account.Key().UserID("example.org"), RoomID: "!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		Content: []byte(content), PrevEvents: []string{"$prev"}, AuthEvents: []string{"$auth"}, Depth: 3, OriginServerTS: 1700000000000,
	}.Build(RoomVersionMSC4243(), account.Signer())
	require.NoError(t, err)
	return e
}

// change returns the event's JSON with one top-level property set to raw JSON, or removed.
func change(e *Event, key, value string) []byte {
	doc := []byte(removeMember(string(e.JSON()), key))
	if value != "" {
		doc = mergeMember(doc, key, []byte(value))
	}
	return doc
}

func TestParseEventFormat(t *testing.T) {
	e := message(t, urlSafeAccount(t), `{"body":"x"}`)
	ids := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf("$%d", i)
		}
		b, err := json.Marshal(list)
		require.NoError(t, err)
		return string(b)
	}
	long := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	user := func(n int) string {
		return `"@` + strings.Repeat("u", n-len("@:example.org")) + `:example.org"`
	}
	for _, c := range []struct {
		key, value string
		ok         bool
	}{
		{"type", "", false}, {"type", `1`, false}, {"type", `""`, false}, {"type", long(255), true}, {"type", long(256), false},
		{"sender", "", false}, {"sender", `1`, false}, {"sender", `"alice"`, false}, {"sender", `"@alice"`, false},
		{"sender", `"@a:b c"`, false}, {"sender", `"@:example.org"`, true}, {"sender", user(255), true}, {"sender", user(256), false},
		{"room_id", "", false}, {"room_id", `null`, false}, {"room_id", long(255), true}, {"room_id", long(256), false},
		{"state_key", `null`, false}, {"state_key", `1`, false}, {"state_key", `""`, true}, {"state_key", long(255), true}, {"state_key", long(256), false},
		{"content", "", false}, {"content", `[]`, false}, {"content", `"x"`, false}, {"content", `{}`, true},
		{"depth", "", false}, {"depth", `"3"`, false}, {"depth", `-1`, false}, {"depth", `0`, true}, {"depth", `9007199254740991`, true},
		{"origin_server_ts", "", false}, {"origin_server_ts", `"1"`, false}, {"origin_server_ts", `true`, false}, {"origin_server_ts", `0`, true}, {"origin_server_ts", `-1`, true},
		{"hashes", "", false}, {"hashes", `{}`, false}, {"hashes", `[]`, false}, {"hashes", `{"sha256":1}`, true},
		{"signatures", `[]`, false}, {"signatures", `{}`, true},
		{"prev_events", "", false}, {"prev_events", `{}`, false}, {"prev_events", `[1]`, false}, {"prev_events", `["x"]`, false}, {"prev_events", `["$"]`, false},
		{"prev_events", `[]`, true}, {"prev_events", ids(20), true}, {"prev_events", ids(21), false},
		{"auth_events", "", false}, {"auth_events", `[["$a",{}]]`, false}, {"auth_events", ids(10), true}, {"auth_events", ids(11), false},
		{"unsigned", `{"age":1}`, true}, {"org.example", `[1,2,3]`, true},
	} {
		t.Run(c.key+" "+c.value[:min(len(c.value), 30)], func(t *testing.T) {
			got, err := ParseEvent(e.Version(), change(e, c.key, c.value))
			if !c.ok {
				require.ErrorIs(t, err, ErrInvalidEvent)
				return
			}
			require.NoError(t, err)
			require.NotEmpty(t, got.ID())
		})
	}
	for _, bad := range []string{``, `null`, `[]`, `"x"`, `1`, `{}`, `{"type":1.5}`} {
		_, err := ParseEvent(e.Version(), []byte(bad))
		require.Error(t, err, "%q", bad)
		if bad != `` && bad != `{"type":1.5}` {
			require.ErrorIs(t, err, ErrInvalidEvent, "%q", bad)
		}
	}
	_, err := ParseTrustedEvent(e.Version(), nil)
	require.ErrorIs(t, err, ErrInvalidEvent)
}

func TestEventSizeLimit(t *testing.T) {
	account := urlSafeAccount(t)
	base := len(message(t, account, `{"body":""}`).JSON())
	fill := func(n int) *Event { return message(t, account, `{"body":"`+strings.Repeat("x", n-base)+`"}`) }
	require.Len(t, fill(MaxEventSize).JSON(), MaxEventSize)
	_, err := ParseEvent(RoomVersionMSC4243(), fill(MaxEventSize).JSON())
	require.NoError(t, err)
	_, err = ParseEvent(RoomVersionMSC4243(), fill(MaxEventSize+1).JSON())
	require.ErrorIs(t, err, ErrInvalidEvent)
	// It is the canonical form that counts.
	_, err = ParseEvent(RoomVersionMSC4243(), append(fill(MaxEventSize).JSON(), "          "...))
	require.NoError(t, err)
}

// Room version 12: the create event has no room_id, and the room ID is its event ID.
func TestCreateEvent(t *testing.T) {
	account := urlSafeAccount(t)
	p := ProtoEvent{Type: "m.room.create", StateKey: StateKey(""), Sender: account.Key().UserID("example.org"), Content: []byte(`{"room_version":"12"}`)}
	e, err := p.Build(RoomVersion12(), account.Signer())
	require.NoError(t, err)
	require.False(t, e.HasRoomID())
	require.Equal(t, "!"+e.ID()[1:], e.RoomID())
	require.NotContains(t, string(e.JSON()), "room_id")
	sum, err := ReferenceHash(e.JSON())
	require.NoError(t, err)
	require.Equal(t, "$"+EncodeURLBase64(sum[:]), e.ID())
	require.True(t, e.IsState("m.room.create", ""))

	p.RoomID = "!x"
	e, err = p.Build(RoomVersion12(), account.Signer())
	require.NoError(t, err)
	require.True(t, e.HasRoomID())
	require.Equal(t, "!x", e.RoomID())
	parsed, err := ParseEvent(RoomVersion12(), e.JSON())
	require.NoError(t, err)
	require.Equal(t, e, parsed)
}

func TestContentHash(t *testing.T) {
	e := message(t, urlSafeAccount(t), `{"body":"x"}`)
	require.True(t, e.HashOK())
	hash, ok := stringValue(lookup(lookup(e.JSON(), "hashes"), "sha256"))
	require.True(t, ok)
	for value, want := range map[string]bool{
		`{"sha256":"` + hash + `"}`:                       true,
		`{"sha256":"` + hash + `="}`:                      true, // padding is tolerated
		`{"sha256":"` + hash + `=="}`:                     false,
		`{"sha256":"` + strings.Repeat("A", 43) + `"}`:    false,
		`{"sha256":5}`:                                    false,
		`{"sha256":""}`:                                   false,
		`{"other":"x","sha256":"` + hash + `"}`:           true,
		`{"sha256":"` + hash[:42] + "!" + `"}`:            false,
		`{"sha256":{"` + hash + `":"` + hash + `"}}`:      false,
		`{"sha256":"` + hash + `","sha512":"irrelevant"}`: true,
	} {
		got, err := ParseEvent(e.Version(), change(e, "hashes", value))
		require.NoError(t, err)
		require.Equal(t, want, got.HashOK(), value)
	}
	tampered, err := ParseEvent(e.Version(), change(e, "content", `{"body":"y"}`))
	require.NoError(t, err)
	require.False(t, tampered.HashOK())
	require.Equal(t, e.ID(), tampered.ID(), "the event ID does not cover what redaction removes")
	require.NoError(t, tampered.VerifyAccountKey(tampered.Sender()))
	require.False(t, e.Redacted().HashOK())
	empty := message(t, urlSafeAccount(t), `{}`)
	require.True(t, empty.Redacted().HashOK())
}

func TestRedaction(t *testing.T) {
	for _, c := range []struct{ eventType, content, want string }{
		{"m.room.member", `{"membership":"join","displayname":"x","join_authorised_via_users_server":"@a:b","reason":"r","third_party_invite":{"display_name":"d","signed":{"mxid":"@a:b","token":"t"}}}`,
			`{"join_authorised_via_users_server":"@a:b","membership":"join","third_party_invite":{"signed":{"mxid":"@a:b","token":"t"}}}`},
		{"m.room.member", `{"membership":"join","third_party_invite":{"display_name":"d"}}`, `{"membership":"join"}`},
		{"m.room.member", `{"membership":"join","third_party_invite":"x"}`, `{"membership":"join"}`},
		{"m.room.member", `{"third_party_invite":{"signed":null}}`, `{"third_party_invite":{"signed":null}}`},
		{"m.room.create", `{"anything":{"at":"all"},"room_version":"12"}`, `{"anything":{"at":"all"},"room_version":"12"}`},
		{"m.room.join_rules", `{"allow":[],"join_rule":"restricted","x":1}`, `{"allow":[],"join_rule":"restricted"}`},
		{"m.room.power_levels", `{"ban":1,"events":{},"events_default":2,"invite":3,"kick":4,"notifications":{},"redact":5,"state_default":6,"users":{},"users_default":7,"x":8}`,
			`{"ban":1,"events":{},"events_default":2,"invite":3,"kick":4,"redact":5,"state_default":6,"users":{},"users_default":7}`},
		{"m.room.history_visibility", `{"history_visibility":"shared","x":1}`, `{"history_visibility":"shared"}`},
		{"m.room.redaction", `{"reason":"r","redacts":"$x"}`, `{"redacts":"$x"}`},
		{"m.room.aliases", `{"aliases":["#a:b"]}`, `{}`},
		{"m.room.message", `{"body":"x","membership":"join"}`, `{}`},
		{"m.room.topic", `{"topic":"x"}`, `{}`},
	} {
		doc := `{"auth_events":[],"content":` + c.content + `,"depth":1,"event_id":"$x","hashes":{},"membership":"join","origin":"o","origin_server_ts":1,"prev_events":[],"prev_state":[],"room_id":"!r","sender":"@a:b","signatures":{"s":{}},"state_key":"k","type":"` + c.eventType + `","unsigned":{"age":1},"zzz":1}`
		got, err := Redact([]byte(doc))
		require.NoError(t, err)
		require.Equal(t, `{"auth_events":[],"content":`+c.want+`,"depth":1,"event_id":"$x","hashes":{},"origin_server_ts":1,"prev_events":[],"room_id":"!r","sender":"@a:b","signatures":{"s":{}},"state_key":"k","type":"`+c.eventType+`"}`, string(got))
		message, err := EventSigningBytes([]byte(doc))
		require.NoError(t, err)
		require.Equal(t, removeMember(string(got), "signatures"), string(message))
	}
}

func TestEventAccessors(t *testing.T) {
	account := urlSafeAccount(t)
	e := message(t, account, `{"body":"x","membership":"invite","n":{"deep":[1,2]}}`)
	require.Equal(t, "m.room.message", e.Type())
	require.Equal(t, int64(3), e.Depth())
	require.Equal(t, int64(1700000000000), e.OriginServerTS())
	require.Equal(t, []string{"$prev"}, e.PrevEvents())
	require.Equal(t, []string{"$auth"}, e.AuthEvents())
	require.Equal(t, "invite", e.Membership())
	require.Equal(t, int64(2), e.Get("n.deep.1").Int())
	_, isState := e.StateKey()
	require.False(t, isState)
	require.Nil(t, e.Unsigned())
	require.Equal(t, []string{account.Key().String()}, e.SignatureEntities())
	require.Equal(t, []KeyID{AccountKeyID}, e.SignatureKeyIDs(account.Key().String()))
	b, err := json.Marshal(map[string]any{"pdu": e})
	require.NoError(t, err)
	require.JSONEq(t, `{"pdu":`+string(e.JSON())+`}`, string(b))

	aged, err := e.WithUnsigned([]byte(`{"age": 5}`))
	require.NoError(t, err)
	require.Equal(t, `{"age":5}`, string(aged.Unsigned()))
	require.Equal(t, e.ID(), aged.ID())
	require.NoError(t, aged.VerifyAccountKey(aged.Sender()))
	young, err := aged.WithUnsigned(nil)
	require.NoError(t, err)
	require.Equal(t, e, young)
	_, err = e.WithUnsigned([]byte(`[]`))
	require.Error(t, err)
}

func TestSignatureChecks(t *testing.T) {
	account, other := urlSafeAccount(t), AccountFromSeed(make([]byte, 32))
	e := message(t, account, `{}`)
	name := account.Key().String()
	good, ok := stringValue(lookup(lookup(lookup(e.JSON(), "signatures"), name), string(AccountKeyID)))
	require.True(t, ok)
	signatures := func(entity, id, value string) string { return `{"` + entity + `":{"` + id + `":` + value + `}}` }
	for _, c := range []struct {
		name, signatures string
		ok               bool
	}{
		{"honest", signatures(name, "ed25519:1", `"`+good+`"`), true},
		{"padded", signatures(name, "ed25519:1", `"`+good+`=="`), true},
		{"wrongly padded", signatures(name, "ed25519:1", `"`+good+`="`), false},
		{"URL-safe alphabet", signatures(name, "ed25519:1", `"`+strings.NewReplacer("+", "-", "/", "_").Replace(good)+`"`), !strings.ContainsAny(good, "+/")},
		{"line break", signatures(name, "ed25519:1", `"`+good[:40]+`\n`+good[40:]+`"`), false},
		{"junk", signatures(name, "ed25519:1", `"....`+good+`"`), false},
		{"short", signatures(name, "ed25519:1", `"`+good[:80]+`"`), false},
		{"another key ID", signatures(name, "ed25519:2", `"`+good+`"`), false},
		{"user ID as entity", signatures(string(e.Sender()), "ed25519:1", `"`+good+`"`), false},
		{"domain as entity", signatures("example.org", "ed25519:1", `"`+good+`"`), false},
		{"number", signatures(name, "ed25519:1", `5`), false},
		{"entity is not an object", `{"` + name + `":"` + good + `"}`, false},
		{"none", `{}`, false},
		{"an unrelated bad value", `{"` + name + `":{"ed25519:1":"` + good + `"},"x":{"ed25519:1":"!"}}`, true},
		{"an unrelated number", `{"` + name + `":{"ed25519:1":"` + good + `"},"x":5}`, true},
		{"an unrelated array", `{"` + name + `":{"ed25519:1":"` + good + `"},"x":[]}`, true},
		{"another bad signature by the same entity", `{"` + name + `":{"ed25519:1":"` + good + `","ed25519:2":"!"}}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseEvent(e.Version(), change(e, "signatures", c.signatures))
			require.NoError(t, err)
			require.Equal(t, e.ID(), got.ID())
			require.Equal(t, c.ok, got.VerifyAccountKey(got.Sender()) == nil)
		})
	}
	require.ErrorIs(t, e.VerifyAccountKey(other.Key().UserID("example.org")), ErrNoSignature)
	require.ErrorIs(t, e.VerifyAccountKey("@alice:example.org"), ErrBadSignature)
	require.NoError(t, e.VerifyAccountKey(account.Key().UserID("elsewhere.example")), "the domain is not part of the signature's entity")
	// Names are compared by what they mean, not by how they are escaped.
	quoted, err := PutSignature([]byte(`{}`), `a\b`, "ed25519:1", "x")
	require.NoError(t, err)
	_, err = findSignature(quoted, `a\b`, "ed25519:1")
	require.ErrorIs(t, err, ErrBadSignature)
	_, err = findSignature(quoted, `a\\b`, "ed25519:1")
	require.ErrorIs(t, err, ErrNoSignature)
}
