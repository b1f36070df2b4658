package clientapi

import (
	"slices"

	"countersign/matrix"
	"countersign/reference/room"
)

// stateBlock is the state of the answer: what is new at the end of the timeline when the client has asked
// for that, otherwise what the client must know before it applies the timeline.
func (s *roomSync) stateBlock() ([]*clientEvent, error) {
	places := s.changedPlaces()
	if s.q.stateAfter || s.defects.Has("PushLateStateToAll") {
		// Only clients that keep the state apart from the timeline are told the state of a user who
		// has become verified (MSC4243, footnote stateafter).
		revealed, err := s.revealedPlaces()
		if err != nil {
			return nil, err
		}
		places = append(places, revealed...)
	}
	events := []*clientEvent{}
	add := func(from room.State, place matrix.StateTuple) {
		shown := s.showPlace(from, place)
		if shown != nil && s.q.filter.Room.State.wants(s.asFiltered(shown)) && s.wantsMember(shown) && !slices.ContainsFunc(events, func(e *clientEvent) bool { return e.EventID == shown.EventID }) {
			events = append(events, shown)
		}
	}
	start, inTimeline, err := s.stateAtStart()
	if err != nil {
		return nil, err
	}
	for _, place := range places {
		switch {
		case s.q.stateAfter || !inTimeline[place]:
			add(s.now, place)
		case start.Get(place) != s.old.Get(place):
			// The timeline has the newest value; the client needs the one before it.
			add(start, place)
		}
	}
	sortState(events)
	return events, nil
}

// changedPlaces are the places whose state may be new to the client, with what lazy loading adds.
func (s *roomSync) changedPlaces() (places []matrix.StateTuple) {
	if s.fresh || s.q.fullState {
		for place := range s.now.All() {
			places = append(places, place)
		}
		return places
	}
	for place := range room.Diff(s.old, s.now) {
		places = append(places, place)
	}
	if s.q.filter.Room.State.LazyLoadMembers {
		for _, e := range s.timeline.events {
			places = append(places, memberPlace(e.Sender()))
		}
	}
	return places
}

// revealedPlaces are the places of the current state of users whose account keys have become verified:
// their memberships, and whatever they have set.
func (s *roomSync) revealedPlaces() (places []matrix.StateTuple, err error) {
	if s.fresh || !s.renames() {
		return nil, nil
	}
	users, err := s.api.engine.Revealed(s.roomID, s.since.rooms, s.until.rooms)
	if err != nil || len(users) == 0 || s.defects.Has("PushNoLateState") {
		return nil, err
	}
	events, err := s.api.engine.Events(s.now)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if slices.Contains(users, e.Sender()) && !(!isMember(e.Tuple()) && s.defects.Has("RevealMembershipsOnly")) || isMember(e.Tuple()) && slices.Contains(users, matrix.UserID(e.Tuple().StateKey)) {
			places = append(places, e.Tuple())
		}
	}
	return places, nil
}

// stateAtStart is the state before the first event of the timeline, and the places that the timeline
// sets. Without such events the state at the start is not needed and empty.
func (s *roomSync) stateAtStart() (start room.State, inTimeline map[matrix.StateTuple]bool, err error) {
	inTimeline = map[matrix.StateTuple]bool{}
	for _, e := range s.timeline.events {
		if _, isState := e.StateKey(); isState {
			inTimeline[e.Tuple()] = true
		}
	}
	if len(inTimeline) == 0 || s.q.stateAfter {
		return start, inTimeline, nil
	}
	start, err = s.api.engine.StateBefore(s.roomID, s.timeline.events[0].ID())
	return start, inTimeline, err
}

// wantsMember reports whether a state event is needed by a client that loads members lazily: other
// state, and the memberships of the reader and of those who appear in the timeline.
func (s *roomSync) wantsMember(e *clientEvent) bool {
	if e.Type != "m.room.member" || !s.q.filter.Room.State.LazyLoadMembers || e.StateKey == nil {
		return true
	}
	user := matrix.UserID(*e.StateKey)
	if s.isReader(user) {
		return true
	}
	if s.defects.Has("LoadNobodyLazily") {
		return false
	}
	return slices.ContainsFunc(s.timeline.events, func(t shownEvent) bool { return t.shown.Sender == user })
}

// membersChanged reports whether the counts and heroes of the summary may be new to the client.
func (s *roomSync) membersChanged() bool {
	for place := range room.Diff(s.old, s.now) {
		if isMember(place) || place.Type == "m.room.name" || place.Type == "m.room.canonical_alias" {
			return true
		}
	}
	revealed, err := s.api.engine.Revealed(s.roomID, s.since.rooms, s.until.rooms)
	return err != nil || len(revealed) > 0
}
