package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report"
	"countersign/report/verdict"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": `
func TestMain(m *testing.M) {
	fmt.Println(` + "`" + `countersign: fact: {"server":"hs1","name":"example","room_versions":{"12":"stable"}}` + "`" + `)
	os.Exit(m.Run())
}

func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-01") }

func TestB(t *testing.T) {
	conform.Covers(t, "RV12-MSG-02")
	path := os.Getenv("COUNTERSIGN_ARTIFACTS") + "/b.txt"
	os.MkdirAll(os.Getenv("COUNTERSIGN_ARTIFACTS"), 0o755)
	os.WriteFile(path, []byte("on the wire"), 0o644)
	t.Attr("countersign.transcript", path)
	t.Error("no message")
}

func TestC(t *testing.T) { conform.Covers(t, "RV12-CREATE-01", "RV12-CREATE-02") }
`})
	whole := c.run("run")
	require.Equal(t, 1, whole.code)
	for shard, want := range map[string]int{"1": 0, "2": 0, "3": 1} {
		r := c.run("run", "--shard", shard+"/3", "--report", "shard-"+shard)
		require.Equal(t, want, r.code, r.out+r.err)
	}

	r := c.run("report", "merge", "shard-3", "shard-1", "shard-2", "--to", "merged")
	assert.Equal(t, report.ExitNonConformance, r.code, r.err)
	assert.Contains(t, r.out, "4 requirements judged: 3 pass, 1 fail")
	merged, err := report.Read(filepath.Join(c.root, "merged"))
	require.NoError(t, err)
	assert.Nil(t, merged.Shard)
	assert.Equal(t, []string{"run"}, merged.Command)
	assert.Equal(t, whole.report.Summary, merged.Summary)
	assert.Equal(t, whole.report.NotJudged, merged.NotJudged)
	assert.Equal(t, whole.report.Requirements, merged.Requirements)
	assert.Equal(t, "on the wire", c.read("merged/artifacts/b.txt"))
	assert.Contains(t, c.read("merged/report.html"), "on the wire")

	c.write("known.yaml", "version: 1\nknown: [{requirements: [RV12-MSG-02], reason: Lost., link: https://example.org/1}]\n")
	r = c.run("report", "merge", "shard-1", "shard-2", "shard-3", "--expectations", "known.yaml", "--strict-expectations")
	assert.Equal(t, 0, r.code, r.out+r.err)

	for args, says := range map[[3]string]string{
		{"shard-1", "shard-2", "shard-2"}:            "shard 2 of 3 is there twice",
		{"shard-1", "shard-2", "shard-1"}:            "shard 1 of 3 is there twice",
		{"shard-1", "shard-3", "shard-3"}:            "shard 3 of 3 is there twice",
		{"shard-1", "shard-2", "countersign-report"}: "the reports are not all of 3 shards",
	} {
		r = c.run("report", "merge", args[0], args[1], args[2])
		assert.Equal(t, report.ExitUsage, r.code)
		assert.Contains(t, r.oneLine(t), says)
	}
	r = c.run("report", "merge", "shard-1", "shard-3")
	assert.Equal(t, report.ExitUsage, r.code)
	assert.Contains(t, r.oneLine(t), "shard 2 of 3 is missing")
	r = c.run("report", "merge", "shard-1", "nowhere")
	assert.Equal(t, report.ExitUsage, r.code)
}

// A function that deals its subtests out is split: each shard runs its part of them, and together
// they run all.
func TestMerge_SubtestsThatAreDealtOut(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": `
func TestForge(t *testing.T) {
	for _, name := range []string{"0", "1", "2", "3", "4"} {
		conform.Deal(t, name, func(t *testing.T) {
			conform.Covers(t, "RV12-MSG-01")
			if name == "4" { t.Error("it is accepted") }
		})
	}
}

func TestOther(t *testing.T) { conform.Covers(t, "RV12-MSG-02") }
`})
	for shard, want := range map[string]struct {
		code  int
		tests []string
	}{
		"1/2": {1, []string{"TestForge/0", "TestForge/2", "TestForge/4", "TestOther"}},
		"2/2": {0, []string{"TestForge/1", "TestForge/3"}},
	} {
		r := c.run("run", "--shard", shard, "--report", "shard-"+shard[:1])
		require.Equal(t, want.code, r.code, r.out+r.err)
		part, err := report.Read(filepath.Join(c.root, "shard-"+shard[:1]))
		require.NoError(t, err)
		var names []string
		for _, test := range part.Tests {
			names = append(names, test.Name)
		}
		assert.Equal(t, want.tests, names)
	}
	require.NoError(t, os.MkdirAll(filepath.Join(c.root, "down[loaded]", "logs"), 0o755))
	for _, shard := range []string{"shard-1", "shard-2"} {
		require.NoError(t, os.Rename(filepath.Join(c.root, shard), filepath.Join(c.root, "down[loaded]", shard)))
	}
	r := c.run("report", "merge", "down[loaded]", "--to", "down[loaded]/merged")
	assert.Equal(t, report.ExitNonConformance, r.code, r.err)
	r = c.run("report", "merge", "down[loaded]/", "--to", "./down[loaded]/merged/")
	assert.Equal(t, report.ExitNonConformance, r.code, "what was merged before is no shard: %s", r.err)
	require.NoError(t, os.RemoveAll(filepath.Join(c.root, "down[loaded]", "merged")))
	r = c.run("report", "merge", "down[loaded]")
	assert.Equal(t, report.ExitNonConformance, r.code, r.err)
	assert.Len(t, r.report.Tests, 6)
	assert.Equal(t, 6, c.run("run").report.Summary.Tests.Total(), "a run that is not split runs them all")
}

func TestRun_Repeat(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": `
var runs = 0

func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-01") }

func TestB(t *testing.T) {
	conform.Covers(t, "RV12-MSG-02")
	if runs++; runs == 2 { t.Error("this time the message is lost") }
}
`})
	r := c.run("run", "--repeat", "3")
	assert.Equal(t, report.ExitNonConformance, r.code, r.err)
	assert.Contains(t, r.out, "roomv12/TestB: 1 fail, 2 pass of 3 runs")
	require.Len(t, r.report.Tests, 2)
	assert.Equal(t, 3, r.report.Tests[0].Repeats.Pass)
	assert.False(t, r.report.Tests[0].Flaky())
	assert.True(t, r.report.Tests[1].Flaky())
	assert.Equal(t, verdict.Fail, r.report.Tests[1].Verdict)
	assert.Equal(t, "this time the message is lost", r.report.Tests[1].Observed)
}

func TestRun_FailFast(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": `
func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-01"); t.Error("lost") }

func TestB(t *testing.T) { conform.Covers(t, "RV12-MSG-02") }
`})
	r := c.run("run", "--fail-fast")
	assert.Equal(t, report.ExitNonConformance, r.code, r.err)
	assert.Len(t, r.report.Tests, 1)
	assert.Contains(t, r.report.NotJudged, report.NotJudged{ID: "RV12-MSG-02", Reason: report.NotRun}, "what did not run is said")
}

// The merged run decides, whatever its parts came to: nothing is lost in a part that judged nothing, and
// nothing is won in several of them.
func TestMerge_ExitCodes(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": `
func TestForge(t *testing.T) {
	conform.Deal(t, "1", func(t *testing.T) { conform.Covers(t, "RV12-MSG-01"); skip(t) })
}

func skip(t *testing.T) { if os.Getenv("SKIP_IT") == "1" { t.Skip("not offered") } }
`})
	part := func(shard string) int { return c.run("run", "--shard", shard+"/2", "--report", "parts/"+shard).code }
	require.Equal(t, []int{report.ExitNothingRan, report.ExitAsExpected}, []int{part("1"), part("2")})
	assert.Equal(t, report.ExitAsExpected, c.run("report", "merge", "parts").code)

	c.write("known.yaml", "version: 1\nknown:\n  - {requirements: [RV12-MSG-01], reason: Messages get lost., link: https://example.org/1}\n")
	known := []string{"report", "merge", "parts", "--expectations", "known.yaml"}
	assert.Equal(t, report.ExitAsExpected, c.run(known...).code)
	assert.Equal(t, report.ExitUnexpectedPass, c.run(append(known, "--strict-expectations")...).code)

	c.write("tests/roomv12/suite_test.go", strings.Replace(c.read("tests/roomv12/suite_test.go"), `os.Getenv("SKIP_IT") == "1"`, `os.Getenv("SKIP_IT") == ""`, 1))
	require.Equal(t, report.ExitNothingRan, part("2"))
	r := c.run("report", "merge", "parts")
	assert.Equal(t, report.ExitNothingRan, r.code)
	assert.Contains(t, r.oneLine(t), "nothing was judged")
}
