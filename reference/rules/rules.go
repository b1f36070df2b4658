// Package rules decides whether an event is allowed: the authorization rules of room version 12, with
// the change that MSC4243 makes to restricted joins, the participation of servers that MSC4345 adds, and
// the co-signing servers of MSC4348.
//
// Everything here is a pure function of the event, the create event and a state. Nothing is fetched,
// stored or cached beyond the parsed form of power levels. Rule numbers are those of the room version
// 12 page, "Authorisation rules".
package rules

import (
	"fmt"

	"countersign/matrix"
)

// State is the room state that an event is checked against.
type State interface {
	// Event is the state event at a place, or nil when the place is empty.
	Event(place matrix.StateTuple) *matrix.Event
}

// StateMap is a State held in a map. The create event may be absent: rules take it from the Room.
type StateMap map[matrix.StateTuple]*matrix.Event

// Event implements State.
func (m StateMap) Event(place matrix.StateTuple) *matrix.Event { return m[place] }

// StateFunc is a State computed by a function.
type StateFunc func(place matrix.StateTuple) *matrix.Event

// Event implements State.
func (f StateFunc) Event(place matrix.StateTuple) *matrix.Event { return f(place) }

// Rejection is the error of an event that the rules do not allow.
type Rejection struct {
	// Rule is the number of the rule that decided, such as "5.3.3"; of the rules of MSC4345 such as
	// "MSC4345 1.3.1", and "MSC4345 D-32d" or "MSC4348 D-54" where a reading of the proposal decided.
	Rule string
	// Reason says what the event lacks or breaks.
	Reason string
}

// Error is "rule 5.3.3: the sender is banned".
func (r *Rejection) Error() string { return "rule " + r.Rule + ": " + r.Reason }

func reject(rule, format string, args ...any) error {
	return &Rejection{Rule: rule, Reason: fmt.Sprintf(format, args...)}
}

// SignatureVerifier reports whether an event is validly signed on behalf of a user: nil when it is.
// Rule 5.2 asks it about the user whom join_authorised_via_users_server names; the answer does not
// depend on room state.
type SignatureVerifier func(e *matrix.Event, user matrix.UserID) error

// VerifyAccountKey is the SignatureVerifier of rooms with account keys: the key in the user ID's
// localpart must have signed (MSC4243, "Impacts on restricted rooms").
func VerifyAccountKey(e *matrix.Event, user matrix.UserID) error { return e.VerifyAccountKey(user) }

// VerifyServerKey is the SignatureVerifier of rooms of MSC4345: the server key in the user ID must have
// signed.
func VerifyServerKey(e *matrix.Event, user matrix.UserID) error {
	return e.VerifyServerKey(user.Domain())
}

// AlreadyVerified is the SignatureVerifier for events that have passed rule 5.2 before, such as the
// events that state resolution authorises again.
func AlreadyVerified(*matrix.Event, matrix.UserID) error { return nil }
