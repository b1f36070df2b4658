package msc4348

import (
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// staysOut has an account try to join through both of its servers, in vain.
func staysOut(t testing.TB, m *blueprints.Migration, mia blueprints.Mover, what string) {
	t.Helper()
	var joins []*matrix.Event
	for _, server := range []matrix.ServerKeyPair{mia.From, mia.To} {
		joins = append(joins, m.Try(t, mia.User, fakeserver.Membership(mia.ID, "join").Through(server)))
	}
	fence := m.Fence(t)
	for _, e := range joins {
		m.Refuses(t, "MSC4348-MIG-02", what, e)
	}
	m.Converge(t, "MSC4348-MIG-02", fence)
}

// MSC4348, "User accounts can move servers": what the room says of an account it says of its key, on whatever
// server the account is.
func TestMigration_PowerFollows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		power int
		taken bool
	}{{"a moderator", 50, true}, {"a user without power", 0, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-MIG-02")
			conform.Scenario(t, "An account moves and kicks: "+c.name)
			m := migrating(t)
			mia := m.Mover(t, "mia")
			empower(t, m, mia.ID, c.power)
			victim := bystander(t, m)
			m.Control(t, "the join through another accepted server", m.Join(t, mia, mia.To))

			kick := m.Try(t, mia.User, fakeserver.Membership(victim, "leave").Through(mia.To))
			if c.taken {
				m.Room.Room.Add(kick)
			}
			fence := m.Fence(t)
			if c.taken {
				m.Takes(t, "MSC4348-MIG-02", "a kick by an account with power level 50 that has moved", kick)
			} else {
				m.Refuses(t, "MSC4348-MIG-02", "a kick by an account without power that has moved", kick)
			}
			m.Converge(t, "MSC4348-MIG-02", fence)
		})
	}
}

// MSC4348, "User accounts can move servers": a ban names the account, and holds on every server.
func TestMigration_BanFollows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		in   bool // the account is in the room when it is banned
		move bool // the account has moved before
	}{{"a member", true, false}, {"a member who has moved", true, true}, {"somebody who is not in the room", false, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-MIG-02")
			conform.Scenario(t, "A ban follows an account to every server: "+c.name)
			m := migrating(t)
			mia := m.Stranger(t, "mia")
			if c.in {
				m.Join(t, mia, mia.From)
			}
			if c.move {
				m.Join(t, mia, mia.To)
			}
			ban := m.Say(t, m.Fay, fakeserver.Membership(mia.ID, "ban"))
			m.Fence(t)
			m.Control(t, "the ban", ban)

			staysOut(t, m, mia, "the join of a banned account")

			// The ban is lifted, and the account comes in through a server that it was never on.
			m.Say(t, m.Fay, fakeserver.Membership(mia.ID, "leave"))
			joined := m.Join(t, mia, mia.To)
			m.Fence(t)
			m.Control(t, "the join after the ban was lifted", joined)
		})
	}
}

// MSC4348, "User accounts can move servers"; room version 12, rule 5.3: who was kicked from a room for the invited does
// not come back through another server, unless there is a new invite.
func TestMigration_KickFollows(t *testing.T) {
	t.Parallel()
	for _, rule := range []string{"invite", "knock", "restricted"} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-MIG-02")
			m := migrating(t)
			mia := m.Mover(t, "mia")
			joinRule(t, m, rule)
			kick := m.Say(t, m.Fay, fakeserver.Membership(mia.ID, "leave"))
			m.Fence(t)
			m.Control(t, "the kick", kick)
			staysOut(t, m, mia, "the join of an account that was kicked")
			m.Invite(t, mia.User)
			joined := m.Join(t, mia, mia.To)
			m.Fence(t)
			m.Control(t, "the join after another invite", joined)
		})
	}
}

// MSC4348, "User accounts can move servers"; room version 12, additional_creators: a creator is a creator on
// every server.
func TestMigration_CreatorshipFollows(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-MIG-02", "MSC4348-COSIG-07")
	conform.Scenario(t, "A creator of the room moves to another server")
	account, err := matrix.NewAccount()
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	m := migrating(t, blueprints.Options(func(o *fakeserver.RoomOptions) {
		o.CreateContent = map[string]any{"additional_creators": []matrix.UserID{account.Key().PortableUserID()}}
	}))
	mia := m.Mover(t, "mia", fakeserver.WithAccount(account))
	m.Control(t, "the join through another accepted server", m.Join(t, mia, mia.To))
	levels := m.Say(t, mia.User, fakeserver.State("m.room.power_levels", "", map[string]any{"invite": 1}).Through(mia.To))
	// The old server is nobody's home any more, so that a creator outranks it.
	revoked := m.Say(t, mia.User, m.Room.Room.Revokes(mia.From.Key().Name()).Through(mia.To))
	fence := m.Fence(t)
	m.Takes(t, "MSC4348-MIG-02", "power levels that a creator has set who has moved", levels)
	// D-56: who still counts for the old server is open.
	m.Takes(t, "MSC4348-COSIG-07", "the revocation of the old server by a creator who has moved", revoked)
	m.Converge(t, "MSC4348-MIG-02", fence)
}

// MSC4348, "User accounts can move servers": an invite names the account, so that it is accepted through any
// accepted server.
func TestMigration_InviteFollows(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-MIG-13")
	conform.Scenario(t, "An invited account joins through another server")
	m := migrating(t)
	joinRule(t, m, "invite")
	stranger, here, there := m.Stranger(t, "stranger"), m.Stranger(t, "guest"), m.Stranger(t, "mia")
	m.Invite(t, here.User)
	m.Invite(t, there.User)
	uninvited := m.Try(t, stranger.User, fakeserver.Membership(stranger.ID, "join").Through(stranger.To))
	accepted := m.Join(t, here, here.From)
	elsewhere := m.Join(t, there, there.To)
	fence := m.Fence(t)
	m.Control(t, "the acceptance of an invite through one server", accepted)
	m.Refuses(t, "MSC4348-MIG-13", "the join of an account that was not invited", uninvited)
	m.Takes(t, "MSC4348-MIG-13", "the acceptance of an invite through another server", elsewhere)
	m.Converge(t, "MSC4348-MIG-13", fence)
}

// MSC4348, introduction: "Servers can immediately be implemented as relays for P2P clients." An account that no
// server knows is relayed by one, and then by another.
func TestMigration_ServerlessAccount(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-MIG-01", "MSC4348-ACCT-07")
	conform.Scenario(t, "An account that no server knows is relayed by one server, and then by another")
	m := migrating(t)
	account, err := matrix.NewAccount()
	if err != nil {
		conform.HarnessError(t, "%v", err)
	}
	from, to := m.Old.MintServerKey(), m.New.MintServerKey()
	mia := blueprints.Mover{User: m.Old.Relay(blueprints.Unique("mia"), account), ID: account.Key().PortableUserID(), From: from, To: to}
	m.Together(t, func() {
		m.Ask(t, m.Old, from, mia.User)
		m.Ask(t, m.New, to, mia.User)
		m.Accept(t, from)
		m.Accept(t, to)
	})
	for _, server := range []matrix.ServerKeyPair{from, to} {
		joined := m.Join(t, mia, server)
		said := m.Say(t, mia.User, fakeserver.Message("nobody's").Through(server))
		fence := m.Fence(t)
		m.Takes(t, "MSC4348-MIG-01", "the join of an account that its server does not know", joined)
		// Whether clients are shown messages of accounts without a name is open, as in MSC4243 they are not.
		m.Takes(t, "MSC4348-ACCT-07", "a message of an account that its server does not know", said)
		m.Converge(t, "MSC4348-MIG-01", fence)
		for _, site := range m.Sites {
			shown := site.Alice.MustSee(conform.Judge(t, "MSC4348-ACCT-07"), m.ID, said.ID())
			if name := shown.Get("unsigned.account"); name.Exists() {
				conform.Violation(t, "MSC4348-ACCT-07", "no name for an account that no server confirms", site.HS.Alias()+" shows "+name.Raw)
			}
		}
	}
}
