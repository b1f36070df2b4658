package fed_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/room"
)

// hear ends swallow.
func (h *homeserver) hear() { h.intercept.Store(nil) }

// empower gives a user power in a room.
func (h *homeserver) empower(roomID, admin string, user matrix.UserID, level int) {
	h.t.Helper()
	_, err := h.engine.Send(background, roomID, h.user(admin), stateDraft("m.room.power_levels", "", "users", map[matrix.UserID]int{user: level}))
	require.NoError(h.t, err)
}

// TestRevocationWinsOverWhatWasConcurrent revokes a server while it changes the state.
func TestRevocationWinsOverWhatWasConcurrent(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2, hs3 := n.start(t), n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		hs1.admit(id, "alice", hs2, "bob")
		hs1.admit(id, "alice", hs3, "carol")
		hs1.empower(id, "alice", hs2.in(id, "bob"), 50)
		all := []*homeserver{hs1, hs2, hs3}
		for _, hs := range all {
			hs.waitFor("everybody and the power levels", func() bool {
				s, err := hs.engine.CurrentState(id)
				return err == nil && hs.membership(id, hs3.in(id, "carol")) == "join" && hs.engine.StateEvent(s, "m.room.power_levels", "") != nil
			})
		}

		hs1.swallow()
		name, err := hs2.engine.Send(background, id, hs2.user("bob"), stateDraft("m.room.name", "", "name", "bob's"))
		require.NoError(t, err)
		hs3.waitForEvent(id, name.ID())
		key := hs2.keyIn(id)
		require.NoError(t, hs1.participation(id, "alice", key, matrix.Revoked, hs2.name))
		for _, hs := range []*homeserver{hs2, hs3} {
			hs.waitFor("the revocation", func() bool { return hs.engine.Participant(id, key).Participation == matrix.Revoked })
		}
		hs1.hear()
		merged := hs3.say(id, "carol", "this follows both")
		hs1.waitForEvent(id, merged.ID())
		require.Equal(t, hs3.state(id), hs1.state(id))
		require.Empty(t, hs1.state(id)[matrix.StateTuple{Type: "m.room.name"}])
		stored, ok := hs1.engine.Event(id, name.ID())
		require.True(t, ok)
		require.Equal(t, room.SoftFailed, stored.Outcome)
	})
}

// TestNewcomerReadsHistory joins late and fetches what was said before, by servers that are gone, too.
func TestNewcomerReadsHistory(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2, hs3 := n.start(t), n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		hs1.admit(id, "alice", hs2, "bob")
		var last *matrix.Event
		for i := range 25 {
			hs2.waitForEvent(id, hs1.say(id, "alice", fmt.Sprint("alice ", i)).ID())
			last = hs2.say(id, "bob", fmt.Sprint("bob ", i))
			hs1.waitForEvent(id, last.ID())
		}
		require.NoError(t, hs1.participation(id, "alice", hs2.keyIn(id), matrix.Revoked, hs2.name))
		hs2.stop()
		hs1.admit(id, "alice", hs3, "carol")
		events, _ := hs3.history(id, room.Place{Major: 1 << 60}, 1000)
		var types []string
		for i := range events {
			types = append(types, events[len(events)-1-i].Type())
		}
		require.Equal(t, []string{"m.room.create", matrix.ParticipationType, "m.room.member", "m.room.join_rules"}, types[:4])
		_, ok := hs3.engine.Event(id, last.ID())
		require.True(t, ok)
		require.Equal(t, len(hs1.timeline(id)), len(events))
	})
}

// TestGapsAreClosedAndNoMore has a server answer with more than is missing: with the state from before the asker's
// join, which the asker knows, but not where in the history it is. It must not come to be what the room ends with:
// with the state from before the asker was accepted.
func TestGapsAreClosedAndNoMore(t *testing.T) {
	eachParticipating(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		hs1.admit(id, "alice", hs2, "bob")
		var lost, losing atomic.Bool
		losing.Store(true)
		hs2.answerWith(func(w http.ResponseWriter, r *http.Request) bool {
			if !losing.Load() || !strings.Contains(r.URL.Path, "/send/") {
				return false
			}
			lost.Store(true)
			fmt.Fprint(w, `{"pdus":{}}`)
			return true
		})
		missing := hs1.say(id, "alice", "lost")
		require.Eventually(t, lost.Load, deadline, time.Millisecond)
		losing.Store(false)
		events, _ := hs1.history(id, room.Place{Major: hs1.engine.Now() + 1}, 1000)
		var all []*matrix.Event
		for _, e := range events {
			all = append(all, e.Event)
		}
		hs1.answerWith(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/get_missing_events/") {
				return false
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"events": all})
			return true
		})
		hs1.waitForEvent(id, hs2.say(id, "bob", "the one event that the asker says it has").ID())
		last := hs1.say(id, "alice", "found")
		hs2.waitForEvent(id, missing.ID())
		require.Equal(t, []string{hs2.waitForEvent(id, last.ID()).ID()}, hs2.say(id, "bob", "next").PrevEvents())
		require.Equal(t, hs1.state(id), hs2.state(id))
	})
}
