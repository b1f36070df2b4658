package msc4345

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/walks"
	"countersign/matrix"
)

// Participation semantics, the diagram of states. Random walks: servers request, are accepted and revoked
// by anybody, allowed or not, by events from a fake server and by a client of the homeserver under test.
// After every step the homeserver is compared with the model; what the text leaves in doubt, the model
// takes over from the homeserver. A walk that fails is shortened; the seed for it is part of the evidence.
func TestMachine_Walks(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-AUTH-02", "MSC4345-AUTH-05", "MSC4345-AUTH-06", "MSC4345-AUTH-07",
		"MSC4345-AUTH-12", "MSC4345-AUTH-13", "MSC4345-AUTH-14")
	base := walkRoom(t)
	var found deviation
	failure := walks.Check(t, func(rt *rapid.T) {
		w := &walk{machine: base, t: t, rt: rt}
		defer func() {
			if w.found.requirement != "" {
				found = w.found
			}
		}()
		for range 3 {
			w.servers = append(w.servers, &walker{key: base.Peer.MintServerKey()})
		}
		rt.Repeat(map[string]func(*rapid.T){"a move": w.step})
	})
	if failure != "" {
		conform.Violation(t, found.requirement, found.expected, found.observed+"; "+failure)
	}
}

// walkRoom is the room of all walks: every walk has servers of its own. Alice may decide, too.
func walkRoom(t testing.TB) *machine {
	t.Helper()
	m := newMachine(t)
	m.say(t, m.Fay, fakeserver.State("m.room.power_levels", "", map[string]any{
		"users": map[matrix.UserID]int{m.UserID(m.admin): 100, m.UserID(m.moderator): 99, idOf(t, m.Room): 100},
	}))
	m.deliver(conform.Setup(t), m.Peer)
	m.Fence(t)
	return m
}

// idOf is the user ID under which alice acts in the room.
func idOf(t testing.TB, r *blueprints.Room) matrix.UserID {
	t.Helper()
	return r.Next(t).Sender()
}

// walk is one random walk.
type walk struct {
	*machine
	t       *testing.T // for what must work on the way; that it does not is INCONCLUSIVE
	rt      *rapid.T
	servers []*walker
	steps   []string
	found   deviation
}

// walker is a server on a walk, with the standing that the model gives it.
type walker struct {
	key matrix.ServerKeyPair
	standing
}

// step makes a move that is drawn, and compares.
func (w *walk) step(rt *rapid.T) {
	which := rapid.IntRange(0, len(w.servers)-1).Draw(rt, "server")
	server := w.servers[which]
	to := rapid.SampledFrom(words()).Draw(rt, "participation")
	who := rapid.SampledFrom(walking()).Draw(rt, "author")
	made := &aMove{move: move{server.standing, to, who}, key: server.key}
	w.steps = append(w.steps, fmt.Sprintf("server %d: %s", which, made))
	if who.name == "alice" {
		w.byAlice(made)
	} else {
		w.byFay(made)
	}
	w.compare(server, made.move)
}

// walking are the authors of walks. Nobody of the servers that walk has any power.
func walking() []author {
	weak := slices.DeleteFunc(authors(), func(a author) bool { return a.subject > 0 })
	return append(weak, author{name: "alice", level: 100})
}

// byAlice has alice make a move by the client-server API.
func (w *walk) byAlice(made *aMove) {
	name := string(made.key.Key().Name())
	response := w.Alice.SendState(w.t, w.ID, matrix.ParticipationType, name, map[string]any{
		"participation": made.to, "unverified_domain": w.Peer.Name(),
	})
	if response.OK() {
		w.Peer.MustReceiveEvent(conform.Setup(w.t), response.MustString(w.t, "event_id"))
	}
}

func (w *walk) byFay(made *aMove) {
	sender, d := w.draft(made)
	made.event = w.Forge(w.t, sender, d, fakeserver.Forgery{})
	w.gathered = append(w.gathered, made.event.PDU)
	w.deliver(conform.Setup(w.t), w.Peer)
	w.Fence(w.t)
}

// compare compares the homeserver with the model after a move, and moves the model.
func (w *walk) compare(server *walker, m move) {
	setup := conform.Setup(w.t)
	next := w.Next(setup)
	w.Alice.MustSyncUntil(setup, "to see its own message", func(v *csapi.View) bool { return v.Room(w.ID).Has(next.ID()) })
	got, want := w.Participation(setup, server.key.Key().Name()), m.from
	ruling := m.prose()
	if ruling.allowed {
		want = m.after()
	}
	if m.disputed() || m.to == m.from.participation {
		// What came of the move is for the table to judge; the walk goes on from there.
		want = standing{got, want.byItself}
	}
	if got != want.participation {
		w.found = deviation{
			ruling.requirement, fmt.Sprintf("the server is %s after a move that is allowed: %t", want, ruling.allowed),
			fmt.Sprintf("it is %q after these steps:\n%s", got, strings.Join(w.steps, "\n")),
		}
		w.rt.Fatalf("%s, but %s", w.found.expected, w.found.observed)
	}
	server.standing = want
	w.keep(server.key.Key().Name())
}

// keep makes what the homeserver has come to the state of the fake server's copy of the room, so that the
// next move cites it.
func (w *walk) keep(server matrix.ServerName) {
	setup := conform.Setup(w.t)
	shown := w.Alice.View().Room(w.ID).State(matrix.ParticipationType, string(server))
	id := shown.Get("event_id").Str
	if id == "" || w.Room.Room.Event(id) != nil {
		return
	}
	event := w.Peer.Event(setup, w.At, id).Only(setup, w.Version)
	w.Room.Room.Add(event)
}

// deviation is where the homeserver and the model differ.
type deviation struct{ requirement, expected, observed string }
