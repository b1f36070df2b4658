package msc4345

import (
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// outcomeOf says what the forgeries of a requirement come to. The forgeries themselves, each with the one
// field in which it deviates, are the rows of fakeserver.ForgeriesIn.
func outcomeOf(row fakeserver.NamedForgery) blueprints.Expected {
	switch row.Requirement {
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
		return blueprints.Refused
	}
	return blueprints.Unlisted
}

// ownTest are requirements whose forgeries need more around them than a room and a member: a homeserver
// that is asked to sign a template. They have tests of their own in this package.
func ownTest(requirement string) bool { return requirement == "MSC4345-FORGE-23" }

// onPath is what a forgery comes to on one path, where that is not the same on all.
func onPath(row fakeserver.NamedForgery, path fakeserver.DeliveryPath) blueprints.Expected {
	told := path.Needs == fakeserver.Join || path.Asks == fakeserver.OpStateIDs
	switch {
	case row.Requirement == "MSC4345-FORGE-17" && row.Forgery.Cite == fakeserver.StaleParticipation && told:
		// It may have been sent before the revocation: a state that a server is told does not say.
		return blueprints.Recorded
	case path.Carries == fakeserver.Leaves && row.Forgery.Cite == fakeserver.RequestOnly:
		// D-40: whether a server that has only requested may reject an invitation, or take a knock back, is not said.
		return blueprints.Recorded
	case path.Carries == fakeserver.Invitations:
		// D-39: how somebody is invited whose server the room does not know is not said, and so neither
		// who must have signed the event before the invited server has completed it.
		return blueprints.Recorded
	}
	return outcomeOf(row)
}

func table(v matrix.RoomVersion) blueprints.ForgeryTable {
	return blueprints.ForgeryTable{Version: v, Rows: fakeserver.ForgeriesIn(v), Expects: outcomeOf, OwnTest: ownTest}
}

// The m.server.participation authorization rule, and "Participation semantics" before it. Every forgery of
// the table on every path by which an event reaches a homeserver.
func TestForge(t *testing.T) {
	v := conform.ServerKeyVersion(t)
	forgeries, controls := table(v), blueprints.NewControls()
	forgeries.Print(t)
	for _, row := range forgeries.Tried() {
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
					onPath(row, path).Judge(t, row, forging.Try(t, path))
				})
			}
		})
	}
}
