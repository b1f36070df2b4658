package verdict

import "fmt"

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
func (l Level) Valid() bool {
	switch l {
	case Must, Should, ShouldNot, May, Implied:
		return true
	}
	return false
}

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
func (p Profile) Valid() bool {
	switch p {
	case Strict, Interop, Fingerprint:
		return true
	}
	return false
}

// OfViolation returns the verdict on a server that breaks a requirement of this profile. A strict
// run raises INTEROP to FAIL; it never raises INFO, because a fingerprint has no right answer.
func (p Profile) OfViolation(strictRun bool) Verdict {
	switch {
	case p == Strict, p == Interop && strictRun:
		return Fail
	case p == Interop:
		return Warn
	case p == Fingerprint:
		return Info
	}
	return Error
}

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

// Valid reports whether t belongs to the closed set.
func (t Testable) Valid() bool {
	switch t {
	case Yes, Partial, No:
		return true
	}
	return false
}

// MarshalText refuses a value outside the closed set.
func (l Level) MarshalText() ([]byte, error) { return marshal(l, l.Valid(), "level", Levels()) }

// UnmarshalText refuses a value outside the closed set.
func (l *Level) UnmarshalText(text []byte) error {
	return unmarshal(l, Level(text), Level(text).Valid(), "level", Levels())
}

// MarshalText refuses a value outside the closed set.
func (p Profile) MarshalText() ([]byte, error) { return marshal(p, p.Valid(), "profile", Profiles()) }

// UnmarshalText refuses a value outside the closed set.
func (p *Profile) UnmarshalText(text []byte) error {
	return unmarshal(p, Profile(text), Profile(text).Valid(), "profile", Profiles())
}

func marshal[S ~string](value S, valid bool, kind string, all []S) ([]byte, error) {
	if !valid {
		return nil, fmt.Errorf("unknown %s %q: want one of %s", kind, string(value), list(all))
	}
	return []byte(value), nil
}

func unmarshal[S ~string](into *S, value S, valid bool, kind string, all []S) error {
	if !valid {
		return fmt.Errorf("unknown %s %q: want one of %s", kind, string(value), list(all))
	}
	*into = value
	return nil
}
