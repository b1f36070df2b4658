package rules

import (
	"encoding/json"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"countersign/matrix"
	"countersign/reference/internal/roomtest"
)

// hostileTypes are the event types whose content the rules read.
var hostileTypes = []string{
	"m.room.member", "m.room.power_levels", "m.room.join_rules", "m.room.third_party_invite", "m.room.message", "m.room.create",
}

// checkHostile authorises an event with any content against a state with any content: the answer is a
// Rejection or nil, never a panic.
func checkHostile(t interface{ Fatalf(string, ...any) }, v matrix.RoomVersion, eventType, stateKey string, isState bool, contents map[string]string) {
	build := func(roomID, eventType string, stateKey *string, content string) *matrix.Event {
		e, err := matrix.ProtoEvent{Type: eventType, StateKey: stateKey, Sender: alice, RoomID: roomID, Content: []byte(content)}.Build(v)
		if err != nil {
			return nil // not canonical JSON, so no event
		}
		return e
	}
	create := build("", "m.room.create", roomtest.Key(""), contents["m.room.create"])
	if create == nil {
		return
	}
	room, err := NewRoom(create, VerifyAccountKey)
	if err != nil {
		create = build("", "m.room.create", roomtest.Key(""), `{}`)
		if room, err = NewRoom(create, VerifyAccountKey); err != nil {
			t.Fatalf("an empty create event is rejected: %v", err)
		}
	}
	given := StateMap{}
	var auth []AuthEvent
	for _, place := range []matrix.StateTuple{
		{Type: "m.room.power_levels"}, {Type: "m.room.join_rules"}, {Type: "m.room.member", StateKey: alice},
		{Type: "m.room.member", StateKey: bob}, {Type: "m.room.third_party_invite", StateKey: "token"},
	} {
		if e := build(room.ID(), place.Type, &place.StateKey, contents[place.Type]); e != nil {
			given[place] = e
			auth = append(auth, AuthEvent{Event: e})
		}
	}
	var key *string
	if isState {
		key = &stateKey
	}
	e := build(room.ID(), eventType, key, contents["event"])
	if e == nil {
		return
	}
	for _, err := range []error{room.Authorise(e, given), room.AuthoriseByAuthEvents(e, auth), room.Authorise(e, StateMap{})} {
		var rejection *Rejection
		if err != nil && (!errors.As(err, &rejection) || rejection.Rule == "" || rejection.Reason == "") {
			t.Fatalf("the error is not a rejection: %v", err)
		}
	}
	room.MayRedact(e, e, given)
}

// hostileJSON draws objects that use the names which the rules look for, with values of any type.
func hostileJSON() *rapid.Generator[any] {
	names := rapid.SampledFrom([]string{
		"membership", "join_authorised_via_users_server", "third_party_invite", "signed", "mxid", "token", "signatures",
		"public_key", "public_keys", "join_rule", "users", "events", "notifications", "users_default", "ban", "kick",
		"additional_creators", "m.federate", "room_version", "ed25519:1", alice, bob, "", "a.b", "*",
	})
	leaf := rapid.OneOf(
		rapid.SampledFrom([]any{nil, true, false, "", "join", "invite", "leave", "ban", "knock", "public", "restricted", "token", alice, bob, "12",
			[]any{}, map[string]any{}, []any{alice}}),
		rapid.Map(rapid.Int64Range(-matrix.MaxSafeInteger, matrix.MaxSafeInteger), func(n int64) any { return n }),
		rapid.Map(rapid.String(), func(s string) any { return s }),
	)
	value := leaf
	for range 3 {
		inner := value
		value = rapid.OneOf(leaf,
			rapid.Map(rapid.MapOfN(names, inner, 0, 5), func(m map[string]any) any { return m }),
			rapid.Map(rapid.SliceOfN(inner, 0, 3), func(s []any) any { return s }))
	}
	return rapid.Map(rapid.MapOfN(names, value, 0, 7), func(m map[string]any) any { return m })
}

func TestHostileContent(t *testing.T) {
	content := hostileJSON()
	rapid.Check(t, func(t *rapid.T) {
		contents := map[string]string{}
		for _, name := range append([]string{"event"}, hostileTypes...) {
			b, err := json.Marshal(content.Draw(t, name))
			if err != nil {
				t.Fatal(err)
			}
			contents[name] = string(b)
		}
		eventType := rapid.SampledFrom(hostileTypes).Draw(t, "type")
		key := rapid.SampledFrom([]string{"", alice, bob, "@"}).Draw(t, "state key")
		v := rapid.SampledFrom(matrix.RoomVersions()).Draw(t, "version")
		checkHostile(t, v, eventType, key, rapid.Bool().Draw(t, "is state"), contents)
	})
}

func FuzzAuthorise(f *testing.F) {
	f.Add(byte(0), bob, true, `{"membership":"invite","third_party_invite":{"signed":{"mxid":"@bob:two","token":"token"}}}`, `{"users":{"@alice:one":50}}`, `{}`)
	f.Add(byte(1), "", true, `{"users":{"@alice:one":50},"events":{"a":1}}`, `{"users":{"@alice:one":50}}`, `{"membership":"join"}`)
	f.Add(byte(0), alice, true, `{"membership":"join","join_authorised_via_users_server":"@bob:two"}`, `{"join_rule":"restricted"}`, `{"membership":"join"}`)
	f.Fuzz(func(t *testing.T, kind byte, stateKey string, isState bool, content, stateContent, memberContent string) {
		contents := map[string]string{"event": content, "m.room.member": memberContent}
		for _, name := range []string{"m.room.power_levels", "m.room.join_rules", "m.room.third_party_invite", "m.room.create"} {
			contents[name] = stateContent
		}
		checkHostile(t, matrix.RoomVersionMSC4243(), hostileTypes[int(kind)%len(hostileTypes)], stateKey, isState, contents)
	})
}
