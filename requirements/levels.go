package requirements

import (
	"slices"
	"strings"
)

// Level is how strongly a text asks for something.
type Level string

const (
	// Must marks what the text states as a requirement, by keyword or as an unconditional rule.
	Must Level = "MUST"
	// Should marks what the text recommends.
	Should Level = "SHOULD"
	// ShouldNot marks what the text advises against.
	ShouldNot Level = "SHOULD NOT"
	// May marks what the text permits.
	May Level = "MAY"
	// Implied marks what follows from the base specification or from the text's own consistency.
	Implied Level = "IMPLIED"
)

// Levels returns every level, strongest first.
func Levels() []Level { return []Level{Must, Should, ShouldNot, May, Implied} }

// Valid reports whether l belongs to the closed set.
func (l Level) Valid() bool { return slices.Contains(Levels(), l) }

// Profile is what breaking a requirement costs.
type Profile string

const (
	// Strict requirements are unambiguous: breaking one is a FAIL.
	Strict Profile = "STRICT"
	// Interop requirements rest on an ambiguous text, or on a recommendation: departing from the
	// suite's reading is a WARN with the behaviour that was seen, and a FAIL in a strict run.
	Interop Profile = "INTEROP"
	// Fingerprint requirements judge nothing: whatever the server does is recorded as INFO.
	Fingerprint Profile = "INFO"
)

// Profiles returns every profile, the most demanding first.
func Profiles() []Profile { return []Profile{Strict, Interop, Fingerprint} }

// Valid reports whether p belongs to the closed set.
func (p Profile) Valid() bool { return slices.Contains(Profiles(), p) }

// Testable says how much of a requirement a black-box test can observe.
type Testable string

const (
	// Yes marks a requirement that a test can judge completely.
	Yes Testable = "yes"
	// Partial marks a requirement of which a test can judge only a part.
	Partial Testable = "partial"
	// No marks a requirement without any black-box observable.
	No Testable = "no"
)

// Testables returns every value, the most testable first.
func Testables() []Testable { return []Testable{Yes, Partial, No} }

// Valid reports whether t belongs to the closed set.
func (t Testable) Valid() bool { return slices.Contains(Testables(), t) }

// Schedule says whether the project owes tests for a requirement yet.
type Schedule string

const (
	// Required marks what must have a test now; the lint fails without one.
	Required Schedule = "required"
	// Planned marks what will have a test later.
	Planned Schedule = "planned"
)

// Schedules returns every value, the nearest first.
func Schedules() []Schedule { return []Schedule{Required, Planned} }

// Valid reports whether s belongs to the closed set.
func (s Schedule) Valid() bool { return slices.Contains(Schedules(), s) }

func list[S ~string](values []S) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}
