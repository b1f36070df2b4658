package coverage

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/requirements"
)

const signing = `package msc4243
import ("testing"; "countersign/helpers/conform")

func TestMain(m *testing.M) {}

func TestDirect(t *testing.T) {
	conform.Covers(t, "MSC4243-SIG-01", "MSC4243-SIG-02")
	conform.Violation(t, "MSC4243-VIS-04", "a", "b")
}

var table = []struct{ name, requirement string }{
	{"x", "MSC4243-FORGE-01"},
	{"y", second},
}

const second = "MSC4243-FORGE-02"

func TestTable(t *testing.T) {
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) { conform.Covers(t, c.requirement) })
	}
}

func TestThroughHelper(t *testing.T) { check{}.run(t) }

type check struct{}

func (check) run(t *testing.T) { conform.Covers(t, "RV12-MSG-01") }

func TestCoversNothing(t *testing.T) { _ = "MSC4243-SIG-03" }

func TestWithoutID(t *testing.T) { conform.Covers(t, someID()) }

func someID() string { return "MSC4243-SIG" + "-04" }

func TestUnknown(t *testing.T) { conform.Covers(t, "MSC4243-SIG-99") }

func helper(t *testing.T) { conform.Covers(t, "MSC4243-SIG-05") }
`

func module(text string) fs.FS {
	return fstest.MapFS{
		"tests/msc4243/signing_test.go": {Data: []byte(text)},
		"tests/msc4243/doc.go":          {Data: []byte("package msc4243")},
		"other/other_test.go":           {Data: []byte("package other")},
	}
}

func TestScan(t *testing.T) {
	found, err := Scan(module(signing))
	require.NoError(t, err)
	covers := map[string][]string{}
	for _, test := range found.Tests {
		covers[test.ID()] = test.Covers
	}
	assert.Equal(t, map[string][]string{
		"msc4243/TestDirect":        {"MSC4243-SIG-01", "MSC4243-SIG-02"},
		"msc4243/TestTable":         {"MSC4243-FORGE-01", "MSC4243-FORGE-02"},
		"msc4243/TestThroughHelper": {"RV12-MSG-01"},
		"msc4243/TestCoversNothing": nil,
		"msc4243/TestWithoutID":     nil,
		"msc4243/TestUnknown":       {"MSC4243-SIG-99"},
	}, covers)
	assert.Equal(t, "tests/msc4243/signing_test.go:6", found.Covering("MSC4243-SIG-01")[0].Position)
	assert.Empty(t, found.Covering("MSC4243-VIS-04"), "a sweeper's requirement is mentioned, not covered")
	assert.Empty(t, found.Covering("MSC4243-SIG-05"), "a helper that no test calls covers nothing")
}

func TestScan_ImportedUnderAnotherName(t *testing.T) {
	found, err := Scan(module(`package x
import ("testing"; c "countersign/helpers/conform")
func TestA(t *testing.T) { c.Covers(t, "MSC4243-SIG-01") }`))
	require.NoError(t, err)
	assert.Equal(t, []string{"MSC4243-SIG-01"}, found.Tests[0].Covers)
}

func TestScan_WithoutTests(t *testing.T) {
	found, err := Scan(fstest.MapFS{"go.mod": {}})
	require.NoError(t, err)
	assert.Empty(t, found.Tests)
}

func TestScan_NamesAFileThatDoesNotParse(t *testing.T) {
	_, err := Scan(module("package x\nfunc {"))
	assert.ErrorContains(t, err, "tests/msc4243/signing_test.go:2:6")
}

const small = `
proposal: MSC4243
title: A proposal
room_version: x
text: {url: "https://example.org", path: x.md, revision: 0123456789abcdef0123456789abcdef01234567}
areas:
  - id: MSC4243-SIG
    title: Signing
    tests: required
    requirements:
      - {id: MSC4243-SIG-01, level: MUST, profile: STRICT, where: Here, says: It is., test: See., testable: "yes"}
      - {id: MSC4243-SIG-02, level: MUST, profile: STRICT, where: Here, says: It is., test: See., testable: "yes"}
      - {id: MSC4243-SIG-06, level: MUST, profile: STRICT, where: Here, says: It is., test: See., testable: partial, reason: Hidden.}
      - {id: MSC4243-SIG-07, level: MUST, profile: STRICT, where: Here, says: It is., test: See., testable: "no", reason: Hidden.}
      - {id: MSC4243-SIG-08, level: MUST, profile: STRICT, where: Here, says: It is., test: See., testable: "yes", tests: planned}
`

func TestLint(t *testing.T) {
	catalogue, err := requirements.Load(fstest.MapFS{"x.yaml": {Data: []byte(small)}})
	require.NoError(t, err)
	found, err := Scan(module(`package x
import ("testing"; "countersign/helpers/conform")
func TestA(t *testing.T) { conform.Covers(t, "MSC4243-SIG-01") }
func TestB(t *testing.T) { conform.Covers(t, "MSC4243-SIG-3") }
func TestC(t *testing.T) { help(t) }
func TestD(t *testing.T) { conform.Covers(t, d()) }
func TestTableIsWhole(t *testing.T) { if len(table) == 0 { t.Error("it is empty") } }
func help(t *testing.T) { conform.Server(t, "hs1") }`))
	require.NoError(t, err)
	assert.Equal(t, []string{
		"tests/msc4243/signing_test.go:4: \"MSC4243-SIG-3\" is not a requirement; `countersign list` prints them all",
		"tests/msc4243/signing_test.go:5: TestC covers nothing; begin it with conform.Covers(t, ...)",
		"tests/msc4243/signing_test.go:6: TestD calls conform.Covers, but no requirement's ID is written out in it",
		"MSC4243-SIG-02: no test covers it; write one, or mark it `tests: planned` in the catalogue",
		"MSC4243-SIG-06: no test covers it; write one, or mark it `tests: planned` in the catalogue",
	}, Lint(catalogue, found))
}
