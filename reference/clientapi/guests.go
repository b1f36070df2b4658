package clientapi

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// Guests are users of this server who have not said who they are (client-server API, "Guest Access"). Other
// servers cannot tell them from other users: in rooms with account keys each has one (MSC4243, "Proposal").

// registerGuest answers POST /register?kind=guest: an account without a password, and its only device. Of the
// body nothing counts but the name of the device.
func (a *API) registerGuest(c *call, displayName string) (any, error) {
	user, err := a.freeName("guest-" + strings.ToLower(rand.Text()[:12]))
	if err != nil {
		return nil, err
	}
	if err := a.createUser(userdb.User{ID: user, Guest: true}, rand.Text()); err != nil {
		return nil, err
	}
	return a.newSession(c, user, "", displayName)
}

// guestRoutes are the endpoints that guests may use, by method and path.
func guestRoutes() []string {
	return []string{
		"GET /v3/rooms/{roomID}/state", "GET /v3/rooms/{roomID}/state/{type}", "GET /v3/rooms/{roomID}/state/{type}/{stateKey...}",
		"GET /v3/rooms/{roomID}/context/{eventID}", "GET /v3/rooms/{roomID}/event/{eventID}", "GET /v3/rooms/{roomID}/messages",
		"GET /v3/rooms/{roomID}/members", "GET /v3/sync",
		"POST /v3/rooms/{roomID}/join", "POST /v3/join/{roomIDOrAlias}", "POST /v3/rooms/{roomID}/leave",
		"PUT /v3/rooms/{roomID}/send/{type}/{txnID}", "PUT /v3/rooms/{roomID}/state/{type}", "PUT /v3/rooms/{roomID}/state/{type}/{stateKey...}",
		"PUT /v3/sendToDevice/{type}/{txnID}",
		"PUT /v3/profile/{userID}/{field}", "DELETE /v3/profile/{userID}/{field}", // of the display name
		"GET /v3/devices", "GET /v3/devices/{deviceID}", "PUT /v3/devices/{deviceID}", "GET /v3/account/whoami",
		"POST /v3/keys/upload", "POST /v3/keys/query", "POST /v3/keys/claim",
	}
}

// checkGuest refuses a guest what is for other users.
func (a *API) checkGuest(c *call, r route) error {
	field := c.PathValue("field")
	if !c.session.Guest || slices.Contains(guestRoutes(), r.method+" "+r.path) && (field == "" || field == "displayname") {
		return nil
	}
	return noGuests("guests may not do that")
}

// checkGuestJoin refuses a guest to join a room that does not let guests in. Of a room that nobody on this server
// is in, this server does not know whether it does.
func (a *API) checkGuestJoin(c *call, roomID string) error {
	if !c.session.Guest {
		return nil
	}
	if info, ok := a.engine.Room(roomID); ok && info.Joined {
		if s, err := a.engine.CurrentState(roomID); err == nil && a.letsGuestsIn(s) {
			return nil
		}
	}
	return noGuests("the room does not let guests in")
}

func noGuests(reason string) error {
	return peer.Errorf(http.StatusForbidden, "M_GUEST_ACCESS_FORBIDDEN", "%s", reason)
}

// letsGuestsIn reports whether a room has said so.
func (a *API) letsGuestsIn(s room.State) bool {
	e := a.engine.StateEvent(s, "m.room.guest_access", "")
	return e != nil && e.Get("guest_access").Str == "can_join"
}

// sendGuestsAway has guests leave the rooms that have just ceased to let them in.
func (a *API) sendGuestsAway(ctx context.Context, events []room.Stored) error {
	for _, e := range events {
		if !e.IsState("m.room.guest_access", "") {
			continue
		}
		s, err := a.engine.CurrentState(e.RoomID())
		if err != nil || a.letsGuestsIn(s) {
			return err
		}
		for user := range s.OfType("m.room.member") {
			if err := a.sendGuestAway(ctx, e, matrix.UserID(user)); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendGuestAway has a user leave the room of an event, if that is a guest.
func (a *API) sendGuestAway(ctx context.Context, e room.Stored, user matrix.UserID) error {
	local, ok := a.engine.LocalUser(e.Version(), user)
	if !ok {
		return nil
	}
	account, err := a.users.User(local)
	if m, in := a.engine.Membership(e.RoomID(), user); err != nil || !account.Guest || !in || m.Membership != "join" {
		return err
	}
	return a.engine.Leave(ctx, e.RoomID(), local, nil)
}
