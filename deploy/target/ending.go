package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"countersign/deploy"
)

// scriptTimeout bounds COMPLEMENT_POST_TEST_SCRIPT, before the timeout scale.
const scriptTimeout = time.Minute

// sharedName is the test name that Complement gives to its script for a deployment that was shared.
const sharedName = "COMPLEMENT_ENABLE_DIRTY_RUNS"

// ending does what is to be done while a deployment's servers can still be looked at.
type ending struct {
	config  deploy.Config
	servers []deploy.ManagedServer
	once    sync.Once
	err     error
}

// testEnded prints the servers' logs and runs the script, once.
func (e *ending) testEnded(ctx context.Context, testName string, failed bool) error {
	e.once.Do(func() {
		var errs []error
		if failed || e.config.AlwaysPrintServerLogs {
			errs = append(errs, e.printLogs(ctx, testName))
		}
		errs = append(errs, e.runScript(ctx, testName, failed))
		e.err = errors.Join(errs...)
	})
	return e.err
}

// beforeClose makes up for a test end that nobody told of, and keeps the logs if there is where.
func (e *ending) beforeClose(ctx context.Context) error {
	return errors.Join(e.testEnded(ctx, sharedName, false), e.saveLogs(ctx))
}

func (e *ending) printLogs(ctx context.Context, testName string) error {
	var errs []error
	for _, s := range e.servers {
		log, err := logOf(ctx, s)
		errs = append(errs, err)
		if err == nil {
			fmt.Fprintf(os.Stderr, "---- the log of %s (%s) after %s ----\n%s\n---- end of the log of %s ----\n", s.Alias(), s.Name(), testName, log, s.Alias())
		}
	}
	return errors.Join(errs...)
}

func (e *ending) saveLogs(ctx context.Context) error {
	if e.config.Artifacts == "" {
		return nil
	}
	if err := os.MkdirAll(e.config.Artifacts, 0o755); err != nil {
		return fmt.Errorf("making the folder of COUNTERSIGN_ARTIFACTS: %w", err)
	}
	var errs []error
	for _, s := range e.servers {
		log, err := logOf(ctx, s)
		if err == nil && log != "" {
			err = saveLog(e.config.Artifacts, s.Alias(), log)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// saveLog writes to a new file, since several deployments have a server with the same alias.
func saveLog(folder, alias, log string) error {
	file, err := os.CreateTemp(folder, alias+"-*.log")
	if err != nil {
		return fmt.Errorf("keeping the log of %s: %w", alias, err)
	}
	_, err = file.WriteString(log)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("keeping the log of %s in %s: %w", alias, filepath.Base(file.Name()), err)
	}
	return nil
}

// logOf is a server's log, or empty when its target cannot read it.
func logOf(ctx context.Context, s deploy.Server) (string, error) {
	log, err := s.Logs(ctx)
	if errors.Is(err, deploy.ErrUnsupported) {
		return "", nil
	}
	return log, err
}

// runScript runs COMPLEMENT_POST_TEST_SCRIPT for every container.
func (e *ending) runScript(ctx context.Context, testName string, failed bool) error {
	if e.config.PostTestScript == "" {
		return nil
	}
	var errs []error
	for _, s := range e.servers {
		container, ok := s.(interface{ ContainerID() string })
		if !ok {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, e.config.Scaled(scriptTimeout))
		cmd := exec.CommandContext(ctx, e.config.PostTestScript, container.ContainerID(), testName, strconv.FormatBool(failed))
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			errs = append(errs, fmt.Errorf("COMPLEMENT_POST_TEST_SCRIPT for %s: %w: %s", s.Alias(), err, deploy.LastLines(string(out), 5)))
		} else if len(out) > 0 && (failed || e.config.AlwaysPrintServerLogs) {
			fmt.Fprintf(os.Stderr, "---- COMPLEMENT_POST_TEST_SCRIPT for %s ----\n%s\n", s.Alias(), out)
		}
	}
	return errors.Join(errs...)
}
