package report

import (
	"maps"
	"slices"
	"strings"
)

// toldOtherwise are variables of a run that its other fields, or the flags of the line that repeats it,
// tell as well.
var toldOtherwise = [...]string{
	"COUNTERSIGN_TARGET", "COMPLEMENT_BASE_IMAGE", "COUNTERSIGN_STRICT", "COUNTERSIGN_ARTIFACTS", "COUNTERSIGN_KEEP",
}

// CommandLine is the command line of the run, with the variables that configured it, as a shell takes it.
func (r *Run) CommandLine() string {
	return shell(r.Configuration, append([]string{"countersign"}, r.Command...))
}

// Repeat is a command line, as a shell takes it, that runs the tests of one requirement again, against the
// same target and configured in the same way.
func (r *Run) Repeat(id string) string {
	configuration := maps.Clone(r.Configuration)
	for _, name := range toldOtherwise {
		delete(configuration, name)
	}
	words := []string{"countersign", "run", "--requirement", id}
	if r.Target != "embedded" {
		words = append(words, "--target", r.Target)
	}
	if r.Strict {
		words = append(words, "--strict")
	}
	return shell(configuration, words)
}

// shell is a command line with variables before it.
func shell(variables map[string]string, words []string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		parts = append(parts, name+"="+quote(variables[name]))
	}
	for _, word := range words {
		parts = append(parts, quote(word))
	}
	return strings.Join(parts, " ")
}

// quote is a word as a shell takes it.
func quote(word string) string {
	if word == "" || strings.ContainsAny(word, " \t\n\"'*?[]{}$&|;<>()\\!#~`") {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return word
}
