package rules

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/internal/roomtest"
)

// The people of the tables. Carol created the room; the others have the power that a row gives them.
const (
	carol   = "@carol:one"
	alice   = "@alice:one"
	bob     = "@bob:two"
	dave    = "@dave:two"
	mallory = "@mallory:three"
)

// ev is an event of a table.
type ev = roomtest.Event

func member(sender, target, content string) ev {
	return ev{Sender: sender, Type: "m.room.member", StateKey: roomtest.Key(target), Content: content}
}

func membership(sender, target, membership string) ev {
	return member(sender, target, `{"membership":"`+membership+`"}`)
}

func joined(user string) ev  { return membership(user, user, "join") }
func invited(user string) ev { return membership(carol, user, "invite") }
func banned(user string) ev  { return membership(carol, user, "ban") }
func left(user string) ev    { return membership(user, user, "leave") }
func knocked(user string) ev { return membership(user, user, "knock") }

func state(sender, eventType, stateKey, content string) ev {
	return ev{Sender: sender, Type: eventType, StateKey: roomtest.Key(stateKey), Content: content}
}

func message(sender string) ev {
	return ev{Sender: sender, Type: "m.room.message", Content: `{"body":"hello"}`}
}

func power(sender, content string) ev { return state(sender, "m.room.power_levels", "", content) }

// levels is a power levels event that Carol has sent.
func levels(content string) ev { return power(carol, content) }

func joinRule(rule string) ev {
	return state(carol, "m.room.join_rules", "", `{"join_rule":"`+rule+`"}`)
}

// testRoom is a room with a create event and nothing else.
type testRoom struct {
	*Room
	t testing.TB
}

func newTestRoom(t testing.TB, createContent string) testRoom {
	t.Helper()
	if createContent == "" {
		createContent = `{"room_version":"12"}`
	}
	create := roomtest.Create(t, matrix.RoomVersion12(), carol, createContent)
	room, err := NewRoom(create, func(*matrix.Event, matrix.UserID) error { return nil })
	require.NoError(t, err)
	return testRoom{room, t}
}

func (r testRoom) build(e ev) *matrix.Event {
	return roomtest.Build(r.t, r.Version(), r.Create(), e)
}

func (r testRoom) state(events []ev) StateMap {
	s := StateMap{}
	for _, e := range events {
		built := r.build(e)
		s[built.Tuple()] = built
	}
	return s
}

// row is one case of a table: in a room with this state, the event is allowed, or the rule rejects it.
type row struct {
	name  string
	given []ev
	event ev
	rule  string // the rule that rejects; empty when the event is allowed
}

func runRows(t *testing.T, createContent string, rows []row) {
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			r := newTestRoom(t, createContent)
			err := r.Authorise(r.build(c.event), r.state(c.given))
			requireRule(t, c.rule, err)
		})
	}
}

func requireRule(t *testing.T, rule string, err error) {
	t.Helper()
	if rule == "" {
		require.NoError(t, err)
		return
	}
	var rejection *Rejection
	require.ErrorAs(t, err, &rejection)
	require.Equal(t, rule, rejection.Rule, "%v", err)
}

var errNotSigned = errors.New("not signed")

func keyOf(a matrix.Account) ed25519.PrivateKey { return a.Signer().Key }
