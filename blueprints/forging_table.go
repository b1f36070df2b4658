package blueprints

import (
	"testing"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// Expected is what a conforming homeserver makes of a forgery.
type Expected int

const (
	// Unlisted is no outcome: a suite's table says nothing of the forgery.
	Unlisted Expected = iota
	// Refused: the event has no effect. It may be dropped, rejected or soft-failed.
	Refused
	// Accepted: the event counts as it is; what is odd about it is not for a homeserver to judge.
	Accepted
	// Emptied: the event counts, without the content that its hash no longer covers.
	Emptied
	// Recorded: the proposal does not say; the behaviour is a fingerprint.
	Recorded
)

// ForgeryTable is what a suite tries of the matrix of forgeries and delivery paths.
type ForgeryTable struct {
	// Version is that of the rooms in which the forgeries are sent.
	Version matrix.RoomVersion
	// Rows are the forgeries.
	Rows []fakeserver.NamedForgery
	// Expects says what a forgery comes to on most paths.
	Expects func(fakeserver.NamedForgery) Expected
	// OwnTest reports whether the forgeries of a requirement have tests of their own, as they need more around them
	// than a room and a member.
	OwnTest func(requirement string) bool
}

// Tried is the forgeries that the table lists; under the race detector, which looks for something else, the first
// of each requirement.
func (f ForgeryTable) Tried() (rows []fakeserver.NamedForgery) {
	seen := map[string]bool{}
	for _, row := range f.Rows {
		if f.Expects(row) == Unlisted || conform.UnderRaceDetector && seen[row.Requirement] {
			continue
		}
		seen[row.Requirement] = true
		rows = append(rows, row)
	}
	return rows
}

// Print logs the whole matrix: a cell is a subtest, or a test of its own, or there is a reason why it cannot be. A
// forgery that is neither listed nor has a test of its own fails the test, so that none is forgotten.
func (f ForgeryTable) Print(t testing.TB) {
	t.Helper()
	for _, row := range f.Rows {
		if (f.Expects(row) == Unlisted) != f.OwnTest(row.Requirement) {
			t.Errorf("what a homeserver makes of the forgery %q of %s: list it in the suite's table, or name its own test", row.Name, row.Requirement)
		}
	}
	t.Log("\n" + fakeserver.ForgeryMatrix(f.Version, f.Rows, f.OwnTest))
}

// Judge compares what has become of a forgery with what was expected. An effect that it must not have costs its own
// requirement, and those that the path stands for.
func (e Expected) Judge(t testing.TB, row fakeserver.NamedForgery, got Outcome, path ...string) {
	t.Helper()
	conform.Observed(t, "%s", got)
	switch {
	case e == Refused && got.Effective():
		for _, id := range append([]string{row.Requirement}, path...) {
			conform.Violation(t, id, "the forged event has no effect", got.String())
		}
	case e == Accepted && !got.Effective():
		conform.Violation(t, row.Requirement, "the event is accepted", got.String())
	case e == Emptied && !(got.Effective() && got.Emptied):
		conform.Violation(t, row.Requirement, "the event is accepted, and shown without its content", got.String())
	case e == Recorded:
		conform.Info(t, row.Requirement, row.Name+": "+got.String())
	}
}
