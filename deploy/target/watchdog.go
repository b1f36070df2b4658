package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"countersign/deploy"
	"countersign/deploy/docker"
	"countersign/deploy/internal/owner"
	"countersign/deploy/process"
)

// watchdogVariable makes this program a watchdog; its value is the process to watch.
const watchdogVariable = "COUNTERSIGN_WATCHDOG"

// dismissal is what a watched process says when nothing is left to clean up.
const dismissal = "dismissed"

// watchdog is a copy of this program that waits for the end of this process. When that comes without
// a dismissal (a panic, kill -9), it does what the next run would do first: it sweeps.
type watchdog struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// init becomes the watchdog before the program, or a test binary's tests, can begin.
func init() {
	if value := os.Getenv(watchdogVariable); value != "" {
		os.Exit(watch(value, os.Stdin))
	}
}

// startWatchdog starts the watchdog of this process.
func startWatchdog() (*watchdog, error) {
	self, err := owner.Self()
	if err != nil {
		return nil, deploy.Startf("%w", err)
	}
	program, err := os.Executable()
	if err != nil {
		return nil, deploy.Startf("finding this program, to start a watchdog: %w", err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), watchdogVariable+"="+self.String())
	// It shares neither our output, which somebody may be reading to its end, nor our process
	// group, which Ctrl-C ends.
	cmd.SysProcAttr = detached()
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, deploy.Startf("starting a watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, deploy.Startf("starting a watchdog: %w", err)
	}
	return &watchdog{cmd: cmd, pipe: pipe}, nil
}

// dismiss ends the watchdog without a sweep. Nil is no watchdog.
func (w *watchdog) dismiss() error {
	if w == nil {
		return nil
	}
	_, err := io.WriteString(w.pipe, dismissal)
	err = errors.Join(err, w.pipe.Close(), w.cmd.Wait())
	if err != nil {
		return fmt.Errorf("dismissing the watchdog: %w", err)
	}
	return nil
}

// watch reads until the other end of the pipe is gone. Its result is an exit status.
func watch(watched string, pipe io.Reader) int {
	said, err := io.ReadAll(pipe)
	if err == nil && string(said) == dismissal {
		return 0
	}
	id, err := owner.Parse(watched)
	if err != nil {
		return 3
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if !waitDead(ctx, id) {
		return 1
	}
	config, err := deploy.ConfigFromEnvironment()
	if err != nil {
		config = deploy.Config{}
	}
	if process.Sweep("") != nil {
		return 1
	}
	if docker.Sweep(ctx, config) != nil {
		return 1 // without an engine there is nothing to sweep either
	}
	return 0
}

// waitDead waits until a process is gone, which comes a little after its end of the pipe.
func waitDead(ctx context.Context, id owner.ID) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !id.Dead() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}
