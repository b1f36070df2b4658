package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report"
)

// A bundle says of a server what the checkout says that it was made from, without Go and without the
// checkout.
func TestBundle(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: no programs are built")
	}
	c := newCheckout(t, map[string]string{
		"roomv12": passing,
		"msc4243": `func TestKeys(t *testing.T) { conform.Covers(t, "MSC4243-KEY-02"); t.Error("a second key") }`,
	})
	c.write("cmd/countersign/main.go", "package main\n\nfunc main() {}\n")
	want := c.run("run").report

	r := c.run("bundle", "out/deep")
	require.Equal(t, 0, r.code, r.out+r.err)
	assert.FileExists(t, filepath.Join(c.root, "out", "deep", "countersign"))
	bundle := filepath.Join(c.root, "out", "deep", bundleFolder)
	require.NoError(t, os.RemoveAll(filepath.Join(c.root, "tests")))

	r = c.runBundled(bundle, "run")
	assert.Equal(t, report.ExitNonConformance, r.code, r.err)
	require.NotNil(t, r.report)
	assert.Equal(t, want.Summary, r.report.Summary)
	assert.Equal(t, want.NotJudged, r.report.NotJudged)
	assert.Equal(t, want.Servers, r.report.Servers)
	assert.Equal(t, want.Suite.Commit, r.report.Suite.Commit)
	require.Len(t, r.report.Tests, len(want.Tests))
	for i := range want.Tests {
		assert.Equal(t, want.Tests[i].ID(), r.report.Tests[i].ID())
		assert.Equal(t, want.Tests[i].Observed, r.report.Tests[i].Observed)
	}

	r = c.runBundled(bundle, "run", "--requirement", "RV12-MSG-*", "--shard", "1/1")
	assert.Equal(t, 0, r.code, r.err)
	assert.Len(t, r.report.Tests, 1)
	r = c.runBundled(bundle, "list", "RV12-MSG-*")
	assert.Regexp(t, `RV12-MSG-01 +MUST +STRICT +yes +1  A message`, r.out)
	r = c.runBundled(bundle, "run", "--dry-run", "--suite", "roomv12")
	assert.Contains(t, r.out, filepath.Join(bundle, "roomv12.test")+" -test.v=test2json")
	r = c.runBundled(bundle, "run", "--run", "Nothing")
	assert.Equal(t, report.ExitNothingRan, r.code)

	require.NoError(t, os.WriteFile(filepath.Join(bundle, "roomv12.test"), []byte("#!"), 0o755))
	r = c.runBundled(bundle, "run")
	assert.Equal(t, report.ExitNonConformance, r.code, "the strongest decides")
	assert.Contains(t, r.out, "tests/roomv12 failed outside of its tests: test2json: ", "a program that does not start is told")
	require.NoError(t, os.Remove(filepath.Join(bundle, "roomv12.test")))
	r = c.runBundled(bundle, "run")
	assert.Equal(t, report.ExitHarness, r.code)
	assert.Contains(t, r.oneLine(t), "bundled with cannot be used")
}

func TestBundle_Refuses(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": passing})
	for args, want := range map[string]struct {
		code int
		says string
	}{
		"tests":  {report.ExitUsage, "is not an empty folder"},
		"new":    {report.ExitHarness, "go build"}, // this checkout has no program
		"go.mod": {report.ExitUsage, "is not an empty folder"},
	} {
		r := c.run("bundle", args)
		assert.Equal(t, want.code, r.code, args)
		assert.Contains(t, r.oneLine(t), want.says)
	}
	assert.Equal(t, report.ExitUsage, c.run("bundle").code)
	outside := &checkout{t: t, root: t.TempDir()}
	assert.Equal(t, report.ExitUsage, outside.run("bundle", "x").code)
}
