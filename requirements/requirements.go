// Package requirements is the catalogue of what the suite asks of a homeserver: one entry per
// requirement of a proposal, the gaps that writing the tests found in the proposals, and the
// controls in room version 12 that any homeserver passes. The data is YAML, embedded and described
// by schema.json; this package loads it into typed values and checks that it holds together.
package requirements

import (
	"embed"
	"path"
	"strings"
	"sync"
)

//go:embed *.yaml schema.json
var embedded embed.FS

// loaded parses the embedded files once per process, on first use.
var loaded = sync.OnceValues(func() (*Catalogue, error) { return Load(embedded) })

// Default returns the embedded catalogue. It is read and checked once; the returned value is
// shared and must not be changed. An error means that the program was built from a broken
// catalogue, and names the file, the ID and the field.
func Default() (*Catalogue, error) { return loaded() }

// Schema returns the JSON Schema (draft 2020-12) of the catalogue's files.
func Schema() ([]byte, error) { return embedded.ReadFile("schema.json") }

// Catalogue is everything that the suite asks, in the order of the files.
type Catalogue struct {
	// Proposals are the texts that requirements come from: the controls in existing room versions
	// first, then the proposals, each sorted by ID.
	Proposals []*Proposal
	// Defects are the gaps and contradictions found in the texts, sorted by ID.
	Defects []*Defect

	byID     map[string]*Requirement
	byArea   map[string]*Area
	byDefect map[string]*Defect
}

// Proposal is one text with its requirements.
type Proposal struct {
	// ID is the short name that starts every requirement's ID, such as "MSC4243" or "RV12".
	ID string
	// Title is the text's own title.
	Title string
	// Text is the revision of the text that the entries were written from.
	Text Text
	// RoomVersion is the room version in which the requirements apply unless a run configures
	// another, such as "org.matrix.12.4243".
	RoomVersion string
	// Areas are the groups of requirements, in reading order.
	Areas []*Area
}

// kind orders texts: what the tests stand on comes before what they judge, and the probes come last.
func (p *Proposal) kind() int {
	switch {
	case strings.HasPrefix(p.ID, "RV"):
		return 0
	case strings.HasPrefix(p.ID, "MSC"):
		return 1
	}
	return 2
}

// Text pins the revision of a text.
type Text struct {
	// URL is where the text and its discussion are.
	URL string
	// Path is the text's path in its repository.
	Path string
	// Revision is the full commit hash.
	Revision string
}

// Area is a group of requirements on one subject, such as MSC4243-SIG.
type Area struct {
	// ID is the part that all IDs of the group share, such as "MSC4243-SIG".
	ID string
	// Title names the subject.
	Title string
	// Proposal is the text that the group belongs to.
	Proposal *Proposal
	// Tests says whether the group's requirements must have tests now.
	Tests Schedule
	// Requirements are the members, in order of their IDs.
	Requirements []*Requirement
}

// Requirement is one thing that a homeserver must, should or may do.
type Requirement struct {
	// ID is unique and never reused, such as "MSC4243-SIG-02".
	ID string
	// Area is the group that the requirement belongs to.
	Area *Area
	// Level is how strongly the text asks for it.
	Level Level
	// Profile is what breaking it costs.
	Profile Profile
	// Where names the section of the text.
	Where string
	// Says is the requirement in the suite's own words, one or two sentences.
	Says string
	// Test describes how a black-box test judges it.
	Test string
	// Testable says how much of it a black-box test can observe.
	Testable Testable
	// Reason says why Testable is not Yes; empty otherwise.
	Reason string
	// Notes holds what else a reader should know: tolerances, traps, neighbours.
	Notes string
	// Defects are the gaps in the text that the requirement hangs on.
	Defects []*Defect
	// Tests says whether the requirement must have a test now: its own schedule when the entry
	// sets one, otherwise its area's.
	Tests Schedule
}

// NeedsTest reports whether the lint fails when no test covers the requirement.
func (r *Requirement) NeedsTest() bool { return r.Tests == Required && r.Testable != No }

// Defect is a gap or contradiction in a text, with the reading that the suite adopts.
type Defect struct {
	// ID is unique, such as "D-08".
	ID string
	// Proposal is the ID of the text that has the defect.
	Proposal string
	// Severity is "critical", "high", "med" or "low".
	Severity string
	// Problem says what is missing or contradictory.
	Problem string
	// Reading is what the suite takes the text to mean; empty when the defect does not touch
	// behaviour.
	Reading string
	// Tolerance says what other behaviour is let pass, and at what cost; empty when none is
	// needed.
	Tolerance string
	// Wording is what the text could say instead; empty where the suite has no proposal.
	Wording string
	// Cost is what that would cost known implementations; empty where nobody would have to change.
	Cost string
}

// Requirement returns the entry with exactly this ID, or nil.
func (c *Catalogue) Requirement(id string) *Requirement { return c.byID[id] }

// Area returns the area with exactly this ID, such as "MSC4243-SIG", or nil.
func (c *Catalogue) Area(id string) *Area { return c.byArea[id] }

// Defect returns the defect with exactly this ID, or nil.
func (c *Catalogue) Defect(id string) *Defect { return c.byDefect[id] }

// Requirements returns every entry, proposal by proposal, in reading order.
func (c *Catalogue) Requirements() []*Requirement {
	var all []*Requirement
	for _, p := range c.Proposals {
		for _, a := range p.Areas {
			all = append(all, a.Requirements...)
		}
	}
	return all
}

// Match returns the entries whose IDs match the pattern: an ID, a glob in the syntax of path.Match
// ("MSC4243-SIG-*"), or the ID of an area or proposal, which stands for all its entries. Case does
// not matter. The error is path.ErrBadPattern.
func (c *Catalogue) Match(pattern string) ([]*Requirement, error) {
	pattern = strings.ToUpper(pattern)
	var found []*Requirement
	for _, r := range c.Requirements() {
		ok, err := path.Match(pattern, r.ID)
		if err != nil {
			return nil, err
		}
		if ok || pattern == r.Area.ID || pattern == r.Area.Proposal.ID {
			found = append(found, r)
		}
	}
	return found, nil
}
