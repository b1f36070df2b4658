package expect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report"
	"countersign/report/internal/sample"
	"countersign/requirements"
)

func catalogue(t *testing.T) *requirements.Catalogue {
	t.Helper()
	all, err := requirements.Load(os.DirFS("../testdata/catalogue"))
	require.NoError(t, err)
	return all
}

func schemaOf(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("schema.json", document))
	compiled, err := compiler.Compile("schema.json")
	require.NoError(t, err)
	return compiled
}

// value is a YAML text as a JSON Schema sees it.
func value(t *testing.T, text string) any {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON([]byte(text))
	require.NoError(t, err, text)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	require.NoError(t, err)
	return v
}

const good = `version: 1
known:
  - requirements: [MSC4243-SIG-02, MSC4243-FORGE-*]
    tests: ["msc4243/TestForge/*/send_join"]
    reason: Old events are not checked again.
    link: https://example.org/issues/12
    expires: 2027-03-31
  - tests: [msc4243/TestKeys]
    reason: There are no keys.
    link: https://example.org/issues/13
`

func TestParse(t *testing.T) {
	file, err := Parse("known.yaml", []byte(good), catalogue(t))
	require.NoError(t, err)
	assert.Equal(t, &File{Name: "known.yaml", Entries: []Entry{
		{
			Requirements: []string{"MSC4243-SIG-02", "MSC4243-FORGE-*"}, Tests: []string{"msc4243/TestForge/*/send_join"},
			Reason: "Old events are not checked again.", Link: "https://example.org/issues/12",
			Expires: time.Date(2027, 3, 31, 0, 0, 0, 0, time.UTC),
		},
		{Tests: []string{"msc4243/TestKeys"}, Reason: "There are no keys.", Link: "https://example.org/issues/13"},
	}}, file)
	assert.NoError(t, schemaOf(t).Validate(value(t, good)))
}

// What the loader refuses, the schema refuses, so that an editor tells first.
func TestParse_Refuses(t *testing.T) {
	entry := func(lines string) string { return "version: 1\nknown:\n  - " + lines }
	for _, c := range []struct {
		text, want string
		// schemaPasses marks what a schema cannot know.
		schemaPasses bool
	}{
		{"known: []", "it must begin with `version: 1`", false},
		{"version: 2", "it must begin with `version: 1`", false},
		{"version: 1\nunknown: []", `unknown field "unknown"`, false},
		{entry("{reason: r, link: https://example.org}"), "entry 1 of known: it names neither", false},
		{entry("{tests: [], requirements: [], reason: r, link: https://example.org}"), "it names neither", false},
		{entry("{tests: [a], link: https://example.org}"), "it has no reason", false},
		{entry("{tests: [a], reason: r}"), `its link "" is not a web address`, false},
		{entry("{tests: [a], reason: r, link: none}"), `its link "none"`, false},
		{entry("{tests: ['['], reason: r, link: https://example.org}"), `"[" is not a pattern`, true},
		{entry("{requirements: ['['], reason: r, link: https://example.org}"), `"[" is not an ID or a pattern`, true},
		{entry("{requirements: [''], reason: r, link: https://example.org}"), `"" is not an ID`, false},
		{entry("{tests: [a], reason: r, link: https://example.org, expires: soon}"), `expires "soon" is not a date`, false},
		{entry("{tests: [a], reason: r, link: https://example.org, because: x}"), `unknown field "because"`, false},
	} {
		_, err := Parse("known.yaml", []byte(c.text), catalogue(t))
		require.ErrorContains(t, err, c.want, c.text)
		assert.ErrorContains(t, err, "known.yaml: ")
		assert.NotContains(t, err.Error(), "\n")
		assert.Equal(t, c.schemaPasses, schemaOf(t).Validate(value(t, c.text)) == nil, c.text)
	}
	_, err := Parse("known.yaml", []byte("version: ["), catalogue(t))
	assert.ErrorContains(t, err, "known.yaml: [1:")
	_, err = Load(filepath.Join(t.TempDir(), "none"), catalogue(t))
	assert.ErrorContains(t, err, "cannot read the expectations")
	_, err = Parse("known.yaml", []byte(entry("{tests: [a]}\n  - {reason: r}")), catalogue(t))
	assert.ErrorContains(t, err, "entry 1 of known: it has no reason", "all problems are told at once")
	assert.ErrorContains(t, err, "entry 2 of known: it names neither")
}

// one is an entry with a reason and a link.
func one(e Entry) Entry {
	e.Reason, e.Link = "It is known.", "https://example.org/1"
	return e
}

func TestApply(t *testing.T) {
	tests := []string{
		"TestSigning MSC4243-SIG-01 FAIL", "TestOther MSC4243-SIG-02 PASS", "TestThird MSC4243-SIG-03 SKIP",
		"TestForge/unsigned/send MSC4243-FORGE-01 PASS", "TestForge/unsigned/send_join MSC4243-FORGE-01 FAIL",
		"TestForge/server-key/send MSC4243-FORGE-02 INCONCLUSIVE",
	}
	for name, c := range map[string]struct {
		entries []Entry
		// want are the verdicts that differ from those above.
		want  map[string]string
		stale []string
	}{
		"a requirement": {
			entries: []Entry{{Requirements: []string{"MSC4243-SIG-01"}}},
			want:    map[string]string{"TestSigning": "XFAIL"},
		},
		"a requirement of which some tests pass": {
			entries: []Entry{{Requirements: []string{"MSC4243-FORGE-01"}}},
			want:    map[string]string{"TestForge/unsigned/send_join": "XFAIL"},
		},
		"only those tests of it that are named": {
			entries: []Entry{{Requirements: []string{"MSC4243-FORGE-01"}, Tests: []string{"msc4243/TestForge/*/send"}}},
			want:    map[string]string{"TestForge/unsigned/send": "XPASS"},
			stale:   []string{"entry 1 (MSC4243-FORGE-01, msc4243/TestForge/*/send) expects a failure, but MSC4243-FORGE-01 passes"},
		},
		"a test with its subtests": {
			entries: []Entry{{Tests: []string{"msc4243/TestForge/unsigned"}}},
			want:    map[string]string{"TestForge/unsigned/send": "XPASS", "TestForge/unsigned/send_join": "XFAIL"},
			stale:   []string{"entry 1 (msc4243/TestForge/unsigned) expects a failure, but msc4243/TestForge/unsigned/send passes"},
		},
		"a pattern that asks for too much": {
			entries: []Entry{{Requirements: []string{"MSC4243-SIG"}}},
			want:    map[string]string{"TestSigning": "XFAIL", "TestOther": "XPASS"},
			stale:   []string{"entry 1 (MSC4243-SIG) expects a failure, but MSC4243-SIG-02 passes"},
		},
		"missing evidence is not expected": {
			entries: []Entry{{Requirements: []string{"MSC4243-FORGE-02"}}},
		},
		"an entry for what was skipped waits": {
			entries: []Entry{{Requirements: []string{"MSC4243-SIG-03"}}},
		},
		"an entry that has expired": {
			entries: []Entry{{Requirements: []string{"MSC4243-SIG-01"}, Expires: time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC)}},
			stale:   []string{"entry 1 (MSC4243-SIG-01) has expired on 2025-12-31; look at https://example.org/1"},
		},
		"an entry on its last day": {
			entries: []Entry{{Requirements: []string{"MSC4243-SIG-01"}, Expires: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}},
			want:    map[string]string{"TestSigning": "XFAIL"},
		},
		"an entry for nothing": {
			entries: []Entry{{Tests: []string{"msc4243/TestGone"}}, {Requirements: []string{"MSC9999-SIG-01"}}},
			stale: []string{
				"entry 1 (msc4243/TestGone) matches nothing that was judged",
				"entry 2 (MSC9999-SIG-01) names MSC9999-SIG-01, which is no requirement",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			run, untouched := sample.Run(t, tests...), sample.Run(t, tests...)
			file := &File{Name: "known.yaml"}
			for _, e := range c.entries {
				file.Entries = append(file.Entries, one(e))
			}
			file.Apply(run, catalogue(t), run.Started, false)
			for i := range run.Tests {
				want := string(untouched.Tests[i].Verdict)
				if changed := c.want[run.Tests[i].Name]; changed != "" {
					want = changed
					assert.Equal(t, "It is known.", run.Tests[i].Requirements[0].Known.Reason)
				}
				assert.Equal(t, want, string(run.Tests[i].Verdict), run.Tests[i].Name)
			}
			assert.Equal(t, append([]string{}, c.stale...), run.Expectations.Stale)
			_, err := report.Marshal(run)
			assert.NoError(t, err, "the report stays coherent")
		})
	}
}

func TestApply_ExitCodes(t *testing.T) {
	for _, c := range []struct {
		test, requirement string
		strict            bool
		want              int
	}{
		{"TestA MSC4243-SIG-01 FAIL", "MSC4243-SIG-01", false, report.ExitAsExpected},
		{"TestA MSC4243-SIG-01 FAIL", "MSC4243-SIG-01", true, report.ExitAsExpected},
		{"TestA MSC4243-SIG-01 FAIL", "MSC4243-SIG-02", true, report.ExitNonConformance},
		{"TestA MSC4243-SIG-01 PASS", "MSC4243-SIG-01", false, report.ExitAsExpected},
		{"TestA MSC4243-SIG-01 PASS", "MSC4243-SIG-01", true, report.ExitUnexpectedPass},
		{"TestA MSC4243-SIG-01 PASS", "MSC4243-SIG-02", false, report.ExitAsExpected},
		{"TestA MSC4243-SIG-01 PASS", "MSC4243-SIG-02", true, report.ExitUnexpectedPass},
		{"TestA MSC4243-SIG-01 INCONCLUSIVE", "MSC4243-SIG-01", true, report.ExitNonConformance},
		{"TestA MSC4243-SIG-01 SKIP", "MSC4243-SIG-01", true, report.ExitNothingRan},
	} {
		run := sample.Run(t, c.test)
		file := &File{Entries: []Entry{one(Entry{Requirements: []string{c.requirement}})}}
		file.Apply(run, catalogue(t), run.Started, c.strict)
		assert.Equal(t, c.want, run.ExitCode(), fmt.Sprint(c))
		v, _ := run.Headline()
		if c.want != report.ExitNothingRan && (c.strict || v != "XPASS") {
			assert.Equal(t, c.want == report.ExitAsExpected, v.AsExpected(), fmt.Sprint(c))
		}
	}
}

// A run of some tests says nothing about entries for the others.
func TestApply_ToSomeTests(t *testing.T) {
	run := sample.Run(t, "TestA MSC4243-SIG-01 PASS")
	run.Shard = &report.Shard{Index: 1, Count: 2}
	file := &File{Entries: []Entry{one(Entry{Requirements: []string{"MSC4243-SIG-02"}})}}
	file.Apply(run, catalogue(t), run.Started, true)
	assert.Empty(t, run.Expectations.Stale)
}

func TestSchema_IsJSON(t *testing.T) { assert.True(t, json.Valid(Schema())) }
