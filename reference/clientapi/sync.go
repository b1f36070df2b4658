package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/room"
)

// Bounds of /sync.
const (
	maxSyncWait = 2 * time.Minute
	// maxToDeviceMessages is how many to-device messages one answer holds.
	maxToDeviceMessages = 100
)

// syncRoutes are about following what happens.
func (a *API) syncRoutes() []route {
	return []route{authed(http.MethodGet, "/v3/sync", a.sync)}
}

// syncAnswer is the answer of /sync.
type syncAnswer struct {
	NextBatch   string         `json:"next_batch"`
	Rooms       syncRooms      `json:"rooms"`
	AccountData eventBatch     `json:"account_data"`
	Presence    eventBatch     `json:"presence"`
	ToDevice    eventBatch     `json:"to_device"`
	DeviceLists deviceLists    `json:"device_lists"`
	OneTimeKeys map[string]int `json:"device_one_time_keys_count"`
	Fallback    []string       `json:"device_unused_fallback_key_types"`
	// Extra is something that nobody knows, which a variant adds.
	Extra bool `json:"org.countersign.extra,omitempty"`
}

// eventBatch is a list of events in an object.
type eventBatch struct {
	Events []any `json:"events"`
}

func batch[T any](events []T) eventBatch {
	b := eventBatch{Events: make([]any, 0, len(events))}
	for _, e := range events {
		b.Events = append(b.Events, e)
	}
	return b
}

// syncRooms are the rooms of an answer by the reader's membership.
type syncRooms struct {
	Join   map[string]*syncRoom    `json:"join"`
	Invite map[string]*invitedRoom `json:"invite"`
	Knock  map[string]*knockedRoom `json:"knock"`
	Leave  map[string]*syncRoom    `json:"leave"`
}

// invitedRoom is a room that the reader is invited to.
type invitedRoom struct {
	State eventBatch `json:"invite_state"`
}

// knockedRoom is a room that the reader has knocked on.
type knockedRoom struct {
	State eventBatch `json:"knock_state"`
}

// sync answers GET /sync.
func (a *API) sync(c *call) (any, error) {
	q, err := a.syncRequest(c)
	if err != nil {
		return nil, err
	}
	if q.since != nil {
		// A client that asks for what follows has what came before.
		if err := a.users.DeleteToDevice(c.user(), c.session.DeviceID, q.since.toDevice); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(c.Context(), q.wait)
	defer cancel()
	for {
		w, err := a.listen(q.session.User)
		if err != nil {
			return nil, err
		}
		answer, news, err := a.syncOnce(q)
		if err != nil || news || !a.await(ctx, w) {
			a.hub.stop(w)
			return answer, err
		}
		a.hub.stop(w)
		// The device may have been logged out meanwhile.
		if _, err := a.authenticate(c.Request); err != nil {
			return nil, err
		}
	}
}

// listen waits for whatever concerns a user.
func (a *API) listen(user matrix.UserID) (*waiter, error) {
	memberships, err := a.engine.Memberships(user)
	if err != nil {
		return nil, err
	}
	topics := []string{string(user)}
	for _, m := range memberships {
		topics = append(topics, m.RoomID)
	}
	return a.hub.listen(topics...), nil
}

// await returns true when something has happened, and false when ctx has ended first. It also ends the
// typing of users whose time is over.
func (a *API) await(ctx context.Context, w *waiter) bool {
	for {
		changed, next := a.typing.expire()
		a.hub.wake(changed...)
		var over <-chan time.Time
		if !next.IsZero() {
			timer := time.NewTimer(next.Sub(a.now()))
			defer timer.Stop()
			over = timer.C
		}
		select {
		case <-w.woken:
			return true
		case <-ctx.Done():
			return false
		case <-over:
		}
	}
}

// tokenNow is the token for everything that has happened until now.
func (a *API) tokenNow() (t syncToken, err error) {
	t = syncToken{rooms: a.engine.Now(), fleeting: a.fleeting.now()}
	t.data, err = a.users.Position()
	t.toDevice = t.data
	return t, err
}

// syncOnce is the answer to a request at this moment, and whether there is anything in it that is worth
// answering at once.
func (a *API) syncOnce(q *syncRequest) (answer *syncAnswer, news bool, err error) {
	until, err := a.tokenNow()
	if err != nil {
		return nil, false, err
	}
	since := q.from()
	answer = &syncAnswer{Extra: a.defects.Has("AddFieldsToSync")}
	// The memberships are read after the token: what is newer than the token can then be told from
	// what belongs to it.
	memberships, err := a.engine.Memberships(q.session.User)
	if err != nil {
		return nil, false, err
	}
	rooms, err := a.syncRooms(q, until, memberships)
	if err != nil {
		return nil, false, err
	}
	answer.Rooms = *rooms
	presence, err := a.syncPresence(q, memberships)
	if err != nil {
		return nil, false, err
	}
	answer.Presence = batch(presence)
	if err := a.syncAccountData(q, since, until, answer); err != nil {
		return nil, false, err
	}
	messages, toDevice, err := a.users.ToDeviceMessages(q.session.User, q.session.DeviceID, since.toDevice, until.data, maxToDeviceMessages)
	if err != nil {
		return nil, false, err
	}
	until.toDevice = toDevice
	answer.ToDevice = batch(messages)
	if q.since != nil && (since.rooms != until.rooms || since.data != until.data) {
		if answer.DeviceLists, err = a.deviceListsBetween(q.session, memberships, since, until); err != nil {
			return nil, false, err
		}
	}
	if answer.OneTimeKeys, answer.Fallback, err = a.users.OneTimeKeyCounts(q.session.User, q.session.DeviceID); err != nil {
		return nil, false, err
	}
	answer.NextBatch = until.String()
	news = q.since == nil || q.fullState || answer.hasNews()
	return answer, news, nil
}

func (s *syncAnswer) hasNews() bool {
	return len(s.Rooms.Join)+len(s.Rooms.Invite)+len(s.Rooms.Knock)+len(s.Rooms.Leave) > 0 ||
		len(s.AccountData.Events)+len(s.ToDevice.Events)+len(s.Presence.Events) > 0 ||
		len(s.DeviceLists.Changed)+len(s.DeviceLists.Left) > 0
}

// typedContent is an event that is little but a type and content: account data, typing, receipts,
// presence. Only presence has a sender.
type typedContent struct {
	Type    string          `json:"type"`
	Sender  matrix.UserID   `json:"sender,omitempty"`
	Content json.RawMessage `json:"content"`
}

// syncAccountData adds the account's own data and, to the rooms of the answer, the data of rooms. A
// room that only has new data is added.
func (a *API) syncAccountData(q *syncRequest, since, until syncToken, answer *syncAnswer) error {
	data, err := a.users.AccountDataBetween(q.session.User, since.data, until.data)
	if err != nil {
		return err
	}
	own := []typedContent{}
	if q.since == nil && !slices.ContainsFunc(data, func(d userdb.AccountDatum) bool { return d.RoomID == "" && d.Type == dataPushRules }) {
		rules, err := a.pushRules(q.session.User)
		if err != nil {
			return err
		}
		own = append(own, typedContent{Type: dataPushRules, Content: mustJSON(rules)})
	}
	for _, d := range data {
		if d.RoomID == "" {
			own = append(own, typedContent{Type: d.Type, Content: d.Content})
			continue
		}
		if !q.filter.Room.wantsRoom(d.RoomID) || !q.filter.Room.AccountData.wantsType(d.Type) || !q.filter.Room.AccountData.wantsRoom(d.RoomID) {
			continue
		}
		room := answer.Rooms.Join[d.RoomID]
		if room == nil {
			if room = a.quietRoom(q, d.RoomID, until); room == nil {
				continue
			}
			answer.Rooms.Join[d.RoomID] = room
		}
		room.AccountData.Events = append(room.AccountData.Events, typedContent{Type: d.Type, Content: d.Content})
	}
	own = slices.DeleteFunc(own, func(d typedContent) bool { return !q.filter.AccountData.wantsType(d.Type) })
	answer.AccountData = batch(own)
	return nil
}

// syncRooms are the rooms of an answer.
func (a *API) syncRooms(q *syncRequest, until syncToken, memberships []room.Membership) (*syncRooms, error) {
	rooms := &syncRooms{
		Join: map[string]*syncRoom{}, Invite: map[string]*invitedRoom{}, Knock: map[string]*knockedRoom{}, Leave: map[string]*syncRoom{},
	}
	for _, m := range memberships {
		if !q.filter.Room.wantsRoom(m.RoomID) {
			continue
		}
		if err := a.syncMembership(q, until, m, rooms); err != nil {
			return nil, err
		}
	}
	return rooms, nil
}

// syncMembership adds one room to an answer, if there is anything to say about it.
func (a *API) syncMembership(q *syncRequest, until syncToken, m room.Membership, rooms *syncRooms) error {
	if m.Position > until.rooms {
		// Changed after the token. What matters is whether the user was in the room at the token.
		m.Membership = a.membershipAt(m, until.rooms)
	}
	switch m.Membership {
	case "":
		return nil
	case "join":
		joined, err := a.syncJoined(q, until, m)
		if joined != nil {
			rooms.Join[m.RoomID] = joined
		}
		return err
	case "invite":
		stripped, err := a.strippedOf(q, until, m)
		if stripped != nil {
			rooms.Invite[m.RoomID] = &invitedRoom{batch(stripped)}
		}
		return err
	case "knock":
		stripped, err := a.strippedOf(q, until, m)
		if stripped != nil {
			rooms.Knock[m.RoomID] = &knockedRoom{batch(stripped)}
		}
		return err
	}
	left, err := a.syncLeft(q, until, m)
	if left != nil {
		rooms.Leave[m.RoomID] = left
	}
	return err
}

// membershipAt is "join" when the user of a membership was in the room at an earlier position; otherwise
// it is empty, and the room is left to the answer after this one.
func (a *API) membershipAt(m room.Membership, at room.Position) string {
	state, err := a.engine.StateAt(m.RoomID, at)
	if err != nil {
		return "" // a room that this server is not in
	}
	if e := a.engine.StateEvent(state, "m.room.member", string(m.User)); e != nil && e.Membership() == "join" {
		return "join"
	}
	return ""
}
