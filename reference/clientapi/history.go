package clientapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// Bounds of reading a timeline.
const (
	// chunkSize is how many events are read from the engine at once.
	chunkSize = 50
	// maxScanned is how many events one request looks at. Where most of them are hidden, a page ends
	// early, with a token that leads on, so that a client gets past any number of them.
	maxScanned = 2000
	// backfillTime bounds how long a page of history waits for other servers.
	backfillTime = 10 * time.Second
)

// historyRoutes are about reading the history of rooms.
func (a *API) historyRoutes() []route {
	return []route{
		authed(http.MethodGet, "/v3/rooms/{roomID}/messages", a.messages),
		authed(http.MethodGet, "/v3/rooms/{roomID}/context/{eventID}", a.context),
		authed(http.MethodGet, "/v3/rooms/{roomID}/event/{eventID}", a.event),
		authed(http.MethodGet, "/v1/rooms/{roomID}/timestamp_to_event", a.timestampToEvent),
	}
}

// page is a stretch of a timeline as a reader sees it.
type page struct {
	events []shownEvent
	// end is where the stretch ends in the direction of reading.
	end gap
	// exhausted is set when nothing follows.
	exhausted bool
	// whole is set when the reading has come to the create event: nothing is missing before it.
	whole bool
}

// shownEvent is an event both ways.
type shownEvent struct {
	room.Stored
	shown *clientEvent
}

func (p page) shown() []*clientEvent {
	events := make([]*clientEvent, 0, len(p.events))
	for _, e := range p.events {
		events = append(events, e.shown)
	}
	return events
}

// reading says which stretch of a timeline to read.
type reading struct {
	from      gap
	backwards bool
	// limit is how many events to return.
	limit int
	// wanted chooses events, nil for all that the reader may see.
	wanted func(*clientEvent) bool
	// to ends the reading at an event, nil for never.
	to func(room.Stored) bool
	// show is how events are shown, nil for reader.show.
	show func(room.Stored) *clientEvent
	// skip leaves events out that the reader may see elsewhere, nil for none.
	skip func(room.Stored) bool
	// fill fetches what is missing before a place, nil for readings that do without.
	fill func(room.Place)
}

// read reads a stretch of the room's timeline. Hidden events take no place in it but are read past.
func (r *reader) read(q reading) (page, error) {
	p := page{end: q.from}
	show := q.show
	if show == nil {
		show = r.show
	}
	from := q.from.forwards()
	if q.backwards {
		from = q.from.backwards()
	}
	for scanned := 0; len(p.events) < q.limit && scanned < maxScanned; {
		if q.fill != nil {
			q.fill(from)
		}
		chunk, next, err := r.api.engine.Timeline(r.roomID, from, q.backwards, chunkSize)
		if err != nil {
			return page{}, err
		}
		for _, e := range chunk {
			if q.to != nil && q.to(e) {
				p.exhausted = true
				return p, nil
			}
			if len(p.events) == q.limit {
				return p, nil
			}
			p.whole = p.whole || e.IsCreate()
			p.end = behind(e)
			if q.backwards {
				p.end = before(e)
			}
			if q.skip != nil && q.skip(e) {
				continue
			}
			if shown := show(e); shown != nil && (q.wanted == nil || q.wanted(shown)) {
				p.events = append(p.events, shownEvent{e, shown})
			} else if shown == nil && q.backwards && !r.visible(e.Event) && r.defects.Has("EndPagesAtHiddenEvents") {
				p.exhausted = true
				return p, nil
			}
		}
		if len(chunk) == 0 || next == from {
			p.exhausted = true
			return p, nil
		}
		scanned += len(chunk)
		from = next
	}
	return p, nil
}

// filling is a reading that asks other servers for what is missing on the way back, for some time.
func (r *reader) filling(ctx context.Context, q reading) (reading, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, backfillTime)
	q.fill = func(from room.Place) {
		grown, err := r.api.engine.Backfill(ctx, r.roomID, from, max(q.limit, chunkSize))
		if err != nil {
			r.api.logger.Info("history cannot be fetched", "room", r.roomID, "error", err)
		}
		if grown {
			r.api.relations.forget(r.roomID)
		}
	}
	if !q.backwards || !r.joined() {
		q.fill = nil
	}
	return q, cancel
}

// messages answers GET /rooms/{roomId}/messages.
func (a *API) messages(c *call) (any, error) {
	r, err := a.openRoom(c)
	if err != nil {
		return nil, err
	}
	q, f, err := r.parseReading(c)
	if err != nil {
		return nil, err
	}
	q, cancel := r.filling(c.Context(), q)
	defer cancel()
	p, err := r.read(q)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"chunk": r.withRelations(p.events), "start": q.from.String()}
	if !p.exhausted || a.defects.Has("AlwaysTellWherePagesEnd") {
		answer["end"] = p.end.String()
	}
	if f.LazyLoadMembers {
		answer["state"] = r.membersOf(p.events)
	}
	return answer, nil
}

// parseReading reads the parameters of /messages and /relations.
func (r *reader) parseReading(c *call) (q reading, f eventFilter, err error) {
	switch dir := c.query("dir"); dir {
	case "b", "f":
		q.backwards = dir == "b"
	case "":
		return q, f, missingParam("dir")
	default:
		return q, f, peer.InvalidParam("dir is b or f, not %q", dir)
	}
	if f, err = parseEventFilter(c.query("filter")); err != nil {
		return q, f, err
	}
	if q.limit, err = c.queryInt("limit", f.limit(), maxLimit); err != nil {
		return q, f, err
	}
	q.limit = max(q.limit, 1)
	if q.limit > 5 && r.defects.Has("PageLess") {
		q.limit = 5
	}
	if q.from, err = r.startOf(c.query("from"), q.backwards); err != nil {
		return q, f, err
	}
	if to := c.query("to"); to != "" {
		end, err := parseGap(to)
		if err != nil {
			return q, f, err
		}
		q.to = func(e room.Stored) bool {
			beforeEnd := e.Place.Before(room.Place(end))
			return beforeEnd == q.backwards
		}
	}
	wants := f
	q.wanted = wants.wants
	return q, f, nil
}

// startOf is where a reading starts: at a token, or without one at the end that the direction leads
// away from.
func (r *reader) startOf(token string, backwards bool) (gap, error) {
	switch {
	case token != "":
		return parseGap(token)
	case backwards:
		return behindPosition(r.api.engine.Now()), nil
	}
	return gap{}, nil
}

// membersOf are the member events of the senders of events, for clients that load members lazily.
func (r *reader) membersOf(events []shownEvent) []*clientEvent {
	members := []*clientEvent{}
	if len(events) == 0 {
		return members
	}
	state, err := r.state()
	if err != nil {
		return members
	}
	seen := map[matrix.UserID]bool{}
	for _, e := range events {
		if seen[e.Sender()] {
			continue
		}
		seen[e.Sender()] = true
		if shown := r.showPlace(state, memberPlace(e.Sender())); shown != nil {
			members = append(members, shown)
		}
	}
	return members
}

// event answers GET /rooms/{roomId}/event/{eventId}.
func (a *API) event(c *call) (any, error) {
	r, err := a.openRoom(c)
	if err != nil {
		return nil, err
	}
	e, err := r.findEvent(c.PathValue("eventID"))
	if err != nil {
		return nil, err
	}
	return r.withRelations([]shownEvent{{e, r.show(e)}})[0], nil
}

// context answers GET /rooms/{roomId}/context/{eventId}.
func (a *API) context(c *call) (any, error) {
	r, err := a.openRoom(c)
	if err != nil {
		return nil, err
	}
	e, err := r.findEvent(c.PathValue("eventID"))
	if err != nil {
		return nil, err
	}
	f, err := parseEventFilter(c.query("filter"))
	if err != nil {
		return nil, err
	}
	limit, err := c.queryInt("limit", defaultLimit, maxLimit)
	if err != nil {
		return nil, err
	}
	backwards, cancel := r.filling(c.Context(), reading{from: before(e), backwards: true, limit: limit / 2, wanted: f.wants})
	defer cancel()
	earlier, err := r.read(backwards)
	if err != nil {
		return nil, err
	}
	later, err := r.read(reading{from: behind(e), limit: limit - limit/2, wanted: f.wants})
	if err != nil {
		return nil, err
	}
	state, err := r.stateAround(e, later)
	if err != nil {
		return nil, err
	}
	if f.LazyLoadMembers {
		state = r.membersOf(append(append(earlier.events, shownEvent{e, nil}), later.events...))
	}
	return map[string]any{
		"start": earlier.end.String(), "end": later.end.String(),
		"events_before": r.withRelations(earlier.events), "event": r.withRelations([]shownEvent{{e, r.show(e)}})[0],
		"events_after": r.withRelations(later.events),
		"state":        state,
	}, nil
}

// stateAround is the state after the last of the events that follow an event, as /context shows it.
func (r *reader) stateAround(e room.Stored, later page) ([]*clientEvent, error) {
	last := e
	if n := len(later.events); n > 0 {
		last = later.events[n-1].Stored
	}
	state, err := r.api.engine.StateAfter(r.roomID, last.ID())
	if err != nil {
		if state, err = r.state(); err != nil {
			return nil, err
		}
	}
	return r.showAll(state)
}

// timestampToEvent answers GET /rooms/{roomId}/timestamp_to_event.
func (a *API) timestampToEvent(c *call) (any, error) {
	r, err := a.openRoom(c)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(c.query("ts")) == "" {
		return nil, missingParam("ts")
	}
	ts, err := c.queryInt("ts", 0, matrix.MaxSafeInteger)
	if err != nil {
		return nil, err
	}
	backwards := c.query("dir") == "b"
	from, err := r.startOf("", backwards)
	if err != nil {
		return nil, err
	}
	p, err := r.read(reading{from: from, backwards: backwards, limit: 1, wanted: func(e *clientEvent) bool {
		return backwards == (e.OriginServerTS <= int64(ts)) || e.OriginServerTS == int64(ts)
	}})
	if err != nil {
		return nil, err
	}
	if len(p.events) == 0 {
		return nil, peer.NotFound("there is no event on that side of the time")
	}
	return map[string]any{"event_id": p.events[0].ID(), "origin_server_ts": p.events[0].OriginServerTS()}, nil
}
