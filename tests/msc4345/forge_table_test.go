package msc4345

import (
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// outcome is what a conforming homeserver makes of a forgery.
type outcome int

const (
	// unlisted is no outcome: the table below says nothing of the requirement.
	unlisted outcome = iota
	// refused: the event has no effect. It may be dropped, rejected or soft-failed.
	refused
	// recorded: the proposal does not say; the behaviour is a fingerprint.
	recorded
)

// outcomeOf says what the forgeries of a requirement come to. The forgeries themselves, each with the one
// field in which it deviates, are the rows of fakeserver.ForgeriesIn.
func outcomeOf(requirement string) outcome {
	switch requirement {
	case "MSC4345-FORGE-01", // a request names nobody who authorises it
		"MSC4345-FORGE-02", // who is named has not signed
		"MSC4345-FORGE-03", // who is named has only requested
		"MSC4345-FORGE-04", // who is named was revoked
		"MSC4345-FORGE-05", // who is named is unknown in the room
		"MSC4345-FORGE-06", // a server authorises itself
		"MSC4345-FORGE-07", // the sender's or the authorising signature is not where it belongs
		"MSC4345-FORGE-08", // a request for somebody else's key
		"MSC4345-FORGE-09", // a key that is none, or is spelt in another way
		"MSC4345-FORGE-10", // a server accepts itself
		"MSC4345-FORGE-11", // who decides may not, or has not signed
		"MSC4345-FORGE-12", // the domain's key has signed
		"MSC4345-FORGE-13", // the sender is named by domain
		"MSC4345-FORGE-14", // an unknown server acts
		"MSC4345-FORGE-15", // a requested server acts
		"MSC4345-FORGE-16", // a revoked server acts
		"MSC4345-FORGE-17", // auth events without, or with another, participation
		"MSC4345-FORGE-18", // a revocation is undone
		"MSC4345-FORGE-19", // the creator's server is revoked
		"MSC4345-FORGE-20", // who authorises is changed after signing
		"MSC4345-FORGE-21", // a participation of another room
		"MSC4345-FORGE-22", // something else in place of a request
		"MSC4345-FORGE-24": // a decision whose signature is bad
		return refused
	}
	return unlisted
}

// ownTest are requirements whose forgeries need more around them than a room and a member: a homeserver
// that is asked to sign a template. They have tests of their own in this package.
func ownTest(requirement string) bool { return requirement == "MSC4345-FORGE-23" }

// onPath is what a forgery comes to on one path, where that is not the same on all.
func onPath(row fakeserver.NamedForgery, path fakeserver.DeliveryPath) outcome {
	told := path.Needs == fakeserver.Join || path.Asks == fakeserver.OpStateIDs
	switch {
	case row.Requirement == "MSC4345-FORGE-17" && row.Forgery.Cite == fakeserver.StaleParticipation && told:
		// It may have been sent before the revocation: a state that a server is told does not say.
		return recorded
	case path.Carries == fakeserver.Invitations:
		// D-39: how somebody is invited whose server the room does not know is not said, and so neither
		// who must have signed the event before the invited server has completed it.
		return recorded
	}
	return outcomeOf(row.Requirement)
}

// The m.server.participation authorization rule, and "Participation semantics" before it. Every forgery of
// the table on every path by which an event reaches a homeserver.
func TestForge(t *testing.T) {
	v := conform.ServerKeyVersion(t)
	controls := blueprints.NewControls()
	for _, row := range tried(v) {
		conform.Deal(t, row.Name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, row.Requirement)
			forging := blueprints.NewForging(t, v, row, controls)
			for _, path := range fakeserver.DeliveryPathsIn(v) {
				if path.Refuses(row) != "" {
					continue
				}
				t.Run(path.Name, func(t *testing.T) {
					conform.Covers(t, row.Requirement)
					judge(t, row, onPath(row, path), forging.Try(t, path))
				})
			}
		})
	}
}

// tried is the forgeries of the table that have no tests of their own; under the race detector the first
// of each requirement. TestForge_Matrix sees to it that none is forgotten.
func tried(v matrix.RoomVersion) (rows []fakeserver.NamedForgery) {
	seen := map[string]bool{}
	for _, row := range fakeserver.ForgeriesIn(v) {
		if outcomeOf(row.Requirement) == unlisted || conform.UnderRaceDetector && seen[row.Requirement] {
			continue
		}
		seen[row.Requirement] = true
		rows = append(rows, row)
	}
	return rows
}

func judge(t *testing.T, row fakeserver.NamedForgery, want outcome, got blueprints.Outcome) {
	t.Helper()
	conform.Observed(t, "%s", got)
	switch {
	case want == refused && got.Effective():
		conform.Violation(t, row.Requirement, "the event has no effect", got.String())
	case want == recorded:
		conform.Info(t, row.Requirement, row.Name+": "+got.String())
	}
}

// The whole matrix of forgeries and delivery paths, printed.
func TestForge_Matrix(t *testing.T) {
	v := matrix.RoomVersionMSC4345()
	for _, row := range fakeserver.ForgeriesIn(v) {
		if (outcomeOf(row.Requirement) == unlisted) != ownTest(row.Requirement) {
			t.Errorf("what a homeserver makes of the forgery %q of %s: list it in outcomeOf, or in ownTest", row.Name, row.Requirement)
		}
	}
	t.Log("\n" + fakeserver.ForgeryMatrix(v, fakeserver.ForgeriesIn(v), ownTest))
}
