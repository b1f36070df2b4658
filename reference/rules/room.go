package rules

import (
	"sync/atomic"

	"countersign/matrix"
)

// Room is what the rules need to know of a room beside its state: the create event and what it says.
// It is safe for concurrent use.
type Room struct {
	create   *matrix.Event
	verify   SignatureVerifier
	creators map[matrix.UserID]bool
	federate bool
	// levels is the last power levels event that was read. State is usually asked about many events in
	// a row before its power levels change.
	levels *atomic.Pointer[PowerLevels]
}

// NewRoom reads an accepted create event. verify answers rule 5.2 and must not be nil; in rooms with
// account keys it is VerifyAccountKey. It fails with a *Rejection when the create event breaks rule 1.
func NewRoom(create *matrix.Event, verify SignatureVerifier) (*Room, error) {
	if err := AuthoriseCreate(create); err != nil {
		return nil, err
	}
	r := &Room{
		create:   create,
		verify:   verify,
		creators: map[matrix.UserID]bool{create.Sender(): true},
		federate: create.Get(`m\.federate`).Raw != "false",
		levels:   new(atomic.Pointer[PowerLevels]),
	}
	for _, creator := range create.Get("additional_creators").Array() {
		r.creators[matrix.UserID(creator.Str)] = true
	}
	return r, nil
}

// WithVerifier returns the same room with another answer to rule 5.2.
func (r *Room) WithVerifier(verify SignatureVerifier) *Room {
	c := *r
	c.verify = verify
	return &c
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

// Authorise applies rules 4 to 11 to e with a room state: the state before the event (server-server
// API, "Checks performed on receipt of a PDU", step 5) or the current state (step 6). A create event
// needs no state; rule 1 decides about it. The error is a *Rejection.
func (r *Room) Authorise(e *matrix.Event, state State) error {
	if e.IsCreate() {
		return AuthoriseCreate(e)
	}
	if err := r.checkFederation(e); err != nil {
		return err
	}
	switch e.Type() {
	case "m.room.member":
		return r.authoriseMember(e, state)
	case "m.room.third_party_invite":
		return r.authoriseThirdPartyInvite(e, state)
	}
	return r.authoriseOther(e, state)
}

// checkFederation is rule 4. It compares domains that nobody has proved: D-16, the base rule as it is
// written.
func (r *Room) checkFederation(e *matrix.Event) error {
	if !r.federate && e.Sender().Domain() != r.create.Sender().Domain() {
		return reject("4", "the room does not federate, and the sender is not at %s", r.create.Sender().Domain())
	}
	return nil
}

// authoriseOther is rules 6 and 8 to 11.
func (r *Room) authoriseOther(e *matrix.Event, state State) error {
	if err := checkJoined(e, state); err != nil {
		return err
	}
	stateKey, isState := e.StateKey()
	levels := r.PowerLevels(state)
	power, required := levels.User(e.Sender()), levels.Required(e.Type(), isState)
	if required > power {
		return reject("8", "%s takes power level %s, the sender has %s", e.Type(), required, power)
	}
	if isState && stateKey != "" && stateKey[0] == '@' && stateKey != string(e.Sender()) {
		return reject("9", "the state key is the user ID of someone else")
	}
	if e.Type() == "m.room.power_levels" {
		return r.authorisePowerLevels(e, levels)
	}
	return nil // rule 11
}

// checkJoined is rule 6.
func checkJoined(e *matrix.Event, state State) error {
	if m := Membership(state, e.Sender()); m != "join" {
		return reject("6", "the sender's membership is %q, not join", m)
	}
	return nil
}

// Membership is a user's current membership in a state: "join", "invite", "knock", "ban" or "leave",
// which stands also for a user without a membership event. It is what the event says; other words can
// only come from events that were never authorised.
func Membership(state State, user matrix.UserID) string {
	if e := state.Event(matrix.StateTuple{Type: "m.room.member", StateKey: string(user)}); e != nil {
		if m := e.Membership(); m != "" {
			return m
		}
	}
	return "leave"
}
