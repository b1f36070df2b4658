package clientapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

// maxSearched is how many hits one search collects.
const maxSearched = 200

// searchRoutes are about finding messages and users.
func (a *API) searchRoutes() []route {
	return []route{
		authed(http.MethodPost, "/v3/search", a.search),
		authed(http.MethodPost, "/v3/user_directory/search", a.searchUsers),
	}
}

// searchCriteria are search_categories.room_events of POST /search.
type searchCriteria struct {
	SearchTerm   string      `json:"search_term"`
	Keys         []string    `json:"keys"`
	Filter       eventFilter `json:"filter"`
	OrderBy      string      `json:"order_by"`
	EventContext *struct {
		BeforeLimit    *int `json:"before_limit"`
		AfterLimit     *int `json:"after_limit"`
		IncludeProfile bool `json:"include_profile"`
	} `json:"event_context"`
	IncludeState bool `json:"include_state"`
	Groupings    struct {
		GroupBy []struct {
			Key string `json:"key"`
		} `json:"group_by"`
	} `json:"groupings"`
}

// hit is an event that a search has found.
type hit struct {
	shownEvent
	reader *reader
}

// searchGroup is a group of hits.
type searchGroup struct {
	Order   int      `json:"order"`
	Results []string `json:"results"`
}

// search answers POST /search: events that contain every word of the search term. There is no index;
// the newest events of every room are read.
func (a *API) search(c *call) (any, error) {
	var body struct {
		Categories struct {
			RoomEvents *searchCriteria `json:"room_events"`
		} `json:"search_categories"`
	}
	if err := c.read(&body); err != nil {
		return nil, err
	}
	q := body.Categories.RoomEvents
	if q == nil {
		return map[string]any{"search_categories": map[string]any{}}, nil
	}
	offset := 0
	if batch := c.query("next_batch"); batch != "" {
		var err error
		if offset, err = strconv.Atoi(batch); err != nil || offset < 0 {
			return nil, peer.InvalidParam("%q is not a token of /search", batch)
		}
	}
	hits, err := a.searchRooms(c, q)
	if err != nil {
		return nil, err
	}
	hits = hits[min(offset, len(hits)):]
	limit := max(q.Filter.limit(), 1)
	answer := map[string]any{"count": len(hits), "highlights": searchWords(q.SearchTerm)}
	if len(hits) > limit {
		hits = hits[:limit]
		answer["next_batch"] = strconv.Itoa(offset + limit)
	}
	results := []map[string]any{}
	for _, h := range hits {
		result := map[string]any{"rank": 1, "result": h.shown}
		if q.EventContext != nil {
			if result["context"], err = h.context(q); err != nil {
				return nil, err
			}
		}
		results = append(results, result)
	}
	answer["results"] = results
	if groups := groupHits(q, hits); len(groups) > 0 {
		answer["groups"] = groups
	}
	if q.IncludeState {
		if answer["state"], err = stateOfHits(hits); err != nil {
			return nil, err
		}
	}
	return map[string]any{"search_categories": map[string]any{"room_events": answer}}, nil
}

// searchRooms finds the events that match in the rooms that the caller is in, newest first.
func (a *API) searchRooms(c *call, q *searchCriteria) (hits []hit, err error) {
	words := searchWords(q.SearchTerm)
	if len(words) == 0 {
		return nil, missingParam("search_term")
	}
	keys := q.Keys
	if keys == nil {
		keys = []string{"content.body", "content.name", "content.topic"}
	}
	memberships, err := a.engine.Memberships(c.user())
	if err != nil {
		return nil, err
	}
	for _, m := range memberships {
		if m.Membership != "join" || !q.Filter.wantsRoom(m.RoomID) {
			continue
		}
		r, err := a.reader(c.session, m.RoomID)
		if err != nil {
			return nil, err
		}
		from, err := r.startOf("", true)
		if err != nil {
			return nil, err
		}
		p, err := r.read(reading{from: from, backwards: true, limit: maxSearched, wanted: func(e *clientEvent) bool {
			return q.Filter.wants(e) && matchesSearch(e, keys, words)
		}})
		if err != nil {
			return nil, err
		}
		for _, e := range p.events {
			hits = append(hits, hit{e, r})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return int(b.Place.Major - a.Place.Major) })
	return hits, nil
}

func searchWords(term string) []string { return strings.Fields(strings.ToLower(term)) }

// matchesSearch reports whether the properties of an event contain every word.
func matchesSearch(e *clientEvent, keys, words []string) bool {
	var text strings.Builder
	for _, key := range keys {
		property, ok := strings.CutPrefix(key, "content.")
		if !ok {
			continue
		}
		text.WriteString(strings.ToLower(gjson.GetBytes(e.Content, property).Str))
		text.WriteByte('\n')
	}
	for _, word := range words {
		if !strings.Contains(text.String(), word) {
			return false
		}
	}
	return true
}

// context is what surrounds a hit.
func (h hit) context(q *searchCriteria) (any, error) {
	limits := [2]int{5, 5}
	for i, limit := range []*int{q.EventContext.BeforeLimit, q.EventContext.AfterLimit} {
		if limit != nil {
			limits[i] = max(0, min(*limit, maxLimit))
		}
	}
	h.reader.lax = h.reader.defects.Has("ShowHiddenEventsAroundHits")
	earlier, err := h.reader.read(reading{from: before(h.Stored), backwards: true, limit: limits[0]})
	if err != nil {
		return nil, err
	}
	later, err := h.reader.read(reading{from: behind(h.Stored), limit: limits[1]})
	if err != nil {
		return nil, err
	}
	around := map[string]any{
		"start": earlier.end.String(), "end": later.end.String(),
		"events_before": earlier.shown(), "events_after": later.shown(),
	}
	if q.EventContext.IncludeProfile {
		profiles := map[matrix.UserID]member{}
		for _, e := range h.reader.membersOf(append(append(earlier.events, h.shownEvent), later.events...)) {
			content := gjson.ParseBytes(e.Content)
			profiles[matrix.UserID(*e.StateKey)] = member{rawText(content.Get("displayname")), rawText(content.Get("avatar_url"))}
		}
		around["profile_info"] = profiles
	}
	return around, nil
}

// groupHits groups hits by room or by sender, as clients know the sender.
func groupHits(q *searchCriteria, hits []hit) map[string]map[string]*searchGroup {
	groups := map[string]map[string]*searchGroup{}
	for _, by := range q.Groupings.GroupBy {
		group := map[string]*searchGroup{}
		for _, h := range hits {
			name := h.shown.RoomID
			if by.Key == "sender" {
				name = string(h.shown.Sender)
				if h.reader.renames() && h.reader.defects.Has("GroupSearchByKey") {
					name = string(h.Sender())
				}
			}
			if group[name] == nil {
				group[name] = &searchGroup{Order: len(group) + 1}
			}
			group[name].Results = append(group[name].Results, h.shown.EventID)
		}
		if by.Key == "sender" || by.Key == "room_id" {
			groups[by.Key] = group
		}
	}
	return groups
}

// stateOfHits is the state of the rooms with hits.
func stateOfHits(hits []hit) (map[string][]*clientEvent, error) {
	states := map[string][]*clientEvent{}
	for _, h := range hits {
		if _, known := states[h.shown.RoomID]; known {
			continue
		}
		state, err := h.reader.state()
		if err != nil {
			return nil, err
		}
		if states[h.shown.RoomID], err = h.reader.showAll(state); err != nil {
			return nil, err
		}
	}
	return states, nil
}
