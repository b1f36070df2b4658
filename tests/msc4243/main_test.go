// Package msc4243 holds the tests of MSC4243: user IDs whose localparts are account keys.
package msc4243

import (
	"context"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/wait"
	"countersign/helpers/walks"
	"countersign/matrix"
)

func TestMain(m *testing.M) {
	walks.Shorten(20, 6)
	conform.Main(m, conform.Options{Servers: 2})
}

// received is an event of the homeserver as it came to the fake server in a transaction, whether it
// is validly signed or not.
func received(t testing.TB, r *blueprints.Room, eventID string) *matrix.Event {
	t.Helper()
	return r.Peer.MustReceive(t, "event "+eventID, func(pdu fakeserver.PDU) bool {
		return pdu.Via == fakeserver.OpSend && pdu.Event != nil && pdu.Event.ID() == eventID
	}).Event
}

// idOf is the user ID under which a client acts in the room: the sender of a message of theirs.
func idOf(t testing.TB, r *blueprints.Room, client *csapi.Client) matrix.UserID {
	t.Helper()
	t = conform.Setup(t)
	return received(t, r, client.MustSay(t, r.ID, "this is me")).Sender()
}

// local is another user of the homeserver who has joined the room.
func local(t testing.TB, r *blueprints.Room, name string) *csapi.Client {
	t.Helper()
	t = conform.Setup(t)
	user := r.User(t, r.HS.Alias(), name)
	user.MustJoin(t, r.ID)
	return user
}

// mustFind waits until a client finds a user in a room. A homeserver may show a room that it joins before it has
// asked who is in it ("SHOULD be done prior to sending the room information to clients"). Who is verified later
// is not in /sync without use_state_after, but is a member of the room.
func mustFind(t testing.TB, client *csapi.Client, roomID, userID string) {
	t.Helper()
	wait.For(t, userID+" to be found in room "+roomID, func(context.Context) (bool, error) {
		found := client.State(t, roomID, "m.room.member", userID)
		return found.OK() && found.Get("membership").Str == "join", nil
	})
}

// visiting is a room of the version of MSC4243 that fay made and alice joined.
func visiting(t testing.TB, list ...blueprints.Setting) *blueprints.Room {
	t.Helper()
	return blueprints.AliceJoined(t, conform.AccountKeyVersion(t), list...)
}

// hosting is a room of the version of MSC4243 that alice made and fay joined.
func hosting(t testing.TB, list ...blueprints.Setting) *blueprints.Room {
	t.Helper()
	return blueprints.FayJoined(t, conform.AccountKeyVersion(t), list...)
}

// say sends a message whose author or courier deviates as the forgery says, and returns its ID. The
// fake server does not make it part of its own copy of the room.
func say(t testing.TB, r *blueprints.Room, text string, f fakeserver.Forgery) string {
	t.Helper()
	forged, err := r.Room.Forge(r.Fay, fakeserver.Message(text), f)
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	if _, err := fakeserver.SendPath().Deliver(t.Context(), r.Room, r.At, forged); err != nil {
		conform.HarnessError(t, "%v", err)
	}
	return forged.EventID
}
