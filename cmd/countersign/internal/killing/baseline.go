package killing

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"countersign/report/killtable"
)

// honest is what a test function does against the honest server, run by itself.
type honest struct {
	// Reached are the mutants and variants from which the server could have been told apart: the test
	// brought it to their decision.
	Reached []string `json:"reached"`
	// CPU is the processor time that it took.
	CPU time.Duration `json:"cpu"`
	// Blame is what it says against the honest server, which is nothing.
	Blame *killtable.Kill `json:"blame,omitempty"`
	// Judged counts the cases with verdicts.
	Judged int `json:"judged"`
}

// baseline runs every test function against the honest server, each in a process of its own, and notes
// which decisions it reaches.
func (t *trial) baseline(ctx context.Context) error {
	var all []*test
	for _, one := range t.tests {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b *test) int { return strings.Compare(a.id, b.id) })
	return t.each(ctx, t.Jobs, len(all), func(ctx context.Context, i int) error {
		one := all[i]
		defer t.step(one.id)
		key := "honest:" + one.id
		if !t.journal.get(key, &one.honest) {
			for range 2 { // a test that fails is given a second chance, as the machine is busy
				if err := t.honestRun(ctx, one); err != nil {
					return err
				}
				if one.honest.Blame == nil {
					break
				}
			}
			if err := t.journal.put(key, one.honest); err != nil {
				return err
			}
		}
		if b := one.honest.Blame; b != nil {
			t.problem("%s fails the honest server: %s", b.Test, b.Observed)
		}
		return nil
	})
}

func (t *trial) honestRun(ctx context.Context, one *test) error {
	file := filepath.Join(t.Folder, "reached-"+strings.ReplaceAll(one.id, "/", "-"))
	defer os.Remove(file) //nolint:errcheck // a leftover is overlooked and replaced
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	o, err := t.binaries.run(ctx, t.Catalogue, job{
		suite: one.suite, tests: []string{one.name}, reached: file, strict: true, scale: max(t.Scale, 1), limit: t.scaled(suiteLimit),
	})
	if err != nil {
		return err
	}
	judged := o.judged[one.id]
	one.honest = honest{CPU: o.cpu, Blame: blame(one.id, judged), Judged: len(judged), Reached: []string{}}
	if len(judged) == 0 {
		one.honest.Blame = &killtable.Kill{Test: one.id, Requirements: []string{}, Observed: "nothing was judged: " + strings.Join(o.errors, "; ")}
	}
	one.honest.Reached, err = t.readReached(file)
	return err
}

// readReached reads the names that a run has left. Of names that no table has, nothing is made.
func (t *trial) readReached(path string) ([]string, error) {
	names := []string{}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return names, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		names = append(names, lines.Text())
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
