package conform

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/report/verdict"
)

// ArtifactsVariable is the environment variable that names the folder for what a run leaves to be
// read.
const ArtifactsVariable = "COUNTERSIGN_ARTIFACTS"

// LineWire is the line in a failed test's output below which it shows what was on the wire, where there
// is no artifacts folder.
const LineWire = verdict.LineWire

// Transcript hands the path of a file to the report that holds what was on the wire during the
// test, oldest exchange first, in text for people: the report shows its end beside a failure.
func Transcript(t testing.TB, path string) {
	t.Helper()
	t.Attr(verdict.AttrTranscript, strings.NewReplacer("\n", " ", "\r", " ").Replace(path))
}

// WriteTranscript writes what was on the wire during the test into the artifacts folder and hands
// its path to the report. Without an artifacts folder it writes nothing. A test that is repeated has a
// transcript of each time. It is meant for a cleanup function, and costs a passing test one small file.
func WriteTranscript(t testing.TB, text string) {
	t.Helper()
	folder := transcripts(os.Getenv(ArtifactsVariable))
	if folder == "" || text == "" {
		return
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Errorf("%s: cannot make the folder for transcripts: %v; check %s", verdict.Error, err, ArtifactsVariable)
		return
	}
	path, err := writeNew(filepath.Join(folder, fileName(t.Name())), ".txt", text)
	if err != nil {
		t.Errorf("%s: cannot write the transcript: %v; check %s", verdict.Error, err, ArtifactsVariable)
		return
	}
	Transcript(t, path)
}

// transcripts is the folder, below the one for artifacts, for the transcripts of this package's tests.
func transcripts(artifacts string) string {
	if artifacts == "" {
		return ""
	}
	return filepath.Join(artifacts, "transcripts", strings.TrimSuffix(filepath.Base(os.Args[0]), ".test"))
}

// writeNew writes a file that is not there yet: name.txt, or else name.2.txt, name.3.txt, ...
func writeNew(name, extension, text string) (path string, err error) {
	path = name + extension
	for again := 2; ; again++ {
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			path = fmt.Sprint(name, ".", again, extension)
			continue
		}
		if err != nil {
			return "", err
		}
		_, err = file.WriteString(text)
		return path, errors.Join(err, file.Close())
	}
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
