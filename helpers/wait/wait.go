// Package wait holds the only way in which a test waits: on a condition, with a deadline. Nothing
// in a test sleeps, and every deadline is stretched by one factor for slow machines.
package wait

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// ScaleVariable names the environment variable with the factor that every deadline is multiplied
// by. It is a decimal number greater than zero; 1 when unset.
const ScaleVariable = "COUNTERSIGN_TIMEOUT_SCALE"

// base is how long a condition may take on an ordinary machine. A homeserver answers within
// milliseconds; the rest is for busy machines.
const base = 10 * time.Second

// Polling starts with the first step and doubles up to the last one, so that a condition that
// holds soon is seen soon and a slow one costs little.
const (
	firstStep = 2 * time.Millisecond
	lastStep  = 100 * time.Millisecond
)

// Scale returns the factor of [ScaleVariable]. A value that is not a number greater than zero is
// an error, which names the variable and the value.
func Scale() (float64, error) {
	text := os.Getenv(ScaleVariable)
	if text == "" {
		return 1, nil
	}
	factor, err := strconv.ParseFloat(text, 64)
	if err != nil || !(factor > 0) || factor > 1000 {
		return 0, fmt.Errorf("%s is %q: it must be a number greater than 0 and at most 1000, such as 2.5", ScaleVariable, text)
	}
	return factor, nil
}

// Scaled stretches a duration by [Scale]. A factor that cannot be read counts as 1: it is refused
// once, with its reason, before the first test runs.
func Scaled(d time.Duration) time.Duration {
	factor, err := Scale()
	if err != nil {
		return d
	}
	return time.Duration(float64(d) * factor)
}

// Limit is how long [For] waits: 10 seconds, scaled.
func Limit() time.Duration { return Scaled(base) }

// A Condition reports whether something holds now. An error with false says why it does not hold
// yet, and is shown when the deadline passes. An error with true says that it can never hold, and
// ends the waiting.
type Condition func(ctx context.Context) (done bool, err error)

// For waits until the condition holds and fails the test when [Limit] passes first. What completes
// the sentence "waiting for ...".
func For(t testing.TB, what string, condition Condition) {
	t.Helper()
	if err := Until(Context(t), Limit(), what, condition); err != nil {
		t.Fatal(err)
	}
}

// Until waits until the condition holds, for at most limit. The error names what was waited for
// and the last reason that the condition gave. It is never nil when the condition did not hold.
func Until(ctx context.Context, limit time.Duration, what string, condition Condition) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var reason error
	started := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for step := firstStep; ; step = min(2*step, lastStep) {
		done, err := condition(ctx)
		switch {
		case done && err != nil:
			return fmt.Errorf("waiting for %s: %w", what, err)
		case done:
			return nil
		case err != nil && (reason == nil || ctx.Err() == nil):
			// What the condition says once its context has ended is only that it has ended.
			reason = err
		}
		timer.Reset(step)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return expired(ctx, what, time.Since(started), reason)
		}
	}
}

func expired(ctx context.Context, what string, waited time.Duration, reason error) error {
	waited = waited.Round(10 * time.Millisecond)
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("waiting for %s was given up after %v: %w", what, waited, ctx.Err())
	}
	if reason == nil {
		return fmt.Errorf("waited %v for %s, in vain: %w", waited, what, ctx.Err())
	}
	return fmt.Errorf("waited %v for %s, in vain: %w", waited, what, reason)
}

// Context returns a context for work on behalf of the test that is usable everywhere, clean-up
// functions included, in which the test's own context has already ended.
func Context(t testing.TB) context.Context {
	ctx := t.Context()
	if ctx.Err() != nil {
		return context.WithoutCancel(ctx)
	}
	return ctx
}
