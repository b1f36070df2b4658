package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"countersign/report"
	"countersign/report/coverage"
)

// A bundle is a folder with the program and, in a folder beside it, an index, a test program for each
// suite, and Go's own program that turns what these print into `go test -json`.
const (
	bundleFolder = "tests"
	indexName    = "index.json"
	converter    = "test2json"
)

// bundleIndex is what a bundle holds.
type bundleIndex struct {
	// Suite is the suite that was bundled, and Go the version of Go that built it.
	Suite report.Suite `json:"suite"`
	Go    string       `json:"go"`
	// Suites are the names of the test packages; the program of roomv12 is roomv12.test.
	Suites []string `json:"suites"`
	// Tests are the test functions, with what they cover.
	Tests []coverage.Test `json:"tests"`
}

// bundled is the folder of the bundle that this program belongs to, or empty.
func bundled() string {
	program, err := os.Executable()
	if err != nil {
		return ""
	}
	if resolved, err := filepath.EvalSymlinks(program); err == nil {
		program = resolved
	}
	folder := filepath.Join(filepath.Dir(program), bundleFolder)
	if _, err := os.Stat(filepath.Join(folder, indexName)); err != nil {
		return ""
	}
	return folder
}

// readIndex reads and checks the index of a bundle.
func readIndex(folder string) (*bundleIndex, error) {
	text, err := os.ReadFile(filepath.Join(folder, indexName))
	if err != nil {
		return nil, err
	}
	var index bundleIndex
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(folder, indexName), err)
	}
	for _, suite := range index.Suites {
		if _, err := os.Stat(filepath.Join(folder, testProgram(suite))); err != nil {
			return nil, err
		}
	}
	return &index, nil
}

// testProgram is the file of a suite's test program. It ends as those of the go command do, by which
// the tests tell their own name.
func testProgram(suite string) string { return filepath.FromSlash(suite) + ".test" }

// prebuilt is the command line that runs one suite of a bundle.
func (p *plan) prebuilt(suite string) []string {
	line := []string{
		filepath.Join(p.origin.root, converter), "-t", "-p", path.Join(moduleName, coverage.Folder, suite),
		filepath.Join(p.origin.root, testProgram(suite)), "-test.v=test2json", "-test.paniconexit0",
	}
	return append(line, p.flags("-test.")...)
}

// goVersion is the version of Go that the tests are built with.
func (o *origin) goVersion() string {
	if o.index != nil {
		return o.index.Go
	}
	return runtime.Version()
}

func (a *app) bundleCommand() *cobra.Command {
	var goos, goarch string
	command := &cobra.Command{
		Use:   "bundle DIR",
		Short: "Build the program and the tests, to be run without Go",
		Long: `Bundle builds this program and all tests into a folder, which can be copied to a machine that has
neither Go nor a checkout:

  countersign bundle countersign-linux --os linux --arch amd64
  tar czf countersign-linux.tar.gz countersign-linux
  countersign-linux/countersign run --target docker:IMAGE

The programs are linked statically. dockerfiles/build-suite.sh puts a bundle into an image.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.makeBundle(cmd.Context(), args[0], goos, goarch)
		},
	}
	command.Flags().StringVar(&goos, "os", runtime.GOOS, "the operating system to build for")
	command.Flags().StringVar(&goarch, "arch", runtime.GOARCH, "the processor to build for")
	return command
}

func (a *app) makeBundle(ctx context.Context, into, goos, goarch string) error {
	folder, err := a.absolute(into)
	if err != nil {
		return err
	}
	module, err := a.findModule()
	if err != nil {
		return err
	}
	source := &origin{root: module}
	tests, err := source.scan()
	if err != nil {
		return err
	}
	suites, err := source.suites()
	if err != nil {
		return err
	}
	if len(suites) == 0 {
		return exitf(report.ExitNothingRan, "%s has no tests below %s/", module, coverage.Folder)
	}
	if entries, err := os.ReadDir(folder); len(entries) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return exitf(report.ExitUsage, "%s is not an empty folder; name a new one", into)
	}
	programs := filepath.Join(folder, bundleFolder)
	if err := os.MkdirAll(programs, 0o755); err != nil {
		return exitf(report.ExitUsage, "cannot make the folder: %v", err)
	}
	suffix := ""
	if goos == "windows" {
		suffix = ".exe"
	}
	builds := [][]string{
		{"build", "-o", filepath.Join(folder, moduleName+suffix), "./cmd/" + moduleName},
		{"build", "-o", filepath.Join(programs, converter+suffix), "cmd/" + converter},
	}
	for _, suite := range suites {
		builds = append(builds, []string{"test", "-c", "-o", filepath.Join(programs, testProgram(suite)), "./" + coverage.Folder + "/" + suite})
	}
	for _, build := range builds {
		fmt.Fprintf(a.out, "go %s\n", strings.Join(build, " "))
		if err := a.build(ctx, module, goos, goarch, build); err != nil {
			return err
		}
	}
	index, err := json.MarshalIndent(bundleIndex{source.identity(ctx), runtime.Version(), suites, tests.Tests}, "", "  ")
	if err != nil {
		return exitf(report.ExitHarness, "cannot write the index: %v", err)
	}
	if err := os.WriteFile(filepath.Join(programs, indexName), append(index, '\n'), 0o644); err != nil {
		return exitf(report.ExitHarness, "cannot write the index: %v", err)
	}
	return nil
}

// build runs the go command for another system, with flags that make small static programs which do
// not name this machine's folders.
func (a *app) build(ctx context.Context, module, goos, goarch string, words []string) error {
	const flags = "-s -w"
	at := 1
	if words[0] == "test" {
		at = 2 // behind -c
	}
	line := append(append(append([]string{}, words[:at]...), "-trimpath", "-ldflags="+flags), words[at:]...)
	command := exec.CommandContext(ctx, "go", line...)
	command.Dir = module
	command.Env = append(append([]string{}, a.environ...), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	if output, err := command.CombinedOutput(); err != nil {
		return exitf(report.ExitHarness, "go %s: %v: %s", strings.Join(words, " "), err, strings.Join(strings.Fields(string(output)), " "))
	}
	return nil
}
