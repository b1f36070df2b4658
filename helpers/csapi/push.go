package csapi

import (
	"net/http"
	"testing"
)

// SetPushRule asks for a push rule of a kind: override, underride, sender, room or content.
func (c *Client) SetPushRule(t testing.TB, kind, ruleID string, rule any) *Response {
	t.Helper()
	return c.Request(t, http.MethodPut, Path("v3", "pushrules", "global", kind, ruleID), Body(rule))
}

// EnablePushRule asks for a push rule to be looked at, or passed over.
func (c *Client) EnablePushRule(t testing.TB, kind, ruleID string, enabled bool) *Response {
	t.Helper()
	return c.Request(t, http.MethodPut, Path("v3", "pushrules", "global", kind, ruleID, "enabled"), Body(map[string]any{"enabled": enabled}))
}

// SetPusher asks that the client's notifications be sent to a push gateway, by whole events.
func (c *Client) SetPusher(t testing.TB, gatewayURL, pushKey string) *Response {
	t.Helper()
	return c.Request(t, http.MethodPost, Path("v3", "pushers", "set"), Body(map[string]any{
		"kind": "http", "app_id": "org.countersign.tests", "pushkey": pushKey, "lang": "en",
		"app_display_name": "tests", "device_display_name": "a test", "data": map[string]any{"url": gatewayURL},
	}))
}

// Notifications asks for the events that have notified the user.
func (c *Client) Notifications(t testing.TB) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v3", "notifications"), Query("limit", "50"))
}
