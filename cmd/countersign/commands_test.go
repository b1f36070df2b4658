package main

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/report"
	"countersign/requirements"
)

func TestList(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": passing})
	all, err := requirements.Default()
	require.NoError(t, err)

	r := c.run("list")
	require.Equal(t, 0, r.code, r.err)
	for _, requirement := range all.Requirements() {
		assert.Contains(t, r.out, "\n  "+requirement.ID+" ")
	}
	assert.Regexp(t, `RV12-MSG-01 +MUST +STRICT +yes +1  A message`, r.out)
	assert.Regexp(t, `RV12-MSG-02 +MUST +STRICT +yes +0  A valid`, r.out)
	assert.Regexp(t, `MSC4348-ID-01 +MUST +STRICT +yes +0  `, r.out)

	r = c.run("list", "RV12-MSG-*")
	assert.Len(t, regexp.MustCompile(`(?m)^  RV12-`).FindAllString(r.out, -1), 2)
	r = c.run("list", "--untested", "RV12-MSG-*")
	assert.Len(t, regexp.MustCompile(`(?m)^  RV12-`).FindAllString(r.out, -1), 1)

	r = c.run("list", "NOPE")
	assert.Equal(t, report.ExitUsage, r.code)
	assert.Contains(t, r.oneLine(t), `no requirement matches "NOPE"`)

	outside := &checkout{t: t, root: t.TempDir()}
	assert.Equal(t, 0, outside.run("list").code, "the catalogue is in the program")
}

func TestExplain(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": passing})
	r := c.run("explain", "rv12-msg-01")
	require.Equal(t, 0, r.code, r.err)
	for _, part := range []string{
		"RV12-MSG-01  Messages\n", "says          A message that a local user sends", "level         MUST: ",
		"profile       STRICT: ", "d0ba2aaef801", "covered by    roomv12/TestMessage (tests/roomv12/suite_test.go:",
	} {
		assert.Contains(t, r.out, part)
	}

	r = c.run("explain", "MSC4243-FORGE-28", "D-08")
	require.Equal(t, 0, r.code, r.err)
	for _, part := range []string{
		"testable      partial: ", "covered by    nothing yet", "hangs on      D-08 (high): ", "bb025dc87c02",
		"D-08  a gap in MSC4243 (high)", "touches       MSC4243-FORGE-28",
	} {
		assert.Contains(t, r.out, part)
	}
	for line := range strings.Lines(r.out) {
		assert.LessOrEqual(t, len([]rune(line)), 101)
	}

	r = c.run("explain", "MSC4243-SIG")
	assert.Equal(t, report.ExitUsage, r.code)
	assert.Contains(t, r.oneLine(t), "is 13 requirements; `countersign list 'MSC4243-SIG'` prints them")
	r = c.run("explain", "MSC4243-SIG-99")
	assert.Equal(t, report.ExitUsage, r.code)
	assert.Contains(t, r.oneLine(t), `there is no requirement "MSC4243-SIG-99"`)
	assert.Equal(t, report.ExitUsage, c.run("explain").code)
}

func TestLint(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": `func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-99") }`})
	r := c.run("lint")
	assert.Equal(t, report.ExitNonConformance, r.code)
	assert.Contains(t, r.out, `suite_test.go:8: "RV12-MSG-99" is not a requirement`)
	assert.Contains(t, r.out, "RV12-MSG-01: no test covers it")
	assert.Contains(t, r.oneLine(t), "listed above")

	all, err := requirements.Default()
	require.NoError(t, err)
	var ids []string
	for _, requirement := range all.Requirements() {
		if requirement.NeedsTest() {
			ids = append(ids, `"`+requirement.ID+`"`)
		}
	}
	c = newCheckout(t, map[string]string{"roomv12": `func TestA(t *testing.T) { conform.Covers(t, ` + strings.Join(ids, ", ") + `) }`})
	r = c.run("lint")
	assert.Equal(t, 0, r.code, r.out)
	counts := gjson.Parse(c.run("lint", "--json").out)
	assert.Equal(t, int64(333), counts.Get("proposals.MSC4243.catalogued").Int())
	assert.Equal(t, counts.Get("proposals.MSC4243.testable").Int(), counts.Get("proposals.MSC4243.covered").Int())
	assert.Equal(t, "[]", counts.Get("problems").Raw)

	c.write("tests/roomv12/broken_test.go", "package")
	r = c.run("lint")
	assert.Equal(t, report.ExitHarness, r.code)
	assert.Contains(t, r.oneLine(t), "broken_test.go")
}

func TestHelp(t *testing.T) {
	t.Parallel()
	c := &checkout{t: t, root: t.TempDir()}
	r := c.run("help", "exit-codes")
	assert.Equal(t, 0, r.code)
	for _, code := range []string{"0  as expected", "1  non-conformance", "2  harness", "3  usage", "4  nothing ran", "5  unexpected pass"} {
		assert.Contains(t, r.out, code)
	}
	for _, args := range [][]string{{}, {"--help"}, {"help"}} {
		r = c.run(args...)
		assert.Equal(t, 0, r.code)
		for _, command := range []string{"run", "report", "diff", "matrix", "list", "explain", "lint", "exit-codes"} {
			assert.Regexp(t, `(?m)^ +(countersign )?`+command+` `, r.out)
		}
	}
}

func TestPreflight_TellsUsageFromStart(t *testing.T) {
	for variable, want := range map[string]int{
		"COUNTERSIGN_TARGET=nonsense":       report.ExitUsage,
		"COUNTERSIGN_TIMEOUT_SCALE=0":       report.ExitUsage,
		"COUNTERSIGN_TARGET=attach:/no/one": report.ExitUsage,
		"COUNTERSIGN_TARGET=exec:/no/one":   report.ExitHarness,
	} {
		err := preflight(context.Background(), []string{variable})
		var exit *exitError
		require.ErrorAs(t, err, &exit, variable)
		assert.Equal(t, want, exit.code, "%s: %s", variable, exit.message)
		assert.NotContains(t, exit.message, "\n")
	}
	assert.NoError(t, preflight(context.Background(), nil))
}

func TestVersion(t *testing.T) {
	t.Parallel()
	all, err := requirements.Default()
	require.NoError(t, err)
	for _, args := range [][]string{{"version"}, {"--version"}} {
		for _, c := range []*checkout{newCheckout(t, nil), {t: t, root: t.TempDir()}} { // in a checkout and outside
			r := c.run(args...)
			require.Equal(t, 0, r.code, r.err)
			assert.Regexp(t, `^countersign \S+, commit \S+, go`, r.out)
			for _, p := range all.Proposals {
				assert.Contains(t, r.out, p.ID+" ")
				assert.Contains(t, r.out, p.Text.Revision[:12])
			}
		}
	}
	assert.Equal(t, report.ExitUsage, newCheckout(t, nil).run("version", "7").code)
}
