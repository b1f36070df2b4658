package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"countersign/deploy"
)

// The gap between two looks at a container that is starting.
const (
	firstLook = 10 * time.Millisecond
	lastLook  = 100 * time.Millisecond
)

var (
	errTooLate = errors.New("the time to start is over")
	errClosed  = errors.New("the server was removed meanwhile")
)

// exitError is the cause that ends waiting when a container ends.
type exitError struct{ status int64 }

func (e exitError) Error() string { return fmt.Sprintf("ended with exit status %d", e.status) }

// waitReady waits until the container's ports are published, it is healthy (when its image says how
// to find out), and it answers GET /_matrix/client/versions with 200.
func (s *Server) waitReady(ctx context.Context) error {
	s.forgetAddresses()
	config := &s.fleet.config
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(errClosed) })()
	defer time.AfterFunc(config.StartTimeout(), func() { cancel(errTooLate) }).Stop()
	go s.watchExit(ctx, cancel)

	err := s.waitHealthy(ctx)
	if err == nil {
		err = deploy.WaitReady(ctx, s.ClientURL)
	}
	if err == nil {
		return nil
	}
	return s.explain(ctx, err)
}

// watchExit ends waiting as soon as the container is not running any more.
func (s *Server) watchExit(ctx context.Context, cancel context.CancelCauseFunc) {
	ended, failure := s.fleet.engine.ContainerWait(ctx, s.id, container.WaitConditionNotRunning)
	select {
	case result := <-ended:
		cancel(exitError{result.StatusCode})
	case err := <-failure:
		if ctx.Err() == nil {
			cancel(failed("watching the container", err))
		}
	}
}

// notHealthyError says what the image's health check found last.
type notHealthyError struct {
	cause  error
	status string
	output string
}

func (e *notHealthyError) Error() string {
	if e.output == "" {
		return e.status
	}
	return e.status + ": " + e.output
}

func (e *notHealthyError) Unwrap() error { return e.cause }

func (s *Server) waitHealthy(ctx context.Context) error {
	gap := firstLook
	timer := time.NewTimer(gap)
	defer timer.Stop()
	last := &notHealthyError{status: "its ports are not published"}
	for {
		state, err := s.fleet.engine.ContainerInspect(ctx, s.id)
		switch {
		case err != nil && ctx.Err() == nil:
			return failed("looking at the container", err)
		case err == nil && s.readAddresses(state.NetworkSettings.Ports):
			health := state.State.Health
			if health == nil || health.Status == container.NoHealthcheck || health.Status == container.Healthy {
				return nil
			}
			last = &notHealthyError{status: "its HEALTHCHECK says " + health.Status, output: lastOutput(health)}
		}
		timer.Reset(gap)
		select {
		case <-ctx.Done():
			last.cause = context.Cause(ctx)
			return last
		case <-timer.C:
		}
		gap = min(2*gap, lastLook)
	}
}

func lastOutput(health *container.Health) string {
	if len(health.Log) == 0 {
		return "it has not run yet"
	}
	return strings.TrimSpace(deploy.LastLines(health.Log[len(health.Log)-1].Output, 1))
}

// explain makes the error of a container that did not come up: one line, and the end of its log.
func (s *Server) explain(ctx context.Context, err error) error {
	var failure *deploy.Error
	if exit, ok := errors.AsType[exitError](err); ok {
		failure = deploy.Startf("%s: the container of %s %w before it was ready; try: docker run --rm -e SERVER_NAME=%s %s", s.alias, s.image, exit, s.alias, s.image)
	} else if errors.Is(err, errTooLate) {
		failure = deploy.Startf("%s: the container of %s is not ready after %v: %w; if it is only slow, raise COMPLEMENT_SPAWN_HS_TIMEOUT_SECS",
			s.alias, s.image, s.fleet.config.StartTimeout(), lastSeen(err))
	} else if ctx.Err() != nil {
		return fmt.Errorf("%s: waiting for a container of %s: %w", s.alias, s.image, err)
	} else {
		failure = deploy.Startf("%s: waiting for a container of %s: %w", s.alias, s.image, err)
	}
	logCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.fleet.config.Scaled(pingTimeout))
	defer cancel()
	log, logErr := s.Logs(logCtx)
	failure.Log = deploy.LastLines(log, logLines)
	if logErr != nil {
		return errors.Join(failure, logErr)
	}
	return failure
}

// lastSeen is what stood in the way when the time was over.
func lastSeen(err error) error {
	if e, ok := errors.AsType[*deploy.NotReadyError](err); ok {
		return e.LastProbe
	}
	return err
}
