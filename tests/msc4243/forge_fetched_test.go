package msc4243

import (
	"testing"
	"time"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
)

// fetched is a forgery tried where a homeserver asks for the event itself. It is one of signatures
// only, so that the event keeps the ID by which it is asked for.
type fetched struct {
	name    string
	forgery fakeserver.Forgery
}

func fetchedForgeries() []fetched {
	return []fetched{
		{"server-key-only", fakeserver.Forgery{SignWithServerKeyOnly: true}},
		{"another-users-key", fakeserver.Forgery{SignWith: fakeserver.OtherKey}},
		{"entity-is-the-full-user-id", fakeserver.Forgery{SignatureEntity: "@{key}:{domain}"}},
		{"bit-flipped", fakeserver.Forgery{FlipSignatureBits: []int{300}}},
		{"no-signatures", fakeserver.Forgery{OmitSignatures: true}},
	}
}

// hide adds an event to fay's room that has not been sent to anybody, and hands out the forged form of
// it to whoever asks.
func hide(t *testing.T, r *blueprints.Room, d fakeserver.Draft, f fakeserver.Forgery) fakeserver.Forged {
	t.Helper()
	d.Time = time.Now()
	honest := r.Forge(t, r.Fay, d, fakeserver.Forgery{})
	forged := r.Forge(t, r.Fay, d, f)
	if forged.EventID != honest.EventID {
		conform.HarnessError(t, "the forgery changes the event ID, so that nobody would ask for it")
	}
	r.Keep(t, honest)
	r.Room.ServeAs(honest.EventID, forged.PDU)
	return forged
}

// Server-server API, "Backfilling and retrieving missing events": what comes back is checked as what
// is sent. Alice joins a room and pages back into its history.
func TestForge_Backfill(t *testing.T) {
	v := conform.AccountKeyVersion(t)
	for _, c := range fetchedForgeries() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-FORGE-52")
			control := blueprints.Visited(t, v)
			enter := func(r *blueprints.Room, f fakeserver.Forgery) (target, after fakeserver.Forged) {
				setup := conform.Setup(t)
				target = hide(t, r, fakeserver.Message("target"), f)
				after = hide(t, r, fakeserver.Message("after it"), fakeserver.Forgery{})
				r.Alice.MustJoin(setup, r.ID, string(r.Peer.Name()))
				r.Alice.MustSeeMember(setup, r.ID, r.Alice.UserID, "join")
				r.Fence(t)
				return target, after
			}

			// Control: the same history, honest, is seen.
			target, after := enter(control, fakeserver.Forgery{})
			for _, event := range []fakeserver.Forged{target, after} {
				if !control.Alice.HistoryHas(conform.Setup(t), control.ID, event.EventID) {
					conform.Inconclusive(t, "the control failed: alice is not shown the honest history of a room that she has joined")
				}
			}

			r := control.Another(t)
			forged, after := enter(r, c.forgery)
			if !r.Alice.HistoryHas(conform.Setup(t), r.ID, after.EventID) {
				conform.Inconclusive(t, "the fence failed: alice is not shown the honest event after the forged one")
			}
			if got := r.Observe(t, forged); got.Effective() {
				conform.Violation(t, "MSC4243-FORGE-52", "a forged event in an answer to /backfill has no effect", got.String())
			}
		})
	}
}

// Server-server API, "Checks performed on receipt of a PDU": the parents that a homeserver asks for
// are checked like any event. An honest message arrives whose parent is forged, and fay's server hands
// out the parent however it is asked.
func TestForge_MissingEvents(t *testing.T) {
	v := conform.AccountKeyVersion(t)
	for _, c := range fetchedForgeries() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-FORGE-53")
			r := blueprints.FayJoined(t, v, blueprints.Create("power_level_content_override", map[string]any{"state_default": 0}))
			setup := conform.Setup(t)
			gap := func(f fakeserver.Forgery) (parent fakeserver.Forged, child string) {
				parent = hide(t, r, blueprints.Probe(), f)
				return parent, blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Message("child")).ID()
			}

			// Control: a gap whose missing parent is honest.
			parent, child := gap(fakeserver.Forgery{})
			r.Alice.MustSee(setup, r.ID, child)
			r.Alice.MustSee(setup, r.ID, parent.EventID)

			// The fence stands beside the gap, not upon it.
			before := r.Room.Extremities()
			forged, _ := gap(c.forgery)
			sentinel := fakeserver.Message("sentinel")
			sentinel.PrevEvents = before
			r.Alice.MustSee(setup, r.ID, blueprints.MustSend(setup, r.Room, r.Fay, sentinel).ID())
			if got := r.Observe(t, forged); got.Effective() {
				conform.Violation(t, "MSC4243-FORGE-53", "a forged event that was asked for as a missing parent has no effect", got.String())
			}
		})
	}
}
