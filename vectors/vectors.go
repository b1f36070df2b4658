// Package vectors is golden data for implementers: inputs on which homeservers, or the libraries that
// they are made of, disagree or have disagreed, each with the verdict or the output that the suite
// recommends, and with what named libraries make of it. It needs no server, and nothing else of the
// suite: the data are JSON files, described by schema.json, for any language.
//
// The files are made by vectors/internal/generate, from fixed seeds; a test makes them anew and compares
// every byte. What libraries make of them is measured by vectors/verify.
package vectors

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
)

//go:generate go run ./internal/generate .

//go:embed *.json
var files embed.FS

// Schema is the JSON Schema (draft 2020-12) of the files of vectors.
func Schema() ([]byte, error) { return files.ReadFile("schema.json") }

// Verdict is what is made of an input: "accept" or "reject".
type Verdict string

// The verdicts.
const (
	Accept Verdict = "accept"
	Reject Verdict = "reject"
)

// File is a file of vectors.
type File struct {
	// Name is the file's name without ".json".
	Name string `json:"name"`
	// Title is one line.
	Title string `json:"title"`
	// About says what is asked of an implementation, and where that comes from.
	About string `json:"about"`
	// Fields describe the members of Vector.Input and Vector.Output.
	Fields map[string]string `json:"fields"`
	// Vectors are the vectors, each with an ID of its own.
	Vectors []Vector `json:"vectors"`
}

// Vector is an input with what should be made of it.
type Vector struct {
	// ID is unique in its file, and stays.
	ID string `json:"id"`
	// Title says in a few words what the input is.
	Title string `json:"title"`
	// Probe is the ID of the probe with which a server under test is asked the same, or empty.
	Probe string `json:"probe,omitempty"`
	// Flags are words to select vectors by.
	Flags []string `json:"flags,omitempty"`
	// Input is what an implementation is given; File.Fields says what the members mean.
	Input map[string]string `json:"input"`
	// Expect is the verdict that the suite recommends.
	Expect Verdict `json:"expect"`
	// Output is what comes out of an accepted input, where something does.
	Output map[string]string `json:"output,omitempty"`
	// Note says what an attacker does with an input of this kind, and what comes of it when servers
	// disagree; or what else there is to know.
	Note string `json:"note,omitempty"`
	// Rules are the verdicts of verification rules by their IDs; see [Rules].
	Rules map[string]Verdict `json:"rules,omitempty"`
	// Recorded are the verdicts of libraries by their IDs; see [Implementations].
	Recorded map[string]Verdict `json:"recorded,omitempty"`
}

// Names are the names of the files, in reading order.
func Names() []string {
	return []string{"ed25519", "account-keys", "signatures", "canonical-json", "requests", "events", "participation"}
}

// Load reads a file by its name.
func Load(name string) (*File, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("no vectors are called %q: want one of %q", name, Names())
	}
	var f File
	if err := read(name, &f); err != nil {
		return nil, err
	}
	return &f, nil
}

// Bytes are the bytes of a file, as they are to be distributed.
func Bytes(name string) ([]byte, error) { return files.ReadFile(name + ".json") }

// Rule is a way to verify Ed25519 signatures that libraries are known to follow.
type Rule struct {
	// ID names the rule.
	ID string `json:"id"`
	// Sentence says what it accepts.
	Sentence string `json:"sentence"`
}

// Implementation is a library whose verdicts are recorded.
type Implementation struct {
	// ID is the implementation's name in Vector.Recorded.
	ID string `json:"id"`
	// Title is its own name, with the function that was called.
	Title string `json:"title"`
	// Versions are the versions that the verdicts were measured with.
	Versions []string `json:"versions"`
	// Rule is the ID of the rule that it follows on every vector of ed25519.json; empty when it was
	// not asked about those.
	Rule string `json:"rule,omitempty"`
	// Program is the program under vectors/verify that measures it, or, when that is empty, Note says how
	// it was measured.
	Program string `json:"program,omitempty"`
	// Note is what else is known: who uses it, what was not measured.
	Note string `json:"note,omitempty"`
	// Accepts are the vectors that it accepts, by file; of a file that is not mentioned it was not asked.
	// What it does not accept it rejects.
	Accepts map[string][]string `json:"accepts"`
}

// Rules are the verification rules, the recommended one first.
func Rules() ([]Rule, error) {
	var f struct{ Rules []Rule }
	err := read("rules", &f)
	return f.Rules, err
}

// Implementations are the libraries whose verdicts are recorded.
func Implementations() ([]Implementation, error) {
	var f struct{ Implementations []Implementation }
	err := read("implementations", &f)
	return f.Implementations, err
}

func read(name string, into any) error {
	text, err := files.ReadFile(name + ".json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s.json: %w", name, err)
	}
	return nil
}
