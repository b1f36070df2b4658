package blueprints

import (
	"context"
	"errors"
	"fmt"
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
	// JoinRefused is why the homeserver would not join a room whose state held the event.
	JoinRefused string
}

// Effective reports whether the event has had any effect.
func (o Outcome) Effective() bool { return o.InState || o.BuiltUpon || o.Shown }

// String is one sentence for a report.
func (o Outcome) String() string {
	if o.JoinRefused != "" {
		return "the homeserver would not join a room whose state held the event: " + o.JoinRefused
	}
	var seen []string
	for _, channel := range []struct {
		on   bool
		what string
	}{
		{o.InState, "in the state over federation"}, {o.BuiltUpon, "a previous event of the homeserver's next event"},
		{o.Shown && !o.Emptied, "shown to clients"}, {o.Shown && o.Emptied, "shown to clients without its content"},
		{o.Served, "handed out when asked for"},
	} {
		if channel.on {
			seen = append(seen, channel.what)
		}
	}
	if len(seen) == 0 {
		return "the event left no trace"
	}
	return "the event is " + strings.Join(seen, ", ")
}

// CannotTravel is the reason why a forgery cannot be delivered on a path, or empty when it can. A table
// of tests leaves such a cell out.
func CannotTravel(path fakeserver.DeliveryPath, row fakeserver.NamedForgery) string {
	return path.Refuses(row.Forgery, shape(row.On))
}

// Try commits a forgery and says what came of it. It takes the four steps of a negative test: the
// same event without the forgery is accepted (control), the forgery is delivered on the path, a later
// honest event arrives (fence), and the outcome is observed. A control or a fence that fails leaves
// the test INCONCLUSIVE; a forgery that cannot take the path skips it, with the reason.
func Try(t testing.TB, v matrix.RoomVersion, path fakeserver.DeliveryPath, row fakeserver.NamedForgery) Outcome {
	t.Helper()
	if reason := CannotTravel(path, row); reason != "" {
		conform.Skip(t, "%s cannot travel by %s: %s", row.Name, path.Name, reason)
	}
	if path.Needs == fakeserver.Join {
		return tryInJoin(t, v, path, row)
	}
	return tryInRoom(t, v, path, row)
}

// tryInRoom sends the event to a homeserver that is in the room.
func tryInRoom(t testing.TB, v matrix.RoomVersion, path fakeserver.DeliveryPath, row fakeserver.NamedForgery) Outcome {
	t.Helper()
	r := FayJoined(t, v, Create("power_level_content_override", powerLevels("")))
	author := r.cast(t, row.On)

	control, d := r.author(t, row.On, author)
	honest := r.Forge(t, control, d, fakeserver.Forgery{})
	r.deliver(t, path, honest)
	r.Fence(t)
	if o := r.Observe(t, honest); !o.InState {
		conform.Inconclusive(t, "the control failed: the event without the forgery is not in the room's state; %s", o)
	}
	r.Keep(t, honest)

	forger, d := r.author(t, row.On, author)
	forged := r.Forge(t, forger, d, row.Forgery)
	r.deliver(t, path, forged)
	r.Fence(t)
	return r.Observe(t, forged)
}

// tryInJoin hands the event out with the state of a room that the homeserver joins. The control is a
// room of the same making in which the event is honest, joined before; the fence is a message in the
// room, or, when the homeserver refuses to join, that it still joins an honest one.
func tryInJoin(t testing.TB, v matrix.RoomVersion, path fakeserver.DeliveryPath, row fakeserver.NamedForgery) Outcome {
	t.Helper()
	first := Visited(t, v)
	honest := func() {
		r := first.Another(t)
		author, d := r.author(t, row.On, r.cast(t, row.On))
		event := r.Forge(t, author, d, fakeserver.Forgery{})
		r.Keep(t, event)
		r.open(t)
		setup := conform.Setup(t)
		r.Alice.MustJoin(setup, r.ID, string(r.Peer.Name()))
		r.Alice.MustSeeMember(setup, r.ID, r.Alice.UserID, "join")
		r.Fence(t)
		if o := r.Observe(t, event); !o.InState {
			conform.Inconclusive(t, "the control failed: an honest event in the state of a room that the homeserver joined is not in its state; %s", o)
		}
	}
	honest()

	r := first.Another(t)
	author, d := r.author(t, row.On, r.cast(t, row.On))
	victim := r.Peer.Member(t, "victim")
	r.Keep(t, r.Forge(t, victim, fakeserver.Membership(victim.ID(v), "join"), fakeserver.Forgery{}))
	r.Room.SetCast(fakeserver.Cast{Victim: string(victim.ID(v)), VictimName: victim.Name()})
	forged := r.Forge(t, author, d, row.Forgery)
	r.deliver(t, path, forged)
	r.open(t)
	if response := r.Alice.Join(t, r.ID, string(r.Peer.Name())); !response.OK() {
		honest()
		return Outcome{JoinRefused: fmt.Sprintf("status %d, %s", response.Status, response.Body)}
	}
	r.Alice.MustSeeMember(conform.Setup(t), r.ID, r.Alice.UserID, "join")
	r.Fence(t)
	return r.Observe(t, forged)
}

// open lets anybody join a room that fay made and that the cast has restricted.
func (r *Room) open(t testing.TB) {
	t.Helper()
	if rules := r.Room.State("m.room.join_rules", ""); rules.Get("join_rule").Str == "restricted" {
		public := fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": "public"})
		r.Keep(t, r.Forge(t, r.Fay, public, fakeserver.Forgery{}))
	}
}

// Another is a public room that fay makes beside the one of r, with the same people around it.
func (r *Room) Another(t testing.TB) *Room {
	t.Helper()
	room, err := r.Peer.CreateRoom(r.Fay, fakeserver.RoomOptions{Version: r.Version})
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	twin := *r
	twin.Room, twin.ID = room, room.ID()
	return &twin
}

// shape is the type of the events of a kind, and that they are state events: what a delivery path asks
// about before there is anyone to send them.
func shape(kind fakeserver.Kind) fakeserver.Draft {
	if kind == fakeserver.CreateEvent {
		return fakeserver.State("m.room.create", "", nil)
	}
	return Probe()
}

// draft is the honest event in which forgeries of a kind are committed. Author sends it; second is
// another user of the author's server, who authorises or is invited.
func draft(kind fakeserver.Kind, author, second *fakeserver.User) fakeserver.Draft {
	switch kind {
	case fakeserver.JoinEvent, fakeserver.TemplateEvent:
		return fakeserver.Membership(author.KeyID(), "join")
	case fakeserver.RestrictedJoinEvent:
		d := fakeserver.Membership(author.KeyID(), "join").With("join_authorised_via_users_server", second.KeyID())
		d.CoSigners = []*fakeserver.User{second}
		return d
	case fakeserver.InviteEvent:
		d := fakeserver.Membership(second.KeyID(), "invite")
		d.CoSigners = []*fakeserver.User{second}
		return d
	case fakeserver.PowerLevelsEvent:
		return fakeserver.State("m.room.power_levels", "", powerLevels(author.KeyID()))
	case fakeserver.JoinRulesEvent:
		return fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": "public", "org.countersign.tag": Unique("tag")})
	default:
		return Probe()
	}
}

// powerLevels gives a moderator the power to change them and the join rules, and lets everyone invite
// and send other state.
func powerLevels(moderator matrix.UserID) map[string]any {
	levels := map[string]any{
		"state_default": 0, "invite": 0, "events": map[string]any{"m.room.power_levels": 50, "m.room.join_rules": 50},
	}
	if moderator != "" {
		levels["users"] = map[string]any{string(moderator): 50}
	}
	return levels
}

// Probe is the draft of an event that means nothing, in a place of the state of its own: whether it
// was accepted can be read off the room's state.
func Probe() fakeserver.Draft {
	return fakeserver.State("org.countersign.probe", Unique("probe"), map[string]any{"body": "honest"})
}

// cast brings the room into the state in which events of the kind are honest, and returns the user
// who sends them; nil when each event has an author of its own.
func (r *Room) cast(t testing.TB, kind fakeserver.Kind) *fakeserver.User {
	t.Helper()
	setup := conform.Setup(t)
	hosted := r.Room.State("m.room.create", "").Sender() == r.Fay.ID(r.Version)
	switch kind {
	case fakeserver.JoinEvent:
		return nil
	case fakeserver.RestrictedJoinEvent:
		rules := map[string]any{"join_rule": "restricted", "allow": []any{}}
		if hosted {
			r.Keep(t, r.Forge(t, r.Fay, fakeserver.State("m.room.join_rules", "", rules), fakeserver.Forgery{}))
		} else {
			r.Peer.MustReceiveEvent(setup, r.Alice.MustSendState(setup, r.ID, "m.room.join_rules", "", rules))
		}
		return nil
	case fakeserver.PowerLevelsEvent, fakeserver.JoinRulesEvent:
		if !hosted {
			levels := r.Alice.MustState(setup, r.ID, "m.room.power_levels", "").Value().(map[string]any)
			levels["users"] = map[string]any{r.ClientID(r.Fay): 50}
			r.Peer.MustReceiveEvent(setup, r.Alice.MustSendState(setup, r.ID, "m.room.power_levels", "", levels))
			return r.Fay
		}
		admin := r.Peer.Member(t, "admin")
		r.Keep(t, r.Forge(t, admin, fakeserver.Membership(admin.ID(r.Version), "join"), fakeserver.Forgery{}))
		levels := fakeserver.State("m.room.power_levels", "", powerLevels(admin.ID(r.Version)))
		r.Keep(t, r.Forge(t, r.Fay, levels, fakeserver.Forgery{}))
		return admin
	}
	return r.Fay
}

// author returns who sends the next event of the kind, and the event's draft.
func (r *Room) author(t testing.TB, kind fakeserver.Kind, author *fakeserver.User) (*fakeserver.User, fakeserver.Draft) {
	t.Helper()
	if author == nil {
		author = r.Peer.Member(t, "mallory")
	}
	second := r.Fay
	if kind == fakeserver.InviteEvent {
		second = r.Peer.Member(t, "guest")
	}
	d := draft(kind, author, second)
	if kind == fakeserver.PowerLevelsEvent {
		// What is there stays, so that nothing is changed that is beyond a moderator's power.
		levels := r.Room.State("m.room.power_levels", "").Get("@this").Value().(map[string]any)
		levels["events"].(map[string]any)[Unique("org.countersign.type")] = 50
		d.Content = levels
	}
	return author, d
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

// deliver puts an event on its way.
func (r *Room) deliver(t testing.TB, path fakeserver.DeliveryPath, f fakeserver.Forged) {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	switch err := path.Deliver(ctx, r.Room, r.At, f); {
	case errors.Is(err, fakeserver.ErrImpossible):
		conform.Skip(t, "%v", err)
	case err != nil:
		conform.Inconclusive(t, "%v", err)
	}
}

// Observe looks for what came of an event after a [Room.Fence].
func (r *Room) Observe(t testing.TB, f fakeserver.Forged) Outcome {
	t.Helper()
	next := r.Next(t)
	r.Alice.MustSee(conform.Setup(t), r.ID, next.ID())
	shown := r.shown(t, f)
	return Outcome{
		InState:   slices.Contains(r.StateBefore(t, next), f.EventID),
		BuiltUpon: slices.Contains(next.PrevEvents(), f.EventID),
		Shown:     shown.Exists(),
		Emptied:   shown.Raw == "{}",
		Served:    r.Peer.Event(conform.Setup(t), r.At, f.EventID).StatusCode() == 200,
	}
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
