package main

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"countersign/report"
	"countersign/report/coverage"
)

// moduleName is the module whose tests the command line runs.
const moduleName = "countersign"

// origin is where the tests come from: a checkout, in which the go command builds them, or a bundle,
// in which they are built already.
type origin struct {
	// root is the root of the checkout, or the folder of the bundle.
	root string
	// index is what the bundle holds; nil for a checkout.
	index *bundleIndex
}

// origin finds the tests: beside the program, if it was bundled with them, and otherwise in the
// checkout that the working directory is in.
func (a *app) origin() (*origin, error) {
	if a.bundle != "" {
		index, err := readIndex(a.bundle)
		if err != nil {
			return nil, exitf(report.ExitHarness, "the tests that this program was bundled with cannot be used: %v", err)
		}
		return &origin{a.bundle, index}, nil
	}
	module, err := a.findModule()
	if err != nil {
		return nil, err
	}
	return &origin{root: module}, nil
}

// findModule returns the root of the checkout that the working directory is in.
func (a *app) findModule() (string, error) {
	start, err := a.getwd()
	if err != nil {
		return "", exitf(report.ExitUsage, "cannot tell the working directory: %v", err)
	}
	for folder := start; ; {
		if modulePath(filepath.Join(folder, "go.mod")) == moduleName {
			return folder, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", exitf(report.ExitUsage,
				"%s is not in a checkout of countersign, whose tests are needed; change into one first, or use a bundle", start)
		}
		folder = parent
	}
}

// modulePath is the module that a go.mod names, or "" when there is no such file.
func modulePath(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "module "); ok {
			return strings.Trim(strings.TrimSpace(name), `"`)
		}
	}
	return ""
}

// scan reads which tests there are and what they cover.
func (o *origin) scan() (*coverage.Tests, error) {
	if o.index != nil {
		return &coverage.Tests{Tests: o.index.Tests}, nil
	}
	tests, err := coverage.Scan(os.DirFS(o.root))
	if err != nil {
		return nil, exitf(report.ExitHarness, "%v", err)
	}
	return tests, nil
}

// suites are the names of the test packages, sorted.
func (o *origin) suites() ([]string, error) {
	if o.index != nil {
		return slices.Clone(o.index.Suites), nil
	}
	var found []string
	root := filepath.Join(o.root, coverage.Folder)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		name, err := filepath.Rel(root, filepath.Dir(path))
		if err == nil && name != "." && !slices.Contains(found, filepath.ToSlash(name)) {
			found = append(found, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, exitf(report.ExitHarness, "cannot read the tests: %v", err)
	}
	slices.Sort(found)
	return found, nil
}

// identity says which version of the suite this is. A program that was built in a checkout knows
// its commit; one that `go run` built does not, and git is asked.
func (o *origin) identity(ctx context.Context) report.Suite {
	if o.index != nil {
		return o.index.Suite
	}
	suite := report.Suite{Name: moduleName, Version: "(devel)"}
	dirty := false
	if info, ok := debug.ReadBuildInfo(); ok {
		suite.Version = info.Main.Version
		for _, setting := range info.Settings {
			switch setting.Key {
			case "vcs.revision":
				suite.Commit = setting.Value
			case "vcs.modified":
				dirty = setting.Value == "true"
			}
		}
	}
	if suite.Commit == "" {
		suite.Commit = git(ctx, o.root, "rev-parse", "HEAD")
		dirty = suite.Commit != "" && git(ctx, o.root, "status", "--porcelain", "--untracked-files=no") != ""
	}
	if dirty {
		suite.Commit += "+dirty"
	}
	return suite
}

// git is what git prints, or "" when it cannot answer: a checkout need not be a repository.
func git(ctx context.Context, module string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	text, err := exec.CommandContext(ctx, "git", append([]string{"-C", module}, args...)...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
