package conform

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"countersign/report/verdict"
)

// The tool that turns test output into JSON recognises directives up to 4096 bytes, test name
// included; a longer attribute would arrive as plain output. What is cut here is whole in the
// test's own output and in the transcript.
const (
	findingLimit  = 3000
	evidenceLimit = 1500
	sentenceLimit = 500
)

// emit hands a finding to the report.
func emit(t testing.TB, f verdict.Finding) {
	t.Helper()
	f.TestHadFailed = t.Failed()
	expected, observed := f.Expected, f.Observed
	for part := 1; ; part *= 2 {
		f.Expected = oneLine(expected, sentenceLimit/part)
		f.Observed = oneLine(observed, evidenceLimit/part)
		value, err := compactJSON(f)
		if err != nil {
			t.Fatalf("%s: cannot write a finding: %v", verdict.Error, err)
		}
		if len(value) <= findingLimit || part > evidenceLimit {
			t.Attr(verdict.AttrFinding, value)
			return
		}
	}
}

// compactJSON is JSON on one line, with <, > and & as they are.
func compactJSON(value any) (string, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}
	return strings.TrimSuffix(text.String(), "\n"), nil
}

// oneLine joins lines with single spaces and cuts the result to about limit bytes.
func oneLine(text string, limit int) string {
	lines := strings.FieldsFunc(strings.ToValidUTF8(text, "\uFFFD"), func(r rune) bool { return r == '\n' || r == '\r' })
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	line := strings.TrimSpace(strings.Join(lines, " "))
	if len(line) <= limit {
		return line
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(line[cut]) {
		cut--
	}
	return line[:cut] + "..."
}
