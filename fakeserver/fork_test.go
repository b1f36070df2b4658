package fakeserver_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/fakeserver"
	"countersign/matrix"
)

func TestBranches(t *testing.T) {
	t.Parallel()
	forEachParticipationVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		p := newParticipants(t, v)
		topic := func(text string) fakeserver.Draft {
			return fakeserver.State("m.room.topic", "", map[string]any{"topic": text})
		}
		root := p.at.Extremities()
		one, two := p.at.Fork(), p.at.Fork()
		first, err := one.Add(p.alice, topic("one"))
		require.NoError(t, err)
		_, err = two.Add(p.alice, fakeserver.Message("two"))
		require.NoError(t, err)
		second, err := two.Add(p.alice, topic("two"))
		require.NoError(t, err)
		require.Equal(t, root, first.PrevEvents())
		require.Equal(t, root, p.at.Extremities(), "the room goes on beside its branches")
		require.Nil(t, p.at.State("m.room.topic", ""))
		require.Equal(t, first, one.State("m.room.topic", ""))
		require.Equal(t, second, two.State("m.room.topic", ""))

		// A revocation on one branch is not cited on the other.
		key := p.of.Key().Key().Name()
		revoked, err := one.Add(p.alice, one.Revokes(key))
		require.NoError(t, err)
		require.Equal(t, matrix.Accepted, p.at.Participation(key))
		here, err := one.Add(p.alice, fakeserver.Participates(key, matrix.Revoked))
		require.NoError(t, err)
		require.Contains(t, here.AuthEvents(), revoked.ID())
		there, err := two.Add(p.alice, fakeserver.Participates(key, matrix.Revoked))
		require.NoError(t, err)
		require.NotContains(t, there.AuthEvents(), revoked.ID())

		// What the test says wins is cited after the merger.
		merged := p.at.Merge([]*fakeserver.Branch{one, two}, revoked)
		require.Equal(t, revoked, merged.State(matrix.ParticipationType, string(key)))
		last, err := merged.Add(p.alice, fakeserver.Participates(key, matrix.Revoked))
		require.NoError(t, err)
		require.Contains(t, last.AuthEvents(), revoked.ID())
		require.ElementsMatch(t, slices.Concat(one.Tips(), two.Tips()), last.PrevEvents())

		require.NoError(t, two.Send(ctx(t), p.fs.Name()))
		for _, e := range two.Events() {
			require.NotNil(t, p.of.Event(e.ID()))
			require.NoError(t, p.of.VerifySender(e))
		}
		require.Nil(t, p.of.Event(first.ID()))
		merged.Adopt()
		require.Equal(t, []string{last.ID()}, p.at.Extremities())
		require.Equal(t, second, p.at.State("m.room.topic", ""), "the deeper one")
		p.at.Settle(first)
		require.Equal(t, first, p.at.State("m.room.topic", ""))
		everyEventVerifies(t, p.at)
	})
}

// An account moves to another server, and back; each time by joining again through the server that it moves to.
func TestMigration(t *testing.T) {
	t.Parallel()
	v := matrix.RoomVersionMSC4348()
	p := newParticipants(t, v)
	carried, err := p.hs.Carry(p.bob)
	require.NoError(t, err)
	again, err := p.hs.Carry(p.bob)
	require.NoError(t, err)
	require.Same(t, carried, again)
	back, err := p.fs.Carry(carried)
	require.NoError(t, err)
	require.Same(t, p.bob, back)

	id := p.at.UserID(carried)
	require.Equal(t, p.of.UserID(p.bob), id)
	moved, err := p.at.Send(ctx(t), carried, fakeserver.Membership(id, "join"))
	require.NoError(t, err)
	cosigner, err := p.of.CoSigner(p.of.Event(moved.ID()))
	require.NoError(t, err)
	require.Equal(t, p.at.Key().Key().Name(), cosigner)
	require.Equal(t, p.hs.Name(), p.of.DomainOf(id))
	require.Empty(t, p.at.Peers(), "the old server has no member left")

	_, err = p.fs.JoinRoom(ctx(t), p.hs.Name(), p.at.ID(), p.bob)
	require.NoError(t, err)
	require.Equal(t, p.fs.Name(), p.at.DomainOf(id))
	everyEventVerifies(t, p.at)

	// An account that no server knows is relayed.
	account, err := matrix.NewAccount()
	require.NoError(t, err)
	nobody := p.fs.Relay("", account)
	_, err = p.of.Send(ctx(t), nobody, fakeserver.Membership(p.of.UserID(nobody), "join"))
	require.NoError(t, err)
	require.Equal(t, "join", p.at.Membership(p.of.UserID(nobody)))
	answer, err := p.hs.QueryPortableAccounts(ctx(t), p.fs.Name(), nobody.Key(), p.bob.Key())
	require.NoError(t, err)
	require.Equal(t, "M_UNKNOWN", answer.Get("account_keys."+nobody.Key()+".errcode").String())
	require.Equal(t, "bob", answer.Get("account_keys."+p.bob.Key()+".account_name").String())
	everyEventVerifies(t, p.at)
}

// Two copies of one event differ in who has co-signed, and in nothing else.
func TestCoSignedBy(t *testing.T) {
	t.Parallel()
	p := newParticipants(t, matrix.RoomVersionMSC4348())
	forged, err := p.of.Forge(p.bob, fakeserver.Message("hello"), fakeserver.Forgery{})
	require.NoError(t, err)
	other := fakeserver.NewServerKey()
	copied, err := forged.CoSignedBy(other)
	require.NoError(t, err)
	e, err := copied.Event()
	require.NoError(t, err)
	require.Equal(t, forged.EventID, e.ID())
	require.NoError(t, e.VerifyAccountKey(e.Sender()))
	require.NoError(t, e.VerifyServerKey(other.Key().Name()))
	require.Error(t, p.of.VerifySender(e))
	require.Equal(t, []string{"signatures"}, changes(forged.PDU, copied.PDU))
	restored, err := copied.CoSignedBy(p.of.Key())
	require.NoError(t, err)
	require.Equal(t, string(forged.PDU), string(restored.PDU))
}
