package fed_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// signer signs for a user of h in rooms of a version.
func (h *homeserver) signer(v matrix.RoomVersion, name string) matrix.Signer {
	if !v.HasAccountKeys() {
		return h.key
	}
	a, err := h.directory.Account(name)
	require.NoError(h.t, err)
	return a.Signer()
}

// build makes an event of a user of h on some parents, authorised by a state, without sending it.
func (h *homeserver) build(roomID, name string, d room.Draft, state room.State, parents ...*matrix.Event) *matrix.Event {
	info, ok := h.engine.Room(roomID)
	require.True(h.t, ok)
	p := matrix.ProtoEvent{
		Type: d.Type, StateKey: d.StateKey, Sender: h.inRoom(info.Version, name), RoomID: roomID, Content: d.Content,
		OriginServerTS: time.Now().UnixMilli(),
	}
	for _, place := range matrix.AuthEventTuples(p.Type, p.StateKey, p.Sender, p.Content) {
		if id := state.Get(place); id != "" {
			p.AuthEvents = append(p.AuthEvents, id)
		}
	}
	for _, parent := range parents {
		p.PrevEvents = append(p.PrevEvents, parent.ID())
		p.Depth = max(p.Depth, parent.Depth()+1)
	}
	e, err := p.Build(info.Version, h.signer(info.Version, name))
	require.NoError(h.t, err)
	return e
}

func (h *homeserver) current(roomID string) room.State {
	s, err := h.engine.CurrentState(roomID)
	require.NoError(h.t, err)
	return s
}

var transactions atomic.Int64

// deliver sends events in one transaction, around h's queue, and returns their results.
func (h *homeserver) deliver(to *homeserver, events ...*matrix.Event) gjson.Result {
	h.t.Helper()
	body, err := json.Marshal(map[string]any{"origin": h.name, "origin_server_ts": 1, "pdus": events})
	require.NoError(h.t, err)
	path := "/_matrix/federation/v1" + peer.Path("send", fmt.Sprint("test", transactions.Add(1)))
	answer, err := h.client.Call(background, to.name, peer.Call{Method: http.MethodPut, Path: path, Body: body})
	require.NoError(h.t, err)
	return gjson.ParseBytes(answer)
}

// get asks another server for something.
func (h *homeserver) get(to *homeserver, query url.Values, path ...string) (gjson.Result, error) {
	body, err := h.client.Call(background, to.name, peer.Call{Method: http.MethodGet, Path: "/_matrix/federation/v1" + peer.Path(path...), Query: query})
	return gjson.ParseBytes(body), err
}

var message = room.Draft{Type: "m.room.message", Content: []byte(`{"body":"hello","msgtype":"m.text"}`)}

// pair are two servers in a room, with bob of hs2 joined.
func pair(t testing.TB, v matrix.RoomVersion) (hs1, hs2 *homeserver, id string, tip *matrix.Event) {
	n := newNetwork(t)
	hs1, hs2 = n.start(t), n.start(t)
	id = hs1.create(v, "alice", joinRules("public"))
	hs2.join(id, "bob", hs1)
	hs1.waitFor("bob's join", func() bool { return hs1.membership(id, hs2.inRoom(v, "bob")) == "join" })
	m, ok := hs1.engine.Membership(id, hs2.inRoom(v, "bob"))
	require.True(t, ok)
	stored, ok := hs1.engine.Event(id, m.EventID)
	require.True(t, ok)
	return hs1, hs2, id, stored.Event
}

func TestRejectedAndSoftFailedEvents(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		hs1, hs2, id, tip := pair(t, v)
		state := hs2.current(id)
		allowed := hs2.build(id, "bob", message, state, tip)
		require.Empty(t, hs2.deliver(hs1, allowed).Get("pdus."+gjson.Escape(allowed.ID())+".error").String())
		hs1.waitForEvent(id, allowed.ID())

		// Bob may not set the name.
		forbidden := hs2.build(id, "bob", stateDraft("m.room.name", "", "name", "bob's"), state, allowed)
		require.Contains(t, hs2.deliver(hs1, forbidden).Get("pdus."+gjson.Escape(forbidden.ID())+".error").String(), "rejected")
		_, err := hs2.get(hs1, nil, "event", forbidden.ID())
		requireRefused(t, err, http.StatusNotFound)
		require.Empty(t, hs1.current(id).Get(matrix.StateTuple{Type: "m.room.name"}))

		// An event on top of a rejected one is processed as if that was not there.
		child := hs2.build(id, "bob", message, state, forbidden)
		hs2.deliver(hs1, child)
		hs1.waitForEvent(id, child.ID())
		require.Empty(t, hs1.current(id).Get(matrix.StateTuple{Type: "m.room.name"}))

		// Alice bans Bob, who sends on a fork from before the ban.
		require.NoError(t, hs1.engine.Ban(background, id, hs1.user("alice"), hs2.user("bob"), nil))
		hs2.waitFor("the ban", func() bool { return hs2.membership(id, hs2.inRoom(v, "bob")) == "ban" })
		evading := hs2.build(id, "bob", message, state, child)
		hs2.deliver(hs1, evading)
		stored, ok := hs1.engine.Event(id, evading.ID())
		require.True(t, ok)
		require.Equal(t, room.SoftFailed, stored.Outcome)
		require.Zero(t, stored.Place)
		next := hs1.say(id, "alice", "sentinel")
		require.NotContains(t, next.PrevEvents(), evading.ID())
		require.NotContains(t, hs1.timeline(id), "hello from bob")

		late := hs2.build(id, "bob", message, hs2.current(id), next)
		require.Contains(t, hs2.deliver(hs1, late).Get("pdus."+gjson.Escape(late.ID())+".error").String(), "rejected")
	})
}

func TestForgedEventsAreDropped(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		hs1, hs2, id, tip := pair(t, v)
		honest := hs2.build(id, "bob", message, hs2.current(id), tip)
		deliverRaw := func(pdu []byte) {
			body := []byte(`{"pdus":[` + string(pdu) + `]}`)
			path := "/_matrix/federation/v1" + peer.Path("send", fmt.Sprint("forged", transactions.Add(1)))
			_, err := hs2.client.Call(background, hs1.name, peer.Call{Method: http.MethodPut, Path: path, Body: body})
			require.NoError(t, err)
		}
		known := func() bool { _, ok := hs1.engine.Event(id, honest.ID()); return ok }
		unsigned := strings.Replace(string(honest.JSON()), `"signatures":{`, `"signatures":{},"was":{`, 1)
		deliverRaw([]byte(unsigned))
		require.False(t, known())
		if v.HasAccountKeys() {
			p := matrix.ProtoEvent{
				Type: honest.Type(), Sender: honest.Sender(), RoomID: id, Content: honest.Content(), PrevEvents: honest.PrevEvents(),
				AuthEvents: honest.AuthEvents(), Depth: honest.Depth(), OriginServerTS: honest.OriginServerTS(),
			}
			onlyServer, err := p.Build(v, hs2.key)
			require.NoError(t, err)
			require.Equal(t, honest.ID(), onlyServer.ID())
			deliverRaw(onlyServer.JSON())
			require.False(t, known())
		}
		for _, junk := range []string{`null`, `1`, `"x"`, `[]`, `{}`, `{"room_id":"` + id + `"}`, `{"room_id":"` + id + `","depth":1.5}`} {
			deliverRaw([]byte(junk))
		}
		deliverRaw(honest.JSON())
		hs1.waitForEvent(id, honest.ID())

		// An event whose hash does not match is redacted, not dropped.
		second := hs2.build(id, "bob", message, hs2.current(id), honest)
		deliverRaw([]byte(strings.Replace(string(second.JSON()), "hello", "HELLO", 1)))
		require.Equal(t, "{}", string(hs1.waitForEvent(id, second.ID()).Content()))
		// What a peer says in unsigned is not kept.
		third := hs2.build(id, "bob", message, hs2.current(id), second)
		spoofed, err := third.WithUnsigned([]byte(`{"sender_account":{"key":"x"}}`))
		require.NoError(t, err)
		deliverRaw(spoofed.JSON())
		require.Nil(t, hs1.waitForEvent(id, third.ID()).Unsigned())
	})
}

// TestGapsAreClosed loses transactions between two servers and then lets one through.
func TestGapsAreClosed(t *testing.T) {
	for _, lost := range []int{3, 60} {
		t.Run(fmt.Sprint(lost, " events"), func(t *testing.T) {
			eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
				hs1, hs2, id, _ := pair(t, v)
				hs2.waitForEvent(id, hs1.say(id, "alice", "first").ID())
				var losing atomic.Bool
				losing.Store(true)
				var received atomic.Int64
				hs2.answerWith(func(w http.ResponseWriter, r *http.Request) bool {
					if !losing.Load() || !strings.Contains(r.URL.Path, "/send/") {
						return false
					}
					var body struct {
						PDUs []json.RawMessage `json:"pdus"`
					}
					_ = json.NewDecoder(r.Body).Decode(&body)
					fmt.Fprint(w, `{"pdus":{}}`)
					received.Add(int64(len(body.PDUs)))
					return true
				})
				for i := range lost - 1 {
					hs1.say(id, "alice", fmt.Sprint("lost ", i))
				}
				_, err := hs1.engine.Send(background, id, hs1.user("alice"), stateDraft("m.room.topic", "", "topic", "lost, too"))
				require.NoError(t, err)
				require.Eventually(t, func() bool { return received.Load() == int64(lost) }, deadline, time.Millisecond)
				losing.Store(false)

				last := hs1.say(id, "alice", "found")
				hs2.waitForEvent(id, last.ID())
				require.Equal(t, hs1.state(id), hs2.state(id))
				events, _ := hs2.history(id, room.Place{Major: hs2.engine.Now() + 1}, 1000)
				var bodies []string
				for _, e := range events {
					bodies = append(bodies, e.Get("body").String())
				}
				for i := range lost - 1 {
					require.Contains(t, bodies, fmt.Sprint("lost ", i))
				}
				require.Equal(t, hs1.timeline(id), hs2.timeline(id), "history has no holes and is in order")
				hs1.waitForEvent(id, hs2.say(id, "bob", "answer").ID())
			})
		})
	}
}

// TestBackfill reads the history from before the own join.
func TestBackfill(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		for i := range 150 {
			hs1.say(id, "alice", fmt.Sprint("message ", i))
		}
		hs2.join(id, "bob", hs1)
		tip := room.Place{Major: hs2.engine.Now() + 1}
		hs2.restart() // holes are remembered
		events, next := hs2.history(id, tip, 40)
		require.Len(t, events, 40)
		require.Equal(t, "message 149", events[1].Get("body").String())
		events, _ = hs2.history(id, next, 1000)
		require.True(t, events[len(events)-1].IsCreate())
		require.Equal(t, hs1.timeline(id), hs2.timeline(id))
		require.Equal(t, hs1.state(id), hs2.state(id))
		created, err := hs2.engine.StateBefore(id, events[0].ID())
		require.NoError(t, err)
		require.NotZero(t, created.Len())
	})
}

func TestRedactionsInEitherOrder(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		hs1, hs2, id, tip := pair(t, v)
		state := hs2.current(id)
		e := hs2.build(id, "bob", message, state, tip)
		redaction := hs2.build(id, "bob", room.Draft{Type: "m.room.redaction", Content: object("redacts", e.ID())}, state, tip)
		hs2.deliver(hs1, redaction)
		stored, ok := hs1.engine.Event(id, redaction.ID())
		require.True(t, ok)
		require.Zero(t, stored.Place, "a redaction is not shown before what it redacts is known")
		hs2.deliver(hs1, e)
		require.Equal(t, redaction.ID(), hs1.waitForEvent(id, e.ID()).RedactedBy)
		hs1.waitForEvent(id, redaction.ID())

		// Carol of a third server may not redact what Bob says.
		hs3 := hs1.network.start(t)
		hs3.join(id, "carol", hs1)
		hs2.waitFor("carol", func() bool { return hs2.membership(id, hs3.inRoom(v, "carol")) == "join" })
		other := hs2.say(id, "bob", "keep this")
		at := hs1.waitForEvent(id, other.ID())
		hs3.waitForEvent(id, other.ID())
		illegal := hs3.build(id, "carol", room.Draft{Type: "m.room.redaction", Content: object("redacts", other.ID())}, hs3.current(id), at.Event)
		hs3.deliver(hs1, illegal)
		stored, ok = hs1.engine.Event(id, illegal.ID())
		require.True(t, ok)
		require.Zero(t, stored.Place)
		require.Empty(t, hs1.waitForEvent(id, other.ID()).RedactedBy)
		_, err := hs3.engine.Send(background, id, hs3.user("carol"), room.Draft{Type: "m.room.redaction", Content: object("redacts", other.ID())})
		requireRefused(t, err, http.StatusForbidden)
		_, err = hs1.engine.Send(background, id, hs1.user("alice"), room.Draft{Type: "m.room.redaction", Content: object("redacts", other.ID())})
		require.NoError(t, err)
		require.Equal(t, "{}", string(hs1.waitForEvent(id, other.ID()).Content()))
	})
}

// TestLargeRoom joins a room of 50 members on two servers, forks it, and compares the states.
func TestLargeRoom(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		hs1, hs2, id, _ := pair(t, v)
		for i := range 25 {
			hs1.join(id, fmt.Sprint("local", i))
			hs2.join(id, fmt.Sprint("remote", i), hs1)
		}
		for _, hs := range []*homeserver{hs1, hs2} {
			hs.waitFor("all the members", func() bool { return members(hs, id) == 52 })
		}
		hs3 := hs1.network.start(t)
		hs3.join(id, "carol", hs2)
		for _, hs := range []*homeserver{hs1, hs2, hs3} {
			hs.waitFor("all the members", func() bool { return members(hs, id) == 53 })
		}
		// All three speak at once: the graph forks and joins again.
		for round := range 5 {
			a, b, c := hs1.say(id, "alice", fmt.Sprint("a", round)), hs2.say(id, "bob", fmt.Sprint("b", round)), hs3.say(id, "carol", fmt.Sprint("c", round))
			for _, hs := range []*homeserver{hs1, hs2, hs3} {
				for _, e := range []*matrix.Event{a, b, c} {
					hs.waitForEvent(id, e.ID())
				}
			}
		}
		require.Equal(t, hs1.state(id), hs2.state(id))
		require.Equal(t, hs1.state(id), hs3.state(id))
		if v.HasAccountKeys() {
			require.LessOrEqual(t, hs3.requests.count("/query/accounts"), 5, "keys are asked for together")
		}
	})
}

func members(h *homeserver, id string) (n int) {
	s, err := h.engine.CurrentState(id)
	if err != nil {
		return 0
	}
	for range s.OfType("m.room.member") {
		n++
	}
	return n
}
