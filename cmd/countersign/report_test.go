package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report"
)

func TestReport(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": passing})
	ran := c.run("run")
	require.Equal(t, 0, ran.code, ran.err)
	assert.Contains(t, ran.out, filepath.Join("countersign-report", "report.html"))
	assert.Contains(t, c.read("countersign-report/report.html"), "Nothing is broken: 3 of 3 judged requirements pass.")

	r := c.run("report", "countersign-report")
	assert.Equal(t, 0, r.code, r.err)
	assert.Contains(t, r.out, "3 requirements judged: 3 pass")

	r = c.run("report", "countersign-report/report.json", "--html", "--junit", "--markdown", "--badge")
	require.Equal(t, 0, r.code, r.err)
	for name, part := range map[string]string{
		"report.html": "<!DOCTYPE html>", "junit.xml": "<testsuites ", "report.md": "## ✅ example", "badge.svg": "3 of 3 pass",
	} {
		assert.Contains(t, c.read("countersign-report/"+name), part)
		assert.Contains(t, r.out, filepath.Join("countersign-report", name)+"\n")
	}

	r = c.run("report", "countersign-report", "--markdown", "--to", "-")
	assert.Equal(t, c.read("countersign-report/report.md"), r.out)
	r = c.run("report", "countersign-report", "--badge", "--to", "elsewhere/deep")
	assert.Equal(t, 0, r.code, r.err)
	assert.NotEmpty(t, c.read("elsewhere/deep/badge.svg"))
}

func TestReport_Refuses(t *testing.T) {
	t.Parallel()
	c := newCheckout(t, map[string]string{"roomv12": passing})
	r := c.run("report", "nothing")
	assert.Equal(t, report.ExitUsage, r.code)
	assert.Contains(t, r.oneLine(t), "there is no report at")
	assert.Equal(t, report.ExitUsage, c.run("report").code)

	c.write("good/report.json", string(mustMarshal(t)))
	r = c.run("report", "good", "--to", "x")
	assert.Equal(t, report.ExitUsage, r.code)
	assert.Contains(t, r.oneLine(t), "--to without a form")
	r = c.run("report", "good", "--html", "--badge", "--to", "-")
	assert.Equal(t, report.ExitUsage, r.code)
	r = c.run("report", "good", "--html", "--to", "go.mod")
	assert.Equal(t, report.ExitHarness, r.code)
	assert.Contains(t, r.oneLine(t), "name another folder with --to")

	// A report that was cut off, or edited, is refused with the place.
	text := c.read("good/report.json")
	c.write("cut/report.json", text[:len(text)/2])
	r = c.run("report", "cut")
	assert.Equal(t, report.ExitUsage, r.code)
	assert.Contains(t, r.oneLine(t), filepath.Join("cut", "report.json"))
	assert.Contains(t, r.oneLine(t), "line ")
}

// mustMarshal is the text of a small report.
func mustMarshal(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "report", "testdata", "mixed.json"))
	require.NoError(t, err)
	return text
}
