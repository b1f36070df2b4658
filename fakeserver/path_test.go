package fakeserver_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/matrix"
)

// errand is an event on its way by a path: what another server does to get it, and what it then has.
type errand struct {
	*stage
	path      fakeserver.DeliveryPath
	room      *fakeserver.Room
	forged    fakeserver.Forged
	delivered fakeserver.Delivered
}

// fetched is what the other server gets by asking as the path needs it.
func (e *errand) fetched(t *testing.T, op fakeserver.Operation) []json.RawMessage {
	t.Helper()
	if len(e.delivered.Followers) == 0 {
		return nil
	}
	first := e.delivered.Followers[0].ID()
	var answer *fakeserver.EventAnswer
	var err error
	switch op {
	case fakeserver.OpMissingEvents:
		answer, err = e.hs.GetMissingEvents(ctx(t), e.fs.Name(), e.room.ID(), 10, nil, []string{first})
	case fakeserver.OpBackfill:
		answer, err = e.hs.GetBackfill(ctx(t), e.fs.Name(), e.room.ID(), 10, first)
	case fakeserver.OpEvent, fakeserver.OpStateIDs:
		answer, err = e.hs.GetEvent(ctx(t), e.fs.Name(), e.forged.EventID)
	}
	require.NoError(t, err)
	return answer.Events
}

// arrivals are all the events that the other server has got.
func (e *errand) arrivals(t *testing.T) []json.RawMessage {
	t.Helper()
	switch e.path.Needs {
	case fakeserver.Join:
		_, err := e.hs.JoinRoom(ctx(t), e.fs.Name(), e.room.ID(), user(t, e.hs, "joiner-"+e.room.ID()))
		require.NoError(t, err)
	default:
		if e.path.Asks != "" {
			return e.fetched(t, e.path.Asks)
		}
		if e.delivered.Response.Status/100 != 2 {
			// The other server's business; the event is in the request.
			requests := e.fs.Transcript().Exchanges(func(x fakeserver.Exchange) bool { return x.Direction == fakeserver.Outbound })
			last := requests[len(requests)-1].RequestBody
			return []json.RawMessage{last, json.RawMessage(gjson.GetBytes(last, "event").Raw)}
		}
	}
	var seen []json.RawMessage
	for _, pdu := range e.hs.PDUs() {
		seen = append(seen, pdu.Raw)
	}
	return seen
}

// Every forgery of the table takes every path, byte for byte, or is refused with a reason; and what is
// fetched is handed out by the operation of the path alone.
func TestEveryForgeryTakesEveryPath(t *testing.T) {
	t.Parallel()
	v := matrix.RoomVersionMSC4243()
	s := newStage(t, v)
	for _, row := range fakeserver.Forgeries() {
		if row.Name == "account-key-in-place-of-the-server-key" {
			continue
		}
		for _, path := range fakeserver.DeliveryPaths {
			if reason := path.Refuses(row); reason != "" {
				require.Regexp(t, `^[a-z].{20,}[a-z]$`, reason)
				continue
			}
			d := s.draft(v, row.On)
			switch {
			case path.Carries == fakeserver.Invitations:
				d = fakeserver.Membership(s.alice.NameID(), "invite").With("body", "x")
			case path.Carries != fakeserver.Anything:
				d = fakeserver.Membership(s.bob.ID(v), path.Carries.Membership()).With("body", "x")
			case row.On == fakeserver.AnyEvent:
				d = fakeserver.State("m.room.topic", "", map[string]any{"topic": "x", "body": "x"})
			case row.On == fakeserver.CreateEvent:
				d = fakeserver.State("m.room.create", "", map[string]any{"room_version": v.ID})
			}
			// Two forgeries of one millisecond can be the same event.
			forged, err := s.of.Forge(s.bob, d.With("path", path.Name), row.Forgery)
			require.NoError(t, err, row.Name)
			e := &errand{stage: s, path: path, room: s.of, forged: forged}
			if path.Needs == fakeserver.Join {
				e.room, err = s.fs.CreateRoom(s.bob, fakeserver.RoomOptions{Version: v})
				require.NoError(t, err)
			}
			before := e.room.State(forgedTuple(forged))
			e.delivered, err = path.Deliver(ctx(t), e.room, s.hs.Name(), forged)
			require.NoError(t, err, "%s by %s", row.Name, path)
			require.Same(t, before, e.room.State(forgedTuple(forged)), "the room has made %s its own", row.Name)
			arrived := func(pdus []json.RawMessage) bool {
				return slices.ContainsFunc(pdus, func(pdu json.RawMessage) bool { return string(pdu) == string(forged.PDU) })
			}
			require.True(t, arrived(e.arrivals(t)), "%s by %s", row.Name, path)
			for _, op := range []fakeserver.Operation{fakeserver.OpMissingEvents, fakeserver.OpBackfill, fakeserver.OpEvent} {
				if path.Asks != "" && op != path.Asks && path.Asks != fakeserver.OpStateIDs {
					require.False(t, arrived(e.fetched(t, op)), "%s by %s is handed out by %s", row.Name, path, op)
				}
			}
			require.True(t, gjson.ValidBytes(forged.PDU), row.Name)
		}
	}
}

func forgedTuple(f fakeserver.Forged) (eventType, stateKey string) {
	tuple, _ := f.Tuple()
	return tuple.Type, tuple.StateKey
}

// What follows a hidden event has its place in the room: a depth, a state, and an answer to whoever
// asks for the state before it.
func TestHiddenEventsHaveTheirPlace(t *testing.T) {
	t.Parallel()
	v := matrix.RoomVersionMSC4243()
	s := newStage(t, v)
	topic := fakeserver.State("m.room.topic", "", map[string]any{"topic": "x"})
	forge := func() fakeserver.Forged {
		forged, err := s.of.Forge(s.bob, topic, fakeserver.Forgery{FlipSignatureBits: []int{1}})
		require.NoError(t, err)
		return forged
	}
	forged := forge()
	delivered, err := fakeserver.EventPath().Deliver(ctx(t), s.of, s.hs.Name(), forged)
	require.NoError(t, err)
	child := delivered.Followers[0]
	require.Equal(t, []string{forged.EventID}, child.PrevEvents())
	require.Equal(t, gjson.GetBytes(forged.PDU, "depth").Int()+1, child.Depth())
	require.NotContains(t, s.of.Extremities(), child.ID(), "the room goes on beside the gap")
	for _, id := range []string{child.ID(), forged.EventID} {
		answer, err := s.hs.GetStateIDs(ctx(t), s.fs.Name(), s.of.ID(), id)
		require.NoError(t, err)
		require.Contains(t, answer.IDs, s.of.State("m.room.create", "").ID())
		require.NotContains(t, answer.IDs, forged.EventID)
	}

	forged = forge()
	delivered, err = fakeserver.StateIDsPath().Deliver(ctx(t), s.of, s.hs.Name(), forged)
	require.NoError(t, err)
	answer, err := s.hs.GetStateIDs(ctx(t), s.fs.Name(), s.of.ID(), delivered.Followers[0].ID())
	require.NoError(t, err)
	require.Contains(t, answer.IDs, forged.EventID)
	all, err := s.hs.GetState(ctx(t), s.fs.Name(), s.of.ID(), delivered.Followers[0].ID())
	require.NoError(t, err)
	require.Contains(t, all.Events, forged.PDU)
	require.Len(t, all.Events, len(answer.IDs))
}

// A reason is for people: it says something, and is a part of a sentence.
func TestRefusals_HaveReasons(t *testing.T) {
	for _, v := range append(matrix.RoomVersions(), matrix.ParticipationRoomVersions()...) {
		for _, row := range fakeserver.ForgeriesIn(v) {
			for _, path := range fakeserver.DeliveryPathsIn(v) {
				if reason := path.Refuses(row); reason != "" {
					assert.GreaterOrEqual(t, len(reason), 20, "%s by %s", row.Name, path)
					assert.False(t, strings.HasSuffix(reason, "."), "%s by %s: %s", row.Name, path, reason)
				}
			}
		}
	}
}
