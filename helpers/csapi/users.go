package csapi

import (
	"net/http"
	"testing"
)

// Profile asks for the profile of a user of any server.
func (c *Client) Profile(t testing.TB, userID string) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v3", "profile", userID))
}

// SetProfile asks to set one field of the client's own profile, such as displayname.
func (c *Client) SetProfile(t testing.TB, field, value string) *Response {
	t.Helper()
	return c.Request(t, http.MethodPut, Path("v3", "profile", c.UserID, field), Body(map[string]any{field: value}))
}

func (c *Client) accountDataPath(roomID, dataType string) string {
	if roomID == "" {
		return Path("v3", "user", c.UserID, "account_data", dataType)
	}
	return Path("v3", "user", c.UserID, "rooms", roomID, "account_data", dataType)
}

// AccountData asks for the client's account data of a type: for a room, or, when roomID is empty,
// for the account.
func (c *Client) AccountData(t testing.TB, roomID, dataType string) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, c.accountDataPath(roomID, dataType))
}

// SetAccountData asks to set the client's account data of a type, like [Client.AccountData].
func (c *Client) SetAccountData(t testing.TB, roomID, dataType string, content any) *Response {
	t.Helper()
	return c.Request(t, http.MethodPut, c.accountDataPath(roomID, dataType), Body(content))
}

// Devices asks for the devices of the client's account.
func (c *Client) Devices(t testing.TB) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v3", "devices"))
}

// UploadKeys asks to publish device keys, one-time keys or fallback keys.
func (c *Client) UploadKeys(t testing.TB, body any) *Response {
	t.Helper()
	return c.Request(t, http.MethodPost, Path("v3", "keys", "upload"), Body(body))
}

// QueryKeys asks for every device key of the users.
func (c *Client) QueryKeys(t testing.TB, userIDs ...string) *Response {
	t.Helper()
	devices := map[string]any{}
	for _, userID := range userIDs {
		devices[userID] = []string{}
	}
	return c.Request(t, http.MethodPost, Path("v3", "keys", "query"), Body(map[string]any{"device_keys": devices}))
}

// ClaimKey asks for a one-time key of an algorithm of one device.
func (c *Client) ClaimKey(t testing.TB, userID, deviceID, algorithm string) *Response {
	t.Helper()
	return c.Request(t, http.MethodPost, Path("v3", "keys", "claim"), Body(map[string]any{
		"one_time_keys": map[string]any{userID: map[string]any{deviceID: algorithm}},
	}))
}

// SendToDevice asks to send a message of a type to one device of a user, or to all for "*".
func (c *Client) SendToDevice(t testing.TB, eventType, userID, deviceID string, content any) *Response {
	t.Helper()
	return c.Request(t, http.MethodPut, Path("v3", "sendToDevice", eventType, c.transactionID()), Body(map[string]any{
		"messages": map[string]any{userID: map[string]any{deviceID: content}},
	}))
}
