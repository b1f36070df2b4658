package msc4243

import (
	"slices"
	"strings"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// outcomeOf says what the forgeries of a requirement come to. The forgeries themselves, each with the
// one field in which it deviates, are the rows of fakeserver.Forgeries.
func outcomeOf(row fakeserver.NamedForgery) blueprints.Expected {
	switch row.Requirement {
	case "MSC4243-FORGE-01", // no signature
		"MSC4243-FORGE-02", // only the server's key has signed
		"MSC4243-FORGE-03", // the server's key has signed in the name of the account key
		"MSC4243-FORGE-04", // another user's key has signed
		"MSC4243-FORGE-05", // the signature is filed under another user
		"MSC4243-FORGE-06", // the entity is the full user ID
		"MSC4243-FORGE-07", // the entity is the domain or the account name
		"MSC4243-FORGE-08", // the entity is in the standard alphabet
		"MSC4243-FORGE-09", // the entity is padded
		"MSC4243-FORGE-10", // the entity has trailing bits
		"MSC4243-FORGE-11", // the key ID is not ed25519:1
		"MSC4243-FORGE-12", // the algorithm is not ed25519
		"MSC4243-FORGE-14", // the signature cannot be decoded
		"MSC4243-FORGE-15", // the signature is not 64 bytes long
		"MSC4243-FORGE-18", // a bit of the signature is wrong
		"MSC4243-FORGE-19", // a protected property was changed after signing
		"MSC4243-FORGE-20", // content and hash were changed after signing
		"MSC4243-FORGE-21", // the signature covers the event unredacted
		"MSC4243-FORGE-22", // the signature covers other bytes
		"MSC4243-FORGE-28", // the localpart has trailing bits
		"MSC4243-FORGE-29", // the localpart is padded
		"MSC4243-FORGE-30", // the localpart is in the standard alphabet
		"MSC4243-FORGE-31", // the localpart is not 32 bytes
		"MSC4243-FORGE-32", // the localpart is a name
		"MSC4243-FORGE-33", // the localpart is no point of the curve
		"MSC4243-FORGE-34", // the account key has small order
		"MSC4243-FORGE-35", // the account key is not encoded canonically
		"MSC4243-FORGE-36", // S is not below the group order
		"MSC4243-FORGE-38", // the localpart holds characters that decoders skip
		"MSC4243-FORGE-39", // the localpart is in hexadecimal or base58
		"MSC4243-FORGE-40", // the localpart is in lower case
		"MSC4243-FORGE-41", // the user ID has no proper domain
		"MSC4243-FORGE-42", // a restricted join lacks the authoriser's signature
		"MSC4243-FORGE-43", // the authoriser's server has signed in their place
		"MSC4243-FORGE-44", // another user of that server has signed
		"MSC4243-FORGE-45", // the authoriser is not in the room
		"MSC4243-FORGE-46", // the authoriser is given by account name
		"MSC4243-FORGE-47", // a public join names an authoriser who has not signed
		"MSC4243-FORGE-50", // a third-party invite that nobody has signed
		"MSC4243-FORGE-56", // well signed, but beyond the sender's power
		"MSC4243-FORGE-57", // somebody else's place in the state
		"MSC4243-RJ-02",    // the co-signature is filed wrongly
		"MSC4243-SIG-13":   // the event is not canonical JSON
		return blueprints.Refused
	case "MSC4243-FORGE-13", // a bogus signature beside the good one
		"MSC4243-FORGE-48", // an invite that the invitee has not signed
		"MSC4243-FORGE-49", // an invite with a bad signature of the invitee
		"MSC4243-FORGE-55", // a spoofed sender_account
		"MSC4243-KEY-07",   // the event is from long ago or from far ahead
		"MSC4243-SIG-03",   // signatures of others
		"MSC4243-SIG-05":   // the redacted copy
		return blueprints.Accepted
	case "MSC4243-SIG-04": // content was changed after signing, the hash was not
		return blueprints.Emptied
	case "MSC4243-FORGE-16", // spellings of the signature that decoders disagree on
		"MSC4243-FORGE-17", // the signature is padded
		"MSC4243-FORGE-37", // Ed25519 rules differ
		"MSC4243-FORGE-59", // duplicate keys
		"MSC4243-ID-05":    // user IDs of 255 and 256 bytes
		return blueprints.Recorded
	}
	return blueprints.Unlisted
}

// ownTest are requirements whose forgeries need more around them than a room and a member: a second
// server, a second room, a handshake. They have tests of their own in this package.
func ownTest(requirement string) bool {
	return slices.Contains([]string{
		"MSC4243-FORGE-23", "MSC4243-FORGE-24", "MSC4243-FORGE-25", "MSC4243-FORGE-26", "MSC4243-FORGE-27", "MSC4243-FORGE-54", "MSC4243-FORGE-58",
	}, requirement)
}

// onPath is what a forgery comes to on one path, where that is not the same on all.
func onPath(row fakeserver.NamedForgery, path fakeserver.DeliveryPath) blueprints.Expected {
	handshake := path.Carries != fakeserver.Anything
	if handshake && (row.Requirement == "MSC4243-SIG-04" || row.Requirement == "MSC4243-SIG-05") {
		// The server-server API does not say whether a handshake takes an event without its content.
		return blueprints.Recorded
	}
	return outcomeOf(row)
}

// ofPath is the requirement that a path stands for, beside that of the forgery.
func ofPath(path fakeserver.DeliveryPath) []string {
	switch path.Asks {
	case fakeserver.OpBackfill:
		return []string{"MSC4243-FORGE-52"}
	case fakeserver.OpMissingEvents, fakeserver.OpEvent, fakeserver.OpStateIDs:
		return []string{"MSC4243-FORGE-53"}
	}
	if path.Needs == fakeserver.Join {
		return []string{"MSC4243-FORGE-51"}
	}
	return nil
}

// ambiguous are requirements about events of which the text does not say clearly that they are bad (D-01,
// D-08, D-10). A homeserver that accepts one is warned for that; that it does so on a path, as on every
// other, does not mean that it trusts the path.
func ambiguous(requirement string) bool {
	return slices.Contains([]string{
		"MSC4243-FORGE-28", "MSC4243-FORGE-30", "MSC4243-FORGE-34", "MSC4243-FORGE-35", "MSC4243-FORGE-38",
	}, requirement)
}

func table(v matrix.RoomVersion) blueprints.ForgeryTable {
	rows := slices.DeleteFunc(fakeserver.Forgeries(), func(row fakeserver.NamedForgery) bool {
		return strings.HasPrefix(row.Requirement, "RV12") // a forgery of rooms without account keys
	})
	return blueprints.ForgeryTable{Version: v, Rows: rows, Expects: outcomeOf, OwnTest: ownTest}
}

// MSC4243, "Proposal": the private key of the sender's account key signs the event, filed under the
// key's URL-safe text and the key ID "ed25519:1". Every forgery of the table on every path by which an
// event reaches a homeserver.
func TestForge(t *testing.T) {
	v := conform.AccountKeyVersion(t)
	forgeries, controls := table(v), blueprints.NewControls()
	forgeries.Print(t)
	for _, row := range forgeries.Tried() {
		conform.Deal(t, row.Name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, row.Requirement, "MSC4243-FORGE-51", "MSC4243-FORGE-52", "MSC4243-FORGE-53")
			forging := blueprints.NewForging(t, v, row, controls)
			for _, path := range fakeserver.DeliveryPaths {
				if path.Refuses(row) != "" {
					continue
				}
				t.Run(path.Name, func(t *testing.T) {
					conform.Covers(t, append(ofPath(path), row.Requirement)...)
					var costs []string
					if !ambiguous(row.Requirement) {
						costs = ofPath(path)
					}
					onPath(row, path).Judge(t, row, forging.Try(t, path), costs...)
				})
			}
		})
	}
}
