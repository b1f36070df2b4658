// Package expect reads an expectation file, in which the maintainers of a homeserver write down what
// they know to be broken, and applies it to a run: a known failure becomes XFAIL, and what passes
// although it was expected to fail becomes XPASS. The file belongs to the homeserver; the suite knows
// no server by name.
package expect

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"countersign/requirements"
)

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of an expectation file.
func Schema() []byte { return bytes.Clone(schema) }

// File is an expectation file.
type File struct {
	// Name is the file's name, for messages.
	Name string
	// Entries are the known problems.
	Entries []Entry
}

// Entry is one known problem: requirements or tests that the server is expected to fail.
type Entry struct {
	// Requirements are IDs, areas, or globs over IDs such as "MSC4243-SIG-*". Empty stands for
	// whatever the tests judge.
	Requirements []string
	// Tests are globs over the IDs of tests such as "msc4243/TestForge/*/send_join", in the syntax of
	// path.Match. A glob that matches a test also matches its subtests. Empty stands for all tests of
	// the requirements.
	Tests []string
	// Reason says in one sentence why the server fails.
	Reason string
	// Link is where the problem is tracked.
	Link string
	// Expires is the last day on which the entry counts; zero for no end.
	Expires time.Time
}

// fileYAML is the file as it is written.
type fileYAML struct {
	Version *int        `yaml:"version"`
	Known   []entryYAML `yaml:"known"`
}

type entryYAML struct {
	Requirements []string `yaml:"requirements"`
	Tests        []string `yaml:"tests"`
	Reason       string   `yaml:"reason"`
	Link         string   `yaml:"link"`
	Expires      string   `yaml:"expires"`
}

// Load reads an expectation file. Its errors name the file and the place, and all that is wrong.
func Load(name string, catalogue *requirements.Catalogue) (*File, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the expectations: %w", err)
	}
	return Parse(name, text, catalogue)
}

// Parse reads the text of an expectation file; see Load.
func Parse(name string, text []byte, catalogue *requirements.Catalogue) (*File, error) {
	var raw fileYAML
	if err := yaml.UnmarshalWithOptions(text, &raw, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %s", name, strings.Join(strings.Fields(firstLine(yaml.FormatError(err, false, false))), " "))
	}
	if raw.Version == nil || *raw.Version != 1 {
		return nil, fmt.Errorf("%s: it must begin with `version: 1`, the version of the format that this program reads", name)
	}
	file := &File{Name: name}
	var problems []string
	for i, entry := range raw.Known {
		parsed, err := entry.parse(catalogue)
		if err != nil {
			problems = append(problems, fmt.Sprintf("entry %d of known: %v", i+1, err))
		}
		file.Entries = append(file.Entries, parsed)
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("%s: %s", name, strings.Join(problems, "; "))
	}
	return file, nil
}

func (raw *entryYAML) parse(catalogue *requirements.Catalogue) (Entry, error) {
	entry := Entry{
		Requirements: raw.Requirements, Tests: raw.Tests,
		Reason: strings.TrimSpace(raw.Reason), Link: strings.TrimSpace(raw.Link),
	}
	if len(raw.Requirements)+len(raw.Tests) == 0 {
		return entry, errors.New("it names neither requirements nor tests")
	}
	for _, pattern := range raw.Requirements {
		if _, err := catalogue.Match(pattern); err != nil || pattern == "" {
			return entry, fmt.Errorf("%q is not an ID or a pattern such as MSC4243-SIG-*", pattern)
		}
	}
	for _, pattern := range raw.Tests {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return entry, fmt.Errorf("%q is not a pattern such as msc4243/TestForge/*/send_join", pattern)
		}
	}
	if entry.Reason == "" {
		return entry, errors.New("it has no reason; say in one sentence why the server fails")
	}
	if link, err := url.Parse(entry.Link); err != nil || (link.Scheme != "https" && link.Scheme != "http") || link.Host == "" {
		return entry, fmt.Errorf("its link %q is not a web address; say where the problem is tracked", entry.Link)
	}
	if raw.Expires != "" {
		day, err := time.Parse(time.DateOnly, raw.Expires)
		if err != nil {
			return entry, fmt.Errorf("expires %q is not a date such as 2027-03-31", raw.Expires)
		}
		entry.Expires = day
	}
	return entry, nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// matchesTest reports whether the entry is about a test.
func (e *Entry) matchesTest(id string) bool {
	if len(e.Tests) == 0 {
		return true
	}
	for _, pattern := range e.Tests {
		for above := id; above != "" && above != "."; above = parent(above) {
			if ok, err := path.Match(pattern, above); err == nil && ok {
				return true
			}
		}
	}
	return false
}

// parent is the test that a subtest belongs to, or "".
func parent(id string) string { return id[:max(strings.LastIndexByte(id, '/'), 0)] }

// expired reports whether the entry no longer counts.
func (e *Entry) expired(today time.Time) bool {
	return !e.Expires.IsZero() && !today.Before(e.Expires.AddDate(0, 0, 1))
}
