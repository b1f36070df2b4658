package conform

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report/verdict"
	"countersign/requirements"
)

// One requirement of each profile, taken from the catalogue.
const (
	strictID      = "MSC4243-SIG-02"
	interopID     = "MSC4243-KEY-01"
	fingerprintID = "MSC4243-FORGE-59"
)

// recorder is a testing.TB that records what a test says instead of failing.
type recorder struct {
	testing.TB
	attributes [][2]string
	output     []string
	failed     bool
	skipped    bool
}

var errEnded = errors.New("the test ended")

func (r *recorder) Helper()      { r.TB.Helper() }
func (r *recorder) Name() string { return "TestThing/a_case" }
func (r *recorder) Failed() bool { return r.failed }
func (r *recorder) Attr(key, value string) {
	r.attributes = append(r.attributes, [2]string{key, value})
}
func (r *recorder) Log(args ...any) { r.output = append(r.output, fmt.Sprint(args...)) }
func (r *recorder) Logf(format string, args ...any) {
	r.output = append(r.output, fmt.Sprintf(format, args...))
}
func (r *recorder) Error(args ...any) { r.Log(args...); r.failed = true }
func (r *recorder) Errorf(format string, args ...any) {
	r.Logf(format, args...)
	r.failed = true
}
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}
func (r *recorder) Skip(args ...any) { r.Log(args...); r.skipped = true; runtime.Goexit() }

// play runs a test body against a recorder, in a goroutine as the testing package does.
func play(t *testing.T, body func(testing.TB)) *recorder {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan error, 1)
	go func() {
		ended := errEnded
		defer func() { done <- ended }()
		body(r)
		ended = nil
	}()
	<-done
	return r
}

func (r *recorder) findings(t *testing.T) []verdict.Finding {
	t.Helper()
	var all []verdict.Finding
	for _, attribute := range r.attributes {
		if attribute[0] == verdict.AttrFinding {
			var f verdict.Finding
			require.NoError(t, json.Unmarshal([]byte(attribute[1]), &f))
			all = append(all, f)
		}
	}
	return all
}

func TestProfilesOfTheSamples(t *testing.T) {
	catalogue, err := requirements.Default()
	require.NoError(t, err)
	assert.Equal(t, requirements.Strict, catalogue.Requirement(strictID).Profile)
	assert.Equal(t, requirements.Interop, catalogue.Requirement(interopID).Profile)
	assert.Equal(t, requirements.Fingerprint, catalogue.Requirement(fingerprintID).Profile)
}

func TestCovers(t *testing.T) {
	r := play(t, func(tb testing.TB) { Covers(tb, strictID, interopID) })
	assert.Equal(t, [][2]string{{verdict.AttrCovers, strictID}, {verdict.AttrCovers, interopID}}, r.attributes)
	assert.False(t, r.failed)
}

func TestCovers_WhenOthersAreAskedFor(t *testing.T) {
	t.Setenv(SelectionVariable, "RV12-MSG-01, "+strictID)
	r := play(t, func(tb testing.TB) { Covers(tb, strictID, interopID) })
	assert.False(t, r.skipped)
	assert.Len(t, r.attributes, 2)

	t.Setenv(SelectionVariable, "RV12-MSG-01")
	r = play(t, func(tb testing.TB) { Covers(tb, strictID) })
	assert.True(t, r.skipped)
	assert.Equal(t, [][2]string{{verdict.AttrUnselected, "1"}}, r.attributes)
}

func TestCovers_UnknownIDIsAHarnessError(t *testing.T) {
	r := play(t, func(tb testing.TB) { Covers(tb, "MSC4243-SIG-99"); tb.Log("unreachable") })
	require.True(t, r.failed)
	assert.Equal(t, []string{`ERROR: "MSC4243-SIG-99" is not a requirement: ` + "`countersign list` prints them all"}, r.output)
	require.Len(t, r.findings(t), 1)
	assert.Equal(t, verdict.Error, r.findings(t)[0].Verdict)

	assert.True(t, play(t, func(tb testing.TB) { Covers(tb) }).failed, "covering nothing is refused")
}

func TestViolation_CostsWhatTheProfileSays(t *testing.T) {
	for _, c := range []struct {
		id, strict string
		want       verdict.Verdict
	}{
		{strictID, "", verdict.Fail},
		{strictID, "1", verdict.Fail},
		{interopID, "", verdict.Warn},
		{interopID, "0", verdict.Warn},
		{interopID, "1", verdict.Fail},
		{fingerprintID, "", verdict.Info},
		{fingerprintID, "1", verdict.Info},
	} {
		t.Run(c.id+"/strict="+c.strict, func(t *testing.T) {
			t.Setenv(StrictVariable, c.strict)
			after := false
			r := play(t, func(tb testing.TB) { Violation(tb, c.id, "one key", "two keys"); after = true })
			assert.Equal(t, []verdict.Finding{{Verdict: c.want, Requirement: c.id, Expected: "one key", Observed: "two keys"}}, r.findings(t))
			assert.Equal(t, c.want == verdict.Fail, r.failed)
			assert.True(t, after, "the test goes on")
			assert.Contains(t, r.output[0], "observed: two keys")
		})
	}
}

func TestViolation_SaysWhenTheTestHadFailedOtherwise(t *testing.T) {
	r := play(t, func(tb testing.TB) { tb.Errorf("plain"); Violation(tb, strictID, "a", "b") })
	assert.True(t, r.findings(t)[0].TestHadFailed)
}

func TestStrictVariable_Misspelt(t *testing.T) {
	t.Setenv(StrictVariable, "yes please")
	r := play(t, func(tb testing.TB) { Violation(tb, interopID, "a", "b") })
	assert.True(t, r.failed)
	assert.Equal(t, verdict.Error, r.findings(t)[0].Verdict)
}

func TestEndings(t *testing.T) {
	for _, c := range []struct {
		want         verdict.Verdict
		end          func(testing.TB)
		red, skipped bool
	}{
		{verdict.Inconclusive, func(tb testing.TB) { Inconclusive(tb, "no fence after %ds", 5) }, true, false},
		{verdict.Error, func(tb testing.TB) { HarnessError(tb, "no fence after %ds", 5) }, true, false},
		{verdict.Skip, func(tb testing.TB) { Skip(tb, "no fence after %ds", 5) }, false, true},
	} {
		after := false
		r := play(t, func(tb testing.TB) { c.end(tb); after = true })
		assert.Equal(t, []verdict.Finding{{Verdict: c.want, Observed: "no fence after 5s"}}, r.findings(t))
		assert.Equal(t, c.red, r.failed, c.want)
		assert.Equal(t, c.skipped, r.skipped, c.want)
		assert.False(t, after, "%s ends the test", c.want)
	}
}

func TestInfoExpectObserved(t *testing.T) {
	r := play(t, func(tb testing.TB) {
		Info(tb, fingerprintID, "the second key wins")
		Expect(tb, "the event is dropped\n  within %d s", 5)
		Observed(tb, "status %d", 200)
	})
	assert.False(t, r.failed)
	assert.Equal(t, verdict.Info, r.findings(t)[0].Verdict)
	assert.Equal(t, [][2]string{
		{verdict.AttrExpected, "the event is dropped within 5 s"},
		{verdict.AttrObserved, "status 200"},
	}, r.attributes[1:])
}

// The tool that converts test output to JSON recognises lines of up to 4096 bytes.
func TestFindings_FitOneDirective(t *testing.T) {
	for name, text := range map[string]string{
		"plain":   strings.Repeat("word ", 5000),
		"lines":   strings.Repeat("line\r\n", 5000),
		"quotes":  strings.Repeat(`"\`, 5000),
		"control": strings.Repeat("\x01", 5000),
		"unicode": strings.Repeat("é", 5000),
		"invalid": strings.Repeat("\xff", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			r := play(t, func(tb testing.TB) { Violation(tb, interopID, text, text) })
			value := r.attributes[0][1]
			assert.LessOrEqual(t, len(value), findingLimit)
			assert.NotContains(t, value, "\n")
			assert.Len(t, r.findings(t), 1)
		})
	}
}

func TestWriteTranscript(t *testing.T) {
	t.Setenv(ArtifactsVariable, "")
	assert.Empty(t, play(t, func(tb testing.TB) { WriteTranscript(tb, "GET /") }).attributes, "nothing is kept without a folder")

	t.Setenv(ArtifactsVariable, t.TempDir())
	r := play(t, func(tb testing.TB) { WriteTranscript(tb, "GET /") })
	require.Len(t, r.attributes, 1)
	assert.Equal(t, verdict.AttrTranscript, r.attributes[0][0])
	text, err := os.ReadFile(r.attributes[0][1])
	require.NoError(t, err)
	assert.Equal(t, "GET /", string(text))

	again := play(t, func(tb testing.TB) { WriteTranscript(tb, "GET /again") })
	assert.NotEqual(t, r.attributes[0][1], again.attributes[0][1], "a repetition has a transcript of its own")
	text, err = os.ReadFile(r.attributes[0][1])
	require.NoError(t, err)
	assert.Equal(t, "GET /", string(text))
}

func TestFileName_IsDistinctAndSafe(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{
		"TestA", "TestA/b", "TestA__b", "TestA/b/c", "TestA/b__c", "TestA/é", "TestA/è", "TestA/../x", "TestA/a:b",
		"TestA/" + strings.Repeat("x", 300), "TestA/" + strings.Repeat("x", 301),
	} {
		file := fileName(name)
		assert.Empty(t, seen[file], "%q and %q share %q", name, seen[file], file)
		seen[file] = name
		assert.LessOrEqual(t, len(file), 200)
		assert.Regexp(t, `^[A-Za-z0-9._-]+$`, file)
	}
}
