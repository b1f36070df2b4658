package requirements

import (
	"bytes"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDefault_LoadsWholeCatalogue(t *testing.T) {
	c, err := Default()
	require.NoError(t, err)

	counts := map[string]int{}
	for _, r := range c.Requirements() {
		counts[r.Area.Proposal.ID]++
		assert.Same(t, r, c.Requirement(r.ID))
		assert.Same(t, r.Area, c.Area(r.Area.ID))
	}
	assert.Equal(t, map[string]int{"MSC4243": 333, "MSC4345": 106, "MSC4348": 60, "RV12": 29, "CONSENSUS": 62}, counts)
	assert.Len(t, c.Defects, 82)
	assert.Nil(t, c.Requirement("MSC4243-SIG-99"))
	assert.Nil(t, c.Area("MSC4243-NOPE"))
	assert.Nil(t, c.Defect("D-99"))
}

func TestDefault_TestsAreOwedForTheAreasThatExist(t *testing.T) {
	c, err := Default()
	require.NoError(t, err)
	for _, p := range c.Proposals {
		for _, a := range p.Areas {
			assert.Equal(t, Required, a.Tests, a.ID)
		}
	}
}

// What a text only recommends or permits cannot fail a server, except in a strict run.
func TestDefault_OnlyRequirementsAreStrict(t *testing.T) {
	c, err := Default()
	require.NoError(t, err)
	for _, r := range c.Requirements() {
		if r.Profile == Strict {
			assert.Contains(t, []Level{Must, Implied}, r.Level, r.ID)
		}
	}
}

func TestEmbeddedFiles_SatisfyTheSchema(t *testing.T) {
	schema := compileSchema(t)
	names, err := fs.Glob(embedded, "*.yaml")
	require.NoError(t, err)
	require.Len(t, names, 6)
	for _, name := range names {
		text, err := embedded.ReadFile(name)
		require.NoError(t, err)
		assert.NoError(t, schema.Validate(instance(t, text)), name)
	}
}

func TestSchema_RefusesWhatTheLoaderRefuses(t *testing.T) {
	schema := compileSchema(t)
	for name, edit := range brokenFiles {
		if edit.loaderOnly {
			continue
		}
		t.Run(name, func(t *testing.T) {
			assert.Error(t, schema.Validate(instance(t, []byte(strings.Replace(goodFile, edit.old, edit.new, 1)))))
		})
	}
	assert.NoError(t, schema.Validate(instance(t, []byte(goodFile))))
}

const goodFile = `
proposal: MSC1
title: A proposal
room_version: org.example.1
text: {url: "https://example.org/1", path: one.md, revision: 0123456789abcdef0123456789abcdef01234567}
areas:
  - id: MSC1-A
    title: An area
    tests: required
    requirements:
      - {id: MSC1-A-01, level: MUST, profile: STRICT, where: Here, says: It works., test: Try it., testable: "yes", defects: [D-01]}
      - {id: MSC1-A-02, level: MAY, profile: INFO, where: There, says: It may., test: Watch., testable: "no", reason: Nothing shows., tests: planned}
`

const goodDefects = `
defects:
  - {id: D-01, proposal: MSC1, severity: low, problem: A comma is missing.}
`

// Each broken file is the good one with one edit, and the message that names file, ID and field.
var brokenFiles = map[string]struct {
	old, new, message string
	loaderOnly        bool // the schema cannot see it
}{
	"level":            {old: "level: MUST", new: "level: must", message: `requirements/one.yaml: MSC1-A-01: level: unknown value "must": want one of MUST, SHOULD, SHOULD NOT, MAY, IMPLIED`},
	"profile":          {old: "profile: STRICT", new: "profile: HARD", message: `requirements/one.yaml: MSC1-A-01: profile: unknown value "HARD": want one of STRICT, INTEROP, INFO`},
	"testable":         {old: `testable: "yes"`, new: `testable: maybe`, message: `requirements/one.yaml: MSC1-A-01: testable: unknown value "maybe": want one of yes, partial, no`},
	"says":             {old: "says: It works.", new: `says: ""`, message: `requirements/one.yaml: MSC1-A-01: says: is missing or empty`},
	"no reason":        {old: "reason: Nothing shows., ", new: "", message: `requirements/one.yaml: MSC1-A-02: reason: must say why testable is not "yes", and be absent when it is`},
	"needless reason":  {old: `testable: "yes",`, new: `testable: "yes", reason: None is needed.,`, message: `requirements/one.yaml: MSC1-A-01: reason: must say why testable is not "yes", and be absent when it is`},
	"schedule":         {old: "tests: planned", new: "tests: never", message: `requirements/one.yaml: MSC1-A-02: tests: unknown value "never": want one of required, planned`},
	"revision":         {old: "revision: 0123456789", new: "revision: main", message: `requirements/one.yaml: MSC1: text.revision: "mainabcdef0123456789abcdef01234567" is not a full commit hash (40 hexadecimal digits)`},
	"malformed ID":     {old: "id: MSC1-A-02", new: "id: MSC1-A-2", message: `requirements/one.yaml: MSC1-A-2: id: "MSC1-A-2" is not of the form PROPOSAL-AREA-NN`},
	"unknown field":    {old: "title: A proposal", new: "title: A proposal\ntilte: A typo", message: `requirements/one.yaml: [4:1] unknown field "tilte"`},
	"duplicate ID":     {old: "id: MSC1-A-02", new: "id: MSC1-A-01", message: `requirements/one.yaml: MSC1-A-01: id: "MSC1-A-01" is used twice`, loaderOnly: true},
	"ID of other area": {old: "id: MSC1-A-02", new: "id: MSC1-B-02", message: `requirements/one.yaml: MSC1-B-02: id: "MSC1-B-02" does not start with the area's ID "MSC1-A-"`, loaderOnly: true},
	"order":            {old: "id: MSC1-A-01", new: "id: MSC1-A-03", message: `requirements/one.yaml: MSC1-A-02: id: comes after MSC1-A-03: entries are in order of their IDs`, loaderOnly: true},
	"unknown defect":   {old: "defects: [D-01]", new: "defects: [D-02]", message: `requirements/one.yaml: MSC1-A-01: defects: "D-02" is not in defects.yaml`, loaderOnly: true},
}

func TestLoad_NamesFileIDAndField(t *testing.T) {
	for name, edit := range brokenFiles {
		t.Run(name, func(t *testing.T) {
			broken := strings.Replace(goodFile, edit.old, edit.new, 1)
			require.NotEqual(t, goodFile, broken)
			_, err := Load(files(broken))
			assert.ErrorContains(t, err, edit.message)
		})
	}
}

func TestLoad_ReportsEveryProblemAtOnce(t *testing.T) {
	broken := strings.NewReplacer("level: MUST", "level: must", "level: MAY", "level: may").Replace(goodFile)
	_, err := Load(files(broken))
	assert.ErrorContains(t, err, "MSC1-A-01: level")
	assert.ErrorContains(t, err, "MSC1-A-02: level")
}

func TestLoad_GoodFile(t *testing.T) {
	c, err := Load(files(goodFile))
	require.NoError(t, err)
	first, second := c.Requirement("MSC1-A-01"), c.Requirement("MSC1-A-02")
	assert.Equal(t, "D-01", first.Defects[0].ID)
	assert.True(t, first.NeedsTest())
	assert.False(t, second.NeedsTest(), "nothing observable, and only planned")
	assert.Equal(t, Planned, second.Tests, "an entry's own schedule wins")
}

func TestMatch(t *testing.T) {
	c, err := Default()
	require.NoError(t, err)
	for pattern, want := range map[string]int{
		"MSC4243-SIG-02": 1,
		"msc4243-sig-02": 1,
		"MSC4243-SIG-*":  13,
		"MSC4243-SIG":    13,
		"RV12":           29,
		"*-FORGE-01":     3,
		"MSC9999-*":      0,
	} {
		found, err := c.Match(pattern)
		require.NoError(t, err)
		assert.Len(t, found, want, pattern)
	}
	_, err = c.Match("MSC[")
	assert.Error(t, err)
}

// The catalogue speaks about behaviour, so that it is fair to every implementation, and it speaks
// in whole words, so that it can be read without a glossary.
func TestTexts_NameNoImplementationAndUseNoShorthand(t *testing.T) {
	names := regexp.MustCompile(`(?i)\b(synapse|dendrite|conduit|conduwuit|continuwuity|tuwunel|gomatrixserverlib|complement|libsodium)\b`)
	shorthand := regexp.MustCompile(`\b(SUT|FS[12]?|AKID|ANID|AKs?|QA|GE|PL[0-9]*|vNext|w/o)\b`)
	c, err := Default()
	require.NoError(t, err)
	check := func(id, text string) {
		assert.NotRegexp(t, names, text, id)
		assert.NotRegexp(t, shorthand, text, id)
	}
	for _, r := range c.Requirements() {
		for _, text := range []string{r.Where, r.Says, r.Test, r.Reason, r.Notes} {
			check(r.ID, text)
		}
	}
	for _, d := range c.Defects {
		for _, text := range []string{d.Problem, d.Reading, d.Tolerance} {
			check(d.ID, text)
		}
	}
}

func files(proposal string) fs.FS {
	return fstest.MapFS{
		"one.yaml":     {Data: []byte(proposal)},
		"defects.yaml": {Data: []byte(goodDefects)},
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema()
	require.NoError(t, err)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("schema.json", document))
	schema, err := compiler.Compile("schema.json")
	require.NoError(t, err)
	return schema
}

func instance(t *testing.T, text []byte) any {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON(text)
	require.NoError(t, err)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	require.NoError(t, err)
	return value
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := Load(embedded); err != nil {
			b.Fatal(err)
		}
	}
}
