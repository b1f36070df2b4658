package killing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"countersign/reference"
	"countersign/report"
	"countersign/report/coverage"
	"countersign/report/killtable"
	"countersign/requirements"
)

// Options say what to try.
type Options struct {
	// Module is the root of the checkout, and Folder where programs and the journal are kept.
	Module, Folder string
	// Suites are the packages below tests/.
	Suites    []string
	Catalogue *requirements.Catalogue
	Tests     *coverage.Tests
	Mutants   []reference.Mutant
	Variants  []reference.Variant
	Dead      []reference.DeadServer
	// Whole runs every test against the mutants that it could notice; otherwise only the tests that
	// cover a mutant's requirement are run.
	Whole bool
	// Jobs is how many programs run at once, and Scale what every deadline is multiplied by.
	Jobs  int
	Scale float64
	// Group starts a command in a process group of its own.
	Group func(*exec.Cmd)
	// Kill ends what is left of such a group.
	Kill func(*exec.Cmd)
	// Progress is told how far the trial is; it is called by several goroutines.
	Progress func(done, total int, what string)
}

// Bounds of one program's run, before scaling.
const (
	jobLimit   = 90 * time.Second
	suiteLimit = 6 * time.Minute
	// othersBudget is how much processor time, measured on the honest server, the tests that do not
	// cover a mutant's requirement may take. Those that have killed nothing yet come first, and are
	// exempt from it in the end: see idle.go.
	othersBudget = 2 * time.Second
	// jobsPerSuite is how many of the usual jobs a run of most of the suite is worth.
	jobsPerSuite = 3
)

// trial is the work on one table.
type trial struct {
	Options
	binaries *binaries
	journal  *journal
	// tests are the test functions that judge a server, by ID.
	tests map[string]*test

	mutex       sync.Mutex
	problems    []string
	done, total int
}

// test is a test function, and what is known about it.
type test struct {
	id, suite, name string
	covers          []string
	// deals says that its subtests can be run in parts.
	deals  bool
	honest honest
	// kills are mutants that it has failed, tried those that it was run against.
	kills, tried map[string]bool
}

// Run tries everything and makes the table. What was found out is kept in the folder: a trial that is
// interrupted goes on where it was when it is run again, unless the programs have changed.
func Run(ctx context.Context, options Options) (*killtable.Table, error) {
	started := time.Now()
	b, err := compile(ctx, options.Module, filepath.Join(options.Folder, "programs"), options.Suites)
	if err != nil {
		return nil, fmt.Errorf("the tests cannot be compiled: %w", err)
	}
	b.group, b.kill = options.Group, options.Kill
	j, err := openJournal(options.Folder, b.identity+fmt.Sprint(options.Scale, options.Whole))
	if err != nil {
		return nil, err
	}
	t := &trial{Options: options, binaries: b, journal: j, tests: map[string]*test{}}
	for _, found := range options.Tests.Tests {
		if found.Judges && len(found.Covers) > 0 && slices.Contains(options.Suites, found.Suite) {
			t.tests[found.ID()] = &test{
				id: found.ID(), suite: found.Suite, name: found.Name, covers: found.Covers, deals: found.Deals,
				kills: map[string]bool{}, tried: map[string]bool{},
			}
		}
	}
	table := &killtable.Table{
		Whole: options.Whole, Started: started.UTC().Truncate(time.Second),
		Machine: report.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()},
	}
	err = t.everything(ctx, table)
	if err := errors.Join(err, j.close()); err != nil {
		return nil, err
	}
	table.DurationSeconds = time.Since(started).Round(time.Second).Seconds()
	table.Problems = t.problems
	for _, one := range t.tests {
		table.Tests = append(table.Tests, t.row(one))
	}
	table.Close()
	return table, nil
}

func (t *trial) everything(ctx context.Context, table *killtable.Table) error {
	t.total = len(t.Mutants) + len(t.Variants) + len(t.Dead)
	if t.Whole {
		t.total += len(t.tests)
		if err := t.baseline(ctx); err != nil {
			return err
		}
	}
	rows := make([]killtable.Mutant, len(t.Mutants))
	variants := make([]killtable.Variant, len(t.Variants))
	dead := make([]killtable.Dead, len(t.Dead))
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { // beside the others: they are waited for most of the time
		order := slices.Clone(t.Dead)
		slices.SortStableFunc(order, func(a, b reference.DeadServer) int { return cmp.Compare(alive(b), alive(a)) }) // it takes longest
		return t.each(groupCtx, deadAtOnce, len(dead), func(ctx context.Context, i int) (err error) {
			dead[i], err = t.deadServer(ctx, order[i])
			return err
		})
	})
	group.Go(func() error {
		order := t.coldFirst()
		if err := t.each(groupCtx, t.Jobs, len(order), func(ctx context.Context, i int) (err error) {
			rows[order[i]], err = t.mutant(ctx, t.Mutants[order[i]])
			return err
		}); err != nil {
			return err
		}
		// A program with most of the suite in it keeps several cores busy.
		return t.each(groupCtx, max(1, t.Jobs/jobsPerSuite), len(variants), func(ctx context.Context, i int) (err error) {
			variants[i], err = t.variant(ctx, i)
			return err
		})
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if t.Whole {
		if err := t.wakeIdle(ctx, rows); err != nil {
			return err
		}
	}
	table.Mutants, table.Variants, table.Dead = rows, variants, dead
	return nil
}

// each does n pieces of work, some at once.
func (t *trial) each(ctx context.Context, atOnce, n int, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range n {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return do(ctx, i)
		})
	}
	return group.Wait()
}

// step tells of a piece of work that is done.
func (t *trial) step(what string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.done++
	if t.Progress != nil {
		t.Progress(t.done, t.total, what)
	}
}

// problem notes something that is wrong with the trial.
func (t *trial) problem(format string, args ...any) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.problems = append(t.problems, fmt.Sprintf(format, args...))
}

// coldFirst are the indices of the mutants, those that fewest tests could notice first: a test that
// notices only the mutant that everything notices is then seen to be idle until late, and is tried.
func (t *trial) coldFirst() []int {
	order := make([]int, len(t.Mutants))
	reached := make([]int, len(t.Mutants))
	for i, m := range t.Mutants {
		order[i], reached[i] = i, len(t.reaching(m.Name))
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(reached[a], reached[b]) })
	return order
}

// reaching are the tests in which a defect could show, sorted. Without an honest run none is known.
func (t *trial) reaching(defect string) (tests []*test) {
	for _, one := range t.tests {
		if slices.Contains(one.honest.Reached, defect) && one.honest.Blame == nil {
			tests = append(tests, one)
		}
	}
	slices.SortFunc(tests, func(a, b *test) int { return cmp.Compare(a.id, b.id) })
	return tests
}

// runTests runs some tests against a defect, one program per suite, and hands out the verdicts of each.
func (t *trial) runTests(ctx context.Context, tests []*test, j job, each func(*test, []report.Test)) (time.Duration, error) {
	bySuite := map[string][]*test{}
	for _, one := range tests {
		bySuite[one.suite] = append(bySuite[one.suite], one)
	}
	var elapsed time.Duration
	for _, suite := range t.Suites {
		if len(bySuite[suite]) == 0 {
			continue
		}
		j := j
		j.suite, j.tests = suite, nil
		for _, one := range bySuite[suite] {
			j.tests = append(j.tests, one.name)
		}
		o, err := t.binaries.run(ctx, t.Catalogue, j)
		if err != nil {
			return elapsed, fmt.Errorf("running %s: %w", suite, err)
		}
		elapsed += o.elapsed
		for _, one := range bySuite[suite] {
			each(one, o.judged[one.id])
		}
	}
	return elapsed, nil
}

func (t *trial) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * max(t.Scale, 1))
}

// row is what a table says of a test.
func (t *trial) row(one *test) killtable.Test {
	row := killtable.Test{ID: one.id, Covers: one.covers, Kills: []string{}, Tried: len(one.tried), Exempt: exempt(one.id)}
	for _, m := range t.Mutants {
		if slices.Contains(one.honest.Reached, m.Name) {
			row.Reaches++
		}
	}
	for name := range one.kills {
		row.Kills = append(row.Kills, name)
	}
	return row
}

// exempt is why a test need not kill anything, or empty.
func exempt(id string) string {
	for _, e := range exemptions {
		if e.test == id {
			return e.because
		}
	}
	return ""
}

// exemptions are tests that kill nothing, with the reason.
var exemptions = [...]struct{ test, because string }{}

// names is a list for people.
func names(tests []*test) string {
	list := make([]string, len(tests))
	for i, one := range tests {
		list[i] = one.id
	}
	return strings.Join(list, ", ")
}
