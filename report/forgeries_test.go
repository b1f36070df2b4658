package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report/verdict"
)

func TestForgeries(t *testing.T) {
	tables := Forgeries(collect(t, `
suite msc4243
run TestForge/unsigned/send
covers TestForge/unsigned/send MSC4243-FORGE-01
pass TestForge/unsigned/send
run TestForge/unsigned/send_join
covers TestForge/unsigned/send_join MSC4243-FORGE-01
pass TestForge/unsigned/send_join
run TestForge/server-key-only/send
covers TestForge/server-key-only/send MSC4243-FORGE-02
fail TestForge/server-key-only/send
run TestForge/a-first/send
covers TestForge/a-first/send MSC4243-FORGE-02
pass TestForge/a-first/send
run TestForge_MissingEvents/unsigned
covers TestForge_MissingEvents/unsigned MSC4243-FORGE-01
pass TestForge_MissingEvents/unsigned
run TestForge_MissingEvents/only-here
covers TestForge_MissingEvents/only-here MSC4243-FORGE-01
finding TestForge_MissingEvents/only-here {"verdict":"INCONCLUSIVE","observed":"no fence"}
fail TestForge_MissingEvents/only-here
run TestForge_Template/template-ban
covers TestForge_Template/template-ban MSC4243-FORGE-01
pass TestForge_Template/template-ban
run TestForge_Alone
covers TestForge_Alone MSC4243-FORGE-01
pass TestForge_Alone
`))
	require.Len(t, tables, 1)
	assert.Equal(t, "msc4243", tables[0].Suite)
	assert.Equal(t, []string{"send", "missing_events", "send_join"}, tables[0].Paths)
	var got []string
	for _, row := range tables[0].Rows {
		line := fmt.Sprintf("%s %s:", row.Forgery, row.Verdict)
		for _, cell := range row.Cells {
			line += " " + string(cell.Verdict) + "."
		}
		got = append(got, line)
	}
	assert.Equal(t, []string{
		"server-key-only FAIL: FAIL. . .",
		"only-here INCONCLUSIVE: . INCONCLUSIVE. .",
		"a-first PASS: PASS. . .",
		"unsigned PASS: PASS. PASS. PASS.",
	}, got)
	assert.Equal(t, "msc4243/TestForge/server-key-only/send", tables[0].Rows[0].Cells[0].Test)
	assert.Empty(t, Forgeries(collect(t, allPass)))
}

// Each suite whose tests have names of this form gets a table of its own.
func TestForgeries_BySuite(t *testing.T) {
	var text strings.Builder
	for _, suite := range []string{"msc4348", "msc4243", "msc4345"} {
		fmt.Fprintf(&text, "suite %s\nrun TestForge/unsigned/send\ncovers TestForge/unsigned/send MSC4243-FORGE-01\npass TestForge/unsigned/send\nok\n", suite)
	}
	var got []string
	for _, table := range Forgeries(collect(t, text.String())) {
		got = append(got, table.Suite+" "+table.Rows[0].Cells[0].Test)
	}
	assert.Equal(t, []string{
		"msc4243 msc4243/TestForge/unsigned/send", "msc4345 msc4345/TestForge/unsigned/send", "msc4348 msc4348/TestForge/unsigned/send",
	}, got)
}

func TestHeadline_AgreesWithTheExitCode(t *testing.T) {
	for script, want := range map[string]struct {
		v    verdict.Verdict
		says string
	}{
		allPass:     {verdict.Pass, "Nothing is broken: 2 of 2 judged requirements pass."},
		mixedRun:    {verdict.Fail, "of 8 judged requirements are broken."},
		oldServer:   {verdict.Skip, "Nothing was judged."},
		"suite a\n": {verdict.Skip, "Nothing was judged."},
	} {
		run := collect(t, script)
		v, says := run.Headline()
		assert.Equal(t, want.v, v, says)
		assert.True(t, strings.HasSuffix(says, want.says), says)
		assert.Equal(t, run.ExitCode() == ExitAsExpected, v.AsExpected() && v != verdict.Skip)
	}
	for change, want := range map[string]struct {
		v    verdict.Verdict
		says string
	}{
		"WARN":         {verdict.Warn, "Nothing is broken: 1 of 2 judged requirements pass, 1 with a warning."},
		"INCONCLUSIVE": {verdict.Inconclusive, "No requirement is known to be broken, but 1 of 2 judged requirements lack evidence."},
		"ERROR":        {verdict.Error, "The harness failed, so the verdict on the server is not complete."},
		"FAIL":         {verdict.Fail, "1 of 2 judged requirements is broken."},
	} {
		v, says := collect(t, strings.Replace(allPass, "pass TestCreate", `finding TestCreate {"verdict":"`+change+`","requirement":"RV12-CREATE-01"}`+"\npass TestCreate", 1)).Headline()
		assert.Equal(t, want.v, v)
		assert.Equal(t, want.says, says)
	}
}
