package report

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/report/verdict"
	"countersign/requirements"
)

// script turns a short notation into the stream that `go test -json` writes. Each line is one
// event: a verb, and what it is about.
//
//	suite msc4243                 the package that follows
//	run TestA/sub                 a test begins
//	covers TestA MSC4243-SIG-01   conform.Covers
//	expect TestA a sentence       conform.Expect
//	observe TestA a sentence      conform.Observed
//	finding TestA {json}          a verdict.Finding
//	transcript TestA a/path.txt   conform.Transcript
//	scenario TestA a title        conform.Scenario
//	unselected TestA 1            conform.Covers of a test that the run did not ask for
//	crash TestA panic: nil map    a line that a test prints without indentation
//	print TestA some output       a line that the test prints
//	say some output               a line that the test binary prints outside of tests
//	pass|fail|skip TestA 0.25     a test ends
//	ok | broken                   the package ends
//	nobuild message               the package does not compile
func script(t *testing.T, text string) string {
	t.Helper()
	var stream bytes.Buffer
	encoder := json.NewEncoder(&stream)
	pkg := "countersign/tests/msc4243"
	emit := func(fields map[string]any) {
		fields["Time"] = "2026-01-02T03:04:05Z"
		if fields["ImportPath"] == nil {
			fields["Package"] = pkg
		}
		require.NoError(t, encoder.Encode(fields))
	}
	for line := range strings.Lines(text) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		about, more, _ := strings.Cut(rest, " ")
		attr := map[string]string{
			"covers": verdict.AttrCovers, "expect": verdict.AttrExpected, "observe": verdict.AttrObserved,
			"finding": verdict.AttrFinding, "transcript": verdict.AttrTranscript, "unselected": verdict.AttrUnselected,
			"scenario": verdict.AttrScenario, "probe": verdict.AttrProbe,
		}[verb]
		switch verb {
		case "", "#":
		case "suite":
			pkg = "countersign/tests/" + about
			emit(map[string]any{"Action": "start"})
		case "run":
			emit(map[string]any{"Action": "run", "Test": about})
			emit(map[string]any{"Action": "output", "Test": about, "Output": "=== RUN   " + about + "\n"})
		case "print":
			emit(map[string]any{"Action": "output", "Test": about, "Output": "    " + more + "\n"})
		case "crash":
			emit(map[string]any{"Action": "output", "Test": about, "Output": more + "\n"})
		case "say":
			emit(map[string]any{"Action": "output", "Output": rest + "\n"})
		case "pass", "fail", "skip":
			var elapsed float64
			if more != "" {
				require.NoError(t, json.Unmarshal([]byte(more), &elapsed))
			}
			emit(map[string]any{"Action": "output", "Test": about, "Output": "--- " + strings.ToUpper(verb) + ": " + about + "\n"})
			emit(map[string]any{"Action": verb, "Test": about, "Elapsed": elapsed})
		case "ok":
			emit(map[string]any{"Action": "pass"})
		case "broken":
			emit(map[string]any{"Action": "output", "Output": "FAIL\t" + pkg + "\t0.1s\n"})
			emit(map[string]any{"Action": "fail"})
		case "nobuild":
			emit(map[string]any{"Action": "build-output", "ImportPath": pkg + ".test", "Output": rest + "\n"})
			emit(map[string]any{"Action": "build-fail", "ImportPath": pkg + ".test"})
			emit(map[string]any{"Action": "fail", "FailedBuild": pkg + ".test"})
		default:
			require.NotEmpty(t, attr, "unknown verb in a script: %q", line)
			emit(map[string]any{"Action": "attr", "Test": about, "Key": attr, "Value": more})
			emit(map[string]any{"Action": "output", "Test": about, "Output": "=== ATTR  " + about + " " + attr + " " + more + "\n"})
		}
	}
	return stream.String()
}

// collect runs a script through a collector and returns the run.
func collect(t *testing.T, text string) *Run {
	t.Helper()
	// A catalogue of its own, so that the golden files do not change with the real one.
	catalogue, err := requirements.Load(os.DirFS("testdata/catalogue"))
	require.NoError(t, err)
	collector := NewCollector(catalogue)
	collector.Covered = func(id string) bool { return strings.HasPrefix(id, "RV12-") }
	require.NoError(t, collector.Read(strings.NewReader(script(t, text))))
	run := &Run{
		Suite:   Suite{Name: "countersign", Version: "v1.2.3", Commit: "0123456789abcdef0123456789abcdef01234567"},
		Target:  "embedded",
		Command: []string{"run"},
		Machine: Machine{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1.26"},
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), DurationSeconds: 12.5,
	}
	collector.Finish(run)
	return run
}
