package requirements

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// defectsFile is the one file that holds defects; every other *.yaml file holds a proposal.
const defectsFile = "defects.yaml"

// A requirement's ID is the proposal, the area within it, and a number of two digits.
var (
	idPattern     = regexp.MustCompile(`^[A-Z][A-Z0-9]*-[A-Z0-9]+-[0-9]{2}$`)
	defectPattern = regexp.MustCompile(`^D-[0-9]{2}$`)
	hashPattern   = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// The shapes of the files. Enumerations are read as text and checked afterwards, so that an error
// can name the entry and the field.
type (
	proposalFile struct {
		Proposal    string     `yaml:"proposal"`
		Title       string     `yaml:"title"`
		RoomVersion string     `yaml:"room_version"`
		Text        textYAML   `yaml:"text"`
		Areas       []areaYAML `yaml:"areas"`
	}
	textYAML struct {
		URL      string `yaml:"url"`
		Path     string `yaml:"path"`
		Revision string `yaml:"revision"`
	}
	areaYAML struct {
		ID           string            `yaml:"id"`
		Title        string            `yaml:"title"`
		Tests        string            `yaml:"tests"`
		Requirements []requirementYAML `yaml:"requirements"`
	}
	requirementYAML struct {
		ID       string   `yaml:"id"`
		Level    string   `yaml:"level"`
		Profile  string   `yaml:"profile"`
		Where    string   `yaml:"where"`
		Says     string   `yaml:"says"`
		Test     string   `yaml:"test"`
		Testable string   `yaml:"testable"`
		Reason   string   `yaml:"reason"`
		Notes    string   `yaml:"notes"`
		Defects  []string `yaml:"defects"`
		Tests    string   `yaml:"tests"`
	}
	defectsYAML struct {
		Defects []defectYAML `yaml:"defects"`
	}
	defectYAML struct {
		ID        string `yaml:"id"`
		Proposal  string `yaml:"proposal"`
		Severity  string `yaml:"severity"`
		Problem   string `yaml:"problem"`
		Reading   string `yaml:"reading"`
		Tolerance string `yaml:"tolerance"`
		Wording   string `yaml:"wording"`
		Cost      string `yaml:"cost"`
	}
)

// Load reads a catalogue from the *.yaml files at the root of fsys: defects.yaml, and one file per
// proposal. It returns every problem that it finds, each naming the file, the ID and the field.
func Load(fsys fs.FS) (*Catalogue, error) {
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return nil, err
	}
	l := loader{fsys: fsys, catalogue: &Catalogue{
		byID: map[string]*Requirement{}, byArea: map[string]*Area{}, byDefect: map[string]*Defect{},
	}}
	if slices.Contains(names, defectsFile) {
		l.defects(defectsFile) // first, because requirements refer to them
	}
	for _, name := range names {
		if name != defectsFile {
			l.proposal(name)
		}
	}
	if len(l.problems) > 0 {
		return nil, errors.Join(l.problems...)
	}
	slices.SortFunc(l.catalogue.Proposals, func(a, b *Proposal) int {
		return cmp.Or(cmp.Compare(a.kind(), b.kind()), cmp.Compare(a.ID, b.ID))
	})
	return l.catalogue, nil
}

type loader struct {
	fsys      fs.FS
	catalogue *Catalogue
	problems  []error
}

// place is where a problem is: a file, and the entry in it when there is one.
type place struct{ file, id string }

func (l *loader) problem(at place, field, format string, args ...any) {
	where := "requirements/" + at.file
	if at.id != "" {
		where += ": " + at.id
	}
	if field != "" {
		where += ": " + field
	}
	l.problems = append(l.problems, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
}

func (l *loader) read(name string, into any) bool {
	text, err := fs.ReadFile(l.fsys, name)
	if err == nil {
		err = yaml.UnmarshalWithOptions(text, into, yaml.DisallowUnknownField())
	}
	if err != nil {
		l.problem(place{file: name}, "", "%s", strings.TrimSpace(err.Error()))
		return false
	}
	return true
}

func (l *loader) text(at place, field, value string) string {
	value = strings.TrimSpace(value)
	if value == "" {
		l.problem(at, field, "is missing or empty")
	}
	return value
}

func (l *loader) proposal(name string) {
	var file proposalFile
	if !l.read(name, &file) {
		return
	}
	at := place{file: name, id: file.Proposal}
	p := &Proposal{
		ID:          l.text(at, "proposal", file.Proposal),
		Title:       l.text(at, "title", file.Title),
		RoomVersion: l.text(at, "room_version", file.RoomVersion),
		Text: Text{
			URL:      l.text(at, "text.url", file.Text.URL),
			Path:     l.text(at, "text.path", file.Text.Path),
			Revision: file.Text.Revision,
		},
	}
	if !hashPattern.MatchString(p.Text.Revision) {
		l.problem(at, "text.revision", "%q is not a full commit hash (40 hexadecimal digits)", p.Text.Revision)
	}
	for _, a := range file.Areas {
		l.area(name, p, a)
	}
	if len(p.Areas) == 0 {
		l.problem(at, "areas", "is empty")
	}
	l.catalogue.Proposals = append(l.catalogue.Proposals, p)
}

func (l *loader) area(name string, p *Proposal, raw areaYAML) {
	at := place{file: name, id: raw.ID}
	a := &Area{
		ID:       raw.ID,
		Title:    l.text(at, "title", raw.Title),
		Proposal: p,
		Tests:    oneOf(l, at, "tests", raw.Tests, Schedules()),
	}
	if !strings.HasPrefix(raw.ID, p.ID+"-") {
		l.problem(at, "id", "%q does not start with the proposal's ID %q", raw.ID, p.ID+"-")
	}
	if l.catalogue.byArea[a.ID] != nil {
		l.problem(at, "id", "%q is used twice", a.ID)
	}
	l.catalogue.byArea[a.ID] = a
	for _, r := range raw.Requirements {
		l.requirement(name, a, r)
	}
	if len(a.Requirements) == 0 {
		l.problem(at, "requirements", "is empty")
	}
	p.Areas = append(p.Areas, a)
}

func (l *loader) requirement(name string, a *Area, raw requirementYAML) {
	at := place{file: name, id: raw.ID}
	r := &Requirement{
		ID:       raw.ID,
		Area:     a,
		Level:    oneOf(l, at, "level", raw.Level, Levels()),
		Profile:  oneOf(l, at, "profile", raw.Profile, Profiles()),
		Where:    l.text(at, "where", raw.Where),
		Says:     l.text(at, "says", raw.Says),
		Test:     l.text(at, "test", raw.Test),
		Testable: oneOf(l, at, "testable", raw.Testable, Testables()),
		Reason:   strings.TrimSpace(raw.Reason),
		Notes:    strings.TrimSpace(raw.Notes),
		Tests:    a.Tests,
	}
	switch {
	case !idPattern.MatchString(r.ID):
		l.problem(at, "id", "%q is not of the form PROPOSAL-AREA-NN", r.ID)
	case !strings.HasPrefix(r.ID, a.ID+"-"):
		l.problem(at, "id", "%q does not start with the area's ID %q", r.ID, a.ID+"-")
	case l.catalogue.byID[r.ID] != nil:
		l.problem(at, "id", "%q is used twice", r.ID)
	}
	if n := len(a.Requirements); n > 0 && a.Requirements[n-1].ID > r.ID {
		l.problem(at, "id", "comes after %s: entries are in order of their IDs", a.Requirements[n-1].ID)
	}
	if (r.Testable != Yes) != (r.Reason != "") {
		l.problem(at, "reason", "must say why testable is not \"yes\", and be absent when it is")
	}
	if raw.Tests != "" {
		r.Tests = oneOf(l, at, "tests", raw.Tests, Schedules())
	}
	for _, id := range raw.Defects {
		d := l.catalogue.byDefect[id]
		if d == nil {
			l.problem(at, "defects", "%q is not in %s", id, defectsFile)
			continue
		}
		r.Defects = append(r.Defects, d)
	}
	l.catalogue.byID[r.ID] = r
	a.Requirements = append(a.Requirements, r)
}

func (l *loader) defects(name string) {
	var file defectsYAML
	if !l.read(name, &file) {
		return
	}
	for _, raw := range file.Defects {
		at := place{file: name, id: raw.ID}
		d := &Defect{
			ID:        raw.ID,
			Proposal:  l.text(at, "proposal", raw.Proposal),
			Severity:  oneOf(l, at, "severity", raw.Severity, []string{"critical", "high", "med", "low"}),
			Problem:   l.text(at, "problem", raw.Problem),
			Reading:   strings.TrimSpace(raw.Reading),
			Tolerance: strings.TrimSpace(raw.Tolerance),
			Wording:   strings.TrimSpace(raw.Wording),
			Cost:      strings.TrimSpace(raw.Cost),
		}
		switch {
		case !defectPattern.MatchString(d.ID):
			l.problem(at, "id", "%q is not of the form D-NN", d.ID)
		case l.catalogue.byDefect[d.ID] != nil:
			l.problem(at, "id", "%q is used twice", d.ID)
		}
		l.catalogue.byDefect[d.ID] = d
		l.catalogue.Defects = append(l.catalogue.Defects, d)
	}
}

// oneOf checks a value of a closed set; it returns the zero value after recording a problem.
func oneOf[S ~string](l *loader, at place, field, value string, set []S) S {
	if slices.Contains(set, S(value)) {
		return S(value)
	}
	l.problem(at, field, "unknown value %q: want one of %s", value, list(set))
	return ""
}
