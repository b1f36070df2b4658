package csapi

import (
	"net/http"
	"strconv"
	"testing"
)

// Relations asks for the events that relate to one, newest first: all of them, or those of a relation
// type, or of a relation type and an event type.
func (c *Client) Relations(t testing.TB, roomID, eventID string, kind ...string) *Response {
	t.Helper()
	path := append([]string{"v1", "rooms", roomID, "relations", eventID}, kind...)
	return c.Request(t, http.MethodGet, Path(path...), Query("limit", "50"))
}

// Threads asks for the roots of a room's threads.
func (c *Client) Threads(t testing.TB, roomID string) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v1", "rooms", roomID, "threads"))
}

// EventAt asks for the event that is nearest to a time in milliseconds, in a direction: "f" or "b".
func (c *Client) EventAt(t testing.TB, roomID string, ts int64, direction string) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v1", "rooms", roomID, "timestamp_to_event"),
		Query("ts", strconv.FormatInt(ts, 10)), Query("dir", direction))
}
