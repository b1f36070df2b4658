package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report"
)

func TestDiffAndMatrix(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": passing})
	require.Equal(t, 0, c.run("run", "--report", "good").code)
	c.write("tests/roomv12/suite_test.go", strings.Replace(c.read("tests/roomv12/suite_test.go"),
		`conform.Covers(t, "RV12-MSG-01")`, `conform.Covers(t, "RV12-MSG-01"); t.Error("the message is lost")`, 1))
	require.Equal(t, 1, c.run("run", "--report", "bad").code)

	r := c.run("diff", "good", "bad/report.json")
	assert.Equal(t, report.ExitNonConformance, r.code)
	assert.Empty(t, r.err)
	assert.Contains(t, r.out, "Regressions: 1 requirement, 1 test")
	assert.Contains(t, r.out, "RV12-MSG-01  PASS -> FAIL")
	assert.Contains(t, r.out, "the message is lost")

	r = c.run("diff", "bad", "good")
	assert.Equal(t, 0, r.code, r.err)
	assert.Contains(t, r.out, "Fixes: 1 requirement, 1 test")

	r = c.run("matrix", "good", "bad")
	assert.Equal(t, 0, r.code, r.err)
	assert.Contains(t, r.out, "1 disagreement, 0 splits")

	c.write("other/report.json", string(mustMarshal(t)))
	c.write("empty/report.json", strings.NewReplacer("RV12-", "RV13-", "roomv12", "roomv13", "MSC4243-", "MSC0000-", "msc4243", "msc0000").Replace(string(mustMarshal(t))))
	for _, command := range []string{"diff", "matrix"} {
		r = c.run(command, "other", "empty")
		assert.Equal(t, report.ExitNothingRan, r.code)
		assert.Contains(t, r.oneLine(t), "nothing was compared")
		assert.Equal(t, report.ExitUsage, c.run(command, "good").code)
		assert.Equal(t, report.ExitUsage, c.run(command, "good", "nowhere").code)
	}
}
