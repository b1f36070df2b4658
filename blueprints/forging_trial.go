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
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// trial is one cell of the matrix of forgeries and delivery paths.
type trial struct {
	*Forging
	path fakeserver.DeliveryPath
}

// of is what the trial's control depends on.
func (c trial) of() controlOf { return controlOf{c.path.Name, c.row.On} }

// inRoom delivers the event to a homeserver that is in the room. What is honest is delivered before
// it, and must be in the room's state when the forged event is looked for.
func (c trial) inRoom(t testing.TB) Outcome {
	t.Helper()
	r, next := c.hosted(t, c.path.Carries)

	honest := next(t, fakeserver.Forgery{})
	control := r.deliver(t, c.path, honest)
	if c.path.Carries != fakeserver.Requests { // the homeserver sends back what it has authorised
		r.Keep(t, honest)
	}
	for _, follower := range control.Followers {
		r.Room.Add(follower)
	}

	forged := next(t, c.row.Forgery)
	delivered := r.deliver(t, c.path, forged)
	r.Fence(t)
	o, state := r.observe(t, forged, r.shownAtOnce)
	if !slices.Contains(state, honest.EventID) && !o.Effective() {
		c.mustAccept(t, r, honest, control)
		o, _ = r.observe(t, forged, r.shownAtOnce)
	}
	o.Refusal = refusal(delivered)
	o.Signed = c.path.Carries == fakeserver.Requests && o.Refusal == ""
	return o
}

// mustAccept is the control: it waits until the event without the forgery is in the room's state.
func (c trial) mustAccept(t testing.TB, r *Room, honest fakeserver.Forged, delivered fakeserver.Delivered) {
	t.Helper()
	err := wait.Until(wait.Context(t), wait.Limit(), "the event without the forgery to be in the state", func(context.Context) (bool, error) {
		return slices.Contains(r.StateBefore(t, r.Next(t)), honest.EventID), nil
	})
	switch {
	case err == nil:
	case c.path.Asks != "" && len(r.Peer.Transcript().Exchanges(c.asks)) == 0:
		conform.Skip(t, "the homeserver does not ask for events by %s", c.path.Asks)
	default:
		conform.Inconclusive(t, "the control failed: %v; %s", err, refusal(delivered))
	}
}

// asks matches the requests by which the homeserver asks for the event.
func (c trial) asks(e fakeserver.Exchange) bool {
	return e.Direction == fakeserver.Inbound && e.Operation == c.path.Asks
}

// inState hands the event out with the state of a room that the homeserver joins. The control is a
// room of the same making in which the event is honest, joined before; the fence is a message in the
// room, or, when the homeserver refuses to join, that it still joins an honest one.
func (c trial) inState(t testing.TB) Outcome {
	t.Helper()
	honest := func() {
		r := c.another(t)
		event := r.casting(t, c.row)(t, fakeserver.Forgery{})
		r.Keep(t, event)
		r.open(t)
		r.AliceJoins(t)
		r.Fence(t)
		c.mustAccept(t, r, event, fakeserver.Delivered{})
	}
	c.controls.once(c.of(), honest)

	r := c.another(t)
	next := r.casting(t, c.row)
	r.castVictim(t)
	forged := next(t, c.row.Forgery)
	r.deliver(t, c.path, forged)
	r.open(t)
	if response := r.enter(t); !response.OK() {
		honest()
		return Outcome{Refusal: fmt.Sprintf("status %d, %s", response.Status, response.Body)}
	}
	r.mustBeIn(conform.Setup(t), r.Alice)
	r.Fence(t)
	o, _ := r.observe(t, forged, r.shownAtOnce)
	return o
}

// inHistory makes the event part of the history of a room that the homeserver joins, in which a
// client then pages back. The control is a room of the same making in which the event is honest; the
// fence is the honest event that follows the forged one.
func (c trial) inHistory(t testing.TB) Outcome {
	t.Helper()
	page := func(f fakeserver.Forgery) (*Room, fakeserver.Forged, *matrix.Event) {
		r := c.another(t)
		next := r.casting(t, c.row)
		r.castVictim(t)
		event := next(t, f)
		after := r.deliver(t, c.path, event).Followers[0]
		r.open(t)
		r.AliceJoins(t)
		r.Fence(t)
		return r, event, after
	}
	setup := conform.Setup(t)
	history := func(r *Room) map[string]gjson.Result {
		found := map[string]gjson.Result{}
		for _, event := range r.Alice.MustHistory(setup, r.ID) {
			found[event.Get("event_id").Str] = event
		}
		return found
	}
	c.controls.once(c.of(), func() {
		r, honest, after := page(fakeserver.Forgery{})
		if seen := history(r); !seen[honest.EventID].Exists() || !seen[after.ID()].Exists() {
			conform.Inconclusive(t, "the control failed: alice is not shown the honest history of a room that she has joined")
		}
	})

	r, forged, after := page(c.row.Forgery)
	seen := history(r)
	if !seen[after.ID()].Exists() {
		conform.Inconclusive(t, "the fence failed: alice is not shown the honest event after the forged one")
	}
	o, _ := r.observe(t, forged, func(testing.TB, fakeserver.Forged) gjson.Result { return seen[forged.EventID].Get("content") })
	for _, pdu := range r.Peer.Backfill(setup, r.At, r.ID, 10, after.ID()).Events {
		if hash, err := matrix.ReferenceHash(pdu); err == nil && "$"+matrix.EncodeURLBase64(hash[:]) == forged.EventID {
			o.InHistory = true
		}
	}
	return o
}

// outside delivers an invitation to a homeserver that is not in the room. The control is an honest
// invitation to another room, and the fence a second one.
func (c trial) outside(t testing.TB) Outcome {
	t.Helper()
	invite := func(f fakeserver.Forgery) (*Room, fakeserver.Delivered) {
		r := c.another(t)
		// Somebody of the homeserver: nobody can invite in the name of another server's user.
		victim := r.Peer.Member(t, "victim")
		id := victim.Account().Key().UserID(r.At)
		if r.Version.HasParticipation() {
			id = victim.IDThrough(r.Version, fakeserver.NewServerKey())
		}
		r.Room.SetCast(fakeserver.Cast{Victim: string(id), VictimName: victim.Name()})
		d := fakeserver.Membership(matrix.UserID(r.Alice.UserID), "invite").With("body", "honest")
		return r, r.deliver(t, c.path, r.Forge(t, r.Fay, d, f))
	}
	honest := func() {
		setup := conform.Setup(t)
		r, delivered := invite(fakeserver.Forgery{})
		if why := refusal(delivered); why != "" && r.Version.HasParticipation() {
			conform.Skip(t, "how a user is invited whose server's key the room does not know is not said (D-39), and the homeserver has refused it: %s", why)
		}
		must.Be(setup, refusal(delivered) == "", "the honest invitation to be signed; the homeserver refused it: %s", refusal(delivered))
		r.mustBeInvited(setup)
	}
	honest()
	r, delivered := invite(c.row.Forgery)
	honest()
	return Outcome{
		Signed:  delivered.Response.Status == 200 && delivered.Response.Get("event.signatures").Exists(),
		Shown:   r.Alice.View().Room(r.ID).Section != "",
		Refusal: refusal(delivered),
	}
}

// mustBeInvited waits until alice is told of an invitation, under whichever user ID.
func (r *Room) mustBeInvited(t testing.TB) {
	t.Helper()
	r.Alice.MustSyncUntil(t, "an invite to "+r.ID, func(v *csapi.View) bool { return v.Room(r.ID).Section == "invite" })
}

// refusal is what the homeserver said when it would not take an event; empty when it did, or when it
// was not asked. The answer to a transaction says nothing of that.
func refusal(d fakeserver.Delivered) string {
	if d.Response == nil || d.Response.Status/100 == 2 {
		return ""
	}
	return fmt.Sprintf("status %d, %s", d.Response.Status, strings.TrimSpace(string(d.Response.Body)))
}

// castVictim makes another user of fay's server, who is in the room, the victim of forgeries: in a room
// that is to be joined nobody else can be.
func (r *Room) castVictim(t testing.TB) {
	t.Helper()
	if r.Version.HasParticipation() {
		return // castServers has done it
	}
	victim := r.Peer.Member(t, "victim")
	r.Keep(t, r.Forge(t, victim, fakeserver.Membership(r.UserID(victim), "join"), fakeserver.Forgery{}))
	r.Room.SetCast(fakeserver.Cast{Victim: string(r.UserID(victim)), VictimName: victim.Name(), Other: victim})
}

// deliver puts an event on its way.
func (r *Room) deliver(t testing.TB, path fakeserver.DeliveryPath, f fakeserver.Forged) fakeserver.Delivered {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	delivered, err := path.Deliver(ctx, r.Room, r.At, f)
	switch {
	case errors.Is(err, fakeserver.ErrImpossible):
		conform.HarnessError(t, "%v", err)
	case err != nil:
		conform.Inconclusive(t, "%v", err)
	}
	return delivered
}

// another is a public room of fay's in which anybody may do what the forgeries do.
func (c trial) another(t testing.TB) *Room {
	t.Helper()
	return c.AnotherWith(t, fakeserver.RoomOptions{PowerLevels: powerLevels("")})
}

// open lets anybody join a room that fay made and that the cast has restricted.
func (r *Room) open(t testing.TB) {
	t.Helper()
	if rules := r.Room.State("m.room.join_rules", ""); rules.Get("join_rule").Str == "restricted" {
		public := fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": "public"})
		r.Keep(t, r.Forge(t, r.Fay, public, fakeserver.Forgery{}))
	}
}
