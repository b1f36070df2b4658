package clientapi

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"countersign/matrix"
	"countersign/reference/account"
)

// fakeNames knows a few users by heart.
type fakeNames map[matrix.UserID]matrix.UserID // account key user ID -> name, empty when hidden

func (f fakeNames) ClientUser(v matrix.RoomVersion, user matrix.UserID) (matrix.UserID, bool) {
	if !v.HasAccountKeys() {
		return user, true
	}
	name := f[user]
	return name, name != ""
}

func (f fakeNames) Erased(matrix.UserID) bool { return false }

func (f fakeNames) KeyUserIDs(name matrix.UserID) (keys []matrix.UserID) {
	for key, n := range f {
		if n == name {
			keys = append(keys, key)
		}
	}
	return keys
}

func (f fakeNames) RoomUser(v matrix.RoomVersion, name matrix.UserID) (matrix.UserID, error) {
	if !v.HasAccountKeys() {
		return name, nil
	}
	if keys := f.KeyUserIDs(name); len(keys) > 0 {
		return keys[0], nil
	}
	return "", fmt.Errorf("%w: %s", account.ErrUnknownAccount, name)
}

// cast are users of a room with account keys.
type cast struct {
	*translator
	names                               fakeNames
	alice, bob, bobAgain, carol, hidden matrix.Account
	memberships                         map[matrix.UserID]string
}

func id(a matrix.Account) matrix.UserID { return a.Key().UserID("fs.test") }

func newCast() *cast {
	c := &cast{names: fakeNames{}, memberships: map[matrix.UserID]string{}}
	for i, a := range []*matrix.Account{&c.alice, &c.bob, &c.bobAgain, &c.carol, &c.hidden} {
		seed := make([]byte, 32)
		seed[0] = byte(i + 1)
		*a = matrix.AccountFromSeed(seed)
	}
	c.names[id(c.alice)], c.names[id(c.bob)], c.names[id(c.bobAgain)] = "@alice:fs.test", "@bob:fs.test", "@bob:fs.test"
	c.names[id(c.carol)], c.names[id(c.hidden)] = "@carol:fs.test", ""
	c.translator = &translator{
		names: c.names, version: matrix.RoomVersionMSC4243(), server: "hs1.test",
		exists:     func(name string) bool { return name == "local" },
		membership: func(user matrix.UserID) string { return c.memberships[user] },
	}
	return c
}

func (c *cast) build(t require.TestingT, sender matrix.Account, eventType string, stateKey *string, content any) *matrix.Event {
	e, err := matrix.ProtoEvent{
		Type: eventType, StateKey: stateKey, Sender: id(sender), RoomID: "!r", Content: mustJSON(content),
		Depth: 1, PrevEvents: []string{}, AuthEvents: []string{}, Unsigned: []byte(`{"sender_account":{"user_id":"@liar:fs.test"}}`),
	}.Build(matrix.RoomVersionMSC4243(), sender.Signer())
	require.NoError(t, err)
	return e
}

func TestEventsOfHiddenUsersAreHidden(t *testing.T) {
	t.Parallel()
	c := newCast()
	key := string(id(c.hidden))
	require.Nil(t, c.event(c.build(t, c.hidden, "m.room.message", nil, map[string]string{}), surroundings{}))
	require.Nil(t, c.stripped(c.build(t, c.hidden, "m.room.name", matrix.StateKey(""), map[string]string{})))
	require.Nil(t, c.event(c.build(t, c.alice, "m.room.member", &key, map[string]string{"membership": "ban"}), surroundings{}))
	raw := "@carol:fs.test"
	require.Nil(t, c.event(c.build(t, c.alice, "m.room.member", &raw, map[string]string{"membership": "invite"}), surroundings{}), "a name in the room is nobody's key")
}

func TestEventsShowNames(t *testing.T) {
	t.Parallel()
	c := newCast()
	key := string(id(c.bob))
	before := c.build(t, c.carol, "m.room.member", &key, map[string]any{"membership": "invite"})
	e := c.build(t, c.alice, "m.room.member", &key, map[string]any{
		"membership": "join", "join_authorised_via_users_server": id(c.carol), "third_party_invite": map[string]any{"signed": map[string]any{"mxid": id(c.hidden)}},
	})
	shown := c.event(e, surroundings{replaced: before, redaction: c.build(t, c.hidden, "m.room.redaction", nil, map[string]any{}), transactionID: "t"})
	text := string(mustJSON(shown))
	require.Equal(t, e.ID(), shown.EventID)
	require.Equal(t, "@alice:fs.test", string(shown.Sender))
	require.Equal(t, "@bob:fs.test", *shown.StateKey)
	require.Equal(t, "@carol:fs.test", gjson.Get(text, "content.join_authorised_via_users_server").Str)
	require.False(t, gjson.Get(text, "content.third_party_invite.signed.mxid").Exists())
	require.Equal(t, "@carol:fs.test", gjson.Get(text, "unsigned.prev_sender").Str)
	require.False(t, gjson.Get(text, "unsigned.redacted_because").Exists())
	require.Equal(t, c.alice.Key().String(), gjson.Get(text, "unsigned.sender_account.key").Str)
	require.Equal(t, "@alice:fs.test", gjson.Get(text, "unsigned.sender_account.user_id").Str)
	require.NotContains(t, text, "signatures")
	require.NotContains(t, text, "@liar")
}

func TestCreatorsShowNames(t *testing.T) {
	t.Parallel()
	c := newCast()
	e := c.build(t, c.alice, "m.room.create", matrix.StateKey(""), map[string]any{"additional_creators": []matrix.UserID{id(c.bob), id(c.bobAgain), id(c.hidden), "@raw:fs.test"}})
	require.JSONEq(t, `{"additional_creators":["@bob:fs.test"]}`, string(c.contentOut(e)))
	in, err := c.contentIn("m.room.create", []byte(`{"additional_creators":["@carol:fs.test"]}`), nil)
	require.NoError(t, err)
	require.Equal(t, string(id(c.carol)), gjson.GetBytes(in, "additional_creators.0").Str)
	_, err = c.contentIn("m.room.create", []byte(`{"additional_creators":["@x:fs.test"]}`), nil)
	require.ErrorIs(t, err, account.ErrUnknownAccount)
	_, err = c.contentIn("m.room.create", []byte(`{"additional_creators":7}`), nil)
	require.Error(t, err)
}

func TestPowerLevelsOfANameWithSeveralKeys(t *testing.T) {
	t.Parallel()
	c := newCast()
	before := c.build(t, c.alice, "m.room.power_levels", matrix.StateKey(""), map[string]any{"users": map[matrix.UserID]int{
		id(c.bob): 50, id(c.bobAgain): 10, id(c.hidden): 90, "@raw:fs.test": 1,
	}})
	require.JSONEq(t, `{"users":{"@bob:fs.test":50}}`, string(c.contentOut(before)))
	users := func(content string) map[string]gjson.Result {
		in, err := c.contentIn("m.room.power_levels", []byte(content), before)
		require.NoError(t, err)
		return gjson.GetBytes(in, "users").Map()
	}
	unchanged := users(`{"users":{"@bob:fs.test":50,"@carol:fs.test":5}}`)
	require.Len(t, unchanged, 5)
	require.Equal(t, int64(10), unchanged[string(id(c.bobAgain))].Int())
	require.Equal(t, int64(90), unchanged[string(id(c.hidden))].Int())
	require.Equal(t, int64(5), unchanged[string(id(c.carol))].Int())
	c.memberships[id(c.bobAgain)] = "join"
	raised := users(`{"users":{"@bob:fs.test":60}}`)
	require.Equal(t, int64(60), raised[string(id(c.bobAgain))].Int())
	require.NotContains(t, raised, string(id(c.bob)))
	require.Len(t, users(`{}`), 2, "hidden users stay")
}

func TestNamesInRoomsWithoutAccountKeysStay(t *testing.T) {
	t.Parallel()
	c := newCast()
	c.version = matrix.RoomVersion12()
	content := []byte(`{"users":{"@anybody:else":50}}`)
	in, err := c.contentIn("m.room.power_levels", content, nil)
	require.NoError(t, err)
	require.Equal(t, content, in)
	e := c.build(t, c.alice, "m.room.message", nil, map[string]any{})
	require.Nil(t, c.event(e, surroundings{}).Unsigned.SenderAccount)
	require.Equal(t, id(c.alice), c.event(e, surroundings{}).Sender)
}

func TestStateKeysOfClients(t *testing.T) {
	t.Parallel()
	c := newCast()
	for _, test := range []struct {
		eventType, key string
		sender         matrix.UserID
		want           string
	}{
		{"m.x", "", "@alice:fs.test", ""},
		{"m.x", "plain", "@alice:fs.test", "plain"},
		{"m.x", "_@alice:fs.test_DEVICE", "@alice:fs.test", "_@alice:fs.test_DEVICE"},
		{"m.x", "@alice:fs.test", "@alice:fs.test", string(id(c.alice))},
		{"m.room.member", "@carol:fs.test", "@alice:fs.test", string(id(c.carol))},
		{"m.x", "@carol:fs.test", "@alice:fs.test", "refused"},
		{"m.room.member", "@nobody:fs.test", "@alice:fs.test", "refused"},
		{"m.room.member", "@ghost:hs1.test", "@alice:fs.test", "refused"},
		{"m.room.member", string(id(c.hidden)), "@alice:fs.test", "refused"},
	} {
		key, err := c.stateKeyIn(test.eventType, test.key, test.sender)
		if test.want == "refused" {
			require.Error(t, err, test.key)
		} else {
			require.NoError(t, err)
			require.Equal(t, test.want, key)
		}
	}
}

// Whatever power levels a room has, a client that writes back what it has read changes nothing.
func TestReadingAndWritingPowerLevelsIsLossless(t *testing.T) {
	t.Parallel()
	c := newCast()
	everybody := []matrix.UserID{id(c.alice), id(c.bob), id(c.bobAgain), id(c.carol), id(c.hidden), "@raw:fs.test", "odd"}
	rapid.Check(t, func(t *rapid.T) {
		users := rapid.MapOf(rapid.SampledFrom(everybody), rapid.IntRange(-5, 100)).Draw(t, "users")
		before := c.build(t, c.alice, "m.room.power_levels", matrix.StateKey(""), map[string]any{"users": users, "ban": 50})
		written, err := c.contentIn("m.room.power_levels", c.contentOut(before), before)
		require.NoError(t, err)
		require.JSONEq(t, string(before.Content()), string(written))
	})
}
