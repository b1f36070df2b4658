package msc4345

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// Participation semantics: every move from every standing to every participation, by everybody whose power
// makes a difference, brought by the server of the sender or by another. What the prose makes of a move
// decides; where the rules as they are written down make something else of it, which of the two the
// homeserver follows is recorded.
func TestMachine_Moves(t *testing.T) {
	for _, who := range authors() {
		for _, relayed := range []bool{false, true} {
			if relayed && conform.UnderRaceDetector {
				continue // the same code as without
			}
			name := who.name
			if relayed {
				name += "/relayed"
			}
			conform.Deal(t, name, func(t *testing.T) {
				t.Parallel()
				conform.Covers(t, judgedBy(who)...)
				m := newMachine(t)
				moves := m.movesOf(t, who)
				m.prepare(t, moves)
				m.make(t, moves, relayed)
				m.judge(t, moves, relayed)
			})
		}
	}
}

// judgedBy are the requirements of all moves of an author.
func judgedBy(who author) (requirements []string) {
	for _, from := range standings() {
		for _, to := range words() {
			requirements = append(requirements, move{from, to, who}.prose().requirement)
		}
	}
	slices.Sort(requirements)
	return slices.Compact(requirements)
}

// machine is a room of fay's in which moves are made: alice is there, an admin and a moderator are users of
// fay's server. What the fake server sends is gathered, and delivered in one go.
type machine struct {
	*blueprints.Room
	admin, moderator *fakeserver.User
	// somebody is a user of the servers that have power of their own.
	somebody *fakeserver.User
	gathered []json.RawMessage
}

// aMove is a move of a server key of its own.
type aMove struct {
	move
	key   matrix.ServerKeyPair
	event fakeserver.Forged
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	m := &machine{Room: visiting(t)}
	m.admin, m.moderator, m.somebody = m.Peer.Member(t, "admin"), m.Peer.Member(t, "moderator"), m.Peer.Member(t, "somebody")
	for _, user := range []*fakeserver.User{m.admin, m.moderator} {
		m.say(t, user, fakeserver.Membership(m.UserID(user), "join"))
	}
	return m
}

// say makes an honest event part of the room, to be delivered with the others.
func (m *machine) say(t testing.TB, sender *fakeserver.User, d fakeserver.Draft) {
	t.Helper()
	event := m.Forge(t, sender, d, fakeserver.Forgery{})
	m.Keep(t, event)
	m.gathered = append(m.gathered, event.PDU)
}

// deliver sends what was gathered, by the fake server of the room or by another one: a few events at a
// time, which no homeserver takes long for.
func (m *machine) deliver(t testing.TB, by *blueprints.Peer) {
	t.Helper()
	for pdus := range slices.Chunk(m.gathered, 10) {
		if reply := by.SendPDUs(t, m.At, pdus...); reply.StatusCode() != 200 {
			conform.Inconclusive(t, "a transaction was refused: %s", reply)
		}
	}
	m.gathered = nil
}

// movesOf are the moves of an author, each about a server of its own, and the power levels under which the
// author has that power.
func (m *machine) movesOf(t testing.TB, who author) (moves []*aMove) {
	t.Helper()
	users := map[matrix.UserID]int{m.UserID(m.admin): 100, m.UserID(m.moderator): 99}
	for _, from := range standings() {
		for _, to := range words() {
			made := &aMove{move: move{from, to, who}, key: m.Peer.MintServerKey()}
			if who.subject > 0 {
				users[m.somebody.IDThrough(m.Version, made.key)] = who.subject
			}
			moves = append(moves, made)
		}
	}
	m.say(t, m.Fay, fakeserver.State("m.room.power_levels", "", map[string]any{"users": users}))
	return moves
}

// prepare brings the servers of the moves into the standings that they start from.
func (m *machine) prepare(t testing.TB, moves []*aMove) {
	t.Helper()
	for _, made := range moves {
		m.bring(t, made.key, made.from)
		if made.author.subject > 0 && made.from.participation == matrix.Accepted {
			// D-41: whether users count who are not in the room is open.
			id := m.somebody.IDThrough(m.Version, made.key)
			m.say(t, m.somebody, fakeserver.Membership(id, "join").Through(made.key))
		}
	}
	m.deliver(conform.Setup(t), m.Peer)
}

// bring has a server come to a standing honestly.
func (m *machine) bring(t testing.TB, key matrix.ServerKeyPair, to standing) {
	t.Helper()
	if to.participation == "" {
		return
	}
	name := key.Key().Name()
	m.say(t, m.Fay, m.Room.Room.Asks(key))
	if to.participation != matrix.Requested {
		m.say(t, m.Fay, m.Room.Room.Accepts(name))
	}
	if to.participation == matrix.Revoked {
		// With its domain, so that nothing but the revocation speaks against accepting it again.
		revocation := m.Room.Room.Revokes(name).With("unverified_domain", m.Peer.Name())
		if to.byItself {
			revocation = revocation.Through(key)
		}
		m.say(t, m.Fay, revocation)
	}
}

// draft is the event of a move, honest in everything but that it may not be allowed, and its sender.
func (m *machine) draft(made *aMove) (*fakeserver.User, fakeserver.Draft) {
	name := made.key.Key().Name()
	d := fakeserver.Participates(name, made.to).With("unverified_domain", m.Peer.Name())
	if made.to == matrix.Requested {
		d = d.AuthorisedBy(m.Room.Room.Key())
	}
	switch {
	case made.author.itself:
		return m.Fay, d.Through(made.key) // anybody of that server: fay is not in the room by this name
	case made.author.level == creatorLevel:
		return m.Fay, d
	case made.author.level >= acceptLevel:
		return m.admin, d
	}
	return m.moderator, d
}

// make has the moves made, one after the other.
func (m *machine) make(t testing.TB, moves []*aMove, relayed bool) {
	t.Helper()
	for _, made := range moves {
		sender, d := m.draft(made)
		made.event = m.Forge(t, sender, d, fakeserver.Forgery{})
		m.gathered = append(m.gathered, made.event.PDU)
		if made.prose().allowed {
			m.Keep(t, made.event)
		}
	}
	by := m.Peer
	if relayed {
		by = m.Scene.Peer(t)
	}
	m.deliver(t, by)
	m.Fence(t)
}

// judge compares what came of the moves with what the prose makes of them.
func (m *machine) judge(t testing.TB, moves []*aMove, relayed bool) {
	t.Helper()
	setup := conform.Setup(t)
	told := m.StateBefore(t, m.Next(t))
	shown := blueprints.StateIDs(setup, m.Alice, m.ID)
	for _, made := range moves {
		id := made.event.EventID
		inState, inView := slices.Contains(told, id), slices.Contains(shown, id)
		want := made.prose()
		observed := fmt.Sprintf("it is in the state over federation: %t; in the state that clients are told: %t", inState, inView)
		switch {
		case want.allowed && relayed && !inState && !inView:
			// That servers take events from others than the sender's is not said here.
			conform.Info(t, want.requirement, made.String()+", brought by another server: not taken")
		case want.allowed && !(inState && inView):
			conform.Violation(t, want.requirement, made.String()+" is allowed", observed)
		case !want.allowed && (inState || inView):
			conform.Violation(t, want.requirement, made.String()+" is not allowed", observed)
		}
		if made.disputed() && !relayed {
			conform.Info(t, want.requirement, made.String()+": "+follows(made.move, inState))
		}
	}
}

// follows says which text a homeserver follows that has allowed a disputed move, or not.
func follows(m move, allowed bool) string {
	if allowed == m.prose().allowed {
		return "as the prose has it"
	}
	return "as the rules have it, word by word"
}
