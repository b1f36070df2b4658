package msc4348

import (
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// migrating is a room in which two homeservers under test see accounts move between two fake servers.
func migrating(t testing.TB, list ...blueprints.Setting) *blueprints.Migration {
	t.Helper()
	return blueprints.NewMigration(t, conform.PortableVersion(t), list...)
}

// empower gives a user a power level, and everybody else none.
func empower(t testing.TB, m *blueprints.Migration, user matrix.UserID, level int) {
	t.Helper()
	m.Say(t, m.Fay, fakeserver.State("m.room.power_levels", "", map[string]any{"users": map[string]any{string(user): level}}))
}

// joinRule sets the room's join rule.
func joinRule(t testing.TB, m *blueprints.Migration, rule string) {
	t.Helper()
	m.Say(t, m.Fay, fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": rule}))
}

// bystander is another user of fay's server who has joined the room.
func bystander(t testing.TB, m *blueprints.Migration) matrix.UserID {
	t.Helper()
	user := m.Peer.Member(t, "bystander")
	m.Say(t, user, fakeserver.Membership(m.UserID(user), "join"))
	return m.UserID(user)
}

// MSC4348, "User accounts can move servers": an account joins again, with the same key, through another
// server, and acts there. It is one user all the time.
func TestMigration_MovesAndActs(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-MIG-01", "MSC4348-ID-02", "MSC4348-COSIG-04")
	conform.Scenario(t, "An account moves from one server to another")
	m := migrating(t)
	mia := m.Mover(t, "mia")
	m.MustSee(conform.Setup(t), m.Say(t, mia.User, fakeserver.Message("before").Through(mia.From)))

	moved := m.Join(t, mia, mia.To)
	said := m.Say(t, mia.User, fakeserver.Message("after").Through(mia.To))
	fence := m.Fence(t)
	m.Takes(t, "MSC4348-MIG-01", "the join through another accepted server", moved)
	m.Takes(t, "MSC4348-MIG-01", "a message through the server that the account has moved to", said)
	m.Converge(t, "MSC4348-MIG-01", fence)
	for _, site := range m.Sites {
		members := must.Have(t, site.Alice.JoinedMembers(t, m.ID).MustOK(t), "joined").Map()
		must.Be(t, len(members) == 4, "the host's user, those of both homeservers and the one that has moved, got: %v", members)
		must.Be(t, members[string(mia.ID)].Exists(), "%s among the members, got: %v", mia.ID, members)
	}
}

// MSC4348, "User accounts can move servers"; room version 12, rule 5.3: who is joined may join again, whatever
// the join rule is.
func TestMigration_InEveryJoinRule(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"public", "invite", "knock", "restricted", "knock_restricted"} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-COSIG-04", "MSC4348-MIG-01")
			m := migrating(t)
			mia := m.Mover(t, "mia")
			joinRule(t, m, rule)
			stranger := m.Try(t, m.Old.Member(t, "stranger"), fakeserver.Membership(mia.ID, "join").Through(mia.From))
			moved := m.Join(t, mia, mia.To)
			fence := m.Fence(t)
			m.Refuses(t, "MSC4348-MIG-01", "a join in somebody else's name", stranger)
			m.Takes(t, "MSC4348-COSIG-04", "the join of a member through another accepted server", moved)
			m.Converge(t, "MSC4348-MIG-01", fence)
		})
	}
}

// MSC4348, "User accounts can move servers": the account moves to a second server, back, and forth again.
// Where it has joined last, it acts.
func TestMigration_BackAndForth(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-MIG-06", "MSC4348-COSIG-02")
	conform.Scenario(t, "An account moves to another server, back, and forth again")
	m := migrating(t)
	mia := m.Mover(t, "mia")
	here, there := mia.From, mia.To
	for range 4 {
		foreign := m.Try(t, mia.User, fakeserver.Message("elsewhere").Through(there))
		own := m.Say(t, mia.User, fakeserver.Message("here").Through(here))
		fence := m.Fence(t)
		m.Takes(t, "MSC4348-MIG-06", "a message through the server that the account has joined through last", own)
		m.Refuses(t, "MSC4348-COSIG-02", "a message through an accepted server through which the account has not joined since", foreign)
		m.Converge(t, "MSC4348-MIG-06", fence)

		m.Join(t, mia, there)
		here, there = there, here
	}
}

// MSC4348, "User accounts can move servers"; MSC4345, "Servers MUST accept or revoke their own participation
// before emitting any events": nobody moves to a server that is not accepted.
func TestMigration_OnlyToAcceptedServers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		make func(t testing.TB, m *blueprints.Migration, mia blueprints.Mover) matrix.ServerKeyPair
	}{
		{"unknown", func(_ testing.TB, m *blueprints.Migration, _ blueprints.Mover) matrix.ServerKeyPair {
			return m.New.MintServerKey()
		}},
		{"requested", func(t testing.TB, m *blueprints.Migration, mia blueprints.Mover) matrix.ServerKeyPair {
			key := m.New.MintServerKey()
			m.Ask(t, m.New, key, mia.User)
			return key
		}},
		{"revoked", func(t testing.TB, m *blueprints.Migration, mia blueprints.Mover) matrix.ServerKeyPair {
			key := m.New.MintServerKey()
			m.Ask(t, m.New, key, mia.User)
			m.Accept(t, key)
			m.Revoke(t, key)
			return key
		}},
		{"revoked before it was accepted", func(t testing.TB, m *blueprints.Migration, mia blueprints.Mover) matrix.ServerKeyPair {
			key := m.New.MintServerKey()
			m.Ask(t, m.New, key, mia.User)
			m.Revoke(t, key)
			return key
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-MIG-05", "MSC4348-COSIG-01")
			m := migrating(t)
			mia := m.Mover(t, "mia")
			refused := c.make(t, m, mia)
			moved := m.Try(t, mia.User, fakeserver.Membership(mia.ID, "join").Through(refused))
			fence := m.Fence(t)
			m.Refuses(t, "MSC4348-MIG-05", "a join through a server that is not accepted", moved)
			m.Converge(t, "MSC4348-MIG-05", fence)

			// Control: the same account moves to an accepted server.
			moved = m.Join(t, mia, mia.To)
			m.Fence(t)
			m.Control(t, "the join through an accepted server", moved)
		})
	}
}
