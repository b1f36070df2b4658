package fakeserver_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/matrix"
)

// Which edge cases does the standard library accept, which the strict rule? What is not named is
// accepted by neither.
var verdicts = map[string]struct{ lax, strict bool }{
	"key-identity-s-zero":              {lax: true},
	"key-order-8-s-zero":               {lax: true},
	"r-identity":                       {lax: true},
	"key-mixed-fit":                    {lax: true, strict: true},
	"key-and-r-mixed-cancelling":       {lax: true, strict: true},
	"key-mixed-only-reduced-hash-fits": {lax: true, strict: true},
}

func TestEdges(t *testing.T) {
	t.Parallel()
	v := matrix.RoomVersionMSC4243()
	s := newStage(t, v)
	check := func(e fakeserver.NamedEdge, lax, strict bool) {
		forged, err := s.of.Forge(s.bob, fakeserver.Message(e.Name), fakeserver.Forgery{Edge: e.Edge})
		require.NoError(t, err, e.Name)
		event, err := forged.Event()
		require.NoError(t, err, e.Name)
		entity := event.Sender().Localpart()
		key, err := matrix.DecodeURLBase64(entity)
		require.NoError(t, err, e.Name)
		signature, err := matrix.DecodeBase64(gjson.GetBytes(forged.PDU, "signatures."+gjson.Escape(entity)+".ed25519:1").String())
		require.NoError(t, err, e.Name)
		require.Equal(t, lax, ed25519.Verify(key, event.SigningBytes(), signature), e.Name)
		require.Equal(t, strict, matrix.VerifyStrict(key, event.SigningBytes(), signature) == nil, e.Name)
	}
	for _, e := range fakeserver.Edges() {
		check(e, verdicts[e.Name].lax, verdicts[e.Name].strict)
	}
	for _, e := range fakeserver.SmallOrderKeys() {
		check(e, true, false)
	}
	for _, e := range fakeserver.NonCanonicalKeys() {
		check(e, false, false)
	}

	// A key of an edge case stays the same, so that one user can send several events.
	a, err := s.of.Forge(s.bob, fakeserver.Message("a"), fakeserver.Forgery{Edge: fakeserver.Edge{KeyTorsion: 1}})
	require.NoError(t, err)
	b, err := s.of.Forge(s.bob, fakeserver.Message("b"), fakeserver.Forgery{Edge: fakeserver.Edge{KeyTorsion: 1, Misfit: true}})
	require.NoError(t, err)
	require.Equal(t, gjson.GetBytes(a.PDU, "sender").String(), gjson.GetBytes(b.PDU, "sender").String())
}
