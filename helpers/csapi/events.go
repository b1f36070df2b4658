package csapi

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/tidwall/gjson"
)

// Send asks to send a message-like event.
func (c *Client) Send(t testing.TB, roomID, eventType string, content any) *Response {
	t.Helper()
	return c.Request(t, http.MethodPut, Path("v3", "rooms", roomID, "send", eventType, c.transactionID()), Body(content))
}

// MustSend sends a message-like event and returns its ID.
func (c *Client) MustSend(t testing.TB, roomID, eventType string, content any) (eventID string) {
	t.Helper()
	return c.Send(t, roomID, eventType, content).MustString(t, "event_id")
}

// MustSay sends a text message and returns its event ID.
func (c *Client) MustSay(t testing.TB, roomID, text string) (eventID string) {
	t.Helper()
	return c.MustSend(t, roomID, "m.room.message", map[string]any{"msgtype": "m.text", "body": text})
}

// SendState asks to set a piece of room state.
func (c *Client) SendState(t testing.TB, roomID, eventType, stateKey string, content any) *Response {
	t.Helper()
	return c.Request(t, http.MethodPut, statePath(roomID, eventType, stateKey), Body(content))
}

// MustSendState sets a piece of room state and returns the ID of its event.
func (c *Client) MustSendState(t testing.TB, roomID, eventType, stateKey string, content any) (eventID string) {
	t.Helper()
	return c.SendState(t, roomID, eventType, stateKey, content).MustString(t, "event_id")
}

// Redact asks to redact an event.
func (c *Client) Redact(t testing.TB, roomID, eventID, reason string) *Response {
	t.Helper()
	return c.Request(t, http.MethodPut, Path("v3", "rooms", roomID, "redact", eventID, c.transactionID()), Body(map[string]any{"reason": reason}))
}

// MustRedact redacts an event and returns the ID of the redaction.
func (c *Client) MustRedact(t testing.TB, roomID, eventID, reason string) (redactionID string) {
	t.Helper()
	return c.Redact(t, roomID, eventID, reason).MustString(t, "event_id")
}

func statePath(roomID, eventType, stateKey string) string {
	if stateKey == "" {
		return Path("v3", "rooms", roomID, "state", eventType)
	}
	return Path("v3", "rooms", roomID, "state", eventType, stateKey)
}

// State asks for the content of a piece of the current state of a room.
func (c *Client) State(t testing.TB, roomID, eventType, stateKey string) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, statePath(roomID, eventType, stateKey))
}

// MustState returns the content of a piece of the current state of a room.
func (c *Client) MustState(t testing.TB, roomID, eventType, stateKey string) gjson.Result {
	t.Helper()
	return c.State(t, roomID, eventType, stateKey).MustOK(t)
}

// AllState asks for every state event of a room.
func (c *Client) AllState(t testing.TB, roomID string) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v3", "rooms", roomID, "state"))
}

// Event asks for one event.
func (c *Client) Event(t testing.TB, roomID, eventID string) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v3", "rooms", roomID, "event", eventID))
}

// Context asks for the events around one event.
func (c *Client) Context(t testing.TB, roomID, eventID string, limit int) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v3", "rooms", roomID, "context", eventID), Query("limit", strconv.Itoa(limit)))
}

// Messages asks for one page of a room's history: the direction is "b" or "f", and an empty from
// means the end of the room that the direction leads away from.
func (c *Client) Messages(t testing.TB, roomID, direction, from string, limit int) *Response {
	t.Helper()
	params := []Param{Query("dir", direction), Query("limit", strconv.Itoa(limit))}
	if from != "" {
		params = append(params, Query("from", from))
	}
	return c.Request(t, http.MethodGet, Path("v3", "rooms", roomID, "messages"), params...)
}

// historyPages bounds the paging of [Client.MustHistory] through a server that never ends.
const historyPages = 50

// MustHistory returns the events of a room that the client may see, newest first, by paging back
// through /messages until the server says that there are no more.
func (c *Client) MustHistory(t testing.TB, roomID string) []gjson.Result {
	t.Helper()
	return c.MustPage(t, roomID, "b")
}

// MustPage is [Client.MustHistory] in either direction: "b" from the newest event on, "f" from the oldest. How many
// events are on a page is up to the server.
func (c *Client) MustPage(t testing.TB, roomID, direction string) []gjson.Result {
	t.Helper()
	var events []gjson.Result
	from := ""
	for range historyPages {
		r := c.Messages(t, roomID, direction, from, 100)
		events = append(events, r.MustOK(t).Get("chunk").Array()...)
		next := r.Get("end").String()
		if next == "" || next == from {
			return events
		}
		from = next
	}
	t.Fatalf("/messages of %s does not come to an end after %d pages", roomID, historyPages)
	return nil
}

// HistoryHas reports whether paging back through /messages shows the event.
func (c *Client) HistoryHas(t testing.TB, roomID, eventID string) bool {
	t.Helper()
	for _, event := range c.MustHistory(t, roomID) {
		if event.Get("event_id").Str == eventID {
			return true
		}
	}
	return false
}

// Search asks for the messages that match the words.
func (c *Client) Search(t testing.TB, words string, roomIDs ...string) *Response {
	t.Helper()
	criteria := map[string]any{"search_term": words}
	if len(roomIDs) > 0 {
		criteria["filter"] = map[string]any{"rooms": roomIDs}
	}
	return c.Request(t, http.MethodPost, Path("v3", "search"), Body(map[string]any{
		"search_categories": map[string]any{"room_events": criteria},
	}))
}

// Typing asks to say that the client is typing, or no longer is.
func (c *Client) Typing(t testing.TB, roomID string, typing bool) *Response {
	t.Helper()
	body := map[string]any{"typing": typing}
	if typing {
		body["timeout"] = 30_000
	}
	return c.Request(t, http.MethodPut, Path("v3", "rooms", roomID, "typing", c.UserID), Body(body))
}

// Receipt asks to move the client's read receipt of the given type, such as m.read, to an event.
func (c *Client) Receipt(t testing.TB, roomID, receiptType, eventID string) *Response {
	t.Helper()
	return c.Request(t, http.MethodPost, Path("v3", "rooms", roomID, "receipt", receiptType, eventID), Body(struct{}{}))
}
