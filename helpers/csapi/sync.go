package csapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"countersign/helpers/wait"
)

// SyncRequest are the parameters of one call of /sync. The zero value is an initial sync that
// returns at once.
type SyncRequest struct {
	// Since is the position to go on from; empty for an initial sync.
	Since string
	// Filter is a filter as JSON, or the ID of one.
	Filter string
	// Wait is how long the server may hold the request when there is nothing new.
	Wait time.Duration
	// FullState asks for the whole state whatever has changed.
	FullState bool
	// StateAfter asks for the state at the end of the timeline instead of at its start.
	StateAfter bool
}

func (q SyncRequest) params() []Param {
	params := []Param{
		Query("timeout", strconv.FormatInt(q.Wait.Milliseconds(), 10)),
		Timeout(q.Wait + wait.Limit()),
	}
	for name, value := range map[string]string{"since": q.Since, "filter": q.Filter} {
		if value != "" {
			params = append(params, Query(name, value))
		}
	}
	for name, value := range map[string]bool{
		"full_state": q.FullState,
		// The parameter under both names that it has had (MSC4222).
		"use_state_after": q.StateAfter, "org.matrix.msc4222.use_state_after": q.StateAfter,
	} {
		if value {
			params = append(params, Query(name, "true"))
		}
	}
	return params
}

// Sync calls /sync once and leaves the client's [View] alone.
func (c *Client) Sync(t testing.TB, request SyncRequest) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v3", "sync"), request.params()...)
}

// syncFilter asks for rooms that were left too, and for timelines so long that no test fills one.
const syncFilter = `{"room":{"include_leave":true,"timeline":{"limit":200}}}`

// longPoll is how long one /sync may hold. Short enough that a server which misses a wake-up is
// asked again within the limit of a wait.
const longPoll = 2 * time.Second

// syncer is the position of a client in its stream of /sync.
type syncer struct {
	mu    sync.Mutex
	since string
	view  *View
}

// View returns what the client has been told by [Client.MustSyncUntil] and the methods built on it.
// It makes no request.
func (c *Client) View() *View { return c.sync.view }

// MustSyncUntil calls /sync, with long polling, until what was seen since the client's first sync
// satisfies the condition, and fails the test when [wait.Limit] passes first. What completes the
// sentence "waiting for ...". The condition is asked before the first request too.
func (c *Client) MustSyncUntil(t testing.TB, what string, seen func(*View) bool) {
	t.Helper()
	if err := c.SyncUntil(wait.Context(t), what, seen); err != nil {
		t.Fatal(err)
	}
}

// SyncUntil is [Client.MustSyncUntil] for callers that judge the failure themselves.
func (c *Client) SyncUntil(ctx context.Context, what string, seen func(*View) bool) error {
	c.sync.mu.Lock()
	defer c.sync.mu.Unlock()
	if seen(c.sync.view) {
		return nil
	}
	what = fmt.Sprintf("%s in the /sync of %s", what, c.UserID)
	answers := 0
	return wait.Until(ctx, wait.Limit(), what, func(ctx context.Context) (bool, error) {
		// One step of polling is a run of long polls that bring something new. Only a server that
		// answers at once with nothing new makes the next step wait.
		for {
			progress, err := c.syncOnce(ctx)
			switch {
			case ctx.Err() != nil:
				return false, fmt.Errorf("%d answers did not bring it", answers)
			case err != nil:
				return false, err
			}
			answers++
			if seen(c.sync.view) {
				return true, nil
			}
			if !progress {
				return false, fmt.Errorf("%d answers did not bring it", answers)
			}
		}
	})
}

// syncOnce makes one long poll and reports whether it took time or moved the position.
func (c *Client) syncOnce(ctx context.Context) (progress bool, err error) {
	request := SyncRequest{Since: c.sync.since, Filter: syncFilter, Wait: longPoll}
	if c.sync.since == "" {
		request.Wait = 0
	}
	r, err := c.Do(ctx, http.MethodGet, Path("v3", "sync"), request.params()...)
	if err != nil {
		return false, err
	}
	next := r.Get("next_batch").Str
	if !r.OK() || next == "" {
		return false, fmt.Errorf("not an answer of /sync:\n%s", r)
	}
	c.sync.view.absorb(r.JSON())
	progress = next != c.sync.since || r.Elapsed > longPoll/2
	c.sync.since = next
	return progress, nil
}

// MustSee syncs until an event is in the timeline of a room, and returns it.
func (c *Client) MustSee(t testing.TB, roomID, eventID string) gjson.Result {
	t.Helper()
	c.MustSyncUntil(t, fmt.Sprintf("event %s in room %s", eventID, roomID), func(v *View) bool {
		return v.Room(roomID).Has(eventID)
	})
	return c.View().Room(roomID).Event(eventID)
}

// MustSeeMember syncs until a user has a membership in a room.
func (c *Client) MustSeeMember(t testing.TB, roomID, userID, membership string) {
	t.Helper()
	c.MustSyncUntil(t, fmt.Sprintf("membership %q of %s in room %s", membership, userID, roomID), func(v *View) bool {
		return v.Room(roomID).Membership(userID) == membership
	})
}

// MustSeeState syncs until the state event for a type and a state key satisfies the condition, and
// returns the event.
func (c *Client) MustSeeState(t testing.TB, roomID, eventType, key string, is func(event gjson.Result) bool) gjson.Result {
	t.Helper()
	c.MustSyncUntil(t, fmt.Sprintf("state %s %q in room %s", eventType, key, roomID), func(v *View) bool {
		event := v.Room(roomID).State(eventType, key)
		return event.Exists() && is(event)
	})
	return c.View().Room(roomID).State(eventType, key)
}

// MustSeeInvite syncs until the client is invited to a room, and returns the stripped state.
func (c *Client) MustSeeInvite(t testing.TB, roomID string) []gjson.Result {
	t.Helper()
	c.MustSyncUntil(t, "an invite to room "+roomID, func(v *View) bool {
		room := v.Room(roomID)
		return room.Section == "invite" && room.StrippedMembership(c.UserID) == "invite"
	})
	return c.View().Room(roomID).Stripped
}
