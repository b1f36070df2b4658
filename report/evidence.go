package report

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Evidence reads what a run left beside its report, for those who show it.
type Evidence struct {
	// Folder is the folder that relative paths of transcripts start from.
	Folder string
	// ReadFile reads a file; nil means os.ReadFile.
	ReadFile func(path string) ([]byte, error)
}

// Path is where a test's transcript is, or "" when it has none.
func (e *Evidence) Path(t *Test) string {
	if t.Transcript == "" || filepath.IsAbs(t.Transcript) {
		return t.Transcript
	}
	return filepath.Join(e.Folder, t.Transcript)
}

// Transcript is what was on the wire during a test, without secrets and within about limit bytes:
// the first exchanges, by which one sees how the test began, and the last, at which it failed; and
// its overview, or nil where it has none. Both are empty for a test without a transcript.
func (e *Evidence) Transcript(t *Test, limit int) (string, *Overview, error) {
	path := e.Path(t)
	if path == "" {
		return "", nil, nil
	}
	read := e.ReadFile
	if read == nil {
		read = os.ReadFile
	}
	raw, err := read(path)
	if err != nil {
		return "", nil, fmt.Errorf("the transcript cannot be read: %w", err)
	}
	text := strings.ToValidUTF8(withoutSecrets(string(bytes.TrimSpace(raw))), "\uFFFD")
	return clip(text, limit), ParseOverview(text), nil
}

// clip keeps the first quarter and the last three quarters of limit bytes, in whole lines where
// there are any.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	head, end := text[:limit/4], text[len(text)-limit*3/4:]
	if i := strings.LastIndexByte(head, '\n'); i > 0 {
		head = head[:i]
	}
	if i := strings.IndexByte(end, '\n'); i >= 0 && i < len(end)-1 {
		end = end[i+1:]
	}
	return fmt.Sprintf("%s\n\n[... %d bytes left out ...]\n\n%s", strings.ToValidUTF8(head, ""),
		len(text)-len(head)-len(end), strings.ToValidUTF8(end, ""))
}

// secret matches the fields of the client API that let their reader in, also where the text was cut in
// the middle of one. A report is published; the servers that it is about may live on.
var secret = regexp.MustCompile(`("(?:access_token|refresh_token|password|mac|login_token)"\s*:\s*)"(?:[^"\\]|\\.)*(?:"|\\?$)`)

func withoutSecrets(text string) string { return secret.ReplaceAllString(text, `$1"(removed)"`) }

// withoutSecrets takes secrets out of what is reported of a test. What it printed and said quotes the
// requests that it made.
func (t *Test) withoutSecrets() {
	t.Expected, t.Observed, t.Output = withoutSecrets(t.Expected), withoutSecrets(t.Observed), withoutSecrets(t.Output)
	for i := range t.Requirements {
		about := &t.Requirements[i]
		about.Expected, about.Observed = withoutSecrets(about.Expected), withoutSecrets(about.Observed)
	}
}
