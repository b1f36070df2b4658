package rules

import (
	"encoding/json"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"countersign/matrix"
)

// checkHostileParticipation authorises an event with any content, which cites any events of a state with
// any content, in a room with participation: the answer is a Rejection or nil, never a panic.
func checkHostileParticipation(t interface{ Fatalf(string, ...any) }, v matrix.RoomVersion, eventType, stateKey string, isState bool, contents map[string]string, cites uint16) {
	one, two := serverName("one"), serverName("two")
	alice, bob := serverPair("one").Key().UserID("alice"), serverPair("two").Key().UserID("bob")
	if v.HasPortableAccounts() {
		alice, bob = accountOf("alice").Key().PortableUserID(), accountOf("bob").Key().PortableUserID()
	}
	names := map[string]string{"alice": string(alice), "bob": string(bob), "one": string(one), "two": string(two)}
	known := map[string]*matrix.Event{}
	build := func(roomID, eventType string, stateKey *string, content string, cited []string) *matrix.Event {
		e, err := matrix.ProtoEvent{
			Type: eventType, StateKey: stateKey, Sender: alice, RoomID: roomID, Content: []byte(content), AuthEvents: cited, PrevEvents: cited[:min(1, len(cited))],
		}.Build(v)
		if err != nil {
			return nil // not canonical JSON, so no event
		}
		known[e.ID()] = e
		return e
	}
	find := func(id string) *matrix.Event { return known[id] }
	create := build("", "m.room.create", key(""), contents["m.room.create"], nil)
	if create == nil {
		return
	}
	room, err := NewRoom(create, VerifyAccountKey)
	if err != nil {
		create = build("", "m.room.create", key(""), `{}`, nil)
		if room, err = NewRoom(create, VerifyAccountKey); err != nil {
			t.Fatalf("an empty create event is rejected: %v", err)
		}
	}
	room = room.WithEvents(find)
	given := StateMap{}
	var auth []AuthEvent
	var cited []string
	for i, place := range []matrix.StateTuple{
		matrix.ParticipationPlace(one), matrix.ParticipationPlace(two), {Type: "m.room.power_levels"}, {Type: "m.room.join_rules"},
		{Type: "m.room.member", StateKey: names["alice"]}, {Type: "m.room.member", StateKey: names["bob"]}, {Type: matrix.ParticipationType},
	} {
		content := contents[place.Type]
		if place.StateKey == names["bob"] || place.StateKey == names["two"] {
			content = contents["other"]
		}
		e := build(room.ID(), place.Type, &place.StateKey, content, cited)
		if e == nil {
			continue
		}
		given[place] = e
		if cites&(1<<i) != 0 {
			auth, cited = append(auth, AuthEvent{Event: e}), append(cited, e.ID())
		}
	}
	var at *string
	if isState {
		text := stateKey
		if name, ok := names[stateKey]; ok {
			text = name
		}
		at = &text
	}
	e := build(room.ID(), eventType, at, contents["event"], cited)
	if e == nil {
		return
	}
	for _, r := range []*Room{room, room.Settled()} {
		for _, err := range []error{r.Authorise(e, given), r.AuthoriseByAuthEvents(e, auth), r.Authorise(e, StateMap{})} {
			var rejection *Rejection
			if err != nil && (!errors.As(err, &rejection) || rejection.Rule == "" || rejection.Reason == "") {
				t.Fatalf("the error is not a rejection: %v", err)
			}
		}
	}
	room.MayRedact(e, e, given)
	room.ImplicitPower(one, given)
	if err := e.VerifySender(find); err == nil {
		t.Fatalf("an unsigned event verifies")
	}
}

var hostileParticipationTypes = append([]string{matrix.ParticipationType}, hostileTypes...)

func TestHostileParticipation(t *testing.T) {
	names := rapid.SampledFrom([]string{"participation", "request_authorised_via_server", "unverified_domain", "accept", "users", "membership", "m.federate"})
	values := rapid.SampledFrom([]any{"requested", "accepted", "revoked", string(serverName("one")), string(serverName("two")), "join", "", nil, 1, []any{}, map[string]any{}})
	content := rapid.OneOf(hostileJSON(), rapid.Map(rapid.MapOfN(names, values, 0, 5), func(m map[string]any) any { return m }))
	rapid.Check(t, func(t *rapid.T) {
		contents := map[string]string{}
		for _, name := range append([]string{"event", "other"}, hostileParticipationTypes...) {
			b, err := json.Marshal(content.Draw(t, name))
			if err != nil {
				t.Fatal(err)
			}
			contents[name] = string(b)
		}
		eventType := rapid.SampledFrom(hostileParticipationTypes).Draw(t, "type")
		stateKey := rapid.SampledFrom([]string{"", "one", "two", "alice", "bob", "@", "é"}).Draw(t, "state key")
		v := rapid.SampledFrom(matrix.ParticipationRoomVersions()).Draw(t, "version")
		checkHostileParticipation(t, v, eventType, stateKey, rapid.Bool().Draw(t, "is state"), contents, rapid.Uint16().Draw(t, "cites"))
	})
}

func FuzzAuthoriseParticipation(f *testing.F) {
	f.Add(true, byte(0), "one", `{"participation":"requested","request_authorised_via_server":"x"}`, `{"participation":"accepted"}`, `{"membership":"join"}`, uint16(3))
	f.Add(false, byte(0), "two", `{"participation":"revoked"}`, `{"participation":"accepted","users":{}}`, `{"participation":"requested","membership":"join"}`, uint16(255))
	f.Add(true, byte(1), "alice", `{"membership":"join"}`, `{"participation":"accepted"}`, `{"join_rule":"public"}`, uint16(1))
	f.Fuzz(func(t *testing.T, portable bool, kind byte, stateKey, content, stateContent, other string, cites uint16) {
		contents := map[string]string{"event": content, "other": other, "m.room.create": other}
		for _, name := range []string{matrix.ParticipationType, "m.room.power_levels", "m.room.join_rules", "m.room.member"} {
			contents[name] = stateContent
		}
		v := matrix.RoomVersionMSC4345()
		if portable {
			v = matrix.RoomVersionMSC4348()
		}
		checkHostileParticipation(t, v, hostileParticipationTypes[int(kind)%len(hostileParticipationTypes)], stateKey, true, contents, cites)
	})
}
