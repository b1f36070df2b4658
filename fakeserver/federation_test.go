package fakeserver_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/fakeserver"
	"countersign/matrix"
)

// pair is a room of alice's that bob has joined through her server.
type pair struct {
	hs, fs     *fakeserver.Server
	alice, bob *fakeserver.User
	at, of     *fakeserver.Room // the room at hs, and fs's copy of it
}

func newPair(t testing.TB, v matrix.RoomVersion, o fakeserver.RoomOptions) *pair {
	t.Helper()
	w := newWorld(t)
	p := &pair{hs: w.server(t), fs: w.server(t)}
	p.alice, p.bob = user(t, p.hs, "alice"), user(t, p.fs, "bob")
	o.Version = v
	var err error
	p.at, err = p.hs.CreateRoom(p.alice, o)
	require.NoError(t, err)
	p.of, err = p.fs.JoinRoom(ctx(t), p.hs.Name(), p.at.ID(), p.bob)
	require.NoError(t, err)
	return p
}

// verify checks an event as a receiving server would: the sender's signature, and the hash.
func verify(t testing.TB, p *pair, e *matrix.Event) {
	t.Helper()
	require.NotNil(t, e)
	require.True(t, e.HashOK())
	require.NoError(t, verifySender(p, e))
}

func verifySender(p *pair, e *matrix.Event) error {
	if e.Version().HasAccountKeys() {
		return e.VerifyAccountKey(e.Sender())
	}
	signer := p.hs.Signer()
	if e.Sender().Domain() == p.fs.Name() {
		signer = p.fs.Signer()
	}
	return e.VerifySignature(signer.Entity, signer.KeyID, signer.Key.Public().(ed25519.PublicKey))
}

func TestJoinThroughAnotherServer(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		p := newPair(t, v, fakeserver.RoomOptions{})
		require.Equal(t, "join", p.at.Membership(p.bob.ID(v)))
		require.Equal(t, "join", p.of.Membership(p.bob.ID(v)))
		require.Len(t, p.of.FullState(), 6)
		for _, e := range p.of.FullState() {
			verify(t, p, e)
		}

		e, err := p.of.Send(ctx(t), p.bob, fakeserver.Message("hello"))
		require.NoError(t, err)
		got, err := p.hs.WaitPDU(ctx(t), func(p fakeserver.PDU) bool { return p.Type() == "m.room.message" })
		require.NoError(t, err)
		require.Equal(t, e.ID(), got.Event.ID())
		require.Equal(t, []string{e.ID()}, p.at.Extremities())
		verify(t, p, got.Event)

		answer, err := p.at.Send(ctx(t), p.alice, fakeserver.State("m.room.topic", "", map[string]any{"topic": "t"}))
		require.NoError(t, err)
		require.NotNil(t, p.of.State("m.room.topic", ""))
		require.Equal(t, answer.ID(), p.of.State("m.room.topic", "").ID())
	})
}
