package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
)

// FileName is the name of the report within its folder.
const FileName = "report.json"

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of report.json.
func Schema() []byte { return bytes.Clone(schema) }

// Write writes report.json into a folder, which is made when it is missing, and returns the file's
// path. A report that is already there is replaced in one step.
func Write(folder string, run *Run) (string, error) {
	text, err := Marshal(run)
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, FileName)
	return path, WriteFile(path, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// WriteFile makes a file of what write writes, and the folder that it belongs into. A file that is
// already there is replaced in one step, and stays as it is when write fails.
func WriteFile(path string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("cannot make the folder for the report: %w", err)
	}
	temporary := path + ".part"
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("cannot write the report: %w", err)
	}
	err = write(file)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return fmt.Errorf("cannot write the report: %w", errors.Join(err, os.Remove(temporary)))
	}
	return nil
}

// Marshal returns report.json as text. It refuses a run that is not coherent.
func Marshal(run *Run) ([]byte, error) {
	if err := run.check(); err != nil {
		return nil, fmt.Errorf("the report is not coherent: %w", err)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	consensus, err := ConsensusOf(run)
	if err != nil {
		return nil, fmt.Errorf("cannot write the report: %w", err)
	}
	if err := encoder.Encode(document{run, Forgeries(run), Fingerprints(run), consensus}); err != nil {
		return nil, fmt.Errorf("cannot write the report: %w", err)
	}
	return text.Bytes(), nil
}

// Read reads a report from a folder or from a file. It refuses a report of another schema version,
// and one that is not coherent.
func Read(path string) (*Run, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, FileName)
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no report at %s; `countersign run --report DIR` writes one", path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the report: %w", err)
	}
	run, err := Unmarshal(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return run, nil
}

// Unmarshal reads the text of a report; see Read.
func Unmarshal(text []byte) (*Run, error) {
	var version struct {
		SchemaVersion *int `json:"schema_version"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return nil, fmt.Errorf("is not a report: %w", located(text, err))
	}
	if version.SchemaVersion == nil {
		return nil, errors.New("is not a report: it has no schema_version")
	}
	if *version.SchemaVersion != SchemaVersion {
		return nil, fmt.Errorf("has schema version %d; this program reads version %d", *version.SchemaVersion, SchemaVersion)
	}
	var run Run
	if err := json.Unmarshal(text, &run); err != nil {
		return nil, fmt.Errorf("is not a report: %w", located(text, err))
	}
	if err := run.check(); err != nil {
		return nil, fmt.Errorf("is not coherent: %w", err)
	}
	return &run, nil
}

// located puts the line and column before an error of the JSON decoder, when it tells the place.
func located(text []byte, err error) error {
	var at int64
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = syntax.Offset
	} else if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		at = kind.Offset
	} else {
		return err
	}
	before := text[:min(max(int(at), 0), len(text))]
	return fmt.Errorf("line %d, column %d: %w", bytes.Count(before, []byte("\n"))+1, len(before)-bytes.LastIndexByte(before, '\n'), err)
}

// check refuses a report whose parts contradict each other.
func (r *Run) check() error {
	if r.SchemaVersion != SchemaVersion {
		return fmt.Errorf("schema_version is %d, not %d", r.SchemaVersion, SchemaVersion)
	}
	if want := summarize(r); !reflect.DeepEqual(r.Summary, want) {
		return fmt.Errorf("summary is %+v, but the verdicts add up to %+v", r.Summary, want)
	}
	said := map[string]TestVerdict{}
	for i := range r.Tests {
		for _, about := range r.Tests[i].Requirements {
			said[r.Tests[i].ID()+" "+about.ID] = TestVerdict{r.Tests[i].ID(), about.Verdict}
		}
	}
	for i := range r.Requirements {
		requirement := &r.Requirements[i]
		if len(requirement.Tests) == 0 {
			return fmt.Errorf("%s has a verdict, but no test judged it", requirement.ID)
		}
		if slices.ContainsFunc(r.NotJudged, func(n NotJudged) bool { return n.ID == requirement.ID }) {
			return fmt.Errorf("%s is both judged and not judged", requirement.ID)
		}
		for _, test := range requirement.Tests {
			if _, ok := said[test.Test+" "+requirement.ID]; !ok {
				return fmt.Errorf("%s names the test %s, which does not judge it", requirement.ID, test.Test)
			}
		}
	}
	return nil
}
