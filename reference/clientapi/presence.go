package clientapi

import (
	"cmp"
	"net/http"
	"slices"
	"sync"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// presenceRoutes are about who is there. Only what users say of themselves is told: /sync by itself
// says nothing.
func (a *API) presenceRoutes() []route {
	return []route{
		authed(http.MethodPut, "/v3/presence/{userID}/status", a.putPresence),
		authed(http.MethodGet, "/v3/presence/{userID}/status", a.getPresence),
	}
}

// status is a user's presence as it is told.
type status struct {
	Presence string  `json:"presence"`
	Message  *string `json:"status_msg,omitempty"`
	// at is the position of the change.
	at uint64
	// active is when the user was last active, in milliseconds since the Unix epoch.
	active int64
}

func (s status) valid() bool {
	return slices.Contains([]string{"online", "offline", "unavailable"}, s.Presence)
}

// presences is who is there. It is lost when the server stops.
type presences struct {
	clock *fleetingClock
	mu    sync.Mutex
	users map[matrix.UserID]status
}

func newPresences(clock *fleetingClock) *presences {
	return &presences{clock: clock, users: map[matrix.UserID]status{}}
}

func (p *presences) set(user matrix.UserID, s status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.at = p.clock.tick()
	p.users[user] = s
}

func (p *presences) get(user matrix.UserID) (status, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.users[user]
	return s, ok
}

// since returns whose presence has changed after a position.
func (p *presences) since(position uint64) map[matrix.UserID]status {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := map[matrix.UserID]status{}
	for user, s := range p.users {
		if p.clock.isNews(s.at, position) {
			changed[user] = s
		}
	}
	return changed
}

// putPresence answers PUT /presence/{userId}/status.
func (a *API) putPresence(c *call) (any, error) {
	user, err := c.pathUser()
	if err != nil {
		return nil, err
	}
	var s status
	if err := c.read(&s); err != nil {
		return nil, err
	}
	if !s.valid() {
		return nil, peer.InvalidParam("there is no presence %q", s.Presence)
	}
	s.active = a.nowMillis()
	a.presences.set(user, s)
	rooms, servers := a.roomsOf(user)
	a.hub.wake(append(rooms, string(user))...)
	update := map[string]any{"user_id": user, "presence": s.Presence, "last_active_ago": 0}
	if s.Message != nil {
		update["status_msg"] = *s.Message
	}
	// D-20a, as for typing.
	a.outbox.SendEDU(servers, "m.presence", mustJSON(map[string]any{"push": []any{update}}))
	return empty()
}

// getPresence answers GET /presence/{userId}/status, about oneself and those with whom one shares a room.
func (a *API) getPresence(c *call) (any, error) {
	user := matrix.UserID(c.PathValue("userID"))
	memberships, err := a.engine.Memberships(c.user())
	if err != nil {
		return nil, err
	}
	if user != c.user() && !a.shares(memberships, user) {
		return nil, peer.Forbidden("you share no room with %s", user)
	}
	s, ok := a.presences.get(user)
	if !ok {
		s.Presence = "offline"
	}
	return s, nil
}

// shares reports whether a user, by account name, is in one of the rooms that somebody has joined.
func (a *API) shares(memberships []room.Membership, user matrix.UserID) bool {
	theirs := a.sharedRooms(user)
	var company []string
	for _, m := range memberships {
		switch {
		case m.Membership != "join":
		case slices.Contains(theirs, m.RoomID):
			return true
		case m.Version.HasParticipation():
			company = append(company, m.RoomID)
		}
	}
	return len(a.sharedAsCompany(user, company)) > 0
}

// syncPresence is what is new about those with whom the reader shares a room.
func (a *API) syncPresence(q *syncRequest, memberships []room.Membership) ([]typedContent, error) {
	ignored, err := a.ignoredUsers(q.session.User)
	if err != nil {
		return nil, err
	}
	events := []typedContent{}
	for user, s := range a.presences.since(q.from().fleeting) {
		if ignored[user] || !q.filter.Presence.wantsType("m.presence") || !q.filter.Presence.wantsSender(user) {
			continue
		}
		if user != q.session.User && !a.shares(memberships, user) {
			continue
		}
		events = append(events, typedContent{Type: "m.presence", Sender: user, Content: mustJSON(struct {
			status
			LastActiveAgo int64 `json:"last_active_ago"`
		}{s, max(0, a.nowMillis()-s.active)})})
	}
	slices.SortFunc(events, func(a, b typedContent) int { return cmp.Compare(a.Sender, b.Sender) })
	return events, nil
}

// receivePresence takes an m.presence EDU. D-20a: users may be named by account key, too; nothing is
// told of those whom clients must not be told about.
func (a *API) receivePresence(origin matrix.ServerName, content gjson.Result) {
	for _, update := range content.Get("push").Array() {
		user := matrix.UserID(update.Get("user_id").Str)
		if user.Domain() != origin && !a.defects.Has("TakePresenceForAnyDomain") {
			continue
		}
		if _, _, err := matrix.ParseAccountKeyUserID(string(user)); err == nil {
			name, ok := a.directory.ClientUser(matrix.RoomVersionMSC4243(), user)
			if !ok {
				continue
			}
			user = name
		}
		rooms := a.sharedRoomsOfRemote(user)
		s := status{Presence: update.Get("presence").Str, active: a.nowMillis() - update.Get("last_active_ago").Int()}
		if message := update.Get("status_msg"); message.Type == gjson.String {
			s.Message = &message.Str
		}
		if len(rooms) > 0 && s.valid() {
			a.presences.set(user, s)
			a.hub.wake(rooms...)
		}
	}
}
