package stateres

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/internal/roomtest"
)

// party is a room in which servers participate by key. Carol has created it on the server "one"; "two",
// "three" and "four" are accepted; Alice has joined on "two", with power level 100, and Bob on "three".
type party struct {
	*dag
	v    matrix.RoomVersion
	base *matrix.Event // the last event of all that
}

// by is somebody at a server. In rooms of MSC4348 the same name is the same account at every server.
type by struct{ user, server string }

var (
	carolAtOne   = by{"carol", "one"}
	aliceAtTwo   = by{"alice", "two"}
	aliceAtThree = by{"alice", "three"}
	aliceAtFour  = by{"alice", "four"}
	bobAtThree   = by{"bob", "three"}
)

func seedOf(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

func serverKey(name string) matrix.ServerKey {
	return matrix.ServerKeyPairFromSeed(seedOf("server " + name)).Key()
}

func idOf(v matrix.RoomVersion, b by) string {
	if v.HasPortableAccounts() {
		return string(matrix.AccountFromSeed(seedOf("account " + b.user)).Key().PortableUserID())
	}
	return string(serverKey(b.server).UserID(b.user))
}

func (p *party) id(b by) string { return idOf(p.v, b) }

// act describes an event that somebody sends through a server.
func (p *party) act(b by, eventType, stateKey, content string, prev ...*matrix.Event) step {
	return step{sender: p.id(b), via: serverKey(b.server).Name(), eventType: eventType, stateKey: stateKey, content: content, prev: prev}
}

func (p *party) do(b by, eventType, stateKey, content string, prev ...*matrix.Event) *matrix.Event {
	p.t.Helper()
	return p.sendStep(p.act(b, eventType, stateKey, content, prev...))
}

func (p *party) participation(b by, server, participation string, prev ...*matrix.Event) *matrix.Event {
	p.t.Helper()
	return p.do(b, matrix.ParticipationType, serverKey(server).String(), `{"participation":"`+participation+`"}`, prev...)
}

func (p *party) request(b by, via string, prev ...*matrix.Event) *matrix.Event {
	p.t.Helper()
	return p.do(b, matrix.ParticipationType, serverKey(b.server).String(), requestContent(via), prev...)
}

func requestContent(via string) string {
	return fmt.Sprintf(`{"participation":"requested","request_authorised_via_server":%q}`, serverKey(via))
}

func (p *party) joinAs(b by, prev ...*matrix.Event) *matrix.Event {
	p.t.Helper()
	return p.do(b, "m.room.member", p.id(b), `{"membership":"join"}`, prev...)
}

func (p *party) setTopic(b by, text string, prev ...*matrix.Event) *matrix.Event {
	p.t.Helper()
	return p.do(b, "m.room.topic", "", `{"topic":"`+text+`"}`, prev...)
}

// levels is a power levels event that gives Alice 100 and has more to it.
func (p *party) levels(b by, more string, prev ...*matrix.Event) *matrix.Event {
	p.t.Helper()
	return p.do(b, "m.room.power_levels", "", fmt.Sprintf(`{"users":{%q:100}%s}`, p.id(aliceAtTwo), more), prev...)
}

// place names a place for requireState.
func participationOf(server string) string {
	return matrix.ParticipationType + "/" + serverKey(server).String()
}

func newParty(t testing.TB, v matrix.RoomVersion, joinRule string) *party {
	t.Helper()
	p := &party{dag: newDAGOf(t, v, idOf(v, carolAtOne), `{}`), v: v}
	e := p.participation(carolAtOne, "one", "accepted", p.create())
	e = p.joinAs(carolAtOne, e)
	e = p.do(carolAtOne, "m.room.join_rules", "", `{"join_rule":"public"}`, e)
	e = p.levels(carolAtOne, `,"state_default":0`, e)
	for _, s := range []string{"two", "three", "four"} {
		e = p.request(by{"anybody", s}, "one", e)
		e = p.participation(carolAtOne, s, "accepted", e)
	}
	e = p.joinAs(aliceAtTwo, e)
	e = p.joinAs(bobAtThree, e)
	p.base = p.do(carolAtOne, "m.room.join_rules", "", `{"join_rule":"`+joinRule+`"}`, e)
	return p
}

func eachVersion(t *testing.T, test func(t *testing.T, v matrix.RoomVersion)) {
	for _, v := range matrix.ParticipationRoomVersions() {
		t.Run(v.ID, func(t *testing.T) { test(t, v) })
	}
}

// D-43, in the versions that have participation.
func TestParticipationIsAPowerEvent(t *testing.T) {
	for v, want := range map[matrix.RoomVersion]bool{
		matrix.RoomVersion12(): false, matrix.RoomVersionMSC4243(): false, matrix.RoomVersionMSC4345(): true, matrix.RoomVersionMSC4348(): true,
	} {
		for _, participation := range []string{"requested", "accepted", "revoked"} {
			e := roomtest.Build(t, v, nil, roomtest.Event{
				Sender: "@a:b", Type: matrix.ParticipationType, StateKey: roomtest.Key("k"), Content: `{"participation":"` + participation + `"}`,
			})
			require.Equal(t, want, isPowerEvent(e), "%s %s", v.ID, participation)
		}
		e := roomtest.Build(t, v, nil, roomtest.Event{Sender: "@a:b", Type: matrix.ParticipationType, Content: `{"participation":"revoked"}`})
		require.False(t, isPowerEvent(e), "a message")
	}
}

// What a server sends while it is being revoked elsewhere does not outlive the merge, however early it
// says that it was sent.
func TestRevocationAgainstConcurrentEvents(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		for name, revoker := range map[string]by{"by the creator": carolAtOne, "by the server": {"stranger", "two"}} {
			t.Run(name, func(t *testing.T) {
				p := newParty(t, v, "public")
				old := p.setTopic(carolAtOne, "before", p.base)
				revoked := p.participation(revoker, "two", "revoked", old)
				evil := p.setTopic(aliceAtTwo, "by the revoked", old)
				early := p.act(aliceAtTwo, "m.room.name", "", `{"name":"early"}`, evil)
				early.ts = 1
				state := p.resolve(p.sendStep(early), revoked)
				p.requireState(state, participationOf("two"), revoked)
				p.requireState(state, "m.room.topic/", old)
				p.requireState(state, "m.room.name/", nil)
				p.requireState(state, "m.room.member/"+p.id(aliceAtTwo), p.at(p.base, "m.room.member", p.id(aliceAtTwo)))
			})
		}
	})
}

// The creator's revocation comes before the power levels that an administrator of the revoked server sets
// at the same time; one by the server's own powerless user comes after them.
func TestRevocationAgainstConcurrentPowerLevels(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		p := newParty(t, v, "public")
		revoked := p.participation(carolAtOne, "two", "revoked", p.base)
		levels := p.levels(aliceAtTwo, `,"ban":7`, p.base)
		state := p.resolve(levels, revoked)
		p.requireState(state, participationOf("two"), revoked)
		p.requireState(state, "m.room.power_levels/", p.at(p.base, "m.room.power_levels", ""))

		p = newParty(t, v, "public")
		revoked = p.participation(by{"stranger", "two"}, "two", "revoked", p.base)
		levels = p.levels(aliceAtTwo, `,"ban":7`, p.base)
		state = p.resolve(levels, revoked)
		p.requireState(state, participationOf("two"), revoked)
		p.requireState(state, "m.room.power_levels/", levels)
	})
}

// Whoever is mightier and whoever is earlier, a server that is accepted on one branch and revoked on the
// other is revoked.
func TestAcceptanceAgainstConcurrentRevocation(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		subject := by{"stranger", "five"}
		for _, acceptor := range []by{carolAtOne, aliceAtTwo} {
			for _, revoker := range []by{carolAtOne, aliceAtTwo, subject} {
				for _, times := range [][2]int64{{500, 600}, {600, 500}, {500, 500}} {
					t.Run(fmt.Sprint(acceptor.user, " ", revoker.user, " ", times), func(t *testing.T) {
						p := newParty(t, v, "public")
						request := p.request(subject, "one", p.base)
						accept := p.act(acceptor, matrix.ParticipationType, serverKey("five").String(), `{"participation":"accepted"}`, request)
						revoke := p.act(revoker, matrix.ParticipationType, serverKey("five").String(), `{"participation":"revoked"}`, request)
						accept.ts, revoke.ts = times[0], times[1]
						accepted, revoked := p.sendStep(accept), p.sendStep(revoke)
						joined := p.joinAs(subject, accepted)
						state := p.resolve(joined, revoked)
						p.requireState(state, participationOf("five"), revoked)
						p.requireState(state, "m.room.member/"+p.id(subject), nil)
					})
				}
			}
		}
	})
}

// Two revocations, and two requests by way of different servers, become one.
func TestTwiceTheSame(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		p := newParty(t, v, "public")
		own := p.participation(by{"stranger", "two"}, "two", "revoked", p.base)
		others := p.participation(carolAtOne, "two", "revoked", p.base)
		p.requireState(p.resolve(own, others), participationOf("two"), others) // the mightier comes first

		subject := by{"stranger", "five"}
		first := p.request(subject, "one", p.base)
		second := p.request(subject, "three", p.base)
		p.requireState(p.resolve(first, second), participationOf("five"), first)
		accepted := p.participation(carolAtOne, "five", "accepted", second)
		p.requireState(p.resolve(first, accepted), participationOf("five"), accepted)
	})
}

// A request falls with the server that has authorised it, when that was revoked at the same time, unless
// it has been accepted: the acceptance brings the request along among its auth events.
func TestRequestAgainstConcurrentRevocation(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		p := newParty(t, v, "public")
		revoked := p.participation(carolAtOne, "two", "revoked", p.base)
		request := p.request(by{"stranger", "five"}, "two", p.base)
		state := p.resolve(request, revoked)
		p.requireState(state, participationOf("two"), revoked)
		p.requireState(state, participationOf("five"), nil)

		accepted := p.participation(carolAtOne, "five", "accepted", request)
		state = p.resolve(accepted, revoked)
		p.requireState(state, participationOf("two"), revoked)
		p.requireState(state, participationOf("five"), accepted)
	})
}

// Alice moves on one branch and acts through her old server on the other. Time decides, as it does for
// all state that is not power.
func TestMigrationAgainstConcurrentEvents(t *testing.T) {
	for _, c := range []struct {
		name        string
		move, topic int64
		kept        bool
	}{{"before the move", 600, 500, true}, {"after the move", 500, 600, false}} {
		t.Run(c.name, func(t *testing.T) {
			p := newParty(t, matrix.RoomVersionMSC4348(), "public")
			old := p.setTopic(carolAtOne, "before", p.base)
			move := p.act(aliceAtThree, "m.room.member", p.id(aliceAtThree), `{"membership":"join"}`, old)
			topic := p.act(aliceAtTwo, "m.room.topic", "", `{"topic":"through the old server"}`, old)
			move.ts, topic.ts = c.move, c.topic
			moved, set := p.sendStep(move), p.sendStep(topic)
			state := p.resolve(moved, set)
			p.requireState(state, "m.room.member/"+p.id(aliceAtTwo), moved)
			want := old
			if c.kept {
				want = set
			}
			p.requireState(state, "m.room.topic/", want)
		})
	}
}

// Alice moves to different servers on two branches. The later move stands, and with it what she does
// there.
func TestMigrationOnConcurrentBranches(t *testing.T) {
	for _, times := range [][2]int64{{500, 600}, {600, 500}} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			p := newParty(t, matrix.RoomVersionMSC4348(), "public")
			toThree := p.act(aliceAtThree, "m.room.member", p.id(aliceAtThree), `{"membership":"join"}`, p.base)
			toFour := p.act(aliceAtFour, "m.room.member", p.id(aliceAtFour), `{"membership":"join"}`, p.base)
			toThree.ts, toFour.ts = times[0], times[1]
			three, four := p.sendStep(toThree), p.sendStep(toFour)
			p.clock = 700
			name, topic := p.do(aliceAtThree, "m.room.name", "", `{}`, three), p.setTopic(aliceAtFour, "four", four)
			state := p.resolve(name, topic)
			if times[0] > times[1] {
				p.requireState(state, "m.room.member/"+p.id(aliceAtTwo), three)
				p.requireState(state, "m.room.name/", name)
				p.requireState(state, "m.room.topic/", nil)
			} else {
				p.requireState(state, "m.room.member/"+p.id(aliceAtTwo), four)
				p.requireState(state, "m.room.topic/", topic)
				p.requireState(state, "m.room.name/", nil)
			}
		})
	}
}

// Alice moves away while her old server is being revoked elsewhere. Where anybody may join she arrives.
// Where it takes her old membership to join again she does not, and the membership itself, which is in
// conflict and is judged under the revocation, does not stand either. What she did on the new server
// stands: nothing takes the place of the membership that it cites.
func TestMigrationAgainstConcurrentRevocation(t *testing.T) {
	for _, rule := range []string{"public", "invite"} {
		t.Run(rule, func(t *testing.T) {
			p := newParty(t, matrix.RoomVersionMSC4348(), rule)
			revoked := p.participation(carolAtOne, "two", "revoked", p.base)
			moved := p.joinAs(aliceAtThree, p.base)
			topic := p.setTopic(aliceAtThree, "arrived", moved)
			state := p.resolve(topic, revoked)
			p.requireState(state, participationOf("two"), revoked)
			p.requireState(state, "m.room.topic/", topic)
			if rule == "public" {
				p.requireState(state, "m.room.member/"+p.id(aliceAtTwo), moved)
			} else {
				p.requireState(state, "m.room.member/"+p.id(aliceAtTwo), nil)
			}
		})
	}
}

// Alice moves to a server that is being revoked elsewhere: she stays where she was.
func TestMigrationToAServerThatIsRevoked(t *testing.T) {
	p := newParty(t, matrix.RoomVersionMSC4348(), "public")
	revoked := p.participation(carolAtOne, "three", "revoked", p.base)
	moved := p.joinAs(aliceAtThree, p.base)
	state := p.resolve(moved, revoked)
	p.requireState(state, participationOf("three"), revoked)
	p.requireState(state, "m.room.member/"+p.id(aliceAtTwo), p.at(p.base, "m.room.member", p.id(aliceAtTwo)))
}

// A ban wins against a move on another branch.
func TestBanAgainstConcurrentMigration(t *testing.T) {
	p := newParty(t, matrix.RoomVersionMSC4348(), "public")
	ban := p.do(carolAtOne, "m.room.member", p.id(aliceAtTwo), `{"membership":"ban"}`, p.base)
	moved := p.joinAs(aliceAtThree, p.base)
	p.requireState(p.resolve(moved, ban), "m.room.member/"+p.id(aliceAtTwo), ban)
}
