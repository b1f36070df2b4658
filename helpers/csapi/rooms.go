package csapi

import (
	"net/http"
	"testing"
)

// CreateRoom asks for a new room.
func (c *Client) CreateRoom(t testing.TB, body any) *Response {
	t.Helper()
	return c.Request(t, http.MethodPost, Path("v3", "createRoom"), Body(body))
}

// MustCreateRoom makes a room and returns its ID.
func (c *Client) MustCreateRoom(t testing.TB, body any) (roomID string) {
	t.Helper()
	return c.CreateRoom(t, body).MustString(t, "room_id")
}

// Upgrade asks for a room to be replaced by one of another version.
func (c *Client) Upgrade(t testing.TB, roomID, version string) *Response {
	t.Helper()
	return c.Request(t, http.MethodPost, Path("v3", "rooms", roomID, "upgrade"), Body(map[string]any{"new_version": version}))
}

// Join asks to join a room by its ID or alias, through the named servers when the client's own is
// not in it. They are given under both names that the parameter has had.
func (c *Client) Join(t testing.TB, room string, via ...string) *Response {
	t.Helper()
	return c.Request(t, http.MethodPost, Path("v3", "join", room), append(viaParams(via), Body(struct{}{}))...)
}

// MustJoin joins a room.
func (c *Client) MustJoin(t testing.TB, room string, via ...string) {
	t.Helper()
	c.Join(t, room, via...).MustOK(t)
}

// Knock asks to be let into a room.
func (c *Client) Knock(t testing.TB, room string, via ...string) *Response {
	t.Helper()
	return c.Request(t, http.MethodPost, Path("v3", "knock", room), append(viaParams(via), Body(struct{}{}))...)
}

// MustKnock knocks on a room.
func (c *Client) MustKnock(t testing.TB, room string, via ...string) {
	t.Helper()
	c.Knock(t, room, via...).MustOK(t)
}

func viaParams(servers []string) (params []Param) {
	for _, server := range servers {
		params = append(params, Query("via", server), Query("server_name", server))
	}
	return params
}

// Leave asks to leave a room, to reject an invite or to take a knock back.
func (c *Client) Leave(t testing.TB, roomID string) *Response {
	t.Helper()
	return c.membership(t, roomID, "leave", struct{}{})
}

// MustLeave leaves a room.
func (c *Client) MustLeave(t testing.TB, roomID string) {
	t.Helper()
	c.Leave(t, roomID).MustOK(t)
}

// Forget asks that the server forget a room that the client has left.
func (c *Client) Forget(t testing.TB, roomID string) *Response {
	t.Helper()
	return c.membership(t, roomID, "forget", struct{}{})
}

// Invite asks to invite a user.
func (c *Client) Invite(t testing.TB, roomID, userID string) *Response {
	t.Helper()
	return c.membership(t, roomID, "invite", target(userID))
}

// MustInvite invites a user.
func (c *Client) MustInvite(t testing.TB, roomID, userID string) {
	t.Helper()
	c.Invite(t, roomID, userID).MustOK(t)
}

// Kick asks to remove a user from a room.
func (c *Client) Kick(t testing.TB, roomID, userID string) *Response {
	t.Helper()
	return c.membership(t, roomID, "kick", target(userID))
}

// MustKick removes a user from a room.
func (c *Client) MustKick(t testing.TB, roomID, userID string) {
	t.Helper()
	c.Kick(t, roomID, userID).MustOK(t)
}

// Ban asks to ban a user from a room.
func (c *Client) Ban(t testing.TB, roomID, userID string) *Response {
	t.Helper()
	return c.membership(t, roomID, "ban", target(userID))
}

// MustBan bans a user from a room.
func (c *Client) MustBan(t testing.TB, roomID, userID string) {
	t.Helper()
	c.Ban(t, roomID, userID).MustOK(t)
}

// Unban asks to lift a ban.
func (c *Client) Unban(t testing.TB, roomID, userID string) *Response {
	t.Helper()
	return c.membership(t, roomID, "unban", target(userID))
}

// MustUnban lifts a ban.
func (c *Client) MustUnban(t testing.TB, roomID, userID string) {
	t.Helper()
	c.Unban(t, roomID, userID).MustOK(t)
}

func target(userID string) any { return map[string]any{"user_id": userID} }

func (c *Client) membership(t testing.TB, roomID, verb string, body any) *Response {
	t.Helper()
	return c.Request(t, http.MethodPost, Path("v3", "rooms", roomID, verb), Body(body))
}

// Members asks for the membership events of a room.
func (c *Client) Members(t testing.TB, roomID string, params ...Param) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v3", "rooms", roomID, "members"), params...)
}

// JoinedMembers asks for the users who are joined to a room.
func (c *Client) JoinedMembers(t testing.TB, roomID string) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v3", "rooms", roomID, "joined_members"))
}

// JoinedRooms asks for the rooms that the client has joined.
func (c *Client) JoinedRooms(t testing.TB) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v3", "joined_rooms"))
}

// PublicRooms asks for the rooms in a server's directory; its own server's when server is empty.
func (c *Client) PublicRooms(t testing.TB, server string) *Response {
	t.Helper()
	var params []Param
	if server != "" {
		params = append(params, Query("server", server))
	}
	return c.Request(t, http.MethodGet, Path("v3", "publicRooms"), params...)
}

// Alias asks which room an alias names.
func (c *Client) Alias(t testing.TB, alias string) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v3", "directory", "room", alias))
}

// SetAlias asks for an alias to name a room.
func (c *Client) SetAlias(t testing.TB, alias, roomID string) *Response {
	t.Helper()
	return c.Request(t, http.MethodPut, Path("v3", "directory", "room", alias), Body(map[string]any{"room_id": roomID}))
}

// DeleteAlias asks for an alias to be removed.
func (c *Client) DeleteAlias(t testing.TB, alias string) *Response {
	t.Helper()
	return c.Request(t, http.MethodDelete, Path("v3", "directory", "room", alias))
}

// Aliases asks for the aliases that the client's server has for a room.
func (c *Client) Aliases(t testing.TB, roomID string) *Response {
	t.Helper()
	return c.Request(t, http.MethodGet, Path("v3", "rooms", roomID, "aliases"))
}
