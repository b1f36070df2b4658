package roomv12

import (
	"net/http"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
)

// Server-server API, "PDUs": an event of a local user reaches the other servers in the room. That
// the event has the ID which the client was given is its reference hash.
func TestMessage_LocalUserIsHeardRemotely(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-MSG-01")
	r := blueprints.FayJoined(t, v12)

	event := r.Peer.MustReceiveEvent(t, r.Alice.MustSay(t, r.ID, "hello"))
	must.Equal(t, "sender", string(event.Sender()), r.Alice.UserID)
	must.Equal(t, "content.body", event.Get("body").Str, "hello")
}

// Server-server API, "Transactions": a valid event of another server is accepted and shown.
func TestMessage_RemoteUserIsHeardLocally(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-MSG-02")
	r := blueprints.FayJoined(t, v12)

	event := blueprints.NewEvent(t, r.Room, r.Fay, fakeserver.Message("hello"))
	r.Room.Add(event)
	reply := r.Peer.SendPDUs(t, r.At, event.JSON())
	must.Succeed(t, reply)
	refused := reply.JSON().Get("pdus." + gjson.Escape(event.ID()) + ".error")
	must.Be(t, !refused.Exists(), "no error for the event: %s", reply)

	must.Field(t, r.Alice.MustSee(t, r.ID, event.ID()), "content.body", "hello")
	fetched := r.Peer.Event(t, r.At, event.ID())
	must.Succeed(t, fetched)
	must.SameSet(t, "events in the answer to /event", fetched.EventIDs(t, v12), []string{event.ID()})
}

// Server-server API, "PDUs" and "Room State Resolution": state set on either side counts on both.
func TestState_OfEitherSideCountsOnBoth(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-STATE-01")
	r := blueprints.FayJoined(t, v12)
	r.Alice.MustSendState(t, r.ID, "m.room.power_levels", "", map[string]any{"users": map[string]any{string(r.Fay.ID(v12)): 50}})

	topic := r.Alice.MustSendState(t, r.ID, "m.room.topic", "", map[string]any{"topic": "set locally"})
	r.Peer.MustReceiveEvent(t, topic)

	name := blueprints.MustSend(t, r.Room, r.Fay, fakeserver.State("m.room.name", "", map[string]any{"name": "set remotely"}))
	r.Alice.MustSeeState(t, r.ID, "m.room.name", "", blueprints.ContentIs("name", "set remotely"))
	must.Field(t, r.Alice.MustState(t, r.ID, "m.room.name", ""), "name", "set remotely")

	state := r.StateBefore(t, r.Next(t))
	must.Contain(t, "state over federation", state, topic)
	must.Contain(t, "state over federation", state, name.ID())
}

// Server-server API, "Retrieving events": what /event, /state and /state_ids tell a server in the
// room, and that they tell nothing to one outside.
func TestState_CanBeFetchedByServersInTheRoom(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-STATE-02")
	r := blueprints.FayJoined(t, v12)
	known := r.Next(t)

	event := r.Peer.Event(t, r.At, known.ID())
	must.Succeed(t, event)
	must.SameSet(t, "events in the answer to /event", event.EventIDs(t, v12), []string{known.ID()})
	state := r.Peer.StateAt(t, r.At, r.ID, known.ID())
	must.Succeed(t, state)
	ids := r.Peer.StateIDsAt(t, r.At, r.ID, known.ID())
	must.Succeed(t, ids)
	must.SameSet(t, "/state and /state_ids", state.EventIDs(t, v12), ids.IDs)
	must.Be(t, len(ids.AuthIDs) > 0, "an auth chain: %s", ids)

	var shown []string
	for _, piece := range r.Alice.AllState(t, r.ID).MustOK(t).Array() {
		shown = append(shown, piece.Get("event_id").Str)
	}
	must.SameSet(t, "/state_ids and the state that clients see", ids.IDs, shown)

	outsider := r.Scene.Peer(t)
	for _, reply := range []blueprints.Reply{
		outsider.Event(t, r.At, known.ID()),
		outsider.StateAt(t, r.At, r.ID, known.ID()),
		outsider.StateIDsAt(t, r.At, r.ID, known.ID()),
	} {
		must.Be(t, reply.StatusCode() == http.StatusForbidden || reply.StatusCode() == http.StatusNotFound,
			"403 or 404 for a server that is not in the room: %s", reply)
	}
}

// rooms/v11, "Redactions": the target is named in the content, and loses its content on both sides.
func TestRedaction_StripsContentOnBothSides(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-REDACT-01")
	r := blueprints.FayJoined(t, v12)

	own := r.Alice.MustSay(t, r.ID, "regretted locally")
	redaction := r.Peer.MustReceiveEvent(t, r.Alice.MustRedact(t, r.ID, own, "typo"))
	must.Equal(t, "type", redaction.Type(), "m.room.redaction")
	must.Equal(t, "content.redacts", redaction.Get("redacts").Str, own)

	theirs := blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Message("regretted remotely"))
	r.Alice.MustSee(t, r.ID, theirs.ID())
	redacted := blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Redaction(theirs.ID()))
	r.Alice.MustSee(t, r.ID, redacted.ID())

	for _, id := range []string{own, theirs.ID()} {
		r.MustSeeRedacted(t, id)
		fetched := r.Peer.Event(t, r.At, id)
		must.Succeed(t, fetched)
		must.Equal(t, "content over federation", string(fetched.Only(t, v12).Content()), "{}")
	}
}
