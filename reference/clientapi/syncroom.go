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
	if s.isUntouched() {
		quiet, err := s.isSilent()
		if quiet || err != nil {
			return nil, err
		}
	}
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

// isUntouched reports whether the room itself is as the client knows it, which spares reading it.
func (s *roomSync) isUntouched() bool {
	return s.q.since != nil && !s.q.fullState && s.api.engine.Touched(s.roomID) <= s.since.rooms
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
	if limit > 20 && s.defects.Has("ShowShortTimelines") {
		limit = 20
	}
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
	return s.renames() && e.Place.Major <= s.api.engine.RevealedAt(e.Sender()) && !s.defects.Has("PushOldMessages")
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

// hasRead reports whether the reader has sent a receipt, which changes what is unread.
func (s *roomSync) hasRead() (bool, error) {
	receipts, err := s.api.users.ReceiptsOf(s.roomID, s.shownAs)
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
	if users, changed := s.api.typing.between(s.roomID, since.fleeting, s.until.fleeting); changed {
		users = slices.DeleteFunc(users, func(user matrix.UserID) bool { return s.ignoresUser(user) })
		events = append(events, typedContent{Type: "m.typing", Content: mustJSON(map[string]any{"user_ids": s.mistakenTypers(users)})})
	}
	receipts, err := s.api.users.ReceiptsBetween(s.roomID, since.data, s.until.data)
	if err != nil {
		return nil, err
	}
	content := map[string]map[string]map[matrix.UserID]any{}
	for _, receipt := range receipts {
		if receipt.Type == receiptReadPrivate && receipt.User != s.shownAs || s.ignoresUser(receipt.User) {
			continue
		}
		if _, ok := s.find(receipt.User); !ok && s.renames() && !s.forgetsReceipts(receipt.User) {
			continue // the user has been erased since, and with them their name
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
		content[receipt.EventID][receipt.Type][s.mistakenReader(receipt.User)] = data
	}
	if len(content) > 0 {
		events = append(events, typedContent{Type: "m.receipt", Content: mustJSON(content)})
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
		return a.declined(q, m), nil
	}
	r, err := a.reader(q.session, m.RoomID)
	if err != nil {
		return nil, err
	}
	if r.departure().Event == nil {
		return a.declined(q, m), nil
	}
	r.lax = a.defects.Has("ShowHiddenEventsToThoseWhoLeave")
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
// end: all that is told is how it ended.
func (a *API) declined(q *syncRequest, m room.Membership) *syncRoom {
	answer := &syncRoom{AccountData: batch[any](nil), Timeline: syncTimeline{Events: []*clientEvent{}}}
	t := a.translator(m.RoomID, m.Version)
	if own := a.membershipEventOf(m); own != nil {
		if shown := t.event(own, surroundings{nowMillis: a.nowMillis()}); shown != nil {
			answer.Timeline.Events = append(answer.Timeline.Events, shown)
		}
	}
	(&roomSync{q: q}).put(answer, nil)
	return answer
}
