package clientapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/tidwall/gjson"
	"golang.org/x/sync/errgroup"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// Bounds of pushing.
const (
	maxPushing   = 16 // requests at the same time
	pushAttempts = 4
)

// gatewayPath is the one path that a push gateway can have (push gateway API).
const gatewayPath = "/_matrix/push/v1/notify"

// pushers answers GET /pushers.
func (a *API) pushers(c *call) (any, error) {
	pushers, err := a.users.Pushers(c.user())
	if err != nil {
		return nil, err
	}
	raw := []json.RawMessage{}
	for _, p := range pushers {
		raw = append(raw, p.Raw)
	}
	return map[string]any{"pushers": raw}, nil
}

// setPusher answers POST /pushers/set.
func (a *API) setPusher(c *call) (any, error) {
	raw, err := c.object()
	if err != nil {
		return nil, err
	}
	body := gjson.ParseBytes(raw)
	p := userdb.Pusher{
		User: c.user(), AppID: body.Get("app_id").Str, PushKey: body.Get("pushkey").Str, URL: body.Get("data.url").Str,
		Format: body.Get("data.format").Str, Raw: raw, TS: a.nowMillis(),
	}
	if p.AppID == "" || p.PushKey == "" || !body.Get("kind").Exists() {
		return nil, missingParam("app_id, pushkey or kind")
	}
	switch kind := body.Get("kind"); {
	case kind.Type == gjson.Null:
		if err := a.users.DeletePusher(p); err != nil {
			return nil, err
		}
		return empty()
	case kind.Str != "http":
		return nil, peer.InvalidParam("there is no pusher of the kind %s here", kind.Raw)
	}
	if u, err := url.Parse(p.URL); err != nil || u.Scheme != "https" || u.Host == "" || u.Path != gatewayPath {
		return nil, peer.InvalidParam("%q is not the URL of a push gateway: https, and the path %s", p.URL, gatewayPath)
	}
	if err := a.users.SetPusher(p); err != nil {
		return nil, err
	}
	return empty()
}

// push tells push gateways of new events until ctx ends, and has guests leave whom a room does not want any
// more. What has come while this server was not running is not made up for.
func (a *API) push(ctx context.Context) {
	f := newFollower(a.engine, a.engine.Now())
	var requests errgroup.Group
	requests.SetLimit(maxPushing)
	for {
		events, err := f.next(ctx)
		if err == nil {
			err = errors.Join(a.pushEvents(ctx, &requests, events), a.sendGuestsAway(ctx, events))
		}
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			a.logger.Error("events are not followed", "error", err)
		}
	}
	_ = requests.Wait() // no request returns an error; they end with ctx
}

// pushEvents begins to tell push gateways of those events that notify users.
func (a *API) pushEvents(ctx context.Context, requests *errgroup.Group, events []room.Stored) error {
	pushers, err := a.users.Pushers("")
	if err != nil || len(pushers) == 0 {
		return err
	}
	for _, e := range events {
		for _, p := range pushers {
			body, err := a.notification(p, e)
			if err != nil {
				return err
			}
			if body != nil {
				requests.Go(func() error {
					a.pushOne(ctx, p, body)
					return nil
				})
			}
		}
	}
	return nil
}

// notification is what a push gateway is told of an event, nil when the event does not notify the user.
// Users in it are those that clients know (CS-20).
func (a *API) notification(p userdb.Pusher, e room.Stored) ([]byte, error) {
	r, err := a.reader(userdb.Session{User: p.User}, e.RoomID())
	if err != nil || !r.joined() {
		return nil, err
	}
	shown := r.show(e)
	if shown == nil {
		return nil, nil
	}
	state, err := a.engine.CurrentState(r.roomID)
	if err != nil {
		return nil, err
	}
	n, err := r.notifier(state)
	if err != nil {
		return nil, err
	}
	notifies, highlights := n.judge(shownEvent{e, shown})
	if !notifies {
		return nil, nil
	}
	unread, err := a.unreadRooms(p.User)
	if err != nil {
		return nil, err
	}
	tweaks := map[string]any{}
	if highlights {
		tweaks["highlight"] = true
	}
	told := map[string]any{
		"event_id": shown.EventID, "room_id": r.roomID, "prio": "high", "counts": map[string]int{"unread": unread},
		"devices": []any{map[string]any{
			"app_id": p.AppID, "pushkey": p.PushKey, "pushkey_ts": p.TS / 1000, "tweaks": tweaks,
			"data": without([]byte(gjson.GetBytes(p.Raw, "data").Raw), "url"),
		}},
	}
	if p.Format != "event_id_only" {
		told["type"], told["sender"], told["content"] = shown.Type, shown.Sender, shown.Content
		if r.renames() && r.defects.Has("PushKeys") {
			told["sender"] = e.Sender()
		}
		told["user_is_target"] = shown.Type == "m.room.member" && shown.StateKey != nil && r.isReader(matrix.UserID(*shown.StateKey))
	}
	return mustJSON(map[string]any{"notification": told}), nil
}

// unreadRooms counts the rooms in which something has notified a user who has not read it.
func (a *API) unreadRooms(user matrix.UserID) (count int, err error) {
	memberships, err := a.engine.Memberships(user)
	if err != nil {
		return 0, err
	}
	for _, m := range memberships {
		if m.Membership != "join" {
			continue
		}
		r, err := a.reader(userdb.Session{User: user}, m.RoomID)
		if err != nil {
			return 0, err
		}
		state, err := a.engine.CurrentState(m.RoomID)
		if err != nil {
			return 0, err
		}
		u, err := r.unreadCounts(state)
		if err != nil {
			return 0, err
		}
		count += boolInt(u.Notifications > 0)
	}
	return count, nil
}

// pushOne tells a push gateway of an event, and forgets a pusher that the gateway rejects.
func (a *API) pushOne(ctx context.Context, p userdb.Pusher, body []byte) {
	for failures := range pushAttempts {
		answer, err := a.tell(ctx, http.MethodPost, p.URL, "", body)
		if err == nil {
			rejected := slices.ContainsFunc(gjson.GetBytes(answer, "rejected").Array(), func(key gjson.Result) bool { return key.Str == p.PushKey })
			if rejected {
				err = a.users.DeletePusher(p)
			}
			if err != nil {
				a.logger.Error("a rejected pusher cannot be deleted", "user", p.User, "error", err)
			}
			return
		}
		a.logger.Info("a push gateway does not answer", "url", p.URL, "error", err)
		if !pause(ctx, failures) {
			return
		}
	}
}
