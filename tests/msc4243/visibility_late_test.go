package msc4243

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/wait"
)

// latecomer is a room in which mallory has spoken and set state before their server confirmed their
// account key, and again afterwards.
type latecomer struct {
	place
	// start is a position of /sync before all of it; the place's is after what is hidden.
	start string
	// member, state and message are from before, by event ID. All of the state is current.
	member, state, message string
}

// newLatecomer ends the test with SKIP when the homeserver does not ask again. The steps are taken while
// the user is still unverified.
func newLatecomer(t *testing.T, steps ...func(place)) latecomer {
	t.Helper()
	r := hosting(t, anybodyMay())
	setup := conform.Setup(t)
	start := r.Alice.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch")
	mallory := r.JoinUnverified(t, "mallory")
	l := latecomer{
		start:   start,
		member:  r.Room.State("m.room.member", string(mallory.ID(r.Version))).ID(),
		state:   r.MustHide(t, mallory, blueprints.Probe()).ID(),
		message: r.MustHide(t, mallory, fakeserver.Message("nobody sees me")).ID(),
		place:   place{client: r.Alice, roomID: r.ID},
	}
	l.since = r.Alice.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch")
	for _, step := range steps {
		step(l.place)
	}
	r.ConfirmLate(t, mallory)
	r.FenceBy(t, mallory) // which is seen only once mallory is verified
	return l
}

// Server behaviour, on a user who becomes verified: "the current state events for that user (e.g their
// m.room.member event and any current state they are the sender of) SHOULD be sent down client's sync
// streams", to clients that use state_after.
func TestLateVerification_BringsStateToClientsWithStateAfter(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-VIS-06")
	conform.Scenario(t, "A user is hidden until their server says who they are")
	l := newLatecomer(t)
	var after gjson.Result
	err := wait.Until(t.Context(), wait.Limit(), "the state of a user who has become verified", func(context.Context) (bool, error) {
		room := inSync(t, l.place, csapi.SyncRequest{Since: l.since, Filter: longTimeline, StateAfter: true})
		if after = csapi.StateAfter(room); !after.Exists() {
			conform.Skip(t, "the homeserver does not know use_state_after")
		}
		return eventIn(after, l.member).Exists() && eventIn(after, l.state).Exists(), nil
	})
	if err != nil {
		conform.Violation(t, "MSC4243-VIS-06", fmt.Sprintf("the user's membership %s and the state that they have set, %s, in state_after", l.member, l.state), after.Raw)
	}
}

// The same for sliding sync: "via required_state if those state tuples are being tracked".
func TestLateVerification_BringsStateThroughSlidingSync(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-VIS-08")
	var position string
	var wanted any
	l := newLatecomer(t, func(p place) {
		wanted = map[string]any{"conn_id": "late", "room_subscriptions": map[string]any{
			p.roomID: map[string]any{"timeline_limit": 1, "required_state": [][]string{{"m.room.member", "*"}}},
		}}
		first := p.client.SlidingSync(t, "", 0, wanted)
		if !first.OK() {
			conform.Skip(t, "the homeserver does not know simplified sliding sync: %s", first)
		}
		position = first.MustString(conform.Setup(t), "pos")
	})
	var seen []string
	err := wait.Until(t.Context(), wait.Limit(), "the membership of a user who has become verified", func(context.Context) (bool, error) {
		answer := l.client.SlidingSync(t, position, 100*time.Millisecond, wanted).MustOK(conform.Setup(t))
		state := answer.Get("rooms").Map()[l.roomID].Get("required_state")
		seen, position = append(seen, state.Raw), answer.Get("pos").Str
		return eventIn(state, l.member).Exists(), nil
	})
	if err != nil {
		conform.Violation(t, "MSC4243-VIS-08", "the user's membership "+l.member+" in required_state", strings.Join(seen, " "))
	}
}

// Server behaviour: "If that option is disabled, then the events for that user SHOULD NOT be sent."
func TestLateVerification_BringsNoStateToOtherClients(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-VIS-07")
	l := newLatecomer(t)
	room := inSync(t, l.place, csapi.SyncRequest{Since: l.since, Filter: longTimeline})
	for _, id := range []string{l.member, l.state} {
		if e := eventIn(room, id); e.Exists() {
			conform.Violation(t, "MSC4243-VIS-07", "no state from before the user was verified, without use_state_after", e.Raw)
		}
	}
}

// Server behaviour: "historical messages for that user SHOULD NOT be sent down client's sync streams."
func TestLateVerification_PushesNoOldMessages(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-VIS-09")
	l := newLatecomer(t)
	for what, q := range map[string]csapi.SyncRequest{
		"a later sync":                      {Since: l.since, Filter: longTimeline},
		"a later sync with use_state_after": {Since: l.since, Filter: longTimeline, StateAfter: true},
		"a sync after a while without any":  {Since: l.start, Filter: longTimeline},
	} {
		if e := eventIn(inSync(t, l.place, q), l.message); e.Exists() {
			conform.Violation(t, "MSC4243-VIS-09", "no message from before the user was verified, in "+what, e.Raw)
		}
	}
	// The sentence means every stream, its reason not the one that begins: there the message is as old as
	// what is around it.
	first := eventIn(inSync(t, l.place, csapi.SyncRequest{Filter: longTimeline}), l.message)
	conform.Info(t, "MSC4243-VIS-09", fmt.Sprintf("a first sync has messages from before their sender was verified: %t", first.Exists()))
}

// Server behaviour: "The messages MAY be returned via /messages, /context and /event."
func TestLateVerification_OldMessagesMayBeHad(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-VIS-10")
	l := newLatecomer(t)
	for where, answer := range map[string]*csapi.Response{
		"/event":    l.client.Event(t, l.roomID, l.message),
		"/context":  l.client.Context(t, l.roomID, l.message, 4),
		"/messages": l.client.Messages(t, l.roomID, "b", "", 100),
	} {
		has := map[bool]string{true: "has", false: "does not have"}[answer.OK() && eventIn(answer.JSON(), l.message).Exists()]
		conform.Info(t, "MSC4243-VIS-10", where+" "+has+" a message from before its sender was verified")
	}
}
