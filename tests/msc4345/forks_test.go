package msc4345

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// fork is a room of fay's with two homeservers under test in it, and with a further server of the fake
// server's, through which mallory has joined. The history of the room forks: one homeserver hears of the
// first branch before the second, the other the other way round.
type fork struct {
	*blueprints.Room
	bob      *csapi.Client
	bobsAt   matrix.ServerName
	key      matrix.ServerKeyPair
	mallory  *fakeserver.User
	one, two *fakeserver.Branch
}

func newFork(t testing.TB) *fork {
	t.Helper()
	f := &fork{Room: visiting(t)}
	setup := conform.Setup(t)
	hs2 := f.Server(t, "hs2")
	conform.NeedRoomVersion(t, hs2, f.Version.ID)
	f.bob, f.bobsAt = f.User(t, hs2.Alias(), "bob"), blueprints.Name(hs2)
	f.LetIn(setup, f.bob)
	f.key, f.mallory = f.AnotherServer(t, matrix.Accepted), f.Peer.Member(t, "mallory")
	blueprints.MustSend(setup, f.Room.Room, f.Fay, fakeserver.State("m.room.power_levels", "", map[string]any{"state_default": 0}))
	blueprints.MustSend(setup, f.Room.Room, f.mallory, fakeserver.Membership(f.mallory.IDThrough(f.Version, f.key), "join").Through(f.key))
	f.Fence(t)
	f.one, f.two = f.Room.Room.Fork(), f.Room.Room.Fork()
	return f
}

// add adds an event to a branch.
func (f *fork) add(t testing.TB, b *fakeserver.Branch, sender *fakeserver.User, d fakeserver.Draft) *matrix.Event {
	t.Helper()
	event, err := b.Add(sender, d)
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	return event
}

// revocation drafts the revocation of mallory's server: by fay or, through the key itself, by its owner.
func (f *fork) revocation(itself bool) fakeserver.Draft {
	d := f.Room.Room.Revokes(f.key.Key().Name())
	if itself {
		d = d.Through(f.key)
	}
	return d
}

// deliver sends the branches to both homeservers, to each in its own order, and then what joins them. It
// returns a message after that, which both have accepted.
func (f *fork) deliver(t testing.TB) *matrix.Event {
	t.Helper()
	setup := conform.Setup(t)
	for at, branches := range map[matrix.ServerName][]*fakeserver.Branch{f.At: {f.one, f.two}, f.bobsAt: {f.two, f.one}} {
		for _, b := range branches {
			must.NoError(setup, "sending a branch", b.Send(wait.Context(t), at))
		}
	}
	f.one.Adopt()
	f.two.Adopt()
	blueprints.MustSend(setup, f.Room.Room, f.Fay, fakeserver.Message("the branches meet"))
	last := blueprints.MustSend(setup, f.Room.Room, f.Fay, fakeserver.Message("and on it goes"))
	f.Alice.MustSee(setup, f.ID, last.ID())
	f.bob.MustSee(setup, f.ID, last.ID())
	return last
}

// converged is the state before an event as both homeservers tell it; they must agree.
func (f *fork) converged(t testing.TB, at *matrix.Event) []string {
	t.Helper()
	var states [][]string
	for _, server := range []matrix.ServerName{f.At, f.bobsAt} {
		reply := f.Peer.StateIDsAt(conform.Setup(t), server, f.ID, at.ID())
		must.Succeed(conform.Setup(t), reply)
		states = append(states, reply.IDs)
	}
	must.SameSet(t, "the state after the branches have met, on the second homeserver", states[1], states[0])
	return states[0]
}

// participation is what both homeservers tell their clients of mallory's server.
func (f *fork) participation(t testing.TB) (at1, at2 matrix.Participation) {
	t.Helper()
	other := f.bob.State(t, f.ID, matrix.ParticipationType, f.key.Key().String()).MustOK(t)
	return f.Room.Participation(t, f.key.Key().Name()), matrix.Participation(other.Get("participation").Str)
}

// Equivocation of revocation: two revocations at once, by an admin and by the server itself.
func TestFork_TwoRevocations(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-AUTH-23")
	f := newFork(t)
	first := f.add(t, f.one, f.Fay, f.revocation(false))
	second := f.add(t, f.two, f.mallory, f.revocation(true))
	state := f.converged(t, f.deliver(t))
	must.Be(t, slices.Contains(state, first.ID()) != slices.Contains(state, second.ID()), "one of the revocations to be in the state: %v", state)
	one, two := f.participation(t)
	must.Equal(t, "the participation on the first homeserver", one, matrix.Revoked)
	must.Equal(t, "the participation on the second homeserver", two, matrix.Revoked)
}

// Equivocation of revocation: an admin revokes a server while it goes on. The text does not say whether
// participation is a power event (D-43), and so not what is left; that must be the same everywhere.
func TestFork_RevocationMeetsWhatTheServerDoes(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-AUTH-21", "MSC4345-AUTH-23")
	f := newFork(t)
	revocation := f.add(t, f.one, f.Fay, f.revocation(false))
	topic := f.add(t, f.two, f.mallory, fakeserver.State("m.room.topic", "", map[string]any{"topic": "mallory's"}).Through(f.key))
	state := f.converged(conform.Judge(t, "MSC4345-AUTH-23"), f.deliver(t))
	conform.Info(t, "MSC4345-AUTH-21", fmt.Sprintf("after a revocation and a state event of the revoked server have met, the state has the revocation: %t, and the event: %t",
		slices.Contains(state, revocation.ID()), slices.Contains(state, topic.ID())))
}

// Why server bans are implemented as key revocation: "the original key controller can revoke their own key
// in any branch", whatever a thief of the key does on another.
func TestFork_SelfRevocationBeatsAThief(t *testing.T) {
	t.Parallel()
	for name, thief := range map[string]time.Duration{"the-thief-is-later": time.Second, "the-thief-is-earlier": -time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4345-AUTH-22")
			f := newFork(t)
			at := time.Now()
			timed := func(d fakeserver.Draft, at time.Time) fakeserver.Draft {
				d.Time = at
				return d
			}
			f.add(t, f.one, f.mallory, timed(f.revocation(true), at))
			stolen := f.add(t, f.two, f.mallory, timed(fakeserver.Message("by the thief").Through(f.key), at.Add(thief)))
			topic := fakeserver.State("m.room.topic", "", map[string]any{"topic": "the thief's"}).Through(f.key)
			set := f.add(t, f.two, f.mallory, timed(topic, at.Add(thief)))
			state := f.converged(t, f.deliver(t))
			one, two := f.participation(t)
			if one != matrix.Revoked || two != matrix.Revoked {
				conform.Violation(t, "MSC4345-AUTH-22", "the server is revoked after the branches have met", fmt.Sprintf("it is %q and %q", one, two))
			}
			if slices.Contains(state, set.ID()) {
				conform.Violation(t, "MSC4345-AUTH-22", "what the thief has set beside the revocation is not in the state", set.ID())
			}
			if f.Alice.View().Room(f.ID).Has(stolen.ID()) {
				conform.Violation(t, "MSC4345-AUTH-22", "what the thief says after the revocation has arrived is not shown", stolen.ID())
			}
		})
	}
}

// Equivocation of revocation: "this kind of equivocation is handled locally by soft-failure".
func TestFork_EventsBesideARevocationAreSoftFailed(t *testing.T) {
	t.Parallel()
	for _, itself := range []bool{false, true} {
		t.Run(fmt.Sprintf("by-itself=%t", itself), func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4345-AUTH-24")
			f := newFork(t)
			sender := f.Fay
			if itself {
				sender = f.mallory
			}
			f.add(t, f.one, sender, f.revocation(itself))
			late := f.add(t, f.two, f.mallory, fakeserver.Message("did I miss something?").Through(f.key))
			f.deliver(t)
			must.Be(t, !f.Alice.View().Room(f.ID).Has(late.ID()), "the event is not shown where the revocation came first: %s", late.ID())
			must.Be(conform.Setup(t), f.bob.View().Room(f.ID).Has(late.ID()), "the event to be shown where it came first")
			must.Be(t, !slices.Contains(f.Next(t).PrevEvents(), late.ID()), "the homeserver does not build upon the event")
			must.Equal(t, "the status of GET /event", f.Peer.Event(t, f.At, late.ID()).StatusCode(), 200)
		})
	}
}
