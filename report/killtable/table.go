// Package killtable is the kill table: the proof that the tests test. It says which deliberate defects
// of the reference homeserver (mutants) were noticed by which tests, which permitted alternatives
// (variants) were wrongly failed, which servers that do nothing right were wrongly passed, and which
// tests have never noticed anything.
package killtable

import (
	"cmp"
	"slices"
	"time"

	"countersign/report"
)

// SchemaVersion is the version of the table's JSON form.
const SchemaVersion = 1

// Table is a kill table, or one shard of it.
type Table struct {
	SchemaVersion int `json:"schema_version"`
	// Suite is the suite whose tests were tried, with its commit.
	Suite report.Suite `json:"suite"`
	// Whole says that every test was run against the mutants that it could notice; otherwise only
	// those that cover a mutant's requirement were.
	Whole bool `json:"whole"`
	// Shard is the part of the mutants that was tried; nil for all of them.
	Shard *report.Shard `json:"shard,omitempty"`
	// Machine is where, Started when, and DurationSeconds how long.
	Machine         report.Machine `json:"machine"`
	Started         time.Time      `json:"started"`
	DurationSeconds float64        `json:"duration_seconds"`
	// Summary counts what follows.
	Summary Summary `json:"summary"`
	// Problems are what went wrong with the trial itself, such as a test that fails the honest
	// reference; one sentence each.
	Problems []string  `json:"problems"`
	Mutants  []Mutant  `json:"mutants"`
	Variants []Variant `json:"variants"`
	Dead     []Dead    `json:"dead_servers"`
	// Tests are the test functions, by suite and name.
	Tests []Test `json:"tests"`
}

// Summary counts a table.
type Summary struct {
	Mutants int `json:"mutants"`
	// Killed mutants were failed by a test, KilledByOwnRequirement by a test that covers the
	// requirement that the mutant breaks, and that names it in its verdict.
	Killed                 int `json:"killed"`
	KilledByOwnRequirement int `json:"killed_by_own_requirement"`
	Variants               int `json:"variants"`
	// VariantsFailed were failed by a test although they are permitted.
	VariantsFailed int `json:"variants_failed"`
	DeadServers    int `json:"dead_servers"`
	// DeadServersWronglyJudged passed a test that they cannot have passed; or, if they live, failed one.
	DeadServersWronglyJudged int `json:"dead_servers_wrongly_judged"`
	Tests                    int `json:"tests"`
	// IdleTests have killed nothing and are not exempt.
	IdleTests   int `json:"idle_tests"`
	ExemptTests int `json:"exempt_tests"`
}

// Mutant is a deliberate defect and what came of it.
type Mutant struct {
	Name        string `json:"name"`
	Requirement string `json:"requirement"`
	Wrong       string `json:"wrong"`
	// Reached counts the tests in which the defect could show, and Ran those that were tried.
	Reached int `json:"tests_reached"`
	Ran     int `json:"tests_run"`
	// Killers are the tests that failed the mutant, those of its own requirement first.
	Killers []Kill `json:"killers"`
	// Undecided are tests of its own requirement that ended without a verdict on it, such as by a
	// control that failed, with what they say.
	Undecided []Kill `json:"undecided,omitempty"`
	// Seconds is how long the tests ran.
	Seconds float64 `json:"seconds"`
}

// Killed reports whether any test has failed the mutant.
func (m *Mutant) Killed() bool { return len(m.Killers) > 0 }

// KilledByOwn reports whether a test has failed the mutant for the requirement that it breaks.
func (m *Mutant) KilledByOwn() bool {
	return slices.ContainsFunc(m.Killers, func(k Kill) bool { return k.Own })
}

// Kill is a test that failed a mutant.
type Kill struct {
	// Test is the test function, as in "msc4243/TestInvite".
	Test string `json:"test"`
	// Own says that a verdict FAIL names the requirement that the mutant breaks.
	Own bool `json:"own"`
	// Requirements are those whose verdict is FAIL.
	Requirements []string `json:"requirements"`
	// Observed is what the test saw, for the mutant's own requirement if it can be.
	Observed string `json:"observed"`
}

// Variant is a permitted alternative and what came of it.
type Variant struct {
	Name      string `json:"name"`
	Permitted string `json:"permitted"`
	Differs   string `json:"differs"`
	Reached   int    `json:"tests_reached"`
	Ran       int    `json:"tests_run"`
	// Failed are tests whose verdict was worse than a warning, with what they say.
	Failed  []Kill  `json:"failed"`
	Seconds float64 `json:"seconds"`
}

// Dead is a server that is wrong as a whole, and how it was judged.
type Dead struct {
	Name string `json:"name"`
	Does string `json:"does"`
	// Lives says that the server conforms all the same.
	Lives bool `json:"lives"`
	// Verdicts counts the verdicts of the tests that ran.
	Verdicts report.Counts `json:"verdicts"`
	// Refused is why the suite did not begin at all, or empty.
	Refused string `json:"refused,omitempty"`
	// Wrong are tests that passed a server which cannot have earned it; or, when it lives, tests
	// that did not pass it.
	Wrong   []string `json:"wrongly_judged"`
	Seconds float64  `json:"seconds"`
}

// Test is a test function and what it has noticed.
type Test struct {
	// ID is the suite and the name of the function.
	ID string `json:"id"`
	// Covers are the requirements that it covers.
	Covers []string `json:"covers"`
	// Kills are the mutants that it has failed.
	Kills []string `json:"kills"`
	// Reaches counts the mutants that could show in it, and Tried those that it was run against.
	Reaches int `json:"mutants_reached"`
	Tried   int `json:"mutants_tried"`
	// Exempt is why the test need not kill anything, or empty.
	Exempt string `json:"exempt,omitempty"`
}

// Idle reports whether the test has noticed nothing, without being exempt from it.
func (t *Test) Idle() bool { return len(t.Kills) == 0 && t.Exempt == "" }

// Close sorts the table and counts it.
func (t *Table) Close() {
	t.SchemaVersion = SchemaVersion
	slices.SortFunc(t.Mutants, func(a, b Mutant) int {
		return cmp.Or(cmp.Compare(a.Requirement, b.Requirement), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(t.Variants, func(a, b Variant) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Dead, func(a, b Dead) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Tests, func(a, b Test) int { return cmp.Compare(a.ID, b.ID) })
	slices.Sort(t.Problems)
	t.Problems = append([]string{}, slices.Compact(t.Problems)...)
	t.Summary = Summary{Mutants: len(t.Mutants), Variants: len(t.Variants), DeadServers: len(t.Dead), Tests: len(t.Tests)}
	s := &t.Summary
	for i := range t.Mutants {
		m := &t.Mutants[i]
		slices.SortFunc(m.Killers, func(a, b Kill) int { return cmp.Or(byOwn(a, b), cmp.Compare(a.Test, b.Test)) })
		s.Killed += count(m.Killed())
		s.KilledByOwnRequirement += count(m.KilledByOwn())
	}
	for _, v := range t.Variants {
		s.VariantsFailed += count(len(v.Failed) > 0)
	}
	for _, d := range t.Dead {
		s.DeadServersWronglyJudged += count(len(d.Wrong) > 0)
	}
	for i := range t.Tests {
		slices.Sort(t.Tests[i].Kills)
		s.IdleTests += count(t.Tests[i].Idle())
		s.ExemptTests += count(t.Tests[i].Exempt != "")
	}
}

func byOwn(a, b Kill) int {
	switch {
	case a.Own == b.Own:
		return 0
	case a.Own:
		return -1
	}
	return 1
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// Proves reports whether the table shows what it is for: every mutant was killed for the right reason,
// no variant was failed, no dead server was wrongly judged, and, when the whole suite was tried and not
// a shard of the mutants, no test is idle.
func (t *Table) Proves() bool {
	s := t.Summary
	return s.KilledByOwnRequirement == s.Mutants && s.VariantsFailed == 0 && s.DeadServersWronglyJudged == 0 &&
		len(t.Problems) == 0 && (s.IdleTests == 0 || !t.Whole || t.Shard != nil)
}
