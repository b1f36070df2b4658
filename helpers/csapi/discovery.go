package csapi

import (
	"net/http"
	"testing"
)

// SearchUsers asks the user directory for the users whose user ID or display name matches a term.
func (c *Client) SearchUsers(t testing.TB, term string) *Response {
	t.Helper()
	return c.Request(t, http.MethodPost, Path("v3", "user_directory", "search"), Body(map[string]any{"search_term": term, "limit": 50}))
}

// Publish asks to list a room in the server's room directory, or to take it off.
func (c *Client) Publish(t testing.TB, roomID string, listed bool) *Response {
	t.Helper()
	visibility := map[bool]string{true: "public", false: "private"}[listed]
	return c.Request(t, http.MethodPut, Path("v3", "directory", "list", "room", roomID), Body(map[string]any{"visibility": visibility}))
}

// Hierarchy asks for a space and the rooms in it.
func (c *Client) Hierarchy(t testing.TB, roomID string) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v1", "rooms", roomID, "hierarchy"))
}

// RoomSummary asks for what there is to know about a room before joining it.
func (c *Client) RoomSummary(t testing.TB, roomIDOrAlias string) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v1", "room_summary", roomIDOrAlias))
}

// Report asks to bring a room to the attention of the server's administrators, or, unless eventID is
// empty, an event.
func (c *Client) Report(t testing.TB, roomID, eventID string) *Response {
	t.Helper()
	path := []string{"v3", "rooms", roomID, "report"}
	if eventID != "" {
		path = append(path, eventID)
	}
	return c.Request(t, http.MethodPost, Path(path...), Body(map[string]any{"reason": "a test"}))
}
