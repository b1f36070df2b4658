package clientapi

import (
	"encoding/json"
	"slices"

	"countersign/matrix"
	"countersign/reference/room"
)

// comparesFormsIn reports whether a mutant takes the senders of an event and of its edit for two users, as it
// compares the account key of one with the account name of the other.
func (r *reader) comparesFormsIn(child shownEvent, e room.Stored) bool {
	return child.shown.Sender != e.Sender() && r.defects.Has("CompareEditorsByName")
}

// mistakenSelf is the reader by whom a mutant looks for the client's own state.
func (s *roomSync) mistakenSelf() matrix.UserID {
	if s.renames() && s.defects.Has("SlideOwnStateByKey") {
		return s.self
	}
	return s.shownAs
}

// asKey is a user of this server by account key, for mutants that do not translate what they have noted themselves.
func (s *roomSync) asKey(user matrix.UserID, mistaken bool) matrix.UserID {
	if inRoom, ok := s.find(user); ok && inRoom != user && user.Domain() == s.server && mistaken {
		return inRoom
	}
	return user
}

func (s *roomSync) mistakenTypers(users []matrix.UserID) []matrix.UserID {
	named := slices.Clone(users)
	for i, user := range named {
		named[i] = s.asKey(user, s.defects.Has("ShowOwnTypingByKey"))
	}
	return named
}

// mistakenReader is whose receipt a mutant shows.
func (s *roomSync) mistakenReader(user matrix.UserID) matrix.UserID {
	if _, err := user.AccountKey(); err == nil { // only a mutant has noted it so
		if name, ok := s.user(user); ok {
			return name
		}
	}
	return s.asKey(user, s.defects.Has("ShowOwnReceiptsByKey"))
}

// mistakenReceipt is whose receipt a mutant notes when it is told of one.
func (a *API) mistakenReceipt(named, user matrix.UserID) (matrix.UserID, bool) {
	if _, err := named.AccountKey(); err == nil && a.defects.Has("KeepReceiptsByTheirForm") {
		return named, true
	}
	return user, true
}

// mistakenChanges are users whose devices have changed, as a mutant names them.
func (a *API) mistakenChanges(users []matrix.UserID) []matrix.UserID {
	named := slices.Clone(users)
	for i, user := range named {
		if keys := a.directory.KeyUserIDs(user); len(keys) > 0 && a.defects.Has("NameKeysInKeyChanges") {
			named[i] = keys[0]
		}
	}
	return named
}

// asFiltered is an event as a mutant compares it with a filter of state.
func (s *roomSync) asFiltered(e *clientEvent) *clientEvent {
	if s.q.filter.Room.State.Senders == nil && s.q.filter.Room.State.NotSenders == nil || !(s.renames() && s.defects.Has("FilterStateByKey")) {
		return e
	}
	other := *e
	if user, ok := s.find(e.Sender); ok {
		other.Sender, other.name = user, user
	}
	return &other
}

// mistakenSuccessor is who has a level in a room that replaces another, as a mutant has it.
func (r *reader) mistakenSuccessor(user matrix.UserID, n *newRoom) string {
	if inRoom, ok := r.find(user); ok && r.renames() && !n.renames() && r.defects.Has("CarryKeysOver") {
		return string(inRoom)
	}
	return string(user)
}

// forgetsReceipts reports whether a mutant shows a receipt of somebody whose name is not known any more.
func (s *roomSync) forgetsReceipts(user matrix.UserID) bool {
	_, err := user.AccountKey()
	return err == nil || s.defects.Has("ShowReceiptsOfErasedUsers")
}

// masks reports whether a variant shows an event with a sender of no domain although it does not know who that is
// (D-18): what makes a room usable, or outside of /sync what an erased user has left behind.
func (t *translator) masks(e *matrix.Event) bool {
	switch e.Type() {
	case "m.room.create", "m.room.power_levels", "m.room.join_rules":
		return t.defects.Has("MaskCreators")
	case "m.room.message":
		return t.history && t.names.Erased(e.Sender()) && t.defects.Has("MaskErasedUsers")
	}
	return false
}

// namedInEDUs is the reader as other servers are told of (D-20, D-72).
func (r *reader) namedInEDUs() matrix.UserID {
	if r.renames() && r.defects.Has("NameKeysInEphemeralEvents") {
		return r.self
	}
	return r.shownAs
}

// displayName is what a member is called in /joined_members. A variant has a name for everybody.
func (r *reader) displayName(e *matrix.Event) json.RawMessage {
	name := rawText(e.Get("displayname"))
	if name == nil && r.renames() && r.defects.Has("CallMembersByTheirKeys") {
		return mustJSON(matrix.UserID(e.Tuple().StateKey).Localpart())
	}
	return name
}
