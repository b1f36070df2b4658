package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/report"
)

// checkout makes a module with tests in a temporary folder. Its tests say what they say with bare
// attributes, so that they compile without the suite; what they look like to `go test` is the same.
type checkout struct {
	t    *testing.T
	root string
}

// conformStub stands in for helpers/conform: the words that the tests below use.
const conformStub = `package conform

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// Deal deals by the number in the name.
func Deal(t *testing.T, name string, subtest func(*testing.T)) bool {
	if part, count, ok := strings.Cut(os.Getenv("COUNTERSIGN_SHARD"), "/"); ok {
		p, _ := strconv.Atoi(part)
		n, _ := strconv.Atoi(count)
		if i, _ := strconv.Atoi(name); i%n != p-1 {
			return true
		}
	}
	return t.Run(name, subtest)
}

func Covers(t *testing.T, ids ...string) {
	for _, id := range ids {
		t.Attr("countersign.covers", id)
	}
}

func Find(t *testing.T, verdict, id, observed string) {
	t.Attr("countersign.finding", ` + "`" + `{"verdict":"` + "`" + `+verdict+` + "`" + `","requirement":"` + "`" + `+id+` + "`" + `","observed":"` + "`" + `+observed+` + "`" + `"}` + "`" + `)
}
`

// newCheckout makes a checkout with one file per suite; each is the body of a Go test file after
// its package clause and imports.
func newCheckout(t *testing.T, suites map[string]string) *checkout {
	t.Helper()
	c := &checkout{t: t, root: t.TempDir()}
	c.write("go.mod", "module countersign\n\ngo 1.26\n")
	c.write("helpers/conform/conform.go", conformStub)
	for suite, body := range suites {
		text := "package " + suite + "\n\nimport (\n\t\"testing\"\n\t\"countersign/helpers/conform\"\n"
		for _, name := range []string{"fmt", "os", "os/signal", "time"} {
			if strings.Contains(body, filepath.Base(name)+".") {
				text += "\t\"" + name + "\"\n"
			}
		}
		c.write("tests/"+suite+"/suite_test.go", text+")\n\n"+body)
	}
	return c
}

func (c *checkout) write(name, text string) {
	c.t.Helper()
	path := filepath.Join(c.root, name)
	require.NoError(c.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(c.t, os.WriteFile(path, []byte(text), 0o644))
}

func (c *checkout) read(name string) string {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.root, name))
	require.NoError(c.t, err)
	return string(text)
}

// result is what a command line printed and returned.
type result struct {
	code     int
	out, err string
	// report is the report that was written, or nil.
	report *report.Run
}

// run executes a command line in the checkout, without homeservers to start.
func (c *checkout) run(args ...string) result {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	return c.runIn(ctx, c.root, func(context.Context, []string) error { return nil }, args...)
}

// runBundled is run in an empty folder, with the tests of a bundle and without Go.
func (c *checkout) runBundled(bundle string, args ...string) result {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Minute)
	defer cancel()
	return c.execute(ctx, c.t.TempDir(), &app{preflight: func(context.Context, []string) error { return nil }, bundle: bundle}, args)
}

func (c *checkout) runIn(ctx context.Context, folder string, preflight func(context.Context, []string) error, args ...string) result {
	c.t.Helper()
	return c.execute(ctx, folder, &app{preflight: preflight}, args)
}

func (c *checkout) execute(ctx context.Context, folder string, a *app, args []string) result {
	c.t.Helper()
	var out, errs bytes.Buffer
	a.out, a.err, a.getwd = &out, &errs, func() (string, error) { return folder, nil }
	a.environ = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "COUNTERSIGN_TARGET=", "COUNTERSIGN_STRICT=",
		"COUNTERSIGN_ARTIFACTS=", "COUNTERSIGN_MUTANT=", "COUNTERSIGN_TIMEOUT_SCALE=", "COMPLEMENT_BASE_IMAGE=")
	r := result{code: a.execute(ctx, args), out: out.String(), err: errs.String()}
	written := filepath.Join(folder, defaultReport)
	if _, err := os.Stat(filepath.Join(written, report.FileName)); err == nil {
		r.report, err = report.Read(written)
		require.NoError(c.t, err)
	}
	return r
}

// oneLine requires that an error was told in exactly one line, and returns it.
func (r result) oneLine(t *testing.T) string {
	t.Helper()
	line := strings.TrimSuffix(r.err, "\n")
	require.NotContains(t, line, "\n", "one line says what is wrong")
	require.True(t, strings.HasPrefix(line, "countersign: "), line)
	return line
}
