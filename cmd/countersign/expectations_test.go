package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report"
)

func TestRun_Expectations(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": `
func TestA(t *testing.T) { conform.Covers(t, "RV12-MSG-01"); t.Error("the message is lost") }

func TestB(t *testing.T) { conform.Covers(t, "RV12-MSG-02") }
`})
	entry := func(id string) string {
		return "  - {requirements: [" + id + "], reason: Messages get lost., link: https://example.org/1}\n"
	}
	c.write("known.yaml", "version: 1\nknown:\n"+entry("RV12-MSG-01"))
	r := c.run("run", "--expectations", "known.yaml", "--strict-expectations")
	require.Equal(t, 0, r.code, r.out+r.err)
	assert.Contains(t, r.out, "Known problems\n  RV12-MSG-01  Messages get lost. (https://example.org/1)")
	assert.Equal(t, 1, r.report.Summary.XFail)
	assert.Equal(t, "known.yaml", r.report.Expectations.File)
	assert.Contains(t, c.read("countersign-report/report.html"), "Messages get lost.")

	c.write("known.yaml", "version: 1\nknown:\n"+entry("RV12-MSG-01")+entry("RV12-MSG-02"))
	r = c.run("run", "--expectations", "known.yaml")
	assert.Equal(t, 0, r.code, r.err)
	r = c.run("run", "--expectations", "known.yaml", "--strict-expectations")
	assert.Equal(t, report.ExitUnexpectedPass, r.code)
	assert.Contains(t, r.out, "entry 2 (RV12-MSG-02) expects a failure, but RV12-MSG-02 passes")

	for _, args := range [][]string{{"--strict-expectations"}, {"--expectations", "none.yaml"}, {"--expectations", "go.mod"}} {
		r = c.run(append([]string{"run"}, args...)...)
		assert.Equal(t, report.ExitUsage, r.code, args)
		r.oneLine(t)
	}
}
