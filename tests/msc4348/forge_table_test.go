package msc4348

import (
	"slices"
	"strings"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// outcomeOf says what the forgeries of a requirement come to. The forgeries themselves, each with the one field in
// which it deviates, are the rows of fakeserver.ForgeriesIn.
func outcomeOf(row fakeserver.NamedForgery) blueprints.Expected {
	if row.Forgery.CoSignature.Also != fakeserver.Nobody {
		return blueprints.Accepted // D-55: signatures of other servers are ignored
	}
	switch row.Requirement {
	case "MSC4348-FORGE-01", // no server has signed
		"MSC4348-FORGE-02", // the account has not signed
		"MSC4348-FORGE-03", // the server is not accepted
		"MSC4348-FORGE-04", // another account has signed
		"MSC4348-FORGE-05", // the co-signature is not where it belongs
		"MSC4348-FORGE-06", // the user ID has a domain
		"MSC4348-FORGE-07", // the account key is none, or is spelt in another way
		"MSC4348-FORGE-09", // another server has signed in place of the cited one
		"MSC4348-FORGE-10", // the co-signature was stripped on the way
		"MSC4348-FORGE-11", // one of several signatures is missing
		"MSC4348-COSIG-05": // which server has co-signed cannot be told
		return ambiguous(row.Name)
	case "MSC4348-FORGE-08": // one key is account and server
		return blueprints.Recorded
	}
	return blueprints.Unlisted
}

// ambiguous are the rows in which readers of JSON and of base64 differ, and the proposal does not say which is right.
func ambiguous(name string) blueprints.Expected {
	switch name {
	case "co-signature-twice-bad-second", "co-signature-twice-bad-first", // duplicate keys
		"co-signature-in-the-url-safe-alphabet":
		return blueprints.Recorded
	}
	return blueprints.Refused
}

// ownTest are requirements whose forgeries need more around them than a room and a member: a second room. They have
// tests of their own in this package.
func ownTest(requirement string) bool { return requirement == "MSC4348-FORGE-12" }

// onPath is what a forgery comes to on one path, where that is not the same on all.
func onPath(row fakeserver.NamedForgery, path fakeserver.DeliveryPath) blueprints.Expected {
	if path.Carries == fakeserver.Invitations {
		// D-39: how somebody is invited whose server the room does not know is not said, and so neither who must have
		// signed the event before the invited server has completed it.
		return blueprints.Recorded
	}
	return outcomeOf(row)
}

// table has the forgeries of portable accounts. Those of participation, which rooms of MSC4348 have too, are tried in
// rooms of MSC4345.
func table(v matrix.RoomVersion) blueprints.ForgeryTable {
	rows := slices.DeleteFunc(fakeserver.ForgeriesIn(v), func(row fakeserver.NamedForgery) bool {
		return !strings.HasPrefix(row.Requirement, "MSC4348-")
	})
	return blueprints.ForgeryTable{Version: v, Rows: rows, Expects: outcomeOf, OwnTest: ownTest}
}

// MSC4348, "Proposal": the account key of the sender signs, and an accepted server co-signs. Every forgery of the table
// on every path by which an event reaches a homeserver.
func TestForge(t *testing.T) {
	v := conform.PortableVersion(t)
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
