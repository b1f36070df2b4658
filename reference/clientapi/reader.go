package clientapi

import (
	"net/http"
	"sync"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// reader is how one device sees one room. It lives as long as one request, and is the way by which
// every endpoint reads a room: nothing else decides what a client may see.
type reader struct {
	translator
	api     *API
	roomID  string
	session userdb.Session
	// self is the reader as the room knows users; empty when the room does not know the reader.
	self matrix.UserID
	// shownAs is the reader as the reader's clients see the reader in the room: by account name, but in
	// rooms with participation as the room knows the reader.
	shownAs matrix.UserID
	// own is the reader's membership now; its Membership is empty when there is none.
	own room.Membership
	// departure is the event by which the reader has left the room after having been in it; its
	// Event is nil for who is in the room, or never was. It is looked up once.
	departure func() room.Stored
	// ignored are the users whom the reader ignores.
	ignored map[matrix.UserID]bool
	// visibilities caches the history visibility that an event sets, by event ID.
	visibilities map[string]string
}

// translator is the translator of a room.
func (a *API) translator(roomID string, v matrix.RoomVersion) translator {
	t := translator{
		names: newMemo(a.directory), version: v, exists: a.users.Exists, server: a.server, defects: a.defects,
		membership: func(user matrix.UserID) string {
			m, _ := a.engine.Membership(roomID, user)
			return m.Membership
		},
	}
	if v.HasParticipation() {
		t.company = newCompanyMemo(engineCompany{a, roomID, v})
	}
	return t
}

// reader opens a room for a device, whether or not its user may read the room.
func (a *API) reader(s userdb.Session, roomID string) (*reader, error) {
	info, ok := a.engine.Room(roomID)
	if !ok {
		return nil, notInRoom(roomID)
	}
	return a.readerOf(s, info)
}

func (a *API) readerOf(s userdb.Session, info room.Info) (*reader, error) {
	ignored, err := a.ignoredUsers(s.User)
	if err != nil {
		return nil, err
	}
	r := &reader{
		translator: a.translator(info.ID, info.Version), api: a, roomID: info.ID, session: s, ignored: ignored,
		visibilities: map[string]string{},
	}
	r.departure = sync.OnceValue(r.findDeparture)
	r.shownAs = s.User
	if self, ok := r.find(s.User); ok {
		r.self = self
		r.own, _ = a.engine.Membership(info.ID, self)
		if r.company != nil {
			r.shownAs = self
		}
		if r.company != nil && r.own.Membership == "" {
			if err := r.beFormer(); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// beFormer makes the reader who the reader was in the room by a former key of this server's, while there is
// no membership by the latest: once a key is revoked, this server requests to participate by another.
func (r *reader) beFormer() error {
	memberships, err := r.api.engine.Memberships(r.session.User)
	if err != nil {
		return err
	}
	for _, m := range memberships {
		if m.RoomID == r.roomID {
			r.self, r.shownAs, r.own = m.User, m.User, m
		}
	}
	return nil
}

// notInRoom is the answer to who asks about a room without being, or having been, in it. Rooms that
// do not exist are not told apart.
func notInRoom(roomID string) error {
	return peer.Forbidden("you are not in room %s, or it does not exist", roomID)
}

// joined reports whether the reader is in the room now.
func (r *reader) joined() bool { return r.own.Membership == "join" }

// maxDepartures bounds how many memberships are looked at to find the last one that was a join.
const maxDepartures = 20

// findDeparture follows the reader's memberships back to the event that ended the last join: somebody
// who was invited and has declined, or was banned without ever being there, has not been in the room.
func (r *reader) findDeparture() room.Stored {
	if r.own.Membership != "leave" && r.own.Membership != "ban" {
		return room.Stored{}
	}
	id := r.own.EventID
	for range maxDepartures {
		e, ok := r.api.engine.Event(r.roomID, id)
		if !ok {
			break
		}
		state, err := r.api.engine.StateBefore(r.roomID, id)
		if err != nil {
			break
		}
		earlier := r.stateEvent(state, memberPlace(r.self))
		if earlier == nil {
			break
		}
		if earlier.Membership() == "join" {
			return e
		}
		id = earlier.ID()
	}
	return room.Stored{}
}

// mayRead reports why the reader may not read the room at all, nil when some of it may be read.
func (r *reader) mayRead() error {
	if r.joined() {
		return nil
	}
	if r.departure().Event != nil {
		forgotten, err := r.api.users.Forgotten(r.session.User, r.roomID)
		if err != nil {
			return err
		}
		if forgotten != r.own.EventID {
			return nil
		}
	}
	state, err := r.api.engine.CurrentState(r.roomID)
	if err != nil {
		return err
	}
	if r.visibilityIn(state) == "world_readable" {
		return nil
	}
	return notInRoom(r.roomID)
}

// openRoom opens a room that the caller must be allowed to read.
func (a *API) openRoom(c *call) (*reader, error) {
	r, err := a.reader(c.session, c.PathValue("roomID"))
	if err != nil {
		return nil, err
	}
	r.history = true
	return r, r.mayRead()
}

// state is the room state that the reader may see now: the current state, or for somebody who has
// left, the state when they left.
func (r *reader) state() (room.State, error) {
	if e := r.departure(); e.Event != nil {
		return r.api.engine.StateAfter(r.roomID, e.ID())
	}
	return r.api.engine.CurrentState(r.roomID)
}

// stateEvent is the event at a place of a state as the room has it, nil when there is none.
func (r *reader) stateEvent(s room.State, place matrix.StateTuple) *matrix.Event {
	return r.api.engine.StateEvent(s, place.Type, place.StateKey)
}

// show is an event as the reader sees it, nil when the reader may not see it.
func (r *reader) show(e room.Stored) *clientEvent {
	if !r.maySee(e) {
		return nil
	}
	return r.event(e.Event, r.around(e))
}

// glance is show without what is known around the event.
func (r *reader) glance(e room.Stored) *clientEvent {
	if !r.maySee(e) {
		return nil
	}
	return r.event(e.Event, surroundings{})
}

// maySee reports whether an event may be shown to the reader. Whether its sender can be shown at all
// is for the translator.
func (r *reader) maySee(e room.Stored) bool {
	return e.Outcome == room.Accepted && r.visible(e.Event) && !r.ignores(e.Event) && r.mayKnow(e)
}

// ignores reports whether the reader ignores an event. State events of ignored users are shown
// (client-server API, "Ignoring Users").
func (r *reader) ignores(e *matrix.Event) bool {
	if _, isState := e.StateKey(); isState || len(r.ignored) == 0 {
		return false
	}
	sender, _ := r.user(e.Sender())
	return r.ignoresUser(sender)
}

// ignoresUser reports whether the reader ignores a user, as clients see the user in the room.
func (r *reader) ignoresUser(user matrix.UserID) bool {
	if len(r.ignored) == 0 {
		return false
	}
	name, _ := r.knownAs(user)
	if (r.ignored[user] || r.ignored[name]) && r.renames() && r.defects.Has("IgnoreKeysOnly") {
		return false
	}
	return r.ignored[user] || r.ignored[name]
}

// isReader reports whether a client that names a user in the room means the reader.
func (r *reader) isReader(user matrix.UserID) bool {
	return user == r.shownAs || user == r.session.User
}

// mayKnow reports whether the history visibility of the room lets the reader see an event
// (client-server API, "Room History Visibility").
func (r *reader) mayKnow(e room.Stored) bool {
	if e.ID() == r.own.EventID {
		return true // how one came to leave, or into the room
	}
	after, err := r.api.engine.StateAfter(r.roomID, e.ID())
	if err != nil {
		// The state around events that were fetched later is not always known. Who is in the room
		// sees them unless the room keeps its history for those who were there.
		return r.joined() && r.sharesHistory()
	}
	visibility := r.visibilityIn(after)
	if e.IsState("m.room.history_visibility", "") {
		// The more permissive of what the event sets and what was set before.
		if state, err := r.api.engine.StateBefore(r.roomID, e.ID()); err == nil {
			visibility = morePermissive(visibility, r.visibilityIn(state))
		}
	}
	if visibility == "world_readable" {
		return true
	}
	departure := r.departure()
	if departure.Event != nil {
		// What happened while the reader was out is not for the reader, whatever the visibility.
		if departure.Place.Before(e.Place) {
			return false
		}
		if m := r.membershipIn(after); m == "ban" || m == "leave" && r.hasMembership(after) {
			return e.ID() == departure.ID()
		}
	}
	switch visibility {
	case "shared":
		return r.joined() || departure.Event != nil
	case "invited":
		m := r.membershipIn(after)
		return m == "join" || m == "invite"
	case "joined":
		return r.membershipIn(after) == "join"
	}
	return false
}

// sharesHistory reports whether the room shows what happened before one joined, by its current state.
func (r *reader) sharesHistory() bool {
	state, err := r.api.engine.CurrentState(r.roomID)
	if err != nil {
		return false
	}
	visibility := r.visibilityIn(state)
	return visibility == "shared" || visibility == "world_readable"
}

func visibilityOrder() []string { return []string{"joined", "invited", "shared", "world_readable"} }

func morePermissive(a, b string) string {
	for _, v := range visibilityOrder() {
		if v == a {
			return b
		}
		if v == b {
			return a
		}
	}
	return a
}

// visibilityIn is the history visibility that a state sets; without a known value it is "shared".
func (r *reader) visibilityIn(s room.State) string {
	id := s.Get(matrix.StateTuple{Type: "m.room.history_visibility"})
	if id == "" {
		return "shared"
	}
	if v, ok := r.visibilities[id]; ok {
		return v
	}
	visibility := "shared"
	if e := r.api.engine.StateEvent(s, "m.room.history_visibility", ""); e != nil {
		for _, v := range visibilityOrder() {
			if e.Get("history_visibility").Str == v {
				visibility = v
			}
		}
	}
	r.visibilities[id] = visibility
	return visibility
}

// membershipIn is the reader's membership in a state, "leave" when there is none.
func (r *reader) membershipIn(s room.State) string {
	if r.self == "" {
		return "leave"
	}
	e := r.api.engine.StateEvent(s, "m.room.member", string(r.self))
	if e == nil {
		return "leave"
	}
	return e.Membership()
}

// hasMembership reports whether the reader has any membership in a state, be it that of having left.
func (r *reader) hasMembership(s room.State) bool { return s.Get(memberPlace(r.self)) != "" }

// around is what the reader is told around an event.
func (r *reader) around(e room.Stored) surroundings {
	around := surroundings{nowMillis: r.api.nowMillis(), redaction: r.redactionOf(e)}
	if txn, err := r.api.users.EventTransaction(e.ID()); err == nil && txn.Session == r.session && !(r.renames() && r.defects.Has("LeaveTransactionIDsOut")) {
		around.transactionID = txn.TransactionID
	}
	key, isState := e.StateKey()
	if isState {
		if state, err := r.api.engine.StateBefore(r.roomID, e.ID()); err == nil {
			around.replaced = r.api.engine.StateEvent(state, e.Type(), key)
		}
	}
	if after, err := r.api.engine.StateAfter(r.roomID, e.ID()); err == nil {
		if around.membership = r.membershipIn(after); r.renames() && r.defects.Has("TellOwnMembershipByName") {
			around.membership = "leave"
		}
	}
	return around
}

// redactionOf is the redaction that took effect on an event, nil when there is none.
func (r *reader) redactionOf(e room.Stored) *matrix.Event {
	if e.RedactedBy == "" {
		return nil
	}
	redaction, _ := r.api.engine.Event(r.roomID, e.RedactedBy)
	return redaction.Event
}

// findEvent returns an event that the reader may see, in the room's terms. Others do not exist.
func (r *reader) findEvent(eventID string) (room.Stored, error) {
	e, ok := r.api.engine.Event(r.roomID, eventID)
	if !ok || !r.maySee(e) {
		return room.Stored{}, peer.Errorf(http.StatusNotFound, "M_NOT_FOUND", "there is no event %s that you may see", eventID)
	}
	return e, nil
}
