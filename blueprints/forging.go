package blueprints

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// Outcome is what a homeserver made of one event: what of it could be seen, over federation and by
// clients, after a later honest event had arrived. An event that is dropped, rejected or soft-failed
// leaves no trace in any of the first three.
type Outcome struct {
	// InState: the event is in the state that the homeserver tells over federation.
	InState bool
	// BuiltUpon: the homeserver's next event cites it as a previous event.
	BuiltUpon bool
	// Shown: clients are sent it.
	Shown bool
	// Emptied: clients see it without its content, as a redacted event.
	Emptied bool
	// Served: the homeserver hands it out when its ID is asked for. That alone is no effect: some
	// homeservers keep what they have rejected.
	Served bool
	// InHistory: the homeserver hands it out with the history of the room. It is looked for where the
	// event came as a part of that.
	InHistory bool
	// Signed: the homeserver has returned it with a signature of its own user.
	Signed bool
	// Refusal is what the homeserver said when it would not take the event, or not join a room whose
	// state held it.
	Refusal string
}

// Effective reports whether the event has had any effect.
func (o Outcome) Effective() bool {
	return o.InState || o.BuiltUpon || o.Shown || o.InHistory || o.Signed
}

// String is one sentence for a report.
func (o Outcome) String() string {
	var seen []string
	for _, channel := range []struct {
		on   bool
		what string
	}{
		{o.InState, "in the state over federation"}, {o.BuiltUpon, "a previous event of the homeserver's next event"},
		{o.Shown && !o.Emptied, "shown to clients"}, {o.Shown && o.Emptied, "shown to clients without its content"},
		{o.InHistory, "handed out with the history"}, {o.Signed, "signed by the homeserver"},
		{o.Served, "handed out when asked for"},
	} {
		if channel.on {
			seen = append(seen, channel.what)
		}
	}
	text := "the event left no trace"
	if len(seen) > 0 {
		text = "the event is " + strings.Join(seen, ", ")
	}
	if o.Refusal != "" {
		text += "; the homeserver refused it: " + o.Refusal
	}
	return text
}

// Forging is one forgery to be tried on one path after the other. The trials share the people and,
// where a homeserver that is in a room is to be deceived, the room; every trial has an author, or a
// piece of the room's state, of its own.
type Forging struct {
	*Room
	row      fakeserver.NamedForgery
	controls *Controls
	// public and knocking are the rooms that the homeserver is in, made when they are needed; author
	// sends the events of the forgery's kind in the public one.
	public, knocking *Room
	author           author
}

// NewForging brings the people together. There is no room yet. Trials of the same version share their
// controls.
func NewForging(t testing.TB, v matrix.RoomVersion, row fakeserver.NamedForgery, controls *Controls) *Forging {
	t.Helper()
	return &Forging{Room: meet(t, NewScene(t), v), row: row, controls: controls}
}

// Try commits the forgery and says what came of it. It takes the four steps of a negative test: the
// same event without the forgery is accepted (control), the forgery is delivered on the path, a later
// honest event arrives (fence), and the outcome is observed. A control or a fence that fails leaves
// the test INCONCLUSIVE; a homeserver that never asks for events as the path needs it skips it.
//
// The test is a subtest of the one that the people were brought together for, and does not run at the
// same time as another.
func (f *Forging) Try(t testing.TB, path fakeserver.DeliveryPath) Outcome {
	t.Helper()
	if reason := path.Refuses(f.row); reason != "" {
		conform.HarnessError(t, "%s cannot travel by %s: %s", f.row.Name, path, reason)
	}
	f.Part(t)
	trial := trial{Forging: f, path: path}
	switch path.Needs {
	case fakeserver.Outside:
		return trial.outside(t)
	case fakeserver.Join:
		return trial.inState(t)
	case fakeserver.Page:
		return trial.inHistory(t)
	}
	return trial.inRoom(t)
}

// Forge builds an event of a user of the fake server, without sending it or making it part of the
// room.
func (r *Room) Forge(t testing.TB, author *fakeserver.User, d fakeserver.Draft, f fakeserver.Forgery) fakeserver.Forged {
	t.Helper()
	forged, err := r.Room.Forge(author, d, f)
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	return forged
}

// Keep makes an honest event part of the fake server's own copy of the room.
func (r *Room) Keep(t testing.TB, f fakeserver.Forged) {
	t.Helper()
	event, err := f.Event()
	if err != nil {
		conform.HarnessError(t, "an honest event cannot be read: %v", err)
	}
	r.Room.Add(event)
}

// Observe looks for what came of an event after a [Room.Fence].
func (r *Room) Observe(t testing.TB, f fakeserver.Forged) Outcome {
	t.Helper()
	o, _ := r.observe(t, f, r.shown)
	return o
}

// observe is Observe with the state of the room as the homeserver tells it over federation. Shown looks
// for the content of the event as clients are given it.
func (r *Room) observe(t testing.TB, f fakeserver.Forged, shownIn func(testing.TB, fakeserver.Forged) gjson.Result) (o Outcome, state []string) {
	t.Helper()
	next := r.Next(t)
	r.Alice.MustSee(conform.Setup(t), r.ID, next.ID())
	shown := shownIn(t, f)
	state = r.StateBefore(t, next)
	return Outcome{
		InState:   slices.Contains(state, f.EventID),
		BuiltUpon: slices.Contains(next.PrevEvents(), f.EventID),
		Shown:     shown.Exists(),
		Emptied:   shown.Raw == "{}",
		Served:    r.Peer.Event(conform.Setup(t), r.At, f.EventID).StatusCode() == 200,
	}, state
}

// shown is the content of an event as alice's client is given it: in /sync, in /messages, or, when the
// event came with the state of a room that she joined, as the state in its place. It does not exist
// when she is not given the event.
func (r *Room) shown(t testing.TB, f fakeserver.Forged) gjson.Result {
	t.Helper()
	setup := conform.Setup(t)
	if event := r.Alice.View().Room(r.ID).Event(f.EventID); event.Exists() {
		return event.Get("content")
	}
	for _, event := range r.Alice.MustHistory(setup, r.ID) {
		if event.Get("event_id").Str == f.EventID {
			return event.Get("content")
		}
	}
	for _, event := range r.Alice.AllState(setup, r.ID).MustOK(setup).Array() {
		if event.Get("event_id").Str == f.EventID {
			return event.Get("content")
		}
	}
	return gjson.Result{}
}

// shownAtOnce is shown without looking through the room: /sync, and then the event by its ID.
func (r *Room) shownAtOnce(t testing.TB, f fakeserver.Forged) gjson.Result {
	t.Helper()
	if event := r.Alice.View().Room(r.ID).Event(f.EventID); event.Exists() {
		return event.Get("content")
	}
	if answer := r.Alice.Event(conform.Setup(t), r.ID, f.EventID); answer.OK() {
		return answer.Get("content")
	}
	return gjson.Result{}
}

// Eventually observes an event until it has had an effect, or for as long as a wait lasts, and
// returns the last observation.
func (r *Room) Eventually(t testing.TB, f fakeserver.Forged) (o Outcome) {
	t.Helper()
	err := wait.Until(wait.Context(t), wait.Limit(), "the event to have an effect", func(context.Context) (bool, error) {
		o = r.Observe(t, f)
		return o.Effective(), nil
	})
	if err != nil {
		t.Log(err) // the outcome says that there was none
	}
	return o
}
