package roomv12

import (
	"context"
	"fmt"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// say has alice send messages and returns their event IDs, oldest first.
func say(t *testing.T, r *blueprints.Room, count int) (ids []string) {
	t.Helper()
	for i := range count {
		ids = append(ids, r.Alice.MustSay(conform.Setup(t), r.ID, fmt.Sprintf("message %d", i+1)))
	}
	return ids
}

// Server-server API, "GET /backfill": the given events and those before them, up to the limit. A
// server may give fewer, but not skip the one just before.
func TestBackfill_ResidentServerAnswers(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-BACKFILL-01")
	r := blueprints.FayJoined(t, v12)
	said := say(t, r, 5)

	reply := r.Peer.Backfill(t, r.At, r.ID, 3, said[4])
	must.Succeed(t, reply)
	for _, pdu := range reply.Events {
		r.Peer.MustVerify(t, blueprints.MustParse(t, v12, pdu))
	}
	got := reply.EventIDs(t, v12)
	must.Be(t, len(got) <= 3, "no more events than the limit of 3: %s", reply)
	must.Contain(t, "events in the answer to /backfill", got, said[3])
	for _, id := range got {
		must.Contain(t, "what was said", said, id)
	}
}

// Server-server API, "Backfilling and retrieving missing events": history from before the join.
func TestBackfill_JoiningServerAsks(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-BACKFILL-02")
	var before []*matrix.Event
	r := blueprints.AliceJoined(t, v12, blueprints.Before(func(r *blueprints.Room) {
		for i := range 5 {
			before = append(before, blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Message(fmt.Sprintf("early %d", i+1))))
		}
	}))

	for _, event := range before {
		mustFindInHistory(t, r, event)
	}
	r.Peer.MustBeAsked(t, fakeserver.OpBackfill)
}

// mustFindInHistory waits until paging back through /messages shows an event. A server may fetch
// history while it answers, or after it.
func mustFindInHistory(t *testing.T, r *blueprints.Room, event *matrix.Event) {
	t.Helper()
	wait.For(t, fmt.Sprintf("event %s in /messages of %s", event.ID(), r.ID), func(context.Context) (bool, error) {
		return r.Alice.HistoryHas(t, r.ID, event.ID()), nil
	})
}

// Server-server API, "Backfilling and retrieving missing events": a gap in front of a new event.
func TestMissingEvents_AreAskedFor(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-MISSING-01")
	r := blueprints.FayJoined(t, v12)
	r.Fence(t)

	withheld := blueprints.NewEvent(t, r.Room, r.Fay, fakeserver.Message("withheld"))
	r.Room.Add(withheld)
	next := blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Message("next"))
	must.Contain(t, "prev_events of the next message", next.PrevEvents(), withheld.ID())

	r.Alice.MustSee(t, r.ID, next.ID())
	mustFindInHistory(t, r, withheld)
}

// Server-server API, "POST /get_missing_events".
func TestMissingEvents_ResidentServerAnswers(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-MISSING-02")
	r := blueprints.FayJoined(t, v12)
	said := say(t, r, 5)

	between := r.Peer.MissingEvents(t, r.At, r.ID, 10, said[0:1], said[4:5])
	must.Succeed(t, between)
	for _, pdu := range between.Events {
		r.Peer.MustVerify(t, blueprints.MustParse(t, v12, pdu))
	}
	must.SameSet(t, "events between the first and the last", between.EventIDs(t, v12), said[1:4])

	limited := r.Peer.MissingEvents(t, r.At, r.ID, 2, said[0:1], said[4:5])
	must.Succeed(t, limited)
	must.Be(t, len(limited.Events) > 0 && len(limited.Events) <= 2, "one or two events: %s", limited)
	for _, id := range limited.EventIDs(t, v12) {
		must.Contain(t, "events between the first and the last", said[1:4], id)
	}
}
