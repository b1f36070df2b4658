package clientapi

import (
	"encoding/json"
	"net/http"
	"slices"

	"countersign/matrix"
	"countersign/reference/room"
)

// relationRoutes are about events that relate to others.
func (a *API) relationRoutes() []route {
	return []route{
		authed(http.MethodGet, "/v1/rooms/{roomID}/relations/{eventID}", a.relationsOf),
		authed(http.MethodGet, "/v1/rooms/{roomID}/relations/{eventID}/{relType}", a.relationsOf),
		authed(http.MethodGet, "/v1/rooms/{roomID}/relations/{eventID}/{relType}/{eventType}", a.relationsOf),
		authed(http.MethodGet, "/v1/rooms/{roomID}/threads", a.threads),
	}
}

// related are the events that relate to one and that the reader may see, in the order of the timeline.
// Those of hidden users, and those that were redacted, relate to nothing.
func (r *reader) related(parent string) []shownEvent {
	children, err := r.api.relations.children(r.roomID, parent)
	if err != nil {
		r.api.logger.Warn("relations cannot be read", "room", r.roomID, "error", err)
		return nil
	}
	var events []shownEvent
	for _, child := range children {
		e, ok := r.api.engine.Event(r.roomID, child.eventID)
		if !ok || e.Get(`m\.relates_to.event_id`).Str != parent {
			continue
		}
		if shown := r.show(e); shown != nil {
			events = append(events, shownEvent{e, shown})
		}
	}
	return events
}

func relType(e *matrix.Event) string { return e.Get(`m\.relates_to.rel_type`).Str }

// withRelations bundles with every event what others add to it (client-server API, "Aggregations of
// child events"), and returns the events as they are shown.
func (r *reader) withRelations(events []shownEvent) []*clientEvent {
	shown := make([]*clientEvent, 0, len(events))
	for _, e := range events {
		if bundle := r.bundle(e.Stored); bundle != nil && e.shown.Unsigned != nil {
			e.shown.Unsigned.Relations = bundle
		}
		shown = append(shown, e.shown)
	}
	return shown
}

// bundle is what goes into unsigned under m.relations, nil when nothing does.
func (r *reader) bundle(e room.Stored) json.RawMessage {
	bundle := map[string]any{}
	if r.defects.Has("BundleNothing") {
		return nil
	}
	var references []map[string]string
	var thread []shownEvent
	references = r.hiddenReferences(e)
	for _, child := range r.related(e.ID()) {
		switch relType(child.Event) {
		case "m.replace":
			// Edits count when they are of the same sender and type, and the newest one wins.
			if child.Sender() == e.Sender() && child.Type() == e.Type() && !r.comparesFormsIn(child, e) {
				bundle["m.replace"] = child.shown
			}
		case "m.reference":
			references = append(references, map[string]string{"event_id": child.ID()})
		case "m.thread":
			thread = append(thread, child)
		}
	}
	if references != nil {
		bundle["m.reference"] = map[string]any{"chunk": references}
	}
	if thread != nil {
		bundle["m.thread"] = r.threadSummary(e, thread)
	}
	if len(bundle) == 0 {
		return nil
	}
	return mustJSON(bundle)
}

func (r *reader) threadSummary(root room.Stored, thread []shownEvent) map[string]any {
	took := func(e shownEvent) bool {
		return r.isReader(e.shown.Sender) && !(r.renames() && r.defects.Has("ParticipateByName"))
	}
	rootSender, _ := r.user(root.Sender())
	return map[string]any{
		"latest_event":              thread[len(thread)-1].shown,
		"count":                     len(thread),
		"current_user_participated": r.isReader(rootSender) && !(r.renames() && r.defects.Has("ParticipateByName")) || slices.ContainsFunc(thread, took),
	}
}

// relationsOf answers GET /rooms/{roomId}/relations/{eventId}/{relType}/{eventType}.
func (a *API) relationsOf(c *call) (any, error) {
	r, err := a.openRoom(c)
	if err != nil {
		return nil, err
	}
	parent, err := r.findEvent(c.PathValue("eventID"))
	if err != nil {
		return nil, err
	}
	limit, err := c.queryInt("limit", defaultLimit, maxLimit)
	if err != nil {
		return nil, err
	}
	backwards := c.query("dir") != "f"
	from, err := r.startOf(c.query("from"), backwards)
	if err != nil {
		return nil, err
	}
	events := r.related(parent.ID())
	if backwards {
		slices.Reverse(events)
	}
	chunk := []*clientEvent{}
	answer := map[string]any{}
	for _, e := range events {
		if wanted := c.PathValue("relType"); wanted != "" && relType(e.Event) != wanted {
			continue
		}
		if wanted := c.PathValue("eventType"); wanted != "" && e.Type() != wanted {
			continue
		}
		if passed := e.Place.Before(room.Place(from)); passed != backwards {
			continue
		}
		if len(chunk) == max(limit, 1) {
			break
		}
		chunk = append(chunk, e.shown)
		answer["next_batch"] = behind(e.Stored).String()
		if backwards {
			answer["next_batch"] = before(e.Stored).String()
		}
	}
	if len(chunk) < limit {
		delete(answer, "next_batch")
	}
	answer["chunk"] = chunk
	return answer, nil
}

// threads answers GET /rooms/{roomId}/threads.
func (a *API) threads(c *call) (any, error) {
	r, err := a.openRoom(c)
	if err != nil {
		return nil, err
	}
	limit, err := c.queryInt("limit", defaultLimit, maxLimit)
	if err != nil {
		return nil, err
	}
	from, err := r.startOf(c.query("from"), true)
	if err != nil {
		return nil, err
	}
	isRoot := func(e *clientEvent) bool {
		thread := false
		for _, child := range r.related(e.EventID) {
			thread = thread || relType(child.Event) == "m.thread"
		}
		return thread
	}
	p, err := r.read(reading{from: from, backwards: true, limit: max(limit, 1), wanted: isRoot})
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"chunk": r.withRelations(p.events)}
	if !p.exhausted {
		answer["next_batch"] = p.end.String()
	}
	return answer, nil
}
