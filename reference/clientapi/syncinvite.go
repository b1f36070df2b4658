package clientapi

import (
	"countersign/matrix"
	"countersign/reference/room"
)

// strippedOf is the stripped state of an invitation or a knock, nil when there is nothing to tell. An
// invitation whose sender clients must not be told about is withheld until that changes (D-18(f)).
func (a *API) strippedOf(q *syncRequest, until syncToken, m room.Membership) ([]*clientEvent, error) {
	since := q.from().rooms
	t := a.translator(m.RoomID, m.Version)
	revealed := room.Position(0)
	if t.renames() {
		if revealed = a.engine.RevealedAt(m.Sender); revealed > 0 && a.defects.Has("NeverShowLateInvites") {
			revealed = 0
		}
	}
	isNew := m.Position > since && m.Position <= until.rooms || revealed > since && revealed <= until.rooms
	if !isNew {
		return nil, nil
	}
	own := a.membershipEventOf(m)
	if own == nil {
		return nil, nil
	}
	shown := t.stripped(own)
	if shown == nil && a.defects.Has("ShowInvitesOfHiddenUsers") {
		shown = &clientEvent{Type: own.Type(), Sender: own.Sender(), StateKey: matrix.StateKey(string(q.session.User)), Content: own.Content()}
	}
	if shown == nil {
		return nil, nil
	}
	ignored, err := a.ignoredUsers(q.session.User)
	if err != nil || (ignored[shown.Sender] || ignored[shown.name]) && !a.defects.Has("LetIgnoredUsersInvite") {
		return nil, err
	}
	state := m.Stripped
	if state == nil {
		if state, err = a.engine.PublicState(m.RoomID); err != nil {
			return nil, err
		}
	}
	events := []*clientEvent{}
	for _, e := range state {
		if e.IsState("m.room.member", string(m.User)) {
			continue
		}
		if t.renames() && a.defects.Has("LeakKeysInStrippedState") {
			key, _ := e.StateKey()
			events = append(events, &clientEvent{Type: e.Type(), Sender: e.Sender(), StateKey: &key, Content: e.Content()})
			continue
		}
		if stripped := t.stripped(e); stripped != nil {
			events = append(events, stripped)
		}
	}
	return append(events, shown), nil
}

// membershipEventOf is the event of a membership, nil when it is not known.
func (a *API) membershipEventOf(m room.Membership) *matrix.Event {
	if m.Event != nil {
		return m.Event
	}
	e, _ := a.engine.Event(m.RoomID, m.EventID)
	return e.Event
}
