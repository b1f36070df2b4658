package rules

import (
	"sync/atomic"

	"countersign/matrix"
	"countersign/reference/defect"
)

// Room is what the rules need to know of a room beside its state: the create event and what it says.
// It is safe for concurrent use.
type Room struct {
	create *matrix.Event
	verify SignatureVerifier
	// verifyServer answers whether a server key has signed an event (MSC4345, rule 1.1.1.4).
	verifyServer func(e *matrix.Event, server matrix.ServerName) error
	// find finds the events that others cite, for MSC4348.
	find     matrix.EventFinder
	creators map[matrix.UserID]bool
	federate bool
	// levels is the last power levels event that was read. State is usually asked about many events in
	// a row before its power levels change.
	levels *atomic.Pointer[PowerLevels]
	// defects are rules that are broken on purpose.
	defects defect.Set
}

// NewRoom reads an accepted create event. verify answers rule 5.2 and must not be nil; in rooms with
// account keys it is VerifyAccountKey, in those of MSC4345 VerifyServerKey. A room of MSC4348 needs
// WithEvents too. It fails with a *Rejection when the create event breaks rule 1.
func NewRoom(create *matrix.Event, verify SignatureVerifier) (*Room, error) {
	if err := AuthoriseCreate(create); err != nil {
		return nil, err
	}
	r := &Room{
		create:       create,
		verify:       verify,
		verifyServer: (*matrix.Event).VerifyServerKey,
		find:         func(string) *matrix.Event { return nil },
		creators:     map[matrix.UserID]bool{create.Sender(): true},
		federate:     create.Get(`m\.federate`).Raw != "false",
		levels:       new(atomic.Pointer[PowerLevels]),
	}
	for _, creator := range create.Get("additional_creators").Array() {
		r.creators[matrix.UserID(creator.Str)] = true
	}
	return r, nil
}

// WithEvents returns the same room with a source of the events that events cite in auth_events, which
// tell in rooms of MSC4348 who has co-signed. find must know the auth events of every event that is
// asked about and of every membership in the states, and be safe for concurrent use.
func (r *Room) WithEvents(find matrix.EventFinder) *Room {
	c := *r
	c.find = find
	return &c
}

// WithDefects returns the same room with rules that are broken on purpose.
func (r *Room) WithDefects(defects defect.Set) *Room {
	c := *r
	c.defects = defects
	return &c
}

// Defects are the rules of the room that are broken on purpose.
func (r *Room) Defects() defect.Set { return r.defects }

// Settled returns the same room for events whose signatures were checked before, such as those that
// state resolution authorises again: no rule asks for signatures.
func (r *Room) Settled() *Room {
	c := *r
	c.verify = AlreadyVerified
	c.verifyServer = func(*matrix.Event, matrix.ServerName) error { return nil }
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
	server, err := r.sendingServer(e)
	if err != nil {
		return err
	}
	if err := r.checkFederation(e, server, state); err != nil {
		return err
	}
	if r.Version().HasParticipation() {
		if e.Type() == matrix.ParticipationType {
			return r.authoriseParticipation(e, server, state)
		}
		if err := checkParticipates(server, state); err != nil && !r.mistakenParticipant(e, server, state) {
			return err
		}
	}
	switch e.Type() {
	case "m.room.member":
		return r.authoriseMember(e, server, state)
	case "m.room.third_party_invite":
		return r.authoriseThirdPartyInvite(e, server, state)
	}
	return r.authoriseOther(e, server, state)
}

// checkFederation is rule 4. It compares domains that nobody has proved: D-16, the base rule as it is
// written. D-38: in rooms of MSC4345 the domains are server keys. server is the sending server.
func (r *Room) checkFederation(e *matrix.Event, server matrix.ServerName, state State) error {
	if r.federate {
		return nil
	}
	if r.Version().HasPortableAccounts() {
		if !r.isFoundingServer(e, server, state) && !r.defects.Has("FederateAccounts") {
			return reject("4", "the room does not federate, and its creator has not brought in the server %s", server)
		}
		return nil
	}
	if server != r.create.Sender().Domain() && !r.defects.Has("IgnoreFederate") && !(e.IsParticipation() && r.defects.Has("FederateParticipation")) {
		return reject("4", "the room does not federate, and the sender is not at %s", r.create.Sender().Domain())
	}
	return nil
}

// authoriseOther is rules 6 and 8 to 11.
func (r *Room) authoriseOther(e *matrix.Event, server matrix.ServerName, state State) error {
	if err := r.checkJoined(e, server, state, "6"); err != nil {
		return err
	}
	stateKey, isState := e.StateKey()
	levels := r.PowerLevels(state)
	power, required := levels.User(e.Sender()), levels.Required(e.Type(), isState)
	if required <= power && required > levels.User("") && r.leavesPowerBehind(e.Sender(), state) {
		power = levels.User("")
	}
	if required > power && !r.defects.Has("IgnoreRequiredPower") {
		return reject("8", "%s takes power level %s, the sender has %s", e.Type(), required, power)
	}
	if isState && stateKey != "" && stateKey[0] == '@' && stateKey != string(e.Sender()) &&
		!r.defects.Has("IgnoreTheOwnerOfAStateKey") && !(matrix.UserID(stateKey).Localpart() == e.Sender().Localpart() && r.defects.Has("CompareOwnersByKeyAlone")) {
		return reject("9", "the state key is the user ID of someone else")
	}
	if e.Type() == "m.room.power_levels" {
		return r.authorisePowerLevels(e, levels)
	}
	return nil // rule 11
}

// checkJoined is rule 6, and the others that ask for a joined sender: rule is the number to reject by.
func (r *Room) checkJoined(e *matrix.Event, server matrix.ServerName, state State, rule string) error {
	if m := r.authorising(state, e.Sender()); m != "join" && !r.defects.Has("LetOutsidersSend") {
		return reject(rule, "the sender's membership is %q, not join", m)
	}
	return r.checkBinding(e.Sender(), server, state)
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
