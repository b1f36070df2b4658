package msc4243

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
)

// chorus is a room in which bob, a local user, and fay, a remote one, have said the same word.
type chorus struct {
	*blueprints.Room
	place
	word  string
	users [2]string // by account name user ID
	said  [2]string // the event IDs
}

func newChorus(t *testing.T) chorus {
	t.Helper()
	setup := conform.Setup(t)
	r := hosting(t)
	bob := local(t, r, "bob")
	since := r.Alice.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch")
	c := chorus{Room: r, place: place{r.Alice, r.ID, since}, word: blueprints.Unique("word")}
	c.users = [2]string{bob.UserID, r.ClientID(r.Fay)}
	c.said[0] = received(setup, r, bob.MustSay(setup, r.ID, c.word)).ID()
	c.said[1] = blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Message(c.word)).ID()
	r.Alice.MustSee(setup, r.ID, c.said[1])
	return c
}

// Client-server API, "Filtering": users in a filter are those that the client knows.
func TestFilters_KnowAccountNames(t *testing.T) {
	t.Parallel()
	c := newChorus(t)
	for name, look := range map[string]func(t testing.TB, filter map[string]any) gjson.Result{
		"a first sync": func(t testing.TB, filter map[string]any) gjson.Result {
			return inSync(t, c.place, csapi.SyncRequest{Filter: timelineFilter(t, filter)})
		},
		"a later sync": func(t testing.TB, filter map[string]any) gjson.Result {
			return inSync(t, c.place, csapi.SyncRequest{Since: c.since, Filter: timelineFilter(t, filter)})
		},
		"messages": func(t testing.TB, filter map[string]any) gjson.Result {
			return c.client.Request(t, http.MethodGet, csapi.Path("v3", "rooms", c.roomID, "messages"),
				csapi.Query("dir", "b"), csapi.Query("filter", text(t, filter))).MustOK(t)
		},
		"context": func(t testing.TB, filter map[string]any) gjson.Result {
			about := c.Alice.MustSay(conform.Setup(t), c.roomID, "an event between")
			return c.client.Request(t, http.MethodGet, csapi.Path("v3", "rooms", c.roomID, "context", about),
				csapi.Query("limit", "20"), csapi.Query("filter", text(t, filter))).MustOK(t).Get("events_before")
		},
	} {
		for i, user := range c.users {
			t.Run(name+"/from "+user, func(t *testing.T) {
				t.Parallel()
				conform.Covers(t, "MSC4243-CS-16")
				only := look(t, map[string]any{"senders": []string{user}, "limit": 20})
				without := look(t, map[string]any{"not_senders": []string{user}, "limit": 20})
				must.Be(t, eventIn(only, c.said[i]).Exists(), "an event by %s with only their events, got:\n%s", user, only.Raw)
				must.Be(t, !eventIn(only, c.said[1-i]).Exists(), "no event by others with only the events of %s, got:\n%s", user, only.Raw)
				must.Be(t, !eventIn(without, c.said[i]).Exists(), "no event by %s without their events, got:\n%s", user, without.Raw)
				must.Be(t, eventIn(without, c.said[1-i]).Exists(), "an event by others without the events of %s, got:\n%s", user, without.Raw)
			})
		}
	}
}

func timelineFilter(t testing.TB, filter map[string]any) string {
	return text(t, map[string]any{"room": map[string]any{"timeline": filter}})
}

// text is a value as JSON.
func text(t testing.TB, value any) string {
	t.Helper()
	b, err := json.Marshal(value)
	must.NoError(t, "writing JSON", err)
	return string(b)
}

// Client-server API, "Server Side Search": users in results, filters and groups are those that the
// client knows.
func TestSearch_KnowsAccountNames(t *testing.T) {
	t.Parallel()
	c := newChorus(t)
	search := func(t testing.TB, criteria map[string]any) gjson.Result {
		criteria["search_term"] = c.word
		return c.client.Request(t, http.MethodPost, csapi.Path("v3", "search"), csapi.Body(map[string]any{
			"search_categories": map[string]any{"room_events": criteria},
		})).MustOK(t).Get("search_categories.room_events")
	}
	for i, user := range c.users {
		t.Run("from "+user, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-19")
			found := search(t, map[string]any{"filter": map[string]any{"rooms": []string{c.roomID}, "senders": []string{user}}})
			must.Field(t, eventIn(found, c.said[i]), "sender", user)
			must.Be(t, !eventIn(found, c.said[1-i]).Exists(), "nothing by others, got:\n%s", found.Raw)
		})
	}
	t.Run("by sender", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-CS-19")
		found := search(t, map[string]any{
			"filter": map[string]any{"rooms": []string{c.roomID}}, "groupings": map[string]any{"group_by": []any{map[string]string{"key": "sender"}}},
		})
		must.SameSet(t, "groups", names(found.Get("groups.sender")), c.users[:])
	})
	t.Run("with profiles around", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-CS-19")
		found := search(t, map[string]any{
			"filter":        map[string]any{"rooms": []string{c.roomID}},
			"event_context": map[string]any{"include_profile": true}, "include_state": true,
		})
		must.Be(t, eventIn(found, c.said[1]).Exists(), "fay's message, got:\n%s", found.Raw)
		must.Be(t, len(blueprints.KeyUserIDs(found.Raw)) == 0, "no account key user ID in what is found, got:\n%s", found.Raw)
	})
}

// The same of the state: each user's own membership is an event that they have sent.
func TestFilters_OfState(t *testing.T) {
	t.Parallel()
	c := newChorus(t)
	joins := [2]string{}
	for i, user := range c.users {
		joins[i] = c.Alice.View().Room(c.roomID).State("m.room.member", user).Get("event_id").Str
		must.Be(conform.Setup(t), joins[i] != "", "the membership of %s in /sync", user)
	}
	state := func(t testing.TB, filter map[string]any) gjson.Result {
		return inSync(t, c.place, csapi.SyncRequest{Filter: text(t, map[string]any{"room": map[string]any{"timeline": map[string]any{"limit": 1}, "state": filter}})}).Get("state")
	}
	for i, user := range c.users {
		t.Run("from "+user, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-16")
			only, without := state(t, map[string]any{"senders": []string{user}}), state(t, map[string]any{"not_senders": []string{user}})
			must.Be(t, eventIn(only, joins[i]).Exists() && !eventIn(only, joins[1-i]).Exists(), "the state that %s has set, and none by others, got:\n%s", user, only.Raw)
			must.Be(t, !eventIn(without, joins[i]).Exists() && eventIn(without, joins[1-i]).Exists(), "the state that others than %s have set, got:\n%s", user, without.Raw)
		})
	}
}
