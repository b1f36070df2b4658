package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report"
	"countersign/report/verdict"
)

const passing = `
func TestMain(m *testing.M) {
	fmt.Println(` + "`" + `countersign: fact: {"server":"hs1","name":"example","room_versions":{"12":"stable"}}` + "`" + `)
	os.Exit(m.Run())
}

func TestCreate(t *testing.T) { conform.Covers(t, "RV12-CREATE-01", "RV12-CREATE-02") }

func TestMessage(t *testing.T) {
	t.Run("outbound", func(t *testing.T) { conform.Covers(t, "RV12-MSG-01") })
}
`

func TestRun_ExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want int
		// says is a part of what is printed.
		says string
	}{
		"0 as expected": {passing, report.ExitAsExpected, "3 requirements judged: 3 pass"},
		"0 with a warning": {
			`func TestA(t *testing.T) { conform.Covers(t, "MSC4243-KEY-01"); conform.Find(t, "WARN", "MSC4243-KEY-01", "two keys") }`,
			report.ExitAsExpected, "MSC4243-KEY-01  two keys",
		},
		"1 a broken requirement": {
			`func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-01"); t.Error("the message is lost") }`,
			report.ExitNonConformance, "observed    the message is lost",
		},
		"1 missing evidence": {
			`func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-01"); conform.Find(t, "INCONCLUSIVE", "", "no fence"); t.FailNow() }`,
			report.ExitNonConformance, "observed    no fence",
		},
		"2 a harness error": {
			`func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-01"); conform.Find(t, "ERROR", "", "no port"); t.FailNow() }`,
			report.ExitHarness, "observed    no port",
		},
		"2 a panic": {
			`func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-01"); panic("oh") }`,
			report.ExitHarness, "observed    panic: oh",
		},
		"2 a server that does not start": {
			`func TestMain(m *testing.M) { fmt.Println("countersign: error: hs1 did not answer"); os.Exit(2) }
			func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-01") }`,
			report.ExitHarness, "ERROR         hs1 did not answer",
		},
		"2 tests that do not compile": {
			`func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-01"); undefined() }`,
			report.ExitHarness, "tests/suite does not compile: # countersign/tests/suite",
		},
		"4 every test skipped": {
			`func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-01"); t.Skip("hs1 does not offer room version 12") }`,
			report.ExitNothingRan, "hs1 does not offer room version 12",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newCheckout(t, map[string]string{"suite": c.body}).run("run")
			assert.Equal(t, c.want, r.code, "%s\n%s", r.out, r.err)
			assert.Contains(t, r.out, c.says)
			require.NotNil(t, r.report, "a report is written whatever happened")
			assert.Equal(t, c.want, r.report.ExitCode())
			if c.want == report.ExitNothingRan {
				assert.Contains(t, r.oneLine(t), "nothing was judged")
			} else {
				assert.Empty(t, r.err)
			}
		})
	}
}

func TestRun_Report(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": passing})
	r := c.run("run", "--strict", "--timeout-scale", "2")
	require.Equal(t, 0, r.code, r.err)
	assert.Equal(t, "embedded", r.report.Target)
	assert.True(t, r.report.Strict)
	assert.Equal(t, []string{"run", "--timeout-scale", "2", "--strict"}, r.report.Command)
	assert.Equal(t, 3, r.report.Summary.Pass)
	assert.Equal(t, []verdict.Fact{{Server: "hs1", Name: "example", RoomVersions: map[string]string{"12": "stable"}}}, r.report.Servers)
	assert.Positive(t, r.report.DurationSeconds)
	for _, id := range []string{"RV12-CREATE-01", "RV12-CREATE-02", "RV12-MSG-01"} {
		assert.Contains(t, r.out, id, "every requirement that was judged is named")
	}
	assert.Contains(t, r.out, filepath.Join("countersign-report", "report.json"))
}

// What was configured by variables is evidence, too. Secrets are not, nor what was set to nothing.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	assert.Equal(t, map[string]string{"COUNTERSIGN_MUTANT": "AcceptUnsigned", "COMPLEMENT_HOST_MOUNTS": "/a:/b"}, configuration([]string{
		"PATH=/bin", "HOME=/root", "COUNTERSIGN_MUTANT=Other", "COUNTERSIGN_MUTANT=AcceptUnsigned", "COMPLEMENT_HOST_MOUNTS=/a:/b",
		"COUNTERSIGN_STRICT=1", "COUNTERSIGN_STRICT=", "COUNTERSIGN_REGISTRATION_SHARED_SECRET=x", "COMPLEMENT_REGISTRY_PASSWORD=x",
	}))
}

func TestRun_TestsGetTheirConfiguration(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"suite": `
func TestA(t *testing.T) {
	conform.Covers(t, "RV12-MSG-01")
	for name, want := range map[string]string{
		"COUNTERSIGN_TARGET": "docker:some-image", "COUNTERSIGN_STRICT": "1", "COUNTERSIGN_TIMEOUT_SCALE": "2.5",
		"COUNTERSIGN_REQUIREMENTS": "RV12-MSG-01", "COUNTERSIGN_ARTIFACTS": "FOLDER",
	} {
		if got := os.Getenv(name); got != want { t.Errorf("%s is %q, not %q", name, got, want) }
	}
}`})
	c.write("tests/suite/suite_test.go", strings.Replace(c.read("tests/suite/suite_test.go"), "FOLDER", filepath.Join(c.root, "out", "artifacts"), 1))
	var seen []string
	r := c.runIn(t.Context(), c.root, func(_ context.Context, environ []string) error { seen = environ; return nil },
		"run", "--target", "docker:some-image", "--strict", "--timeout-scale=2.5", "--requirement", "rv12-msg-01", "--report", "out")
	assert.Equal(t, 0, r.code, r.out)
	assert.Contains(t, seen, "COUNTERSIGN_TARGET=docker:some-image", "the preflight sees the same configuration")
}

func TestRun_Chooses(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{
		"roomv12": passing,
		"msc4243": `func TestKeys(t *testing.T) { conform.Covers(t, "MSC4243-KEY-02") }`,
	})
	for flags, want := range map[string]string{
		"":                                      "msc4243/TestKeys roomv12/TestCreate roomv12/TestMessage",
		"--suite roomv12":                       "roomv12/TestCreate roomv12/TestMessage",
		"--suite roomv12,msc4243":               "msc4243/TestKeys roomv12/TestCreate roomv12/TestMessage",
		"--run Create":                          "roomv12/TestCreate",
		"--run TestMessage/out":                 "roomv12/TestMessage",
		"--requirement MSC4243":                 "msc4243/TestKeys",
		"--requirement RV12-MSG-*":              "roomv12/TestMessage",
		"--requirement RV12-MSG-01,MSC4243-KEY": "msc4243/TestKeys roomv12/TestMessage",
		"--area rv12-msg":                       "roomv12/TestMessage",
		"--area MSC4243-KEY,RV12-CREATE":        "msc4243/TestKeys roomv12/TestCreate",
		"--area MSC4243-KEY --level must":       "msc4243/TestKeys",
		"--profile strict --suite roomv12":      "roomv12/TestCreate roomv12/TestMessage",
		"--shard 1/3":                           "roomv12/TestCreate",
		"--shard 2/3":                           "msc4243/TestKeys",
		"--shard 3/3":                           "roomv12/TestMessage",
		"--shard 0+1/3":                         "roomv12/TestCreate",
		"--shard 2+1/3":                         "roomv12/TestMessage",
		"--shard 1/1":                           "msc4243/TestKeys roomv12/TestCreate roomv12/TestMessage",
		"--shard 1/2 --suite roomv12":           "roomv12/TestCreate",
	} {
		r := c.run(append([]string{"run", "--dry-run"}, strings.Fields(flags)...)...)
		assert.Equal(t, 0, r.code, r.err)
		var got []string
		for line := range strings.Lines(r.out) {
			if name, _, ok := strings.Cut(line, "  "); ok {
				got = append(got, name)
			}
		}
		assert.Equal(t, want, strings.Join(got, " "), flags)
		assert.Nil(t, r.report, "a dry run writes nothing")
	}
	assert.Contains(t, c.run("run", "--list-only", "--requirement", "RV12-MSG-01").out,
		"go test -json -count=1 -timeout=10m0s -run=^(TestMessage)$ ./tests/roomv12\n")
}

func TestRun_RefusesInOneLine(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": passing})
	for flags, want := range map[string]struct {
		code int
		says string
	}{
		"--suite nope":                {report.ExitUsage, `there is no suite "nope"; there are roomv12`},
		"--requirement NOPE-*":        {report.ExitUsage, `no requirement matches "NOPE-*"`},
		"--requirement MSC[":          {report.ExitUsage, `"MSC[" is not an ID or a pattern`},
		"--requirement MSC4348-ID-01": {report.ExitNothingRan, "no test was chosen"},
		"--run [":                     {report.ExitUsage, `--run "[" is not a regular expression`},
		"--run Nothing":               {report.ExitNothingRan, "no test was chosen"},
		"--timeout-scale -1":          {report.ExitUsage, "--timeout-scale is -1; give a number greater than 0"},
		"--timeout-scale x":           {report.ExitUsage, "invalid argument"},
		"--bogus":                     {report.ExitUsage, "unknown flag: --bogus"},
		"extra":                       {report.ExitUsage, `unknown command "extra"`},
		"--area RV12":                 {report.ExitUsage, `there is no area "RV12"`},
		"--level strong":              {report.ExitUsage, `--level "strong" is unknown; there are MUST, SHOULD, SHOULD-NOT, MAY, IMPLIED`},
		"--profile strong":            {report.ExitUsage, `--profile "strong" is unknown; there are STRICT, INTEROP, INFO`},
		"--area RV12-MSG --level MAY": {report.ExitNothingRan, "no requirement was chosen"},
		"--shard 2":                   {report.ExitUsage, `--shard "2" is not of the form 2/3`},
		"--shard 3/2":                 {report.ExitUsage, `--shard "3/2" is not of the form 2/3`},
		"--shard 2+1/2":               {report.ExitUsage, `--shard "2+1/2" is not of the form 2/3`},
		"--shard 0/2":                 {report.ExitUsage, `--shard "0/2" is not of the form 2/3`},
		"--shard 3/3":                 {report.ExitNothingRan, "shard 3 of 3 has no tests: there are only 2 test functions"},
		"--shard 1/2 --run (A|B)/x":   {report.ExitUsage, `--shard cannot be used with --run "(A|B)/x"`},
		"--repeat 0":                  {report.ExitUsage, "--repeat is 0; give a number from 1"},
		"--report=":                   {report.ExitUsage, "--report is empty; name a folder"},
	} {
		r := c.run(append([]string{"run"}, strings.Fields(flags)...)...)
		assert.Equal(t, want.code, r.code, flags)
		assert.Contains(t, r.oneLine(t), want.says, flags)
	}
	r := c.run("bogus")
	assert.Equal(t, report.ExitUsage, r.code)
	assert.Contains(t, r.oneLine(t), `unknown command "bogus"`)
}

func TestRun_OutsideOfACheckout(t *testing.T) {
	t.Parallel()
	c := &checkout{t: t, root: t.TempDir()}
	r := c.run("run")
	assert.Equal(t, report.ExitUsage, r.code)
	assert.Contains(t, r.oneLine(t), "is not in a checkout of countersign")

	c.write("go.mod", "module example.org/other\n")
	assert.Equal(t, report.ExitUsage, c.run("run").code)
	c.write("go.mod", "module countersign\n")
	r = c.run("run")
	assert.Equal(t, report.ExitNothingRan, r.code)
	assert.Contains(t, r.oneLine(t), "has no tests below tests/")
}

func TestRun_FromAFolderOfTheCheckout(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": passing})
	c.write("docs/x", "")
	r := c.runIn(t.Context(), filepath.Join(c.root, "docs"), func(context.Context, []string) error { return nil }, "run")
	assert.Equal(t, 0, r.code, r.err)
	assert.NotNil(t, r.report, "the report is in the working directory")
}

func TestRun_PreflightRefuses(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": passing})
	for _, code := range []int{report.ExitUsage, report.ExitHarness} {
		r := c.runIn(t.Context(), c.root, func(context.Context, []string) error { return exitf(code, "no engine; start one") }, "run")
		assert.Equal(t, code, r.code)
		assert.Equal(t, "countersign: no engine; start one", r.oneLine(t))
		assert.Empty(t, r.out)
		assert.Nil(t, r.report)
	}
}

func TestRun_FolderThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": passing})
	r := c.run("run", "--report", "go.mod")
	assert.Equal(t, report.ExitHarness, r.code)
	assert.Contains(t, r.oneLine(t), "name another folder with --report")
}

const waiting = `
func TestMain(m *testing.M) {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	go func() {
		<-interrupted
		os.WriteFile("../../cleaned-up", nil, 0o600)
		os.Exit(2)
	}()
	os.Exit(m.Run())
}

func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-01") }

func TestB(t *testing.T) {
	conform.Covers(t, "RV12-MSG-02")
	os.WriteFile("../../running", nil, 0o600)
	time.Sleep(time.Hour)
}
`

// Ctrl-C reaches the tests, which remove their homeservers; what was judged until then is reported.
func TestRun_Interrupted(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": waiting})
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(c.root, "running")); err == nil {
				interrupt()
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	began := time.Now()
	r := c.runIn(ctx, c.root, func(context.Context, []string) error { return nil }, "run")
	assert.Less(t, time.Since(began), time.Minute)
	assert.Equal(t, report.ExitHarness, r.code)
	assert.FileExists(t, filepath.Join(c.root, "cleaned-up"))
	require.NotNil(t, r.report)
	assert.Equal(t, []string{
		"tests/roomv12 ended early, and 1 test did not end",
		"the run was interrupted; what is judged is what had been tested until then",
	}, r.report.Errors)
	got := map[string]verdict.Verdict{}
	for _, requirement := range r.report.Requirements {
		got[requirement.ID] = requirement.Verdict
	}
	assert.Equal(t, map[string]verdict.Verdict{"RV12-MSG-01": verdict.Pass, "RV12-MSG-02": verdict.Error}, got)
}

// A package that hangs ends by itself; see packageLimit.
func TestRun_HangingPackage(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": `
func TestA(t *testing.T) {
	conform.Covers(t, "RV12-MSG-01")
	time.Sleep(time.Hour)
}`})
	r := c.run("run", "--timeout-scale", "0.003") // 10 minutes become 1.8 seconds
	assert.Equal(t, report.ExitHarness, r.code)
	assert.Contains(t, r.out, "panic: test timed out after 1.8s")
}

// What takes too long as a whole is ended, too.
func TestRun_TakesTooLong(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": passing})
	r := c.run("run", "--timeout-scale", "0.000001") // 30 minutes become 1.8 milliseconds
	assert.Equal(t, report.ExitHarness, r.code)
	assert.Contains(t, strings.Join(strings.Fields(r.out), " "),
		"the run took longer than 1.8ms and was ended; raise --timeout-scale on a slow machine")
	assert.NotNil(t, r.report)
}

func TestRun_WithoutGo(t *testing.T) {
	c := newCheckout(t, map[string]string{"roomv12": passing})
	t.Setenv("PATH", t.TempDir())
	_, err := exec.LookPath("go")
	require.Error(t, err)
	r := c.run("run")
	assert.Equal(t, report.ExitHarness, r.code)
	assert.Contains(t, r.oneLine(t), "there is no go command in PATH")
}
