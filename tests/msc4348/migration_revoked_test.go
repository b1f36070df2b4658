package msc4348

import (
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// revocation is a way in which a server comes to be revoked.
type revocation struct {
	name   string
	revoke func(t testing.TB, m *blueprints.Migration, mia blueprints.Mover, key matrix.ServerKeyPair)
}

func revocations() []revocation {
	return []revocation{
		{"by an administrator", func(t testing.TB, m *blueprints.Migration, _ blueprints.Mover, key matrix.ServerKeyPair) {
			m.Revoke(t, key)
		}},
		{"by itself", func(t testing.TB, m *blueprints.Migration, mia blueprints.Mover, key matrix.ServerKeyPair) {
			m.Say(t, mia.User, m.Room.Room.Revokes(key.Key().Name()).Through(key))
		}},
	}
}

// MSC4348, "User accounts can move servers": "Users that were resident to denied servers can migrate their
// account to servers that are participating in the room." Until they have, they do nothing.
func TestMigration_AfterRevocation(t *testing.T) {
	t.Parallel()
	for _, c := range revocations() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-MIG-03", "MSC4348-MIG-04", "MSC4348-MIG-16", "MSC4348-COSIG-01", "MSC4348-COSIG-03")
			conform.Scenario(t, "An account moves after its server was revoked "+c.name)
			m := migrating(t)
			mia := m.Mover(t, "mia")
			m.MustSee(conform.Setup(t), m.Say(t, mia.User, fakeserver.Message("before").Through(mia.From)))

			c.revoke(t, m, mia, mia.From)
			through := m.Try(t, mia.User, fakeserver.Message("through the revoked server").Through(mia.From))
			m.Fence(t)
			m.Refuses(t, "MSC4348-COSIG-01", "a message through a revoked server", through)
			early := m.Try(t, mia.User, fakeserver.Message("before I have joined").Through(mia.To))
			m.Fence(t)
			m.Refuses(t, "MSC4348-MIG-04", "a message through another server, before the account has joined through it", early)
			m.Refuses(t, "MSC4348-COSIG-03", "a message that a membership through a revoked server has to authorise", early)

			moved := m.Join(t, mia, mia.To)
			said := m.Say(t, mia.User, fakeserver.Message("after").Through(mia.To))
			fence := m.Fence(t)
			m.Takes(t, "MSC4348-MIG-03", "the join through another accepted server", moved)
			m.Takes(t, "MSC4348-MIG-03", "a message through the server that the account has moved to", said)
			m.Converge(t, "MSC4348-MIG-03", fence)
			conform.Info(t, "MSC4348-MIG-16", "a user of a revoked server, who was not banned, has come back through another server")
		})
	}
}

// MSC4348, "User accounts can move servers": when the old server is revoked after the move, the account goes on.
func TestMigration_BeforeRevocation(t *testing.T) {
	t.Parallel()
	for _, c := range revocations() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-MIG-01", "MSC4348-MIG-10", "MSC4348-COSIG-01")
			conform.Scenario(t, "An account has moved when its old server is revoked "+c.name)
			m := migrating(t)
			mia := m.Mover(t, "mia")
			empower(t, m, mia.ID, 50)
			before := m.Say(t, mia.User, fakeserver.Message("before").Through(mia.From))
			set := m.Say(t, mia.User, blueprints.Probe().Through(mia.From))
			m.Join(t, mia, mia.To)
			m.Control(t, "a message through the old server", before)

			c.revoke(t, m, mia, mia.From)
			said := m.Say(t, mia.User, fakeserver.Message("after").Through(mia.To))
			through := m.Try(t, mia.User, fakeserver.Message("through the old server").Through(mia.From))
			fence := m.Fence(t)
			m.Takes(t, "MSC4348-MIG-01", "a message through the new server after the revocation of the old one", said)
			m.Takes(t, "MSC4348-MIG-10", "what an account has said through a server before it was revoked", before)
			m.Takes(t, "MSC4348-MIG-10", "state that an account has set through a server before it was revoked", set)
			m.Refuses(t, "MSC4348-COSIG-01", "a message through a revoked server", through)
			m.Converge(t, "MSC4348-MIG-10", fence)
			for _, site := range m.Sites {
				if !site.Alice.HistoryHas(t, m.ID, before.ID()) {
					conform.Violation(t, "MSC4348-MIG-10", "what was said before the revocation stays in the history", site.HS.Alias()+" shows it no more")
				}
			}
		})
	}
}

// MSC4348, "User accounts can move servers"; MSC4345, "Revoked participation": the new server is revoked, and the
// account goes back to the old one.
func TestMigration_BackFromRevokedServer(t *testing.T) {
	t.Parallel()
	for _, c := range revocations() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-MIG-03", "MSC4348-MIG-06")
			conform.Scenario(t, "An account goes back when its new server is revoked "+c.name)
			m := migrating(t)
			mia := m.Mover(t, "mia")
			m.MustSee(conform.Setup(t), m.Join(t, mia, mia.To))
			c.revoke(t, m, mia, mia.To)
			back := m.Join(t, mia, mia.From)
			said := m.Say(t, mia.User, fakeserver.Message("I am back").Through(mia.From))
			fence := m.Fence(t)
			m.Takes(t, "MSC4348-MIG-03", "the join through the old server", back)
			m.Takes(t, "MSC4348-MIG-03", "a message through the old server", said)
			m.Converge(t, "MSC4348-MIG-06", fence)
		})
	}
}

// MSC4348, "User accounts can move servers"; room version 12, rule 5.3: in a room that one has to be invited to,
// a join is allowed for members. Whether a membership through a revoked server is one is open (D-54).
func TestMigration_AfterRevocationByInvite(t *testing.T) {
	t.Parallel()
	for _, invited := range []bool{false, true} {
		t.Run(map[bool]string{false: "not invited again", true: "invited again"}[invited], func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4348-MIG-03", "MSC4348-COSIG-03")
			m := migrating(t)
			mia := m.Mover(t, "mia")
			joinRule(t, m, "invite")
			m.Revoke(t, mia.From)
			if invited {
				// Rule 5.4.3: who is joined is not invited.
				m.Say(t, m.Fay, fakeserver.Membership(mia.ID, "leave"))
				m.Invite(t, mia.User)
			}
			moved := m.Join(t, mia, mia.To)
			m.MustSee(conform.Setup(t), m.Say(t, m.Fay, fakeserver.Message("sentinel")))
			if invited {
				m.Takes(t, "MSC4348-MIG-03", "the join of an invited account through another accepted server", moved)
			} else {
				m.Refuses(t, "MSC4348-COSIG-03", "a join that a membership through a revoked server has to authorise", moved)
			}
			m.Converge(t, "MSC4348-MIG-03", m.Fence(t))
		})
	}
}

// MSC4348, "User accounts can move servers"; room version 12, "Soft failure": after a move the old server writes
// into the past, where the account was still its own.
func TestMigration_OldServerCitesThePast(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-MIG-11")
	conform.Scenario(t, "An account has moved, and its old server writes into the past")
	m := migrating(t)
	mia := m.Mover(t, "mia")
	empower(t, m, mia.ID, 50)
	past := m.Room.Room.Fork()
	m.Join(t, mia, mia.To)
	m.Control(t, "a message through the new server", m.Say(t, mia.User, fakeserver.Message("after").Through(mia.To)))

	var late []*matrix.Event
	for _, draft := range []fakeserver.Draft{fakeserver.Message("I never left"), blueprints.Probe()} {
		e, err := past.Add(mia.User, draft.Through(mia.From))
		if err != nil {
			conform.HarnessError(t, "%v", err)
		}
		late = append(late, e)
	}
	m.Tell(t, late...)
	fence := m.Fence(t)
	for _, e := range late {
		m.Refuses(t, "MSC4348-MIG-11", "an event of the old server that cites the past", e)
	}
	m.Converge(t, "MSC4348-MIG-07", fence)
}

// MSC4348, introduction: "the server key can be rotated without effecting users or the room". D-57: the users
// join again, and are the same.
func TestMigration_KeyRotation(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-MIG-12")
	conform.Scenario(t, "A server changes its key")
	m := migrating(t)
	mia := m.Mover(t, "mia")
	empower(t, m, mia.ID, 50)
	victim := bystander(t, m)
	m.Fence(t)

	fresh := m.Old.MintServerKey()
	m.Together(t, func() {
		m.Say(t, mia.User, m.Room.Room.Revokes(mia.From.Key().Name()).Through(mia.From))
		m.Ask(t, m.Old, fresh, mia.User)
		m.Accept(t, fresh)
	})
	rejoined := m.Join(t, mia, fresh)
	kick := m.Say(t, mia.User, fakeserver.Membership(victim, "leave").Through(fresh))
	fence := m.Fence(t)
	m.Takes(t, "MSC4348-MIG-12", "the join of a user through the new key of the server", rejoined)
	m.Takes(t, "MSC4348-MIG-12", "a kick by a user with power, through the new key of the server", kick)
	m.Converge(t, "MSC4348-MIG-12", fence)

	again := m.Try(t, mia.User, fakeserver.Participates(mia.From.Key().Name(), matrix.Requested).With("unverified_domain", m.Old.Name()).
		Through(mia.From).AuthorisedBy(m.Room.Room.Key()))
	m.Fence(t)
	m.Refuses(t, "MSC4348-MIG-12", "a request by the old key, which was revoked", again)
}

// D-54: a membership through a revoked server authorises nothing, nor does it let anybody else in (room version 12,
// rule 5.3.5).
func TestMigration_MembersOfRevokedServersLetNobodyIn(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4348-COSIG-03")
	m := migrating(t)
	mia := m.Mover(t, "mia")
	m.Say(t, m.Fay, fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": "restricted", "allow": []any{}}))
	restricted := func() (*fakeserver.User, fakeserver.Draft) {
		guest := m.New.Member(t, "guest")
		d := fakeserver.Membership(m.UserID(guest), "join").With("join_authorised_via_users_server", mia.ID).Through(mia.To)
		d.CoSigners = []*fakeserver.User{mia.User}
		return guest, d
	}
	guest, d := restricted()
	early := m.Say(t, guest, d)
	m.Fence(t)
	m.Control(t, "a restricted join that a member has authorised", early)

	m.Revoke(t, mia.From)
	guest, d = restricted()
	late := m.Try(t, guest, d)
	fence := m.Fence(t)
	m.Refuses(t, "MSC4348-COSIG-03", "a restricted join that a member through a revoked server has authorised", late)
	m.Converge(t, "MSC4348-COSIG-03", fence)
}
