package msc4243

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
)

// Server behaviour: what is filtered out is filtered out of rooms that the client has left, too.
func TestUnverifiedUsers_InRoomsThatOneHasLeft(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		request func(since string) csapi.SyncRequest
	}{
		{"in the sync that brings the leave", func(since string) csapi.SyncRequest {
			return csapi.SyncRequest{Since: since, Filter: longTimeline}
		}},
		{"in a first sync that includes such rooms", func(string) csapi.SyncRequest {
			return csapi.SyncRequest{Filter: `{"room":{"include_leave":true,"timeline":{"limit":200}}}`}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-VIS-01")
			r := hosting(t)
			setup := conform.Setup(t)
			carol := local(t, r, "carol")
			since := carol.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch")
			mallory := r.JoinUnverified(t, "mallory")
			hidden := r.MustHide(t, mallory, fakeserver.Message("nobody sees me")).ID()
			visible := r.Fence(t).ID()
			carol.MustLeave(setup, r.ID)

			left := carol.Sync(setup, c.request(since)).MustOK(setup).Get("rooms.leave").Map()[r.ID]
			if !eventIn(left, visible).Exists() {
				conform.Skip(t, "the homeserver shows nothing of what happened in the room before one has left: %s", left.Raw)
			}
			if leak := eventIn(left, hidden); leak.Exists() {
				conform.Violation(t, "MSC4243-VIS-01", "no message by an unverified user in a room that one has left", leak.Raw)
			}
		})
	}
}

// Server behaviour, of state: what a verified user's event has replaced is shown beside it, unless it is hidden.
func TestUnverifiedUsers_StateIsNotShownAsPreviousContent(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-VIS-02")
	r := hosting(t, anybodyMay())
	setup := conform.Setup(t)
	since := r.Alice.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch")
	mallory := r.JoinUnverified(t, "mallory")
	secret := blueprints.Unique("topic")
	r.MustHide(t, mallory, topicOf(secret))
	set := blueprints.MustSend(setup, r.Room, r.Fay, topicOf("by fay")).ID()
	r.Alice.MustSee(setup, r.ID, set)
	p := place{client: r.Alice, roomID: r.ID}
	for where, part := range map[string]gjson.Result{
		"/sync":     inSync(setup, p, csapi.SyncRequest{Since: since, Filter: longTimeline}),
		"/messages": list(r.Alice.MustPage(setup, r.ID, "b")),
		"/event":    r.Alice.Event(setup, r.ID, set).MustOK(setup),
		"/state":    r.Alice.AllState(setup, r.ID).MustOK(setup),
	} {
		if strings.Contains(part.Raw, secret) {
			conform.Violation(t, "MSC4243-VIS-02", "nothing in "+where+" of what an unverified user had set", eventIn(part, set).Raw)
		}
	}
}

// Handling GDPR erasure: "events for this key MUST NOT be sent down sync streams", whatever they are. Here the
// user who is erased has turned encryption on, for good (client-server API, "m.room.encryption"). A client that
// is not told sends in the clear.
func TestEncryption_OfAnErasedUser(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-VIS-21")
	r := hosting(t, anybodyMay())
	setup := conform.Setup(t)
	erin := r.Join(t, "erin")
	on := blueprints.MustSend(setup, r.Room, erin, fakeserver.State("m.room.encryption", "", map[string]any{"algorithm": "m.megolm.v1.aes-sha2"})).ID()
	r.Alice.MustSee(setup, r.ID, on)
	mustLearnErasure(t, r, erin)
	r.Fence(t)
	shown := inSync(setup, place{client: r.Device(t, r.Alice), roomID: r.ID}, csapi.SyncRequest{Filter: longTimeline})
	told := map[bool]string{true: "is told", false: "is not told"}[strings.Contains(shown.Raw, `"m.room.encryption"`)]
	conform.Info(t, "MSC4243-VIS-21", "a new device "+told+" that the room is encrypted, when the user who has turned that on was erased")
}

// Server behaviour: "Once a mapping has been verified, it can be permanently cached"; the diagram of states has no
// way back to Unverified. What a verified user has said stays theirs when they have gone.
func TestVerifiedUsers_StayVerifiedWhenTheyLeave(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SM-06")
	r := hosting(t)
	setup := conform.Setup(t)
	gil := r.Join(t, "gil")
	said := blueprints.MustSend(setup, r.Room, gil, fakeserver.Message("farewell")).ID()
	r.Alice.MustSee(setup, r.ID, said)
	gil.AnswerWith(blueprints.Unknown()) // whoever asks again gets no name
	left := blueprints.MustSend(setup, r.Room, gil, fakeserver.Membership(gil.KeyID(), "leave")).ID()
	r.Fence(t)
	history := list(r.Alice.MustPage(setup, r.ID, "b"))
	for what, id := range map[string]string{"the message": said, "the leave": left} {
		if shown := eventIn(history, id); shown.Get("sender").Str != r.ClientID(gil) {
			conform.Violation(t, "MSC4243-SM-06", what+" of a verified user who has left, from "+r.ClientID(gil), "in /messages: "+shown.Raw)
		}
	}
}
