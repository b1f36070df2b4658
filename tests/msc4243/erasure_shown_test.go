package msc4243

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// bereft is a room in which fay and erin, both of the fake server, have answered alice, before erin was
// erased. The homeserver has been told so.
type bereft struct {
	*blueprints.Room
	place
	erin *fakeserver.User
	// fays is a message of fay's, and erins are one of erin's and erin's membership.
	fays  sought
	erins []sought
}

func newBereft(t *testing.T) bereft {
	t.Helper()
	setup := conform.Setup(t)
	r := blueprints.Hosted(t, conform.AccountKeyVersion(t), anybodyMay())
	b := bereft{Room: r, place: place{r.Alice, r.ID, r.Alice.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch")}}
	r.FayJoins(t)
	b.erin = r.Join(t, "erin")
	e, answer := thread(setup, r)
	b.fays = answered(setup, r, r.Fay, e, answer)
	said := answered(setup, r, b.erin, e, answer)
	b.fays.beside = r.Fence(t).ID()
	said.beside = b.fays.beside
	r.Alice.MustSee(setup, r.ID, said.id)
	joined := sought{kind: members, of: string(b.erin.NameID()), beside: b.fays.beside}
	joined.id = r.Room.State("m.room.member", string(b.erin.KeyID())).ID()
	b.erins = []sought{said, joined}
	reads := ephemerals()[1]
	reads.send(t, r, b.erin.NameID())
	reads.send(t, r, b.erin.KeyID())
	ctx, cancel := context.WithTimeout(t.Context(), wait.Limit()/5)
	defer cancel()
	// A homeserver that takes no receipts has none to forget.
	if err := r.Alice.SyncUntil(ctx, "erin's receipt", func(v *csapi.View) bool { return slices.Contains(reads.shown(r, v), r.ClientID(b.erin)) }); err != nil {
		t.Log(err)
	}
	mustLearnErasure(t, r, b.erin)
	return b
}

// mustLearnErasure has the fake server erase a user and the homeserver be told: it asks about somebody
// new, and gets the keys that were erased since it last asked. One that asks for them neither by key nor
// by erasure ID cannot know; the test is skipped.
func mustLearnErasure(t testing.TB, r *blueprints.Room, user *fakeserver.User) {
	t.Helper()
	setup := conform.Setup(t)
	user.Erase()
	newcomer := r.Join(t, "newcomer")
	asked := r.Peer.MustBeAsked(setup, fakeserver.OpQueryAccounts, fakeserver.AsksFor(newcomer.Key()))
	told := gjson.GetBytes(asked.ResponseBody, "account_keys").Map()[user.Key()]
	if told.Get("errcode").Str != "M_ERASED" {
		conform.Skip(t, "the homeserver asks neither for keys that it knows nor for erasures: %s", asked.RequestBody)
	}
}

// named are the places, beside those of events, where clients are told of the members of a room.
func (b bereft) named() map[string]func(testing.TB) gjson.Result {
	places := map[string]func(testing.TB) gjson.Result{
		"heroes": func(t testing.TB) gjson.Result {
			return inSync(t, b.place, csapi.SyncRequest{Filter: shortTimeline}).Get("summary")
		},
	}
	for name, ask := range elsewhereShown(b.Alice, b.ID) {
		if name == "user directory" {
			ask = func(t testing.TB) *csapi.Response { return b.Alice.SearchUsers(t, b.erin.Name()) }
		}
		places[name] = func(t testing.TB) gjson.Result { return ask(t).JSON() }
	}
	return places
}

// Handling GDPR erasure: "the receiving server MUST delete the account name mapping for that account key".
// The name is nowhere from then on, not even beside what was there before, and no name takes its place.
func TestErasedUsers_HaveNoName(t *testing.T) {
	t.Parallel()
	b := newBereft(t)
	nameless := func(t *testing.T, part gjson.Result) {
		t.Helper()
		for _, id := range []matrix.UserID{b.erin.NameID(), b.erin.KeyID()} {
			if !part.Get("errcode").Exists() && strings.Contains(part.Raw, string(id)) {
				conform.Violation(t, "MSC4243-ERASE-11", "neither the name of an erased user, nor the account key in its place", string(id)+" in "+part.Raw)
			}
		}
	}
	for _, s := range surfaces() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-ERASE-11")
			for _, e := range b.erins {
				if s.shows&e.kind != 0 {
					nameless(t, s.look(conform.Setup(t), b.place, e))
				}
			}
			if s.shows&messages != 0 {
				s.must(t, b.place, b.fays)
			}
		})
	}
	for name, ask := range b.named() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-ERASE-11")
			nameless(t, ask(conform.Setup(t)))
		})
	}
}

// Handling GDPR erasure: "events for this key MUST NOT be sent down sync streams", neither what an erased
// user sends then nor what is there from before.
func TestErasedUsers_AreNotInSync(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		client func(t *testing.T, b bereft) *csapi.Client
		sync   csapi.SyncRequest
		goesOn bool // from before the erased user's last message
	}{
		{"for who was there", who, csapi.SyncRequest{Filter: longTimeline}, true},
		{"for who was there, with use_state_after", who, csapi.SyncRequest{Filter: longTimeline, StateAfter: true}, true},
		{"for a new device", device, csapi.SyncRequest{Filter: longTimeline}, false},
		{"for a new device, with use_state_after", device, csapi.SyncRequest{Filter: longTimeline, StateAfter: true}, false},
		{"for a new device, with a short timeline", device, csapi.SyncRequest{Filter: shortTimeline}, false},
		{"for who comes later", func(t *testing.T, b bereft) *csapi.Client { return local(t, b.Room, "late") }, csapi.SyncRequest{Filter: longTimeline}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-ERASE-12")
			b := newBereft(t)
			setup := conform.Setup(t)
			if c.goesOn {
				c.sync.Since = b.Alice.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch")
			}
			hidden := []string{b.erins[0].id, b.erins[1].id,
				b.MustHide(t, b.erin, fakeserver.Message("am I still here?")).ID(),
				b.MustHide(t, b.erin, blueprints.Probe()).ID(),
				b.MustHide(t, b.erin, fakeserver.Membership(b.erin.KeyID(), "leave")).ID()}
			seen := b.Fence(t).ID()

			room := inSync(setup, place{client: c.client(t, b), roomID: b.ID}, c.sync)
			must.Be(setup, eventIn(room, seen).Exists() || c.sync.Filter == shortTimeline, "an event of a verified user in:\n%s", room.Raw)
			for _, id := range hidden {
				leak := eventIn(room, id)
				must.Be(t, !leak.Exists(), "no event of an erased user in /sync, got:\n%s", leak.Raw)
			}
		})
	}
}

func who(_ *testing.T, b bereft) *csapi.Client    { return b.Alice }
func device(t *testing.T, b bereft) *csapi.Client { return b.Device(t, b.Alice) }

// Handling GDPR erasure: "Erased account keys otherwise function the same as unverified account keys",
// whose events are filtered out everywhere. "Gradual compatibility" has clients show the key of a deleted
// user (D-18).
func TestErasedUsers_InHistory(t *testing.T) {
	t.Parallel()
	b := newBereft(t)
	for _, s := range surfaces() {
		if s.shows&messages == 0 || strings.Contains(s.name, "sync") {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-ERASE-13", "MSC4243-ERASE-22")
			s.must(t, b.place, b.fays)
			shown := eventIn(s.look(conform.Setup(t), b.place, b.erins[0]), b.erins[0].id)
			if !shown.Exists() {
				return
			}
			for _, id := range []string{"MSC4243-ERASE-13", "MSC4243-ERASE-22"} {
				conform.Violation(t, id, "events of an erased user are not shown", shown.Raw)
			}
		})
	}
}

// Server behaviour: "servers will always see the same events, and be able to perform state resolution /
// apply event auth rules consistently", whoever was erased.
func TestErasedUsers_ActInTheRoomAllTheSame(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-ERASE-14")
	r := visiting(t)
	setup := conform.Setup(t)
	erin, gil := r.Join(t, "erin"), r.Join(t, "gil")
	levels := func(sender *fakeserver.User, users map[string]any) *matrix.Event {
		return blueprints.MustSend(setup, r.Room, sender, fakeserver.State("m.room.power_levels", "", map[string]any{"users": users}))
	}
	levels(r.Fay, map[string]any{string(erin.KeyID()): 100})
	before := blueprints.MustSend(setup, r.Room, erin, fakeserver.State("m.room.topic", "", map[string]any{"topic": "from before"}))
	r.Alice.MustSee(setup, r.ID, before.ID())
	mustLearnErasure(t, r, erin)

	powers := levels(erin, map[string]any{string(erin.KeyID()): 100, string(gil.KeyID()): 50})
	name := blueprints.MustSend(setup, r.Room, gil, fakeserver.State("m.room.name", "", map[string]any{"name": "by the power of an erased user"}))
	conform.Expect(t, "what an erased user has decided counts: who got power by it has it")
	r.Alice.MustSee(t, r.ID, name.ID())
	state := r.StateBefore(t, r.Next(t))
	for what, event := range map[string]*matrix.Event{"the topic from before": before, "the power levels": powers, "the name": name} {
		must.Contain(t, what+" in the state of the room", state, event.ID())
	}
}
