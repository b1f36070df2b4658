package msc4243

import (
	"encoding/json"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
)

// hiddenBetween is how many hidden events lie between the visible ones, and paged how many events a
// client asks for at once: pages of nothing but hidden events are all but inevitable.
const (
	hiddenBetween = 200
	paged         = 10
)

// maxPages ends the reading of a history that does not end. No page of an honest server's that looks at
// as many events as it was asked for can be more than one too many.
const maxPages = 4 * hiddenBetween / paged

// Server behaviour, with the client-server API's pagination: what is hidden is passed over, and is not
// the end of the room.
func TestHiddenEvents_ArePagedOver(t *testing.T) {
	t.Parallel()
	r := hosting(t)
	mallory := r.JoinUnverified(t, "mallory")
	earlier := r.Fence(t).ID()
	start := r.Alice.Sync(conform.Setup(t), csapi.SyncRequest{}).MustString(conform.Setup(t), "next_batch")
	hide := make([]json.RawMessage, 0, hiddenBetween)
	for range hiddenBetween {
		event := blueprints.NewEvent(t, r.Room, mallory, fakeserver.Message("one of many"))
		r.Room.Add(event)
		hide = append(hide, event.JSON())
	}
	for len(hide) > 0 {
		n := min(50, len(hide)) // as many as a transaction may have
		blueprints.MustDeliver(conform.Setup(t), r.Room, hide[:n]...)
		hide = hide[n:]
	}
	later := r.Fence(t).ID()
	r.MustHold(t, r.Room.Event(later).PrevEvents()[0]) // the last of the hidden ones

	// prevBatch is where the history before a timeline begins, in which the last message must be.
	prevBatch := func(t testing.TB, q csapi.SyncRequest) string {
		q.Filter = shortTimeline
		timeline := inSync(t, place{client: r.Alice, roomID: r.ID}, q).Get("timeline")
		must.Be(t, eventIn(timeline, later).Exists(), "the visible event %s behind the hidden ones, got:\n%s", later, timeline.Raw)
		return timeline.Get("prev_batch").Str
	}
	for _, c := range []struct {
		name, direction, seek string
		from                  func(t testing.TB) string
	}{
		{"backwards from the end", "b", earlier, func(testing.TB) string { return "" }},
		{"forwards from the beginning", "f", later, func(testing.TB) string { return "" }},
		{"backwards from a first sync", "b", earlier, func(t testing.TB) string { return prevBatch(t, csapi.SyncRequest{}) }},
		{"backwards from a later sync", "b", earlier, func(t testing.TB) string { return prevBatch(t, csapi.SyncRequest{Since: start}) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-VIS-11")
			from, seen := c.from(t), map[string]bool{}
			for range maxPages {
				page := r.Alice.Messages(t, r.ID, c.direction, from, paged).MustOK(t)
				if eventIn(page, c.seek).Exists() {
					return
				}
				next := page.Get("end").Str
				must.Be(t, next != "", "to be led on to %s, past hidden events, got:\n%s", c.seek, page.Raw)
				must.Be(t, !seen[next], "not to be led in a circle, by the token %s", next)
				seen[next], from = true, next
			}
			t.Fatalf("expected to reach %s in %d pages of %d events", c.seek, maxPages, paged)
		})
	}
}
