package conform

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/report/verdict"
)

// ArtifactsVariable is the environment variable that names the folder for what a run leaves to be
// read.
const ArtifactsVariable = "COUNTERSIGN_ARTIFACTS"

// Transcript hands the path of a file to the report that holds what was on the wire during the
// test, oldest exchange first, in text for people: the report shows its end beside a failure.
func Transcript(t testing.TB, path string) {
	t.Helper()
	t.Attr(verdict.AttrTranscript, strings.NewReplacer("\n", " ", "\r", " ").Replace(path))
}

// WriteTranscript writes what was on the wire during the test into the artifacts folder and hands
// its path to the report. Without an artifacts folder it writes nothing. It is meant for a cleanup
// function, and costs a passing test one small file.
func WriteTranscript(t testing.TB, text string) {
	t.Helper()
	root := os.Getenv(ArtifactsVariable)
	if root == "" || text == "" {
		return
	}
	suite := strings.TrimSuffix(filepath.Base(os.Args[0]), ".test")
	path := filepath.Join(root, "transcripts", suite, fileName(t.Name())+".txt")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Errorf("%s: cannot make the folder for transcripts: %v; check %s", verdict.Error, err, ArtifactsVariable)
		return
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Errorf("%s: cannot write the transcript: %v; check %s", verdict.Error, err, ArtifactsVariable)
		return
	}
	Transcript(t, path)
}

// fileName turns a test's name into a name that every file system takes. A name that had to be
// changed for it gets a short hash of the original, so that two tests never share a file.
func fileName(test string) string {
	const limit = 150
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-._", r):
			return r
		}
		return '_'
	}, strings.ReplaceAll(test, "/", "__"))
	if name == test && len(name) <= limit {
		return name
	}
	sum := sha256.Sum256([]byte(test))
	return name[:min(len(name), limit)] + "-" + hex.EncodeToString(sum[:4])
}

// Scenario says that what is on the wire during the test is worth looking at even if nothing goes
// wrong, and what it shows: "A user moves from one server to another". The report draws it as a
// sequence diagram.
func Scenario(t testing.TB, title string) {
	t.Helper()
	t.Attr(verdict.AttrScenario, oneLine(title, sentenceLimit))
}
