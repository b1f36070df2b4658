package fed

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/defect"
)

func TestBackoffDoublesAndEnds(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := newBackoff[matrix.ServerName](func() time.Time { return now }, defect.Set{})
	require.Zero(t, b.wait("s"))
	var last time.Duration
	for range 40 {
		b.failed("s")
		b.failed("s") // a request that was under way at the same time
		wait := b.wait("s")
		require.True(t, wait == 2*last || wait == lastBackoff || last == 0, "%s after %s", wait, last)
		last = wait
		now = now.Add(wait)
		require.Zero(t, b.wait("s"))
	}
	require.Equal(t, lastBackoff, last)
	b.failed("s")
	b.heardFrom("s")
	require.NotZero(t, b.wait("s"), "a server that fails and talks at once is not asked each time")
	now = now.Add(heardPause)
	b.heardFrom("s")
	require.Zero(t, b.wait("s"))
	b.failed("s")
	require.Equal(t, lastBackoff, b.wait("s"), "failures are not forgotten by that")
	b.succeeded("s")
	b.failed("s")
	require.Equal(t, firstBackoff, b.wait("s"))
}

func TestBackoffForgetsWhenItIsFull(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := newBackoff[matrix.ServerName](func() time.Time { return now }, defect.Set{})
	for i := range maxTracked + 100 {
		b.failed(matrix.ServerName(fmt.Sprint("s", i)))
	}
	require.LessOrEqual(t, len(b.left), maxTracked)
}
