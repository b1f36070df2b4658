package clientapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// Bounds of sliding sync.
const (
	maxWindow      = 100 // rooms of a list in one answer
	maxConnections = 1000
	keptPositions  = 2 // of a connection; a client may repeat its last request
)

// slidingSyncRoutes are the part of MSC4186 (simplified sliding sync) that is about joined rooms: lists,
// room subscriptions and required state, without extensions.
func (a *API) slidingSyncRoutes() []route {
	return []route{authed(http.MethodPost, "/unstable/org.matrix.simplified_msc3575/sync", a.slidingSync)}
}

// slidingRequest is the body of a request.
type slidingRequest struct {
	Connection    string                   `json:"conn_id"`
	Lists         map[string]slidingList   `json:"lists"`
	Subscriptions map[string]slidingWindow `json:"room_subscriptions"`
}

// slidingWindow is what a client wants to know of a room.
type slidingWindow struct {
	// RequiredState are pairs of event type and state key, either of which may be "*".
	RequiredState [][2]string `json:"required_state"`
	TimelineLimit int         `json:"timeline_limit"`
}

// slidingList asks for some of the rooms, in the order of their last changes.
type slidingList struct {
	slidingWindow
	Ranges [][2]int `json:"ranges"`
}

// slidingRoom is a room in an answer.
type slidingRoom struct {
	Initial       bool           `json:"initial,omitempty"`
	RequiredState []*clientEvent `json:"required_state"`
	Timeline      []*clientEvent `json:"timeline"`
	PrevBatch     string         `json:"prev_batch,omitempty"`
	Limited       bool           `json:"limited"`
	Live          int            `json:"num_live"`
	Joined        *int           `json:"joined_count,omitempty"`
	Invited       *int           `json:"invited_count,omitempty"`
	Notifications int            `json:"notification_count"`
	Highlights    int            `json:"highlight_count"`
	BumpStamp     room.Position  `json:"bump_stamp"`
}

// slidingAnswer is an answer.
type slidingAnswer struct {
	Position   string                    `json:"pos"`
	Lists      map[string]map[string]int `json:"lists"`
	Rooms      map[string]*slidingRoom   `json:"rooms"`
	Extensions map[string]any            `json:"extensions"`
}

// slidingConnections remember, for every connection, which rooms a client had been told of at its last
// positions. They do not outlive the server, as the proposal allows: the client starts over.
type slidingConnections struct {
	mu  sync.Mutex
	all map[slidingKey][]slidingPosition
}

type slidingKey struct {
	session    userdb.Session
	connection string
}

type slidingPosition struct {
	name string
	told map[string]bool
}

// told are the rooms that a client had been told of at a position; ok is false when it is not known.
func (s *slidingConnections) told(k slidingKey, position string) (told map[string]bool, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.all[k] {
		if p.name == position {
			return p.told, true
		}
	}
	return nil, false
}

func (s *slidingConnections) put(k slidingKey, p slidingPosition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil || s.all[k] == nil && len(s.all) >= maxConnections {
		s.all = map[slidingKey][]slidingPosition{}
	}
	positions := append(s.all[k], p)
	s.all[k] = positions[max(0, len(positions)-keptPositions):]
}

// slidingSync answers POST /sync of MSC4186.
func (a *API) slidingSync(c *call) (any, error) {
	var body slidingRequest
	if err := c.read(&body); err != nil {
		return nil, err
	}
	q := &syncRequest{session: c.session, stateAfter: true}
	k, told := slidingKey{c.session, body.Connection}, map[string]bool{}
	if position := c.query("pos"); position != "" {
		since, err := parseSyncToken(position)
		known, ok := a.sliding.told(k, position)
		if err != nil || !ok {
			return nil, peer.Errorf(http.StatusBadRequest, "M_UNKNOWN_POS", "%q is no position of this connection, or is too old: start over", position)
		}
		milliseconds, err := c.queryInt("timeout", 0, int(maxSyncWait.Milliseconds()))
		if err != nil {
			return nil, err
		}
		q.since, q.wait, told = &since, time.Duration(milliseconds)*time.Millisecond, known
	}
	ctx, cancel := context.WithTimeout(c.Context(), q.wait)
	defer cancel()
	for {
		w, err := a.listen(q.session.User)
		if err != nil {
			return nil, err
		}
		answer, err := a.slidingOnce(q, body, told)
		if err != nil || len(answer.Rooms) > 0 || q.since == nil || !a.await(ctx, w) {
			a.hub.stop(w)
			if err != nil {
				return nil, err
			}
			now := slidingPosition{answer.Position, map[string]bool{}}
			for roomID := range told {
				now.told[roomID] = true
			}
			for roomID := range answer.Rooms {
				now.told[roomID] = true
			}
			a.sliding.put(k, now)
			return answer, nil
		}
		a.hub.stop(w)
		if _, err := a.authenticate(c.Request); err != nil {
			return nil, err
		}
	}
}

// slidingOnce is the answer at this moment.
func (a *API) slidingOnce(q *syncRequest, body slidingRequest, told map[string]bool) (*slidingAnswer, error) {
	until, err := a.tokenNow()
	if err != nil {
		return nil, err
	}
	memberships, err := a.engine.Memberships(q.session.User)
	if err != nil {
		return nil, err
	}
	answer := &slidingAnswer{Position: until.String(), Lists: map[string]map[string]int{}, Rooms: map[string]*slidingRoom{}, Extensions: map[string]any{}}
	var joined []string
	for _, m := range memberships {
		if m.Membership == "join" && m.Position <= until.rooms {
			joined = append(joined, m.RoomID)
		}
	}
	slices.SortFunc(joined, func(x, y string) int {
		return cmp.Or(cmp.Compare(a.engine.Touched(y), a.engine.Touched(x)), cmp.Compare(x, y))
	})
	windows := map[string]slidingWindow{}
	for name, list := range body.Lists {
		answer.Lists[name] = map[string]int{"count": len(joined)}
		for _, r := range list.Ranges {
			first, last := max(r[0], 0), min(r[1], len(joined)-1, r[0]+maxWindow)
			for i := first; i <= last; i++ {
				windows[joined[i]] = windows[joined[i]].with(list.slidingWindow)
			}
		}
	}
	for roomID, w := range body.Subscriptions {
		if slices.Contains(joined, roomID) {
			windows[roomID] = windows[roomID].with(w)
		}
	}
	for roomID, w := range windows {
		shown, err := a.slide(q, until, roomID, w, told[roomID])
		if err != nil {
			return nil, err
		}
		if shown != nil {
			answer.Rooms[roomID] = shown
		}
	}
	return answer, nil
}

// with is what two windows on one room want.
func (w slidingWindow) with(other slidingWindow) slidingWindow {
	return slidingWindow{append(slices.Clip(w.RequiredState), other.RequiredState...), max(w.TimelineLimit, other.TimelineLimit)}
}

// slide is a room in an answer, nil when there is nothing new to tell. told is set when the client knows
// the room as it was at its position.
func (a *API) slide(q *syncRequest, until syncToken, roomID string, w slidingWindow, told bool) (*slidingRoom, error) {
	r, err := a.reader(q.session, roomID)
	if err != nil {
		return nil, err
	}
	r.lax = a.defects.Has("SlideHiddenEvents")
	limit := min(w.TimelineLimit, maxLimit)
	of := &syncRequest{session: q.session, stateAfter: !a.defects.Has("SlideWithoutLateState"), filter: filter{Room: roomFilter{Timeline: eventFilter{Limit: &limit}}}}
	if told {
		of.since = q.since
	}
	s := &roomSync{reader: r, q: of, since: of.from(), until: until, end: behindPosition(until.rooms)}
	if err := s.load(); err != nil {
		return nil, err
	}
	state, err := s.stateBlock()
	if err != nil {
		return nil, err
	}
	state = slices.DeleteFunc(state, func(e *clientEvent) bool { return !w.requires(e, s.mistakenSelf(), s.timeline.events) })
	if !s.fresh && len(state)+len(s.timeline.events) == 0 && !s.limited {
		return nil, nil
	}
	timeline := s.shownTimeline()
	shown := &slidingRoom{
		Initial: s.fresh, RequiredState: state, Timeline: timeline.Events, PrevBatch: timeline.PrevBatch, Limited: timeline.Limited,
		BumpStamp: min(a.engine.Touched(roomID), until.rooms),
	}
	if !s.fresh {
		shown.Live = len(timeline.Events)
	}
	counts, err := s.unreadCounts(s.now)
	if err != nil {
		return nil, err
	}
	shown.Notifications, shown.Highlights = counts.Notifications, counts.Highlights
	summary := s.summary(s.now)
	shown.Joined, shown.Invited = summary.Joined, summary.Invited
	return shown, nil
}

// requires reports whether a piece of state is among what the window asks for.
func (w slidingWindow) requires(e *clientEvent, reader matrix.UserID, timeline []shownEvent) bool {
	if e.StateKey == nil {
		return false
	}
	return slices.ContainsFunc(w.RequiredState, func(pair [2]string) bool {
		if pair[0] != "*" && pair[0] != e.Type {
			return false
		}
		switch pair[1] {
		case "*":
			return true
		case "$ME":
			return *e.StateKey == string(reader)
		case "$LAZY":
			return slices.ContainsFunc(timeline, func(t shownEvent) bool { return string(t.shown.Sender) == *e.StateKey })
		}
		return pair[1] == *e.StateKey
	})
}
