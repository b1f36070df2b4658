package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Bounds of one readiness probe.
const (
	probeTimeout  = 5 * time.Second
	probeMaxBody  = 1 << 20
	probeFirstGap = 2 * time.Millisecond
	probeLastGap  = 100 * time.Millisecond
)

// WaitReady asks GET /_matrix/client/versions until it is answered with 200 and a body that ends,
// and returns nil. It returns context.Cause(ctx) together with what the last probe saw when ctx
// ends first.
func WaitReady(ctx context.Context, clientURL func() string) error {
	client := &http.Client{Transport: Limit(&http.Transport{DisableKeepAlives: true}, probeTimeout, probeMaxBody)}
	gap := probeFirstGap
	timer := time.NewTimer(gap)
	defer timer.Stop()
	var last error
	for {
		err := probe(ctx, client, clientURL())
		if err == nil {
			return nil
		}
		// A probe that was cut short says less than the one before.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		timer.Reset(gap)
		select {
		case <-ctx.Done():
			return &NotReadyError{Cause: context.Cause(ctx), LastProbe: last}
		case <-timer.C:
		}
		gap = min(2*gap, probeLastGap)
	}
}

// NotReadyError says what a server that never became ready answered last.
type NotReadyError struct {
	// Cause is why waiting ended.
	Cause error
	// LastProbe is what came of the last GET /_matrix/client/versions.
	LastProbe error
}

// Error is both parts in one line.
func (e *NotReadyError) Error() string { return fmt.Sprintf("%v (%v)", e.Cause, e.LastProbe) }

// Unwrap returns the cause.
func (e *NotReadyError) Unwrap() error { return e.Cause }

func probe(ctx context.Context, client *http.Client, clientURL string) error {
	if clientURL == "" {
		return errors.New("its client port is not known yet")
	}
	const path = "/_matrix/client/versions"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, clientURL+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("GET %s was not answered", path)
		}
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("GET %s: the body of the answer does not end: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s answers %s", path, resp.Status)
	}
	return nil
}
