package msc4243

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/resolution"
	"countersign/matrix"
)

// fork is a room of fay's in which vera, who is verified, and mallory, who is not, act without having
// seen what the other does.
type fork struct {
	*blueprints.Room
	vera, mallory, guest *fakeserver.User
	common               resolution.Room
	started              time.Time
}

// newFork makes a room beside that of r, in which vera and mallory have some power levels, and has
// alice join it.
func newFork(t *testing.T, r *blueprints.Room, vera, mallory int) fork {
	t.Helper()
	f := fork{Room: r.Another(t), started: time.Now()}
	f.vera, f.mallory, f.guest = r.Peer.Member(t, "vera"), r.Peer.Member(t, "mallory"), r.Peer.Member(t, "guest")
	f.mallory.AnswerWith(blueprints.Unknown())
	f.common.Users = map[string]int{string(f.vera.KeyID()): vera, string(f.mallory.KeyID()): mallory, string(f.guest.KeyID()): 0}
	seat(t, f.Room, map[*fakeserver.User]int{f.vera: vera, f.mallory: mallory, f.guest: 0})
	f.AliceJoins(t)
	return f
}

// move is what one of the two does to the room or to the other.
type move struct {
	name string
	kind resolution.Kind
	// gift is the power level that the guest is given by power levels; -1 takes the other's away.
	gift int
}

func moves() []move {
	return []move{
		{"sets the topic", resolution.Topic, 0},
		{"sets the join rules", resolution.Rules, 0},
		{"gives the guest power", resolution.Levels, 25},
		{"gives the guest more power", resolution.Levels, 60},
		{"takes the other's power", resolution.Levels, -1},
		{"bans the other", resolution.Ban, 0},
		{"kicks the other", resolution.Kick, 0},
	}
}

// make builds the event of a move, and the act that the oracle knows it by. The event follows what both
// sides have in common; after is how much later than the fork it says that it was sent.
func (f fork) make(t *testing.T, m move, sender, other *fakeserver.User, after time.Duration) (*matrix.Event, resolution.Act) {
	t.Helper()
	a := resolution.Act{Sender: string(sender.KeyID()), Kind: m.kind}
	var d fakeserver.Draft
	switch m.kind {
	case resolution.Topic:
		d = topicOf("by " + sender.Name())
	case resolution.Rules:
		d = fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": "public", "by": sender.Name()})
	case resolution.Ban, resolution.Kick:
		a.Target = string(other.KeyID())
		d = fakeserver.Membership(other.KeyID(), map[resolution.Kind]string{resolution.Ban: "ban", resolution.Kick: "leave"}[m.kind])
	case resolution.Levels:
		content := f.Room.Room.State("m.room.power_levels", "").Get("@this").Value().(map[string]any)
		users := content["users"].(map[string]any)
		if m.gift < 0 {
			users[string(other.KeyID())] = 0
		} else {
			users[string(f.guest.KeyID())] = m.gift
		}
		a.Users = map[string]int{}
		for user := range f.common.Users {
			switch level := users[user].(type) {
			case int:
				a.Users[user] = level
			case float64:
				a.Users[user] = int(level)
			}
		}
		d = fakeserver.State("m.room.power_levels", "", content)
	}
	d.Time = f.started.Add(after)
	event := blueprints.NewEvent(t, f.Room.Room, sender, d)
	a.ID, a.Time = event.ID(), event.OriginServerTS()
	return event, a
}

// Room version 12, "State resolution", where those who disagree are account keys, one of them verified
// and one not: the homeserver's state after the fork is what the suite's own resolution says.
func TestStateResolution(t *testing.T) {
	const now = 0
	v := conform.AccountKeyVersion(t)
	for i, powers := range []struct{ vera, mallory int }{{100, 50}, {50, 100}, {75, 75}} {
		if i > 0 && conform.UnderRaceDetector {
			break // the same code
		}
		for _, first := range moves() {
			t.Run(fmt.Sprintf("verified with %d against unverified with %d/vera %s", powers.vera, powers.mallory, first.name), func(t *testing.T) {
				t.Parallel()
				conform.Covers(t, "MSC4243-AUTH-09", "MSC4243-AUTH-08")
				people := blueprints.Visited(t, v)
				for _, second := range moves() {
					for _, order := range []struct {
						name          string
						vera, mallory time.Duration
					}{{"before", now, time.Second}, {"after", time.Second, now}, {"at the same time", now, now}} {
						if order.vera == order.mallory && (first != second || first.kind != resolution.Topic) {
							continue // only of two equal acts does the event ID decide
						}
						f := newFork(t, people, powers.vera, powers.mallory)
						veras, a := f.make(t, first, f.vera, f.mallory, order.vera)
						mallorys, b := f.make(t, second, f.mallory, f.vera, order.mallory)
						if f.common.Allows(a) != "" || f.common.Allows(b) != "" {
							continue // forbidden in any case
						}
						f.judge(t, fmt.Sprintf("vera %s %s mallory %s", first.name, order.name, second.name), resolution.Resolve(f.common, a, b), veras, mallorys)
					}
				}
			})
		}
	}
}

// judge sends both sides of the fork and an event of fay's that follows both, and compares the state
// before that event and the state of the homeserver's next event with the oracle's.
func (f fork) judge(t *testing.T, scenario string, want resolution.Verdict, sides ...*matrix.Event) {
	t.Helper()
	setup := conform.Setup(t)
	merge := fakeserver.Message("both sides meet")
	for _, side := range sides {
		f.Peer.SendPDUs(setup, f.At, side.JSON())
		f.Room.Room.AddOutlier(side)
		merge.PrevEvents = append(merge.PrevEvents, side.ID())
	}
	merged := blueprints.MustSend(setup, f.Room.Room, f.Fay, merge)
	f.Alice.MustSee(setup, f.ID, merged.ID())
	for _, at := range []*matrix.Event{merged, f.Next(t)} {
		state := f.StateBefore(t, at)
		for _, side := range sides {
			if got := slices.Contains(state, side.ID()); got != want.Stands[side.ID()] {
				conform.Violation(t, "MSC4243-AUTH-09", fmt.Sprintf("%s: %s", scenario, want),
					fmt.Sprintf("the event of %s is in the state: %t", side.Sender(), got))
			}
		}
	}
}
