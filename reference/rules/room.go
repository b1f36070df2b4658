package rules

import "countersign/matrix"

// Room is what the rules need to know of a room beside its state: the create event and what it says.
// It is safe for concurrent use.
type Room struct {
	create   *matrix.Event
	verify   SignatureVerifier
	creators map[matrix.UserID]bool
	federate bool
}

// NewRoom reads an accepted create event. verify answers rule 5.2; in rooms with account keys it is
// VerifyAccountKey. It fails with a *Rejection when the create event breaks rule 1.
func NewRoom(create *matrix.Event, verify SignatureVerifier) (*Room, error) {
	if err := AuthoriseCreate(create); err != nil {
		return nil, err
	}
	r := &Room{create: create, verify: verify, creators: map[matrix.UserID]bool{create.Sender(): true}}
	for _, c := range create.Get("additional_creators").Array() {
		r.creators[matrix.UserID(c.String())] = true
	}
	r.federate = !(create.Get(`m\.federate`).Raw == "false")
	return r, nil
}

// Create is the create event.
func (r *Room) Create() *matrix.Event { return r.create }

// ID is the room ID: the create event's ID with another sigil.
func (r *Room) ID() string { return r.create.RoomID() }

// Version is the room version.
func (r *Room) Version() matrix.RoomVersion { return r.create.Version() }

// IsCreator reports whether user is a room creator, whose power is infinite: the create event's
// sender, or one of content.additional_creators.
func (r *Room) IsCreator(user matrix.UserID) bool { return r.creators[user] }

// AuthEvent is one of an event's auth_events.
type AuthEvent struct {
	*matrix.Event
	// Rejected is set when the event was rejected on receipt.
	Rejected bool
}

// AuthoriseByAuthEvents applies rules 2 and 3 to e and its auth_events, then the other rules with the
// auth_events as the state (server-server API, "Checks performed on receipt of a PDU", step 4). auth
// has one entry for every ID in e.AuthEvents, in any order. The error is a *Rejection.
//
// For a create event it applies rule 1; auth must be empty.
func (r *Room) AuthoriseByAuthEvents(e *matrix.Event, auth []AuthEvent) error {
	return nil
}

// Authorise applies rules 4 to 11 to e with a room state: the state before the event (step 5) or the
// current state (step 6). The error is a *Rejection.
func (r *Room) Authorise(e *matrix.Event, state State) error {
	return nil
}

// AuthoriseCreate applies rule 1 to a create event. The error is a *Rejection.
func AuthoriseCreate(e *matrix.Event) error { return nil }

// MayRedact reports whether redaction, an allowed m.room.redaction event, takes effect on target
// (room version 3, "Handling redactions"): its sender has the redact level in state, or both senders
// are of one domain. It does not look whether redaction names target.
func (r *Room) MayRedact(redaction, target *matrix.Event, state State) bool {
	return false
}

// Membership is a user's membership in state: "join", "invite", "knock", "ban", "leave", or "leave"
// when there is none.
func Membership(state State, user matrix.UserID) string { return "leave" }
