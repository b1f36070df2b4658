package msc4243

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
)

// surface is a place of the client-server API where a client is shown events of a room.
type surface struct {
	name string
	// shows is what can be looked for there.
	shows kinds
	// optional surfaces need not be there, or came late into the specification.
	optional bool
	// look returns the part of an answer in which the client would find an event.
	look func(t testing.TB, p place, e sought) gjson.Result
}

// kinds are kinds of events.
type kinds int

const (
	messages kinds = 1 << iota // that answer others, and have a word in them
	members                    // membership events in the current state
)

// place is who looks at which room.
type place struct {
	client *csapi.Client
	roomID string
	since  string // a position of /sync before everything that is looked for
}

// list is a JSON list of values.
func list(values []gjson.Result) gjson.Result {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.Raw
	}
	return gjson.Parse("[" + strings.Join(texts, ",") + "]")
}

// sought is an event that a client looks for.
type sought struct {
	kind    kinds
	id      string
	of      string // the account name user ID of whom a membership is
	answers string // the root of the thread that a message is in
	word    string // a word of the message
	beside  string // an event near by, which everybody sees
}

// surfaces are all of them, but for those that have tests of their own: invites, knocks, push gateways
// and application services.
func surfaces() []surface {
	return []surface{
		{"the timeline of a first sync", messages | members, false, func(t testing.TB, p place, _ sought) gjson.Result {
			return inSync(t, p, csapi.SyncRequest{Filter: longTimeline}).Get("timeline")
		}},
		{"the timeline of a later sync", messages | members, false, func(t testing.TB, p place, _ sought) gjson.Result {
			return inSync(t, p, csapi.SyncRequest{Since: p.since, Filter: longTimeline}).Get("timeline")
		}},
		{"state in sync", members, false, func(t testing.TB, p place, _ sought) gjson.Result {
			return inSync(t, p, csapi.SyncRequest{Filter: shortTimeline}).Get("state")
		}},
		{"state_after in a first sync", members, true, func(t testing.TB, p place, _ sought) gjson.Result {
			return csapi.StateAfter(inSync(t, p, csapi.SyncRequest{Filter: shortTimeline, StateAfter: true}))
		}},
		{"state_after in a later sync", members, true, func(t testing.TB, p place, _ sought) gjson.Result {
			return csapi.StateAfter(inSync(t, p, csapi.SyncRequest{Since: p.since, Filter: shortTimeline, StateAfter: true}))
		}},
		{"messages backwards", messages | members, false, func(t testing.TB, p place, _ sought) gjson.Result {
			return list(p.client.MustPage(t, p.roomID, "b"))
		}},
		{"messages forwards", messages | members, false, func(t testing.TB, p place, _ sought) gjson.Result {
			return list(p.client.MustPage(t, p.roomID, "f"))
		}},
		{"members with messages", members, true, func(t testing.TB, p place, _ sought) gjson.Result {
			return p.client.Request(t, http.MethodGet, csapi.Path("v3", "rooms", p.roomID, "messages"), csapi.Query("dir", "b"),
				csapi.Query("limit", "100"), csapi.Query("filter", `{"lazy_load_members":true}`)).MustOK(t).Get("state")
		}},
		{"context of the event", messages | members, false, func(t testing.TB, p place, e sought) gjson.Result {
			return found(t, p.client.Context(t, p.roomID, e.id, 4)).Get("event")
		}},
		{"context of an event beside", messages, false, func(t testing.TB, p place, e sought) gjson.Result {
			return p.client.Context(t, p.roomID, e.beside, 100).MustOK(t)
		}},
		{"state in a context", members, false, func(t testing.TB, p place, e sought) gjson.Result {
			return p.client.Context(t, p.roomID, e.beside, 4).MustOK(t).Get("state")
		}},
		{"the event itself", messages | members, false, func(t testing.TB, p place, e sought) gjson.Result {
			return found(t, p.client.Event(t, p.roomID, e.id))
		}},
		{"relations", messages, false, func(t testing.TB, p place, e sought) gjson.Result {
			return p.client.Relations(t, p.roomID, e.answers).MustOK(t)
		}},
		{"threads", messages, true, func(t testing.TB, p place, _ sought) gjson.Result {
			return p.client.Threads(t, p.roomID).JSON()
		}},
		{"the root of a thread", messages, true, func(t testing.TB, p place, e sought) gjson.Result {
			return p.client.Event(t, p.roomID, e.answers).MustOK(t)
		}},
		{"search", messages, true, func(t testing.TB, p place, e sought) gjson.Result {
			return p.client.Search(t, e.word, p.roomID).JSON()
		}},
		{"what surrounds a hit of a search", messages, true, func(t testing.TB, p place, e sought) gjson.Result {
			return p.client.Request(t, http.MethodPost, csapi.Path("v3", "search"), csapi.Body(map[string]any{
				"search_categories": map[string]any{"room_events": map[string]any{
					"search_term": e.word, "filter": map[string]any{"rooms": []string{p.roomID}},
					"event_context": map[string]any{"before_limit": 20, "after_limit": 20, "include_profile": true},
				}},
			})).JSON()
		}},
		{"the timeline of sliding sync", messages | members, true, func(t testing.TB, p place, _ sought) gjson.Result {
			return inSlidingSync(t, p, 100).Get("timeline")
		}},
		{"state in sliding sync", members, true, func(t testing.TB, p place, _ sought) gjson.Result {
			return inSlidingSync(t, p, 1).Get("required_state")
		}},
		{"notifications", messages, true, func(t testing.TB, p place, _ sought) gjson.Result {
			return p.client.Notifications(t).JSON()
		}},
		{"the whole state", members, false, func(t testing.TB, p place, _ sought) gjson.Result {
			return p.client.AllState(t, p.roomID).MustOK(t)
		}},
		{"state by key", members, true, func(t testing.TB, p place, e sought) gjson.Result {
			return p.client.Request(t, http.MethodGet, csapi.Path("v3", "rooms", p.roomID, "state", "m.room.member", e.of), csapi.Query("format", "event")).JSON()
		}},
		{"members", members, false, func(t testing.TB, p place, _ sought) gjson.Result {
			return p.client.Members(t, p.roomID).MustOK(t)
		}},
	}
}

// Filters of /sync: with timelines that hold whatever a test does, or hardly anything, so that what a
// client must know beside comes as state.
const (
	longTimeline  = `{"room":{"timeline":{"limit":200}}}`
	shortTimeline = `{"room":{"timeline":{"limit":1}}}`
)

// inSync is what one /sync says about the room.
func inSync(t testing.TB, p place, q csapi.SyncRequest) gjson.Result {
	t.Helper()
	return p.client.Sync(t, q).MustOK(t).Get("rooms.join").Map()[p.roomID]
}

// inSlidingSync is what a first request of simplified sliding sync (MSC4186) says about the room, all of whose
// state is asked for.
func inSlidingSync(t testing.TB, p place, limit int) gjson.Result {
	t.Helper()
	return p.client.SlidingSync(t, "", 0, map[string]any{
		"conn_id": blueprints.Unique("connection"), "lists": map[string]any{},
		"room_subscriptions": map[string]any{p.roomID: map[string]any{"timeline_limit": limit, "required_state": [][]string{{"*", "*"}}}},
	}).Get("rooms").Map()[p.roomID]
}

// found is the body of an answer that may be that there is no such event.
func found(t testing.TB, answer *csapi.Response) gjson.Result {
	t.Helper()
	if answer.Status == http.StatusNotFound {
		return gjson.Result{}
	}
	return answer.MustOK(t)
}

// eventsIn are all events in a part of an answer, those within others too.
func eventsIn(v gjson.Result) (events []gjson.Result) {
	if v.IsObject() && v.Get("type").Type == gjson.String && v.Get("sender").Type == gjson.String {
		events = append(events, v)
	}
	if v.IsObject() || v.IsArray() {
		v.ForEach(func(_, member gjson.Result) bool {
			events = append(events, eventsIn(member)...)
			return true
		})
	}
	return events
}

// eventIn is the event with an ID in a part of an answer; it does not exist when it is not there.
func eventIn(v gjson.Result, id string) gjson.Result {
	for _, e := range eventsIn(v) {
		if e.Get("event_id").Str == id {
			return e
		}
	}
	return gjson.Result{}
}

// must looks for an event that the client is shown there. When it is not, the test is SKIP on an
// optional surface and INCONCLUSIVE on another: what is hidden there cannot be told from what is missing.
func (s surface) must(t testing.TB, p place, e sought) gjson.Result {
	t.Helper()
	part := s.look(conform.Setup(t), p, e)
	event := eventIn(part, e.id)
	switch {
	case event.Exists():
	case s.optional:
		conform.Skip(t, "an event that everybody may see is not in %q, which the homeserver may not have", s.name)
	default:
		conform.Inconclusive(t, "an event that everybody may see, %s, is not in %q: %s", e.id, s.name, part.Raw)
	}
	return event
}

// thread has somebody start a thread, for another one to answer; it returns what the answer is to be.
func thread(t testing.TB, r *blueprints.Room) (e sought, answer map[string]any) {
	t.Helper()
	e = sought{kind: messages, word: blueprints.Unique("word"), answers: r.Alice.MustSay(t, r.ID, "let us begin")}
	received(t, r, e.answers)
	return e, map[string]any{
		"msgtype": "m.text", "body": "an answer for alice: " + e.word,
		"m.mentions":   map[string]any{"user_ids": []string{r.Alice.UserID}},
		"m.relates_to": map[string]any{"rel_type": "m.thread", "event_id": e.answers},
	}
}

// answered sends the answer of a user of the fake server.
func answered(t testing.TB, r *blueprints.Room, user *fakeserver.User, e sought, answer map[string]any) sought {
	t.Helper()
	e.id = blueprints.MustSend(t, r.Room, user, fakeserver.Draft{Type: "m.room.message", Content: answer}).ID()
	return e
}

// company is a room in which everybody has come after alice's first sync, and has answered her.
type company struct {
	*blueprints.Room
	place
	// shown are the messages and the memberships of a user of alice's own server and of a verified
	// user, by the user's account name user ID.
	shown map[string][]sought
	// keys are the account keys of those users.
	keys map[string]string
}

func newCompany(t *testing.T, r *blueprints.Room) company {
	t.Helper()
	setup := conform.Setup(t)
	c := company{r, place{r.Alice, r.ID, r.Alice.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch")}, map[string][]sought{}, map[string]string{}}
	r.FayJoins(t)
	bob := local(t, r, "bob")
	fay := r.ClientID(r.Fay)

	e, answer := thread(setup, r)
	c.shown[fay] = append(c.shown[fay], answered(setup, r, r.Fay, e, answer))
	e, answer = thread(setup, r)
	e.id = bob.MustSend(setup, r.ID, "m.room.message", answer)
	c.shown[bob.UserID] = append(c.shown[bob.UserID], e)
	c.keys[fay], c.keys[bob.UserID] = r.Fay.ID(r.Version).Localpart(), received(setup, r, e.id).Sender().Localpart()

	beside := r.Fence(t).ID()
	for user, seen := range c.shown {
		seen[0].beside = beside
		member := r.Alice.View().Room(r.ID).State("m.room.member", user)
		must.Be(setup, member.Exists(), "the membership of %s in /sync", user)
		c.shown[user] = append(seen, sought{kind: members, of: user, id: member.Get("event_id").Str, beside: beside})
	}
	return c
}

// Server behaviour: the server "should replace the account key with the account name in the user ID for
// verified keys"; "Gradual compatibility": it "MUST set the unsigned.sender_account.key property of the
// event JSON to be the account key and the unsigned.sender_account.user_id property [...] to be the
// account name + verified domain". On every surface, for a user of the client's own server and for one
// of another.
func TestEvents_AreTranslatedForClients(t *testing.T) {
	t.Parallel()
	c := newCompany(t, blueprints.Hosted(t, conform.AccountKeyVersion(t)))
	for _, s := range surfaces() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-01", "MSC4243-CS-02", "MSC4243-CS-03", "MSC4243-CS-04")
			for user, events := range c.shown {
				for _, e := range events {
					if s.shows&e.kind != 0 {
						c.judge(t, s.must(t, c.place, e), user)
					}
				}
			}
		})
	}
}

// judge looks at an event that a client is shown, of a user by their account name user ID.
func (c company) judge(t testing.TB, event gjson.Result, user string) {
	t.Helper()
	expect := func(requirement, path, want string) {
		if got := event.Get(path); got.Type != gjson.String || got.Str != want {
			conform.Violation(t, requirement, path+" "+want, event.Raw)
		}
	}
	expect("MSC4243-CS-01", "sender", user)
	if event.Get("type").Str == "m.room.member" {
		expect("MSC4243-CS-02", "state_key", user)
	}
	expect("MSC4243-CS-03", "unsigned.sender_account.key", c.keys[user])
	expect("MSC4243-CS-04", "unsigned.sender_account.user_id", user)
}

// Server behaviour: a membership is found under the account name user ID, and as what it is.
func TestMemberships_AreFoundByAccountName(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-CS-02")
	r := hosting(t)
	bob := local(t, r, "bob")
	for _, user := range []string{r.Alice.UserID, bob.UserID, r.ClientID(r.Fay)} {
		must.Field(t, r.Alice.MustState(t, r.ID, "m.room.member", user), "membership", "join")
	}
}

// Gradual compatibility says it of the room version: other rooms' events have no sender_account.
func TestOtherRoomVersions_HaveNoSenderAccount(t *testing.T) {
	t.Parallel()
	conform.NeedRoomVersion(t, conform.Server(t, "hs1"), v12.ID)
	c := newCompany(t, blueprints.Hosted(t, v12))
	for _, s := range surfaces() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-31")
			for user, events := range c.shown {
				for _, e := range events {
					if s.shows&e.kind == 0 {
						continue
					}
					event := s.must(t, c.place, e)
					must.Field(t, event, "sender", user)
					must.Lack(t, event, "unsigned.sender_account")
				}
			}
		})
	}
}

// Proposal: the event is the same for clients and servers, whoever is named in it.
func TestEventIDs_OnEverySurface(t *testing.T) {
	t.Parallel()
	c := newCompany(t, blueprints.Hosted(t, conform.AccountKeyVersion(t)))
	for _, s := range surfaces() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-15")
			seen := 0
			for _, e := range append(c.shown[c.ClientID(c.Fay)], c.all()...) {
				if s.shows&e.kind == 0 {
					continue
				}
				for _, event := range eventsIn(s.look(conform.Setup(t), c.place, e)) {
					id := event.Get("event_id").Str
					pdu := c.Peer.Event(t, c.At, id)
					must.Succeed(t, pdu)
					must.Equal(t, "reference hash of the event that clients know as "+id, pdu.Only(t, c.Version).ID(), id)
					seen++
				}
			}
			if seen == 0 {
				conform.Skip(t, "no event is shown in %q, which the homeserver may not have", s.name)
			}
		})
	}
}

// The same of one message each way, found by what it says.
func TestEventIDs_AreThoseOfThePDUs(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-CS-15")
	r := hosting(t)
	setup := conform.Setup(t)
	word := blueprints.Unique("word")
	id := r.Alice.MustSay(setup, r.ID, word)
	pdu := r.Peer.MustReceive(setup, "alice's message", func(pdu fakeserver.PDU) bool {
		return pdu.Via == fakeserver.OpSend && pdu.Event != nil && pdu.Get("content.body").Str == word
	}).Event
	must.Equal(t, "reference hash of the event that alice's client was told is "+id, pdu.ID(), id)

	word = blueprints.Unique("word")
	sent := blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Message(word)).ID()
	r.Alice.MustSyncUntil(setup, "fay's message", func(v *csapi.View) bool {
		for _, event := range v.Room(r.ID).Timeline {
			if event.Get("content.body").Str == word {
				id = event.Get("event_id").Str
				return true
			}
		}
		return false
	})
	must.Equal(t, "ID of fay's event for clients", id, sent)
}

// all are the events of everybody.
func (c company) all() (all []sought) {
	for _, events := range c.shown {
		all = append(all, events...)
	}
	return all
}
