package killing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"countersign/helpers/conform"
	"countersign/report"
	"countersign/requirements"
)

// job is one run of one program of tests.
type job struct {
	suite string
	// tests are names of test functions; all when there are none.
	tests []string
	// requirement chooses within the tests; all when it is empty.
	requirement string
	// part is the one to run of the subtests that are dealt out, as in "2/8"; all when it is empty.
	part string
	// defect is what the reference homeserver does wrong; empty for the honest one.
	defect string
	// reached is a file for the defects that could have shown, or empty.
	reached string
	strict  bool
	// scale multiplies every deadline, and limit bounds the run.
	scale float64
	limit time.Duration
	// parallel is how many tests run at once; 0 is as many as the suite likes.
	parallel int
}

// outcome is what came of a job.
type outcome struct {
	// judged are the judged tests by function, as in "msc4243/TestInvite".
	judged map[string][]report.Test
	// errors are what kept tests from running.
	errors []string
	// elapsed is how long the program ran, and cpu the processor time that it took.
	elapsed, cpu time.Duration
}

// run runs a job. The error is for a machine that cannot run it, or an interrupt.
func (b *binaries) run(ctx context.Context, all *requirements.Catalogue, j job) (*outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, j.limit+10*time.Second)
	defer cancel()
	args := []string{"-p", "countersign/tests/" + j.suite, b.path(j.suite), "-test.v=test2json", "-test.timeout=" + j.limit.String()}
	if len(j.tests) > 0 {
		names := make([]string, len(j.tests))
		for i, name := range j.tests {
			names[i] = regexp.QuoteMeta(name)
		}
		args = append(args, "-test.run=^("+strings.Join(names, "|")+")$")
	}
	if j.parallel > 0 {
		args = append(args, "-test.parallel="+strconv.Itoa(j.parallel))
	}
	command := exec.CommandContext(ctx, b.test2json, args...)
	command.Dir = filepath.Join(b.module, "tests", filepath.FromSlash(j.suite))
	command.Env = append(os.Environ(), "COUNTERSIGN_TARGET=embedded", "COUNTERSIGN_ARTIFACTS=", "TMPDIR="+b.folder,
		"COUNTERSIGN_MUTANT="+j.defect, "COUNTERSIGN_REACHED="+j.reached, conform.SelectionVariable+"="+j.requirement, conform.ShardVariable+"="+j.part,
		conform.StrictVariable+"="+strconv.FormatBool(j.strict),
		"COUNTERSIGN_TIMEOUT_SCALE="+strconv.FormatFloat(j.scale, 'g', -1, 64))
	command.WaitDelay = 5 * time.Second
	b.group(command)
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	command.Stderr = command.Stdout

	result := &outcome{judged: map[string][]report.Test{}}
	collector := report.NewCollector(all)
	collector.OnTest = func(suite, name string, judged []report.Test) { result.judged[suite+"/"+name] = judged }
	started := time.Now()
	if err := command.Start(); err != nil {
		return nil, err
	}
	readErr := collector.Read(output)
	_, drainErr := io.Copy(io.Discard, output)
	err = command.Wait()
	b.kill(command) // what an interrupt has not ended
	result.elapsed = time.Since(started)
	if state := command.ProcessState; state != nil {
		result.cpu = state.UserTime() + state.SystemTime()
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		err = nil // that tests failed is told by what they said
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		collector.Fail(fmt.Sprintf("the tests took longer than %s", j.limit))
		err = nil
	}
	var run report.Run
	collector.Finish(&run)
	result.errors = run.Errors
	return result, errors.Join(err, readErr, drainErr)
}
