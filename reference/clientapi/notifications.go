package clientapi

import (
	"slices"
	"strconv"

	"countersign/reference/peer"
	"countersign/reference/room"
)

// notification is an event that has notified a user (client-server API, "GET
// /_matrix/client/v3/notifications").
type notification struct {
	Actions []any        `json:"actions"`
	Event   *clientEvent `json:"event"`
	Read    bool         `json:"read"`
	RoomID  string       `json:"room_id"`
	TS      int64        `json:"ts"`
	place   room.Place
}

// maxNotifications bounds a page.
const maxNotifications = 100

// notifications lists what has notified the user in the rooms that the user is in, newest first. Of
// each room the latest maxUnread events are looked at. Nothing is kept for it: push rules are applied
// as they are now.
func (a *API) notifications(c *call) (any, error) {
	limit, err := c.queryInt("limit", 20, maxNotifications)
	if err != nil {
		return nil, err
	}
	before, err := strconv.ParseInt(c.query("from"), 10, 64)
	if err != nil && c.query("from") != "" {
		return nil, peer.InvalidParam("from is not a token of this endpoint")
	}
	memberships, err := a.engine.Memberships(c.user())
	if err != nil {
		return nil, err
	}
	found := []notification{}
	for _, m := range memberships {
		if m.Membership != "join" {
			continue
		}
		r, err := a.reader(c.session, m.RoomID)
		if err != nil {
			return nil, err
		}
		inRoom, err := r.notifications(c.query("only") == "highlight")
		if err != nil {
			return nil, err
		}
		found = append(found, inRoom...)
	}
	slices.SortFunc(found, func(x, y notification) int {
		if x.place.Before(y.place) {
			return 1
		}
		return -1
	})
	if before > 0 {
		found = slices.DeleteFunc(found, func(n notification) bool { return int64(n.place.Major) >= before })
	}
	answer := map[string]any{"notifications": found}
	if len(found) > limit {
		answer["notifications"] = found[:limit]
		answer["next_token"] = strconv.FormatInt(int64(found[limit-1].place.Major), 10)
	}
	return answer, nil
}

// notifications are those of one room, newest first.
func (r *reader) notifications(highlightsOnly bool) ([]notification, error) {
	readUpTo, err := r.readUpTo()
	if err != nil {
		return nil, err
	}
	state, err := r.api.engine.CurrentState(r.roomID)
	if err != nil {
		return nil, err
	}
	n, err := r.notifier(state)
	if err != nil {
		return nil, err
	}
	from, err := r.startOf("", true)
	if err != nil {
		return nil, err
	}
	p, err := r.read(reading{from: from, backwards: true, limit: maxUnread})
	if err != nil {
		return nil, err
	}
	var found []notification
	spoken := false // whoever speaks has read what came before
	for _, e := range p.events {
		spoken = spoken || e.Sender() == r.self
		notifies, highlights := n.judge(e)
		if !notifies || highlightsOnly && !highlights {
			continue
		}
		found = append(found, notification{
			Actions: n.actions(e), Event: e.shown, Read: spoken || !readUpTo.Before(e.Place), RoomID: r.roomID,
			TS: e.OriginServerTS(), place: e.Place,
		})
	}
	return found, nil
}
