package rules

import (
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/internal/roomtest"
)

func TestCreate(t *testing.T) {
	v := matrix.RoomVersion12()
	earlier := roomtest.Create(t, v, carol, `{}`)
	for _, c := range []struct {
		name    string
		content string
		prev    []*matrix.Event
		rule    string
	}{
		{"empty content", `{}`, nil, ""},
		{"its own version", `{"room_version":"12"}`, nil, ""},
		{"additional creators", `{"additional_creators":["@alice:one","@Bob.With~Odd!Name:two"]}`, nil, ""},
		{"no additional creators", `{"additional_creators":[]}`, nil, ""},
		{"an additional creator that is no account key is nobody, but allowed", `{"additional_creators":["@alice:one"]}`, nil, ""},
		{"previous events", `{}`, []*matrix.Event{earlier}, "1.1"},
		{"unknown version", `{"room_version":"no.such.version"}`, nil, "1.3"},
		{"another version than it is read as", `{"room_version":"11"}`, nil, "1.3"},
		{"version is a number", `{"room_version":12}`, nil, "1.3"},
		{"version is null", `{"room_version":null}`, nil, "1.3"},
		{"creators are a string", `{"additional_creators":"@alice:one"}`, nil, "1.4"},
		{"creators are null", `{"additional_creators":null}`, nil, "1.4"},
		{"creators are an object", `{"additional_creators":{"0":"@alice:one"}}`, nil, "1.4"},
		{"a creator is a number", `{"additional_creators":["@alice:one",1]}`, nil, "1.4"},
		{"a creator has no domain", `{"additional_creators":["@alice"]}`, nil, "1.4"},
		{"a creator has no sigil", `{"additional_creators":["alice:one"]}`, nil, "1.4"},
		{"a creator has a bad domain", `{"additional_creators":["@alice:o ne"]}`, nil, "1.4"},
		{"a creator is a nested array", `{"additional_creators":[["@alice:one"]]}`, nil, "1.4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := roomtest.Build(t, v, nil, ev{Sender: carol, Type: "m.room.create", StateKey: roomtest.Key(""), Content: c.content, Prev: c.prev})
			requireRule(t, c.rule, AuthoriseCreate(e))
			_, err := NewRoom(e, AlreadyVerified)
			requireRule(t, c.rule, err)
		})
	}
	t.Run("room_id", func(t *testing.T) {
		e := roomtest.Build(t, v, earlier, ev{Sender: carol, Type: "m.room.create", StateKey: roomtest.Key(""), Content: `{}`})
		requireRule(t, "1.2", AuthoriseCreate(e))
	})
	t.Run("not a create event", func(t *testing.T) {
		requireRule(t, "2", AuthoriseCreate(roomtest.Build(t, v, earlier, message(carol))))
	})
	t.Run("through Authorise", func(t *testing.T) {
		r := newTestRoom(t, "")
		require.NoError(t, r.Authorise(r.Create(), StateMap{}))
		require.NoError(t, r.AuthoriseByAuthEvents(r.Create(), nil))
	})
}

func TestCreators(t *testing.T) {
	r := newTestRoom(t, `{"additional_creators":["@alice:one"]}`)
	require.True(t, r.IsCreator(carol))
	require.True(t, r.IsCreator(alice))
	require.False(t, r.IsCreator(bob))
	require.Equal(t, Infinite, r.PowerLevels(StateMap{}).User(alice))
	require.Equal(t, Level(0), r.PowerLevels(StateMap{}).User(bob))
}

// Rule 4.
func TestFederation(t *testing.T) {
	given := []ev{joined(carol), joined(alice), joined(bob), joinRule("public")}
	runRows(t, `{"m.federate":false}`, []row{
		{"same domain", given, message(alice), ""},
		{"other domain", given, message(bob), "4"},
		{"joining from another domain", given, joined(mallory), "4"},
		{"third party invite from another domain", given, state(bob, "m.room.third_party_invite", "token", `{}`), "4"},
	})
	runRows(t, `{"m.federate":"false"}`, []row{{"only false counts", given, message(bob), ""}})
	runRows(t, `{"m.federate":true}`, []row{{"true", given, message(bob), ""}})
	runRows(t, `{"m":{"federate":false}}`, []row{{"the property has a dot in its name", given, message(bob), ""}})
}
