package msc4243

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
)

// stateKeys are the state keys of events.
func stateKeys(events gjson.Result) (keys []string) {
	for _, event := range events.Array() {
		keys = append(keys, event.Get("state_key").Str)
	}
	return keys
}

// names are the names of an object's members.
func names(object gjson.Result) []string { return slices.Collect(maps.Keys(object.Map())) }

// Server behaviour: members are listed under account name user IDs, all that are verified and nobody
// else. Mallory is unverified, and carol has left after a while.
func TestMembers_AreListedByAccountName(t *testing.T) {
	t.Parallel()
	r := hosting(t)
	setup := conform.Setup(t)
	r.JoinUnverified(t, "mallory")
	bob, carol := local(t, r, "bob"), local(t, r, "carol")
	r.Alice.MustSeeMember(setup, r.ID, carol.UserID, "join")
	before := r.Alice.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch")
	carol.MustLeave(setup, r.ID)
	r.Alice.MustSeeMember(setup, r.ID, carol.UserID, "leave")
	there := []string{r.Alice.UserID, bob.UserID, r.ClientID(r.Fay)}
	everybody := append([]string{carol.UserID}, there...)

	for _, c := range []struct {
		list string
		got  func(t testing.TB) []string
		want []string
	}{
		{"members", func(t testing.TB) []string { return stateKeys(r.Alice.Members(t, r.ID).MustOK(t).Get("chunk")) }, everybody},
		{"members who are joined", func(t testing.TB) []string {
			return stateKeys(r.Alice.Members(t, r.ID, csapi.Query("membership", "join")).MustOK(t).Get("chunk"))
		}, there},
		{"members who are not joined", func(t testing.TB) []string {
			return stateKeys(r.Alice.Members(t, r.ID, csapi.Query("not_membership", "join")).MustOK(t).Get("chunk"))
		}, []string{carol.UserID}},
		{"joined members of a while ago", func(t testing.TB) []string {
			return stateKeys(r.Alice.Members(t, r.ID, csapi.Query("at", before), csapi.Query("membership", "join")).MustOK(t).Get("chunk"))
		}, everybody},
		{"joined_members", func(t testing.TB) []string { return names(r.Alice.JoinedMembers(t, r.ID).MustOK(t).Get("joined")) }, there},
	} {
		t.Run(c.list, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-11")
			must.SameSet(t, c.list, c.got(t), c.want)
		})
	}
}

// Server behaviour: what a room is called by, and shown as before one joins it, has account name user
// IDs. The room has no name, and three members; it is in a space.
func TestSummaries_HaveAccountNames(t *testing.T) {
	t.Parallel()
	r := hosting(t)
	setup := conform.Setup(t)
	bob := local(t, r, "bob")
	r.Alice.MustSeeMember(setup, r.ID, bob.UserID, "join")
	space := r.Alice.MustCreateRoom(setup, map[string]any{
		"room_version": r.Version.ID, "preset": "public_chat", "creation_content": map[string]any{"type": "m.space"},
	})
	r.Alice.MustSendState(setup, space, "m.space.child", r.ID, map[string]any{"via": []string{string(r.At)}})

	t.Run("heroes", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-CS-12")
		var heroes []string
		for _, hero := range inSync(t, place{client: r.Alice, roomID: r.ID}, csapi.SyncRequest{}).Get(`summary.m\.heroes`).Array() {
			heroes = append(heroes, hero.Str)
		}
		must.SameSet(t, "heroes", heroes, []string{bob.UserID, r.ClientID(r.Fay)})
	})
	t.Run("hierarchy", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-CS-12")
		hierarchy := r.Alice.Hierarchy(t, space)
		rooms := hierarchy.MustOK(t).Get("rooms").Array()
		must.Equal(conform.Setup(t), "rooms in the hierarchy of a space with one child", len(rooms), 2)
		must.Field(t, rooms[0], "children_state.0.sender", r.Alice.UserID)
		must.Be(t, len(blueprints.KeyUserIDs(string(hierarchy.Body))) == 0, "no account key user ID in %s", hierarchy)
	})
	t.Run("room summary", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-CS-12")
		summary := r.Alice.RoomSummary(t, r.ID)
		if summary.Status == 404 && summary.ErrCode() == "M_UNRECOGNIZED" {
			conform.Skip(t, "the homeserver has no room summaries")
		}
		summary.MustOK(conform.Setup(t))
		must.Be(t, len(blueprints.KeyUserIDs(string(summary.Body))) == 0, "no account key user ID in %s", summary)
	})
}

// Server behaviour: a published room is in the directory and in hierarchies without its members' keys.
func TestRoomDirectory_HasNoAccountKeys(t *testing.T) {
	t.Parallel()
	r := hosting(t, blueprints.Create("topic", blueprints.Unique("topic")))
	r.Alice.Publish(t, r.ID, true).MustOK(t)
	for name, ask := range map[string]func(t testing.TB) *csapi.Response{
		"publicRooms": func(t testing.TB) *csapi.Response { return r.Alice.PublicRooms(t, "") },
		"hierarchy":   func(t testing.TB) *csapi.Response { return r.Alice.Hierarchy(t, r.ID) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-26")
			answer := ask(t)
			var listed gjson.Result
			for _, room := range append(answer.MustOK(t).Get("chunk").Array(), answer.Get("rooms").Array()...) {
				if room.Get("room_id").Str == r.ID {
					listed = room
				}
			}
			must.Field(t, listed, "num_joined_members", 2)
			must.Be(t, len(blueprints.KeyUserIDs(listed.Raw)) == 0, "no account key user ID in %s", listed.Raw)
		})
	}
}

// Client-server API, "Lazy-loading room members": whoever speaks in a timeline comes with a member event,
// under the user ID by which the timeline calls them.
func TestLazyLoading_FindsSenders(t *testing.T) {
	t.Parallel()
	const lazily = `{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":2}}}`
	r := hosting(t)
	setup := conform.Setup(t)
	bob := local(t, r, "bob")
	since := r.Alice.Sync(setup, csapi.SyncRequest{Filter: lazily}).MustString(setup, "next_batch")
	received(setup, r, bob.MustSay(setup, r.ID, "hello"))
	r.Fence(t)
	for name, q := range map[string]csapi.SyncRequest{
		"a first sync":             {Filter: lazily},
		"a first with state_after": {Filter: lazily, StateAfter: true},
		"a later sync":             {Filter: lazily, Since: since},
	} {
		device := r.Device(t, r.Alice) // a new one, so that nothing counts as told before
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-18")
			room := inSync(t, place{client: device, roomID: r.ID}, q)
			var known []string
			for _, event := range eventsIn(room) {
				if event.Get("type").Str == "m.room.member" && event.Get("content.membership").Str == "join" {
					known = append(known, event.Get("state_key").Str)
				}
			}
			for _, event := range room.Get("timeline.events").Array() {
				must.Contain(t, "members whom the client is told of, for "+event.Raw, known, event.Get("sender").Str)
			}
			senders := fmt.Sprint(room.Get("timeline.events.#.sender").Array())
			must.Be(conform.Setup(t), len(room.Get("timeline.events").Array()) == 2, "messages by bob and fay in the timeline, got those of %s", senders)
		})
	}
}

// Server behaviour: the user directory finds users under their account names, and nobody who is
// unverified.
func TestUserDirectory_HasAccountNames(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-CS-21")
	r := hosting(t)
	mallory := r.JoinUnverified(t, "mallory")
	search := func(t testing.TB, term string) []string {
		answer := r.Alice.SearchUsers(t, term)
		must.Be(t, len(blueprints.KeyUserIDs(string(answer.Body))) == 0, "no account key user ID in the user directory, got:\n%s", answer)
		var users []string
		for _, found := range answer.MustOK(t).Get("results").Array() {
			users = append(users, found.Get("user_id").Str)
		}
		return users
	}
	// A directory may be filled in its own time. Whatever it is told, fay comes after mallory.
	wait.For(t, "fay to be in the user directory", func(context.Context) (bool, error) {
		return slices.Contains(search(t, r.Fay.Name()), r.ClientID(r.Fay)), nil
	})
	for _, term := range []string{mallory.Name(), mallory.Key(), string(mallory.KeyID())} {
		must.Be(t, len(search(t, term)) == 0, "nobody to be found by %s, got %q", term, search(t, term))
	}
	must.NotContain(t, "who is found by the text of an account key", search(t, r.Fay.Key()), string(r.Fay.KeyID()))
}

// Server behaviour: of nothing that a client is sent an account key user ID is a part, wherever the
// homeserver names users. The sweepers look for the same in every other test.
func TestAccountKeys_AreNowhere(t *testing.T) {
	t.Parallel()
	r := hosting(t, anybodyMay())
	setup := conform.Setup(t)
	mallory, bob := r.JoinUnverified(t, "mallory"), local(t, r, "bob")
	r.Alice.MustSendState(setup, r.ID, "m.room.power_levels", "", map[string]any{
		"state_default": 0, "users": map[string]any{bob.UserID: 50, r.ClientID(r.Fay): 50},
	})
	received(setup, r, bob.MustSendState(setup, r.ID, "com.example.own", bob.UserID, map[string]any{}))
	e, answer := thread(setup, r)
	e = answered(setup, r, r.Fay, e, answer)
	e.beside, e.of = e.answers, r.ClientID(r.Fay)
	r.MustHide(t, mallory, fakeserver.Draft{Type: "m.room.message", Content: answer})
	r.Alice.MustRedact(setup, r.ID, r.MustHide(t, r.Fay, fakeserver.Message("to be redacted")).ID(), "")
	r.Alice.MustBan(setup, r.ID, bob.UserID)
	r.Fence(t)

	p := place{client: r.Alice, roomID: r.ID}
	asked := elsewhereShown(r.Alice, r.ID)
	maps.Copy(asked, map[string]func(testing.TB) *csapi.Response{
		"profile":   func(t testing.TB) *csapi.Response { return r.Alice.Profile(t, r.ClientID(r.Fay)) },
		"who am I":  func(t testing.TB) *csapi.Response { return r.Alice.WhoAmI(t) },
		"key query": func(t testing.TB) *csapi.Response { return r.Alice.QueryKeys(t, r.ClientID(r.Fay)) },
		"aliases":   func(t testing.TB) *csapi.Response { return r.Alice.Aliases(t, r.ID) },
	})
	judge := func(t *testing.T, text string) {
		for _, id := range blueprints.KeyUserIDs(text) {
			t.Fatalf("expected no account key user ID, got %s in:\n%s", id, text)
		}
	}
	for _, s := range surfaces() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-30")
			judge(t, s.look(conform.Setup(t), p, e).Raw)
		})
	}
	for name, ask := range asked {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-30")
			judge(t, string(ask(conform.Setup(t)).Body))
		})
	}
}
