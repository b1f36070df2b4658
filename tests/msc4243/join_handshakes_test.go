package msc4243

import (
	"net/http"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Server-server API, "Knocking upon a room": knocks have sender and state key as joins have, and lead to
// an invite and a join.
func TestKnock_OfAUserOfAnotherServer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-JOIN-06")
	r := blueprints.Hosted(t, conform.AccountKeyVersion(t), joinRule("knock"))
	key := string(r.Fay.KeyID())
	handshake := r.Peer.MustBegin(t, r.At, r.Version, "knock", r.ID, r.Fay)
	template := gjson.ParseBytes(handshake.Template)
	must.Field(t, template, "sender", key)
	must.Field(t, template, "state_key", key)
	knock, reply := blueprints.MustSubmit(t, handshake)
	state := must.Have(t, must.Succeed(t, reply), "knock_room_state")
	for _, e := range state.Array() {
		if e.Get("signatures").Exists() { // a complete event, not stripped
			r.Peer.MustVerify(t, blueprints.MustParse(t, r.Version, []byte(e.Raw)))
		}
	}
	r.Alice.MustSeeMember(t, r.ID, r.ClientID(r.Fay), "knock")
	must.Equal(t, "event ID of the knock as the client knows it", r.Alice.View().Room(r.ID).State("m.room.member", r.ClientID(r.Fay)).Get("event_id").Str, knock.ID())

	r.Alice.MustInvite(t, r.ID, r.ClientID(r.Fay))
	r.FayJoins(t)
	r.Next(t)
}

// The same for a user of the homeserver.
func TestKnock_OfALocalUser(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-JOIN-06")
	r := blueprints.Visited(t, conform.AccountKeyVersion(t), blueprints.Options(func(o *fakeserver.RoomOptions) { o.JoinRule = "knock" }))
	r.Alice.MustKnock(t, r.ID, string(r.Peer.Name()))
	knock := blueprints.MustParse(t, r.Version, r.Peer.MustBeAsked(t, fakeserver.OpSendKnock).RequestBody)
	alice, _, err := matrix.ParseAccountKeyUserID(string(knock.Sender()))
	must.NoError(t, "reading the sender of the knock", err)
	must.Be(t, knock.IsState("m.room.member", string(alice)) && knock.Membership() == "knock", "a knock of the sender's own, got %s", knock.JSON())
	r.Peer.MustVerify(t, knock)
	r.Alice.MustSyncUntil(t, "the knock", func(v *csapi.View) bool {
		return v.Room(r.ID).Section == "knock" && v.Room(r.ID).StrippedMembership(r.Alice.UserID) == "knock"
	})

	must.Equal(t, "key of the user who knocks here and is invited", inviteAlice(t, r), alice)
	r.Alice.MustSeeInvite(t, r.ID)
	r.Alice.MustJoin(t, r.ID, string(r.Peer.Name()))
	must.Equal(t, "key of the user who knocked and has joined", idOf(t, r, r.Alice), alice)
}

// Server-server API, "Leaving Rooms": a leave is by the user whom it is about, in whose name it is
// signed.
func TestLeave_OfALocalUser(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-JOIN-07")
	r := visiting(t)
	alice := joinOf(t, r).Sender()
	r.Alice.MustLeave(t, r.ID)
	leave := r.MustReceiveMember(t, string(alice), "leave")
	must.Equal(t, "sender of the leave", leave.Sender(), alice)
}

// Nobody but oneself can leave. The forged leaves are handed in at send_leave; what becomes of them
// elsewhere is the business of the tests of forgeries.
func TestLeave_OfAnotherIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		forgery fakeserver.Forgery
	}{
		{"a user of the homeserver", fakeserver.Forgery{Sender: "{victim}"}},
		{"another user of the same server", fakeserver.Forgery{Sender: "{other}"}},
		{"another user of the same server, by one's own name", fakeserver.Forgery{StateKey: "{other}"}},
		{"a user of the homeserver, by one's own name", fakeserver.Forgery{StateKey: "{victim}"}},
		{"the same key at another server", fakeserver.Forgery{Sender: "@{key}:{elsewhere}"}},
		{"oneself, signed by another", fakeserver.Forgery{SignWith: fakeserver.OtherKey}},
		{"oneself, signed by the server", fakeserver.Forgery{SignWithServerKeyOnly: true}},
		{"oneself by account name", fakeserver.Forgery{Sender: "@{name}:{domain}"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-JOIN-07")
			r := hosting(t)
			gil, other := r.Join(t, "gil"), r.Join(t, "other")
			r.Room.SetCast(fakeserver.Cast{Victim: string(r.Room.State("m.room.create", "").Sender()), Other: other})
			leave := fakeserver.Membership(gil.KeyID(), "leave")

			forged := r.Forge(t, gil, leave, c.forgery)
			if answer := submit(t, r, "leave", forged); answer.StatusCode() == http.StatusOK {
				conform.Info(t, "MSC4243-JOIN-07", "a leave of "+c.name+" is answered with 200")
			}
			r.Fence(t)
			if got := r.Observe(t, forged); got.Effective() {
				conform.Violation(t, "MSC4243-JOIN-07", "a leave of another to have no effect", got.String())
			}

			// Control: one's own.
			honest := r.Forge(t, gil, leave, fakeserver.Forgery{})
			must.Succeed(conform.Setup(t), submit(t, r, "leave", honest))
			r.Alice.MustSeeMember(conform.Setup(t), r.ID, r.ClientID(gil), "leave")
		})
	}
}
