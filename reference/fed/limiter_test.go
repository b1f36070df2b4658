package fed

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/reference/peer"
)

func TestGuessesAreLimited(t *testing.T) {
	now := time.Unix(1e9, 0)
	g := newGuesses(func() time.Time { return now })
	for range guessBurst {
		require.NoError(t, g.check("s"))
		g.note("s", peer.NotFound("nobody"))
		g.note("s", nil)
		g.note("s", peer.Forbidden("something else"))
	}
	err := g.check("s")
	require.Equal(t, http.StatusTooManyRequests, peer.AsError(err).Status)
	require.NoError(t, g.check("another"))
	now = now.Add(guessInterval)
	require.NoError(t, g.check("s"))
	g.note("s", peer.NotFound("nobody"))
	require.Error(t, g.check("s"))
	now = now.Add(time.Hour)
	require.NoError(t, g.check("s"))
}
