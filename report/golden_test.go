package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report/verdict"
)

// `go test ./report -update` writes the golden files anew; read the difference before committing.
var update = flag.Bool("update", false, "write the golden files anew")

const mixedRun = `
suite roomv12
say countersign: fact: {"server":"hs1","target":"exec:./server","digest":"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","name":"example-server","version":"1.4.0","room_versions":{"11":"stable","12":"stable","org.matrix.12.4243":"unstable"}}
run TestCreate_RoomID
covers TestCreate_RoomID RV12-CREATE-01
pass TestCreate_RoomID 0.04
run TestRestart
covers TestRestart RV12-RESTART-01
finding TestRestart {"verdict":"SKIP","observed":"this target cannot restart a server"}
skip TestRestart 0.00
ok
suite msc4243
run TestKeys
run TestKeys/one_key_per_account
covers TestKeys/one_key_per_account MSC4243-KEY-01
finding TestKeys/one_key_per_account {"verdict":"WARN","requirement":"MSC4243-KEY-01","expected":"the same account key in all three rooms","observed":"three account keys, one per room"}
pass TestKeys/one_key_per_account 0.31
run TestKeys/rejoin
covers TestKeys/rejoin MSC4243-KEY-02
scenario TestKeys/rejoin A user leaves a room and joins it again
transcript TestKeys/rejoin testdata/transcript.txt
pass TestKeys/rejoin 0.22
pass TestKeys 0.53
run TestSigning
covers TestSigning MSC4243-SIG-01
covers TestSigning MSC4243-SIG-02
transcript TestSigning testdata/transcript.txt
finding TestSigning {"verdict":"FAIL","requirement":"MSC4243-SIG-02","expected":"no signature by the server's own key, because account keys sign events in this room version","observed":"signatures by hs1 (ed25519:auto) and by l8Hft5qXKn1vfHrg3p4-W8gELQVo8N13JkluMfmn2sQ (ed25519:1)"}
print TestSigning signing_test.go:41: FAIL MSC4243-SIG-02
fail TestSigning 0.12
run TestForgery
run TestForgery/server-key-only/send
covers TestForgery/server-key-only/send MSC4243-FORGE-02
print TestForgery/server-key-only/send forge_test.go:77: expected status 404, got 200
expect TestForgery/server-key-only/send GET /event does not return the forged event
observe TestForgery/server-key-only/send it was returned, with status 200
fail TestForgery/server-key-only/send 0.20
run TestForgery/server-key-only/send_join
covers TestForgery/server-key-only/send_join MSC4243-FORGE-02
fail TestForgery/server-key-only/send_join 0.20
run TestForgery/server-key-only/backfill
covers TestForgery/server-key-only/backfill MSC4243-FORGE-02
fail TestForgery/server-key-only/backfill 0.20
run TestForgery/server-key-only/invite
covers TestForgery/server-key-only/invite MSC4243-FORGE-02
fail TestForgery/server-key-only/invite 0.20
run TestForgery/unsigned
covers TestForgery/unsigned MSC4243-FORGE-01
finding TestForgery/unsigned {"verdict":"INCONCLUSIVE","observed":"the fence did not arrive within 5 s: the server stopped taking events from the fake server"}
fail TestForgery/unsigned 5.01
run TestForgery/duplicate-key
covers TestForgery/duplicate-key MSC4243-FORGE-59
finding TestForgery/duplicate-key {"verdict":"INFO","requirement":"MSC4243-FORGE-59","observed":"the last of the two keys counts"}
pass TestForgery/duplicate-key 0.20
run TestForgery/duplicate-content
covers TestForgery/duplicate-content MSC4243-FORGE-59
finding TestForgery/duplicate-content {"verdict":"INFO","requirement":"MSC4243-FORGE-59","observed":"duplicate keys in the content: the event is dropped"}
pass TestForgery/duplicate-content 0.20
run TestForgery/expired
covers TestForgery/expired MSC4243-SIG-03
pass TestForgery/expired 0.20
run TestForgery/expired-twice
covers TestForgery/expired-twice MSC4243-SIG-03
finding TestForgery/expired-twice {"verdict":"SKIP","observed":"this target cannot pause a server"}
skip TestForgery/expired-twice 0.00
fail TestForgery 6.01
run TestLost
print TestLost lost_test.go:9: no room
fail TestLost 0.01
broken
suite interop
say countersign: error: hs2: the command "./server" ended with exit status 1 before it answered GET /_matrix/client/versions; run it by hand to see why
say countersign: more: the last lines of its log:
say countersign: more: cannot open the database <hs2.db>: no space left
broken
`

const allPass = `
suite roomv12
say countersign: fact: {"server":"hs1","target":"embedded","name":"countersign","version":"v1.2.3","room_versions":{"12":"stable","org.matrix.12.4243":"unstable"}}
run TestCreate
covers TestCreate RV12-CREATE-01
covers TestCreate RV12-CREATE-02
pass TestCreate 0.04
ok
`

const oldServer = `
suite msc4243
say countersign: fact: {"server":"hs1","room_versions":{"12":"stable"}}
run TestSigning
covers TestSigning MSC4243-SIG-01
covers TestSigning MSC4243-SIG-02
covers TestSigning MSC4243-SIG-03
finding TestSigning {"verdict":"SKIP","observed":"hs1 does not offer room version org.matrix.12.4243"}
skip TestSigning 0.00
ok
`

var titles = map[string]string{
	"RV12-CREATE": "Creating a room", "RV12-RESTART": "Restarts",
	"MSC4243-KEY": "Account key lifecycle", "MSC4243-SIG": "Event signing, hashing, IDs", "MSC4243-FORGE": "Forged and malformed events",
}

func TestPrinter_Golden(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		color  bool
	}{
		"mixed":       {script: mixedRun},
		"mixed-color": {script: mixedRun, color: true},
		"all-pass":    {script: allPass},
		"old-server":  {script: oldServer},
		"nothing":     {script: "suite roomv12\nok"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			printer := Printer{Out: &out, Color: c.color, Titles: titles}
			printer.Print(collect(t, c.script), "countersign-report/report.json")
			golden(t, name+".txt", out.Bytes())
		})
	}
}

// What maintainers know, what no longer fits, and what is flaky is said before what is wrong.
func TestPrinter_Golden_Expectations(t *testing.T) {
	run := collect(t, mixedRun+`
suite msc4243
run TestSigning
covers TestSigning MSC4243-SIG-01
covers TestSigning MSC4243-SIG-02
pass TestSigning 0.10
ok
`)
	known := &Known{Reason: "Keys are not told apart.", Link: "https://example.org/issues/12"}
	for i := range run.Tests {
		t := &run.Tests[i]
		for j := range t.Requirements {
			if about := &t.Requirements[j]; about.ID == "MSC4243-FORGE-02" {
				about.Verdict, about.Known = verdict.XFail, known
				t.Verdict = verdict.XFail
			}
		}
	}
	run.Expectations = &Expectations{File: "known.yaml", Entries: 2, Stale: []string{"entry 2 (MSC4243-KEY-02) expects a failure, but MSC4243-KEY-02 passes"}}
	run.RollUp()
	var out bytes.Buffer
	printer := Printer{Out: &out, Titles: titles, Page: "countersign-report/report.html"}
	printer.Print(run, "countersign-report/report.json")
	golden(t, "expectations.txt", out.Bytes())
}

func TestMarshal_Golden(t *testing.T) {
	text, err := Marshal(collect(t, mixedRun))
	require.NoError(t, err)
	golden(t, "mixed.json", text)
}

func TestMarshal_SatisfiesTheSchema(t *testing.T) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	require.NoError(t, compiler.AddResource("schema.json", document))
	schema, err := compiler.Compile("schema.json")
	require.NoError(t, err)
	for name, script := range map[string]string{"mixed": mixedRun, "all-pass": allPass, "old-server": oldServer, "nothing": "ok"} {
		text, err := Marshal(collect(t, script))
		require.NoError(t, err)
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		require.NoError(t, err)
		assert.NoError(t, schema.Validate(value), name)
	}
	good, err := Marshal(collect(t, mixedRun))
	require.NoError(t, err)
	for old, broken := range map[string]string{
		`"verdict": "FAIL"`:        `"verdict": "BAD"`,
		`"schema_version": 1`:      `"schema_version": 2`,
		`"pass": 2`:                `"pass": -2`,
		`"target": "embedded",`:    ``,
		`"id": "MSC4243-KEY-01"`:   `"id": "KEY"`,
		`"profile": "STRICT"`:      `"profile": "HARD"`,
		`"duration_seconds": 12.5`: `"duration_seconds": "12.5"`,
	} {
		edited := strings.Replace(string(good), old, broken, 1)
		require.NotEqual(t, string(good), edited)
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(edited))
		require.NoError(t, err)
		assert.Error(t, schema.Validate(value), broken)
	}
}

func TestWriteRead(t *testing.T) {
	run := collect(t, mixedRun)
	folder := filepath.Join(t.TempDir(), "a", "b")
	path, err := Write(folder, run)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(folder, "report.json"), path)
	for _, from := range []string{folder, path} {
		back, err := Read(from)
		require.NoError(t, err)
		assert.Equal(t, run, back)
	}
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	assert.Len(t, left, 1, "no temporary file stays")

	_, err = Write(filepath.Join(path, "below-a-file"), run)
	assert.ErrorContains(t, err, "cannot make the folder for the report")
}

func TestRead_Refuses(t *testing.T) {
	good, err := Marshal(collect(t, allPass))
	require.NoError(t, err)
	for name, c := range map[string]struct{ old, new, want string }{
		"no JSON":                 {"{", "<", "is not a report"},
		"no version":              {`"schema_version": 1`, `"schema": 1`, "it has no schema_version"},
		"another version":         {`"schema_version": 1`, `"schema_version": 2`, "has schema version 2; this program reads version 1"},
		"an unknown verdict":      {`"verdict": "PASS"`, `"verdict": "GOOD"`, `unknown verdict "GOOD"`},
		"a wrong count":           {`"pass": 2`, `"pass": 3`, "is not coherent: summary"},
		"judged and not judged":   {`"id": "RV12-MSG-01"`, `"id": "RV12-CREATE-01"`, "RV12-CREATE-01 is both judged and not judged"},
		"a test that is not here": {`"test": "roomv12/TestCreate"`, `"test": "roomv12/TestOther"`, "names the test roomv12/TestOther"},
	} {
		t.Run(name, func(t *testing.T) {
			edited := strings.Replace(string(good), c.old, c.new, 1)
			require.NotEqual(t, string(good), edited)
			path := filepath.Join(t.TempDir(), FileName)
			require.NoError(t, os.WriteFile(path, []byte(edited), 0o600))
			_, err := Read(path)
			assert.ErrorContains(t, err, c.want)
			assert.ErrorContains(t, err, path)
		})
	}
	_, err = Read(filepath.Join(t.TempDir(), "nothing"))
	assert.ErrorContains(t, err, "there is no report at")

	incoherent := collect(t, allPass)
	incoherent.Summary.Pass++
	_, err = Marshal(incoherent)
	assert.ErrorContains(t, err, "not coherent")
}

func TestPrinter_UnreadableTranscript(t *testing.T) {
	var out bytes.Buffer
	printer := Printer{Out: &out, ReadFile: func(string) ([]byte, error) { return nil, errors.New("gone") }}
	printer.Print(collect(t, mixedRun), "")
	assert.Contains(t, out.String(), "| cannot be read: gone")
}

func TestLines(t *testing.T) {
	for name, verbose := range map[string]bool{"lines": false, "lines-verbose": true} {
		var out bytes.Buffer
		progress := NewLines(&Printer{Out: &out}, verbose)
		run := collect(t, mixedRun)
		byTop := map[string][]Test{}
		var order []string
		for _, test := range run.Tests {
			top, _, _ := strings.Cut(test.Name, "/")
			if len(byTop[test.Suite+" "+top]) == 0 {
				order = append(order, test.Suite+" "+top)
			}
			byTop[test.Suite+" "+top] = append(byTop[test.Suite+" "+top], test)
		}
		for _, key := range order {
			suite, top, _ := strings.Cut(key, " ")
			progress.Test(suite, top, byTop[key])
		}
		progress.Test("roomv12", "TestEmpty", nil)
		progress.Close()
		golden(t, name+".txt", out.Bytes())
	}
}

func TestBar_TellsTroubleAtOnce(t *testing.T) {
	var bar, out bytes.Buffer
	progress := NewBar(&bar, &Printer{Out: &out}, 4)
	run := collect(t, mixedRun)
	for _, test := range run.Tests {
		progress.Test(test.Suite, test.Name, []Test{test})
	}
	progress.Close()
	assert.Contains(t, out.String(), "FAIL          msc4243/TestSigning (0.12 s)")
	assert.NotContains(t, out.String(), "PASS")
	assert.NotEmpty(t, bar.String())
}

func TestWrap(t *testing.T) {
	assert.Equal(t, []string{"one two three four", "five"}, wrap("one two three four five", 20))
	assert.Equal(t, []string{""}, wrap("", 20))
	assert.Equal(t, []string{strings.Repeat("x", 20), "xxxxx y"}, wrap(strings.Repeat("x", 25)+" y", 20))
	assert.Equal(t, []string{"a", strings.Repeat("x", 20), "x"}, wrap("a "+strings.Repeat("x", 21), 20))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	if json.Valid(want) && json.Valid(got) {
		assert.JSONEq(t, string(want), string(got))
	}
	assert.Equal(t, string(want), string(got))
}
