package wait_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/helpers/wait"
)

func TestUntilReturnsWhenTheConditionHolds(t *testing.T) {
	calls := 0
	err := wait.Until(t.Context(), time.Minute, "the third call", func(context.Context) (bool, error) {
		calls++
		return calls == 3, nil
	})
	require.NoError(t, err)
	require.Equal(t, 3, calls)
}

func TestUntilNamesTheLastReason(t *testing.T) {
	reason := errors.New("two of three")
	err := wait.Until(t.Context(), 20*time.Millisecond, "three members", func(context.Context) (bool, error) {
		return false, reason
	})
	require.ErrorIs(t, err, reason)
	require.ErrorContains(t, err, "three members")
}

func TestUntilKeepsTheReasonFromBeforeTheDeadline(t *testing.T) {
	err := wait.Until(t.Context(), 20*time.Millisecond, "an answer", func(ctx context.Context) (bool, error) {
		if ctx.Err() == nil {
			return false, errors.New("status 404")
		}
		return false, ctx.Err()
	})
	require.ErrorContains(t, err, "status 404")
}

func TestUntilStopsOnAFinalError(t *testing.T) {
	final := errors.New("the server is gone")
	calls := 0
	err := wait.Until(t.Context(), time.Minute, "an answer", func(context.Context) (bool, error) {
		calls++
		return true, final
	})
	require.ErrorIs(t, err, final)
	require.Equal(t, 1, calls)
}

func TestUntilEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := wait.Until(ctx, time.Minute, "nothing", func(context.Context) (bool, error) {
		cancel()
		return false, nil
	})
	require.ErrorIs(t, err, context.Canceled)
}

func TestScale(t *testing.T) {
	for text, want := range map[string]float64{"": 1, "1": 1, "2.5": 2.5, "0.5": 0.5} {
		t.Setenv(wait.ScaleVariable, text)
		got, err := wait.Scale()
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		require.Equal(t, time.Duration(want*float64(time.Second)), wait.Scaled(time.Second))
	}
	for _, text := range []string{"0", "-1", "NaN", "fast", "1e9"} {
		t.Setenv(wait.ScaleVariable, text)
		_, err := wait.Scale()
		require.ErrorContains(t, err, text)
		require.Equal(t, time.Second, wait.Scaled(time.Second), text)
	}
}
