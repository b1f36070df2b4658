package clientapi

import (
	"slices"

	"countersign/matrix"
	"countersign/reference/room"
)

// syncRoom is a room in /sync that the reader is in, or has left.
type syncRoom struct {
	Summary    *summary    `json:"summary,omitempty"`
	State      *eventBatch `json:"state,omitempty"`
	StateAfter *eventBatch `json:"state_after,omitempty"`
	// StateAfterUnstable is state_after under the name it had in MSC4222.
	StateAfterUnstable *eventBatch  `json:"org.matrix.msc4222.state_after,omitempty"`
	Timeline           syncTimeline `json:"timeline"`
	Ephemeral          *eventBatch  `json:"ephemeral,omitempty"`
	AccountData        eventBatch   `json:"account_data"`
	Unread             *unread      `json:"unread_notifications,omitempty"`
}

// syncTimeline is the timeline of a room in /sync.
type syncTimeline struct {
	Events    []*clientEvent `json:"events"`
	Limited   bool           `json:"limited"`
	PrevBatch string         `json:"prev_batch,omitempty"`
}

// roomSync is one room in one answer of /sync.
type roomSync struct {
	*reader
	q     *syncRequest
	since syncToken
	until syncToken
	// fresh is set when the reader is told about the room from the start.
	fresh bool
	// old and now are the states at the two ends; old is empty for a fresh room.
	old, now room.State
	// end is where the timeline ends.
	end gap
	// timeline are the events of the answer, oldest first, and start is where they start.
	timeline page
	start    gap
	limited  bool
}

// syncJoined is a room that the reader is in, nil when nothing has happened there.
func (a *API) syncJoined(q *syncRequest, until syncToken, m room.Membership) (*syncRoom, error) {
	r, err := a.reader(q.session, m.RoomID)
	if err != nil {
		return nil, err
	}
	s := &roomSync{reader: r, q: q, since: q.from(), until: until, end: behindPosition(until.rooms)}
	if err := s.load(); err != nil {
		return nil, err
	}
	state, err := s.stateBlock()
	if err != nil {
		return nil, err
	}
	answer := &syncRoom{AccountData: batch[any](nil), Timeline: s.shownTimeline()}
	s.put(answer, state)
	ephemeral, err := s.ephemeral()
	if err != nil {
		return nil, err
	}
	b := batch(ephemeral)
	answer.Ephemeral = &b
	if len(state)+len(s.timeline.events) == 0 && !s.limited && !s.fresh && !q.fullState {
		quiet, err := s.isSilent()
		if quiet || err != nil {
			return nil, err
		}
	}
	counts, err := s.unreadCounts(s.now)
	if err != nil {
		return nil, err
	}
	answer.Unread = &counts
	if s.fresh || q.fullState || s.membersChanged() {
		summary := s.summary(s.now)
		answer.Summary = &summary
	}
	return answer, nil
}

// isSilent reports whether nobody has begun or ceased to type in the room, or has read it.
func (s *roomSync) isSilent() (bool, error) {
	ephemeral, err := s.ephemeral()
	if err != nil || len(ephemeral) > 0 {
		return false, err
	}
	read, err := s.hasRead()
	return !read, err
}

// quietRoom is a joined room of which there is nothing to say but account data, nil when the reader is
// not in the room.
func (a *API) quietRoom(q *syncRequest, roomID string, until syncToken) *syncRoom {
	r, err := a.reader(q.session, roomID)
	if err != nil || !r.joined() {
		return nil
	}
	s := &roomSync{reader: r, q: q}
	answer := &syncRoom{AccountData: batch[any](nil), Timeline: syncTimeline{
		Events: []*clientEvent{}, PrevBatch: behindPosition(until.rooms).String(),
	}}
	s.put(answer, nil)
	return answer
}

// load reads the states at both ends and the timeline between them.
func (s *roomSync) load() (err error) {
	if s.now, err = s.api.engine.StateAt(s.roomID, s.until.rooms); err != nil {
		return err
	}
	if s.q.since != nil {
		if s.old, err = s.api.engine.StateAt(s.roomID, s.since.rooms); err != nil {
			return err
		}
	}
	if s.fresh = s.membershipIn(s.old) != "join"; s.fresh {
		s.old = room.State{}
	}
	return s.readTimeline()
}

// readTimeline reads the newest events, newest first, back to where the client was.
func (s *roomSync) readTimeline() (err error) {
	f := &s.q.filter.Room.Timeline
	limit := f.limit()
	// One more than wanted tells whether there are more.
	s.timeline, err = s.read(reading{
		from: s.end, backwards: true, limit: limit + 1,
		wanted: f.wants,
		to: func(e room.Stored) bool {
			return s.q.since != nil && !s.fresh && e.Place.Major <= s.since.rooms
		},
		skip: s.isHistorical,
	})
	if err != nil {
		return err
	}
	s.start = s.timeline.end
	if len(s.timeline.events) > limit || !s.timeline.exhausted {
		s.limited = true
		s.timeline.events = s.timeline.events[:min(limit, len(s.timeline.events))]
		if n := len(s.timeline.events); n > 0 {
			s.start = before(s.timeline.events[n-1].Stored)
		} else {
			s.start = s.end
		}
	}
	if s.fresh && !s.timeline.whole {
		s.limited = true // there is history before, be it on other servers
	}
	slices.Reverse(s.timeline.events)
	return nil
}

// isHistorical reports whether an event is from before its sender's account key was verified. Such
// events are not sent down /sync, as they would look new; other endpoints have them (MSC4243, "Server
// behaviour").
func (s *roomSync) isHistorical(e room.Stored) bool {
	return s.version.HasAccountKeys() && e.Place.Major <= s.api.engine.RevealedAt(e.Sender())
}

func (s *roomSync) shownTimeline() syncTimeline {
	t := syncTimeline{Events: s.timeline.shown(), Limited: s.limited, PrevBatch: s.start.String()}
	if s.limited {
		t.Events = s.withRelations(s.timeline.events)
	}
	return t
}

// put puts the state where the client has asked for it.
func (s *roomSync) put(answer *syncRoom, state []*clientEvent) {
	b := batch(state)
	if s.q.stateAfter {
		answer.StateAfter, answer.StateAfterUnstable = &b, &b
	} else {
		answer.State = &b
	}
}

// stateBlock is the state of the answer: what is new at the end of the timeline when the client has asked
// for that, otherwise what the client must know before it applies the timeline.
func (s *roomSync) stateBlock() ([]*clientEvent, error) {
	places := s.changedPlaces()
	if s.q.stateAfter {
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
		if shown != nil && s.q.filter.Room.State.wants(shown) && s.wantsMember(shown) && !slices.ContainsFunc(events, func(e *clientEvent) bool { return e.EventID == shown.EventID }) {
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
	if s.fresh || !s.version.HasAccountKeys() {
		return nil, nil
	}
	users, err := s.api.engine.Revealed(s.roomID, s.since.rooms, s.until.rooms)
	if err != nil || len(users) == 0 {
		return nil, err
	}
	events, err := s.api.engine.Events(s.now)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		if slices.Contains(users, e.Sender()) || isMember(e.Tuple()) && slices.Contains(users, matrix.UserID(e.Tuple().StateKey)) {
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
	if user == s.session.User {
		return true
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

// hasRead reports whether the reader has sent a receipt, which changes what is unread.
func (s *roomSync) hasRead() (bool, error) {
	receipts, err := s.api.users.ReceiptsOf(s.roomID, s.session.User)
	for _, receipt := range receipts {
		if receipt.At > s.since.data && receipt.At <= s.until.data {
			return true, err
		}
	}
	return false, err
}

// ephemeral are the typing notifications and receipts that are new to the client.
func (s *roomSync) ephemeral() ([]typedContent, error) {
	since := s.since
	if s.fresh {
		since = syncToken{}
	}
	var events []typedContent
	if users, changed := s.api.typing.since(s.roomID, since.typing); changed {
		users = slices.DeleteFunc(users, func(user matrix.UserID) bool { return s.ignored[user] })
		events = append(events, typedContent{"m.typing", mustJSON(map[string]any{"user_ids": users})})
	}
	receipts, err := s.api.users.ReceiptsBetween(s.roomID, since.data, s.until.data)
	if err != nil {
		return nil, err
	}
	content := map[string]map[string]map[matrix.UserID]any{}
	for _, receipt := range receipts {
		if receipt.Type == receiptReadPrivate && receipt.User != s.session.User || s.ignored[receipt.User] {
			continue
		}
		if _, err := s.findEvent(receipt.EventID); err != nil {
			continue // a receipt for an event that the reader may not see
		}
		if content[receipt.EventID] == nil {
			content[receipt.EventID] = map[string]map[matrix.UserID]any{}
		}
		if content[receipt.EventID][receipt.Type] == nil {
			content[receipt.EventID][receipt.Type] = map[matrix.UserID]any{}
		}
		data := map[string]any{"ts": receipt.TS}
		if receipt.Thread != "" {
			data["thread_id"] = receipt.Thread
		}
		content[receipt.EventID][receipt.Type][receipt.User] = data
	}
	if len(content) > 0 {
		events = append(events, typedContent{"m.receipt", mustJSON(content)})
	}
	return slices.DeleteFunc(events, func(e typedContent) bool { return !s.q.filter.Room.Ephemeral.wantsType(e.Type) }), nil
}

// syncLeft is a room that the reader has left since, or has left at all when the client wants such
// rooms in an initial sync; nil when there is nothing to tell.
func (a *API) syncLeft(q *syncRequest, until syncToken, m room.Membership) (*syncRoom, error) {
	if m.Position <= q.from().rooms && q.since != nil || q.since == nil && !q.filter.Room.IncludeLeave {
		return nil, nil
	}
	forgotten, err := a.users.Forgotten(q.session.User, m.RoomID)
	if err != nil || forgotten == m.EventID {
		return nil, err
	}
	if m.Event != nil {
		return a.declined(q, m, m.Event), nil
	}
	r, err := a.reader(q.session, m.RoomID)
	if err != nil {
		return nil, err
	}
	if r.departure().Event == nil {
		own, _ := a.engine.Event(m.RoomID, m.EventID)
		return a.declined(q, m, own.Event), nil
	}
	s := &roomSync{reader: r, q: q, since: q.from(), until: until, end: behindPosition(min(m.Position, until.rooms))}
	s.until.rooms = min(m.Position, until.rooms)
	if err := s.load(); err != nil {
		return nil, err
	}
	if s.membershipIn(s.now) == "join" {
		return nil, nil // the leave is newer than this answer
	}
	s.fresh = q.since == nil
	state, err := s.stateBlock()
	if err != nil {
		return nil, err
	}
	answer := &syncRoom{AccountData: batch[any](nil), Timeline: s.shownTimeline()}
	s.put(answer, state)
	return answer, nil
}

// declined is a room that the reader has never been in, after an invitation or a knock has come to an
// end: all that is told is how it ended, by the event own.
func (a *API) declined(q *syncRequest, m room.Membership, own *matrix.Event) *syncRoom {
	answer := &syncRoom{AccountData: batch[any](nil), Timeline: syncTimeline{Events: []*clientEvent{}}}
	t := a.translator(m.RoomID, m.Version)
	if own != nil {
		if shown := t.event(own, surroundings{nowMillis: a.nowMillis()}); shown != nil {
			answer.Timeline.Events = append(answer.Timeline.Events, shown)
		}
	}
	(&roomSync{q: q}).put(answer, nil)
	return answer
}
