package msc4243

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/matrix"
)

// masquerade is a room in which fay and mallory, both of the fake server, have answered alice, and in
// which the fake server does not confirm mallory's account key.
type masquerade struct {
	*blueprints.Room
	places          map[string]place
	mallory         *fakeserver.User
	visible, hidden sought
}

func newMasquerade(t *testing.T) masquerade {
	t.Helper()
	setup := conform.Setup(t)
	r := blueprints.Hosted(t, conform.AccountKeyVersion(t))
	since := r.Alice.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch")
	r.FayJoins(t)
	m := masquerade{Room: r, mallory: r.JoinUnverified(t, "mallory")}
	e, answer := thread(setup, r)
	e.beside = e.answers
	m.visible = answered(setup, r, r.Fay, e, answer)
	m.hidden = e
	m.hidden.id = r.MustHide(t, m.mallory, fakeserver.Draft{Type: "m.room.message", Content: answer}).ID()
	m.places = map[string]place{
		"who was there":  {r.Alice, r.ID, since},
		"who came later": {local(setup, r, "carol"), r.ID, ""},
	}
	return m
}

// Server behaviour: "The server should filter out both state and message events from unverified users
// from being sent down the Client-Server API." Here messages, wherever a verified user's is shown.
func TestUnverifiedUsers_MessagesAreHidden(t *testing.T) {
	t.Parallel()
	m := newMasquerade(t)
	for who, p := range m.places {
		for _, s := range surfaces() {
			if s.shows&messages == 0 || s.name == "notifications" && who == "who came later" {
				continue // what was said before one came notifies nobody
			}
			t.Run(s.name+"/for "+who, func(t *testing.T) {
				t.Parallel()
				conform.Covers(t, "MSC4243-VIS-01")
				leak := eventIn(s.look(conform.Setup(t), p, m.hidden), m.hidden.id)
				must.Be(t, !leak.Exists(), "no message by an unverified user in %q, got:\n%s", s.name, leak.Raw)
				s.must(t, p, m.visible)
			})
		}
	}
}

// Gradual compatibility: "If the user is unverified then the user_id field MUST be omitted." It is not
// null or empty, wherever a homeserver shows such an event.
func TestUnverifiedUsers_HaveNoUserIDInSenderAccount(t *testing.T) {
	t.Parallel()
	m := newMasquerade(t)
	member := m.hidden
	member.of = string(m.mallory.NameID())
	for _, s := range surfaces() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-05")
			for _, event := range eventsIn(s.look(conform.Setup(t), m.places["who was there"], member)) {
				account := event.Get("unsigned.sender_account")
				if account.Get("key").Str == m.mallory.Key() && account.Get("user_id").Exists() {
					conform.Violation(t, "MSC4243-CS-05", "no user_id of an unverified sender", event.Raw)
				}
			}
		})
	}
}

// anybodyMay is the setting by which all members may set any state in a room that alice makes.
func anybodyMay() blueprints.Setting {
	return blueprints.Create("power_level_content_override", map[string]any{"state_default": 0, "events": map[string]int{}})
}

// Server behaviour, of state: an unverified user who has the power to sets the room's name. Beside it a
// verified one sets the topic.
func TestUnverifiedUsers_StateIsHidden(t *testing.T) {
	t.Parallel()
	r := hosting(t, anybodyMay())
	setup := conform.Setup(t)
	since := r.Alice.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch")
	r.Alice.Publish(setup, r.ID, true).MustOK(setup)
	mallory := r.JoinUnverified(t, "mallory")
	topic, name := blueprints.Unique("topic"), blueprints.Unique("name")
	blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.State("m.room.topic", "", map[string]any{"topic": topic}))
	r.MustHide(t, mallory, fakeserver.State("m.room.name", "", map[string]any{"name": name}))

	for _, c := range []struct {
		where string
		ask   func(t testing.TB) *csapi.Response
	}{
		{"a first sync", func(t testing.TB) *csapi.Response { return r.Alice.Sync(t, csapi.SyncRequest{Filter: longTimeline}) }},
		{"a later sync", func(t testing.TB) *csapi.Response {
			return r.Alice.Sync(t, csapi.SyncRequest{Since: since, Filter: longTimeline})
		}},
		{"state in sync", func(t testing.TB) *csapi.Response { return r.Alice.Sync(t, csapi.SyncRequest{Filter: shortTimeline}) }},
		{"state_after in sync", func(t testing.TB) *csapi.Response {
			return r.Alice.Sync(t, csapi.SyncRequest{Since: since, Filter: shortTimeline, StateAfter: true})
		}},
		{"messages", func(t testing.TB) *csapi.Response { return r.Alice.Messages(t, r.ID, "b", "", 100) }},
		{"the whole state", func(t testing.TB) *csapi.Response { return r.Alice.AllState(t, r.ID) }},
		{"the summary of the room", func(t testing.TB) *csapi.Response { return r.Alice.RoomSummary(t, r.ID) }},
		{"the hierarchy", func(t testing.TB) *csapi.Response { return r.Alice.Hierarchy(t, r.ID) }},
		{"the room directory", func(t testing.TB) *csapi.Response { return r.Alice.PublicRooms(t, "") }},
	} {
		t.Run(c.where, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-VIS-02")
			answer := c.ask(t)
			if strings.Contains(string(answer.Body), name) {
				conform.Violation(t, "MSC4243-VIS-02", "no name that an unverified user has given the room, in "+c.where, answer.String())
			}
			if !strings.Contains(string(answer.Body), topic) {
				conform.Skip(t, "the topic that a verified user has set is not in %s: %s", c.where, answer)
			}
		})
	}
	t.Run("state by key", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-VIS-02")
		answer := r.Alice.State(t, r.ID, "m.room.name", "")
		if strings.Contains(string(answer.Body), name) {
			conform.Violation(t, "MSC4243-VIS-02", "no name that an unverified user has given the room", answer.String())
		}
		conform.Info(t, "MSC4243-VIS-02", "the state in the place of what an unverified user has set: "+answer.String())
	})
}

// Server behaviour: whoever is a member by an event that is hidden is not listed.
func TestUnverifiedUsers_AreNotListed(t *testing.T) {
	t.Parallel()
	r := hosting(t) // a room without a name, which clients call by its heroes
	mallory := r.JoinUnverified(t, "mallory")
	sync := func(t testing.TB) gjson.Result {
		return inSync(t, place{client: r.Alice, roomID: r.ID}, csapi.SyncRequest{Filter: shortTimeline})
	}
	for _, c := range []struct {
		list string
		ask  func(t testing.TB) gjson.Result
	}{
		{"members", func(t testing.TB) gjson.Result { return r.Alice.Members(t, r.ID).MustOK(t) }},
		{"joined members", func(t testing.TB) gjson.Result { return r.Alice.JoinedMembers(t, r.ID).MustOK(t) }},
		{"state in sync", func(t testing.TB) gjson.Result { return sync(t).Get("state") }},
		{"heroes", func(t testing.TB) gjson.Result { return sync(t).Get(`summary.m\.heroes`) }},
	} {
		t.Run(c.list, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-VIS-03")
			list := c.ask(conform.Setup(t))
			if strings.Contains(list.Raw, mallory.Key()) || strings.Contains(list.Raw, mallory.Name()) {
				conform.Violation(t, "MSC4243-VIS-03", "no unverified user among the "+c.list, list.Raw)
			}
			must.Be(conform.Setup(t), strings.Contains(list.Raw, r.ClientID(r.Fay)), "a verified user among the %s, got:\n%s", c.list, list.Raw)
		})
	}
	t.Run("counts", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-VIS-03")
		conform.Info(t, "MSC4243-VIS-03", "the summary of a room with two visible members and a hidden one: "+sync(t).Get("summary").Raw)
	})
}

// Server behaviour: nothing that a client is sent ties an unverified account key to the domain that it
// claims. Here mallory's key is wherever the room can have it; liar claims the domain of a server that
// has never heard of them.
func TestUnverifiedUsers_AreNotShownWithTheClaimedDomain(t *testing.T) {
	t.Parallel()
	var mallory, liar *fakeserver.User
	r := visiting(t, blueprints.Before(func(r *blueprints.Room) {
		mallory = r.Peer.Member(t, "mallory")
		mallory.AnswerWith(blueprints.Unknown())
		elsewhere := r.Scene.Peer(t)
		liar = elsewhere.Member(t, "liar")
		liar.AnswerWith(blueprints.Unknown())
		for _, user := range []*fakeserver.User{mallory, liar} {
			r.Room.Add(blueprints.NewEvent(t, r.Room, user, fakeserver.Membership(user.KeyID(), "join")))
		}
		r.Room.Ignore(elsewhere.Name())
		r.Room.Add(blueprints.NewEvent(t, r.Room, r.Fay, fakeserver.State("m.room.power_levels", "", map[string]any{
			"users": map[string]int{string(mallory.KeyID()): 50, string(liar.KeyID()): 50},
		})))
	}))
	setup := conform.Setup(t)
	said := r.Alice.MustSay(setup, r.ID, "to be redacted")
	received(setup, r, said)
	r.MustHide(t, mallory, fakeserver.Redaction(said))
	r.MustHide(t, mallory, fakeserver.Message("hello"))
	blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Membership(liar.KeyID(), "ban"))
	last := r.Fence(t)
	p := place{client: r.Alice, roomID: r.ID}
	e := sought{id: last.ID(), answers: last.ID(), beside: last.ID(), of: string(r.Fay.NameID()), word: "sentinel"}
	for _, s := range surfaces() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-VIS-04")
			judgeClaims(t, s.look(conform.Setup(t), p, e).Raw, mallory, liar)
		})
	}
	for name, ask := range elsewhereShown(r.Alice, r.ID) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-VIS-04")
			judgeClaims(t, string(ask(conform.Setup(t)).Body), mallory, liar)
		})
	}
}

// judgeClaims looks for the users' account key user IDs in what a client was sent.
func judgeClaims(t *testing.T, text string, users ...*fakeserver.User) {
	t.Helper()
	for _, user := range users {
		must.Be(t, !strings.Contains(text, string(user.KeyID())), "no account key with the domain that it claims, got %s in:\n%s", user.KeyID(), text)
	}
}

// elsewhereShown are questions about a room whose answers name users of it other than in events.
func elsewhereShown(c *csapi.Client, roomID string) map[string]func(testing.TB) *csapi.Response {
	return map[string]func(testing.TB) *csapi.Response{
		"joined members":     func(t testing.TB) *csapi.Response { return c.JoinedMembers(t, roomID) },
		"power levels":       func(t testing.TB) *csapi.Response { return c.State(t, roomID, "m.room.power_levels", "") },
		"summary of a room":  func(t testing.TB) *csapi.Response { return c.RoomSummary(t, roomID) },
		"hierarchy":          func(t testing.TB) *csapi.Response { return c.Hierarchy(t, roomID) },
		"user directory":     func(t testing.TB) *csapi.Response { return c.SearchUsers(t, "mallory") },
		"the whole of /sync": func(t testing.TB) *csapi.Response { return c.Sync(t, csapi.SyncRequest{Filter: longTimeline}) },
		"sync by lazy loading": func(t testing.TB) *csapi.Response {
			return c.Sync(t, csapi.SyncRequest{Filter: `{"room":{"timeline":{"limit":200},"state":{"lazy_load_members":true}}}`})
		},
	}
}

// The text speaks of senders. What becomes of state that a verified user sends about an unverified one
// is recorded; it is not shown with the domain that is claimed.
func TestUnverifiedUsers_AsTargets(t *testing.T) {
	t.Parallel()
	for _, membership := range []string{"ban", "leave", "invite"} {
		t.Run(membership, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-VIS-05")
			var target *fakeserver.User
			r := visiting(t, blueprints.Before(func(r *blueprints.Room) {
				target = r.Peer.Member(t, "target")
				target.AnswerWith(blueprints.Unknown())
				if membership == "leave" {
					r.Room.Add(blueprints.NewEvent(t, r.Room, target, fakeserver.Membership(target.KeyID(), "join")))
				}
			}))
			change := fakeserver.Membership(target.KeyID(), membership)
			if membership == "invite" {
				change.CoSigners = []*fakeserver.User{target}
			}
			event := r.MustHide(t, r.Fay, change)

			switch shown := r.Alice.View().Room(r.ID).Event(event.ID()); {
			case !shown.Exists():
				conform.Info(t, "MSC4243-VIS-05", "the "+membership+" of an unverified user by a verified one is hidden")
			case slices.Contains(blueprints.KeyUserIDs(shown.Raw), target.KeyID()):
				conform.Violation(t, "MSC4243-VIS-05", "no account key with the domain that it claims", shown.Raw)
			default:
				conform.Info(t, "MSC4243-VIS-05", "the "+membership+" of an unverified user by a verified one is shown: "+shown.Raw)
			}
		})
	}
}

// Server-server API, "Rejection" and "Soft failure": a homeserver keeps what it hides, and does not keep
// what it refuses.
func TestHiddenEvents_AreServedOverFederation(t *testing.T) {
	t.Parallel()
	// unverified is a member whom the test does not presume to be held.
	unverified := func(t testing.TB) (*blueprints.Room, *fakeserver.User) {
		r := hosting(t, anybodyMay())
		mallory := r.Peer.Member(t, "mallory")
		mallory.AnswerWith(blueprints.Unknown())
		blueprints.MustSend(conform.Setup(t), r.Room, mallory, fakeserver.Membership(mallory.KeyID(), "join"))
		return r, mallory
	}
	for name, draft := range map[string]fakeserver.Draft{"a message": fakeserver.Message("hello"), "state": blueprints.Probe()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-VIS-19")
			r, mallory := unverified(t)
			honest := blueprints.MustSend(t, r.Room, mallory, draft)
			r.Fence(t)
			if kept := r.Peer.Event(t, r.At, honest.ID()); kept.StatusCode() != http.StatusOK {
				conform.Violation(t, "MSC4243-VIS-19", "an honest event of an unverified user to be served", kept.String())
			}
		})
	}
	for _, c := range []struct {
		name    string
		draft   func(r *blueprints.Room) fakeserver.Draft
		forgery fakeserver.Forgery
	}{
		{"a forgery", func(*blueprints.Room) fakeserver.Draft { return fakeserver.Message("hello") }, fakeserver.Forgery{FlipSignatureBits: []int{300}}},
		{"what the rules forbid", func(r *blueprints.Room) fakeserver.Draft { return fakeserver.Membership(r.Fay.KeyID(), "ban") }, fakeserver.Forgery{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-VIS-19")
			r, mallory := unverified(t)
			refused := r.Forge(t, mallory, c.draft(r), c.forgery)
			blueprints.MustDeliver(conform.Setup(t), r.Room, refused.PDU)
			r.Fence(t)
			answer := r.Peer.Event(t, r.At, refused.EventID)
			if status := answer.StatusCode(); status != http.StatusNotFound && status != http.StatusForbidden {
				conform.Violation(t, "MSC4243-VIS-19", "status 404 or 403 for "+c.name+" by an unverified user", answer.String())
			}
		})
	}
}

// Server behaviour: a homeserver knows its own users. It asks nobody about them, and waits for nobody.
func TestLocalUsers_AreSeenAtOnce(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-VIS-20")
	r := hosting(t)
	bob := local(t, r, "bob")
	r.Alice.MustSeeMember(t, r.ID, bob.UserID, "join")
	said := bob.MustSay(conform.Setup(t), r.ID, "here I am")
	must.Field(t, r.Alice.MustSee(t, r.ID, said), "sender", bob.UserID)

	key := received(conform.Setup(t), r, said).Sender().Localpart()
	asked := r.Peer.Transcript().Exchanges(fakeserver.AsksFor(key))
	must.Be(t, len(asked) == 0, "no question about a homeserver's own user, got:\n%s", r.Peer.Transcript().Print(fakeserver.AsksFor(key)))
}

// Server behaviour, read by its letter, hides the create event and the rest of what makes a room usable
// when its creator is unverified. What a homeserver does then is recorded.
func TestUnverifiedCreator(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-VIS-15")
	r := blueprints.Visited(t, conform.AccountKeyVersion(t), blueprints.Before(func(r *blueprints.Room) {
		r.Fay.AnswerWith(blueprints.Unknown())
		gil := r.Peer.Member(t, "gil")
		r.Room.Add(blueprints.NewEvent(t, r.Room, gil, fakeserver.Membership(gil.KeyID(), "join")))
	}))
	joined := r.Alice.Join(t, r.ID, string(r.Peer.Name()))
	if !joined.OK() {
		conform.Info(t, "MSC4243-VIS-15", "a room whose creator is unverified cannot be joined: "+joined.String())
		return
	}
	r.Alice.MustSeeMember(conform.Setup(t), r.ID, r.Alice.UserID, "join")
	var types []string
	for _, event := range r.Alice.AllState(t, r.ID).MustOK(conform.Setup(t)).Array() {
		types = append(types, event.Get("type").Str)
		for _, id := range blueprints.KeyUserIDs(event.Raw) {
			conform.Violation(t, "MSC4243-VIS-15", "no account key with the domain that it claims", string(id)+" in "+event.Raw)
		}
	}
	says := "may speak"
	if sent := r.Alice.Send(t, r.ID, "m.room.message", map[string]any{"msgtype": "m.text", "body": "hello"}); !sent.OK() {
		says = "may not speak: " + sent.String()
	}
	conform.Info(t, "MSC4243-VIS-15", "in a room whose creator is unverified, a client is shown the state "+strings.Join(types, ", ")+", and "+says)
}

// The text speaks of events, not of the stripped state that comes with an invitation or a knock. Whoever
// is unverified there is not shown with the domain that is claimed; the rest is recorded.
func TestUnverifiedUsers_InStrippedState(t *testing.T) {
	t.Parallel()
	unverified := func(r *blueprints.Room) *fakeserver.User {
		mallory := r.Peer.Member(t, "mallory")
		mallory.AnswerWith(blueprints.Unknown())
		r.Room.Add(blueprints.NewEvent(t, r.Room, mallory, fakeserver.Membership(mallory.KeyID(), "join")))
		r.Room.Add(blueprints.NewEvent(t, r.Room, mallory, fakeserver.State("m.room.name", "", map[string]any{"name": "a hidden name"})))
		return mallory
	}
	invite := func(t testing.TB, r *blueprints.Room, inviter *fakeserver.User) {
		invitation, reply := blueprints.OfferInvite(t, r.Room, inviter, matrix.UserID(r.Alice.UserID))
		must.Succeed(t, reply)
		blueprints.MustConfirm(t, r.Room, inviter, invitation)
	}
	for _, c := range []struct {
		name string
		act  func(t testing.TB, r *blueprints.Room, mallory *fakeserver.User)
	}{
		{"an invitation by an unverified user", invite},
		{"an invitation by a verified user", func(t testing.TB, r *blueprints.Room, _ *fakeserver.User) { invite(t, r, r.Fay) }},
		{"a knock", func(t testing.TB, r *blueprints.Room, _ *fakeserver.User) {
			r.Alice.MustKnock(t, r.ID, string(r.Peer.Name()))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-VIS-17")
			var mallory *fakeserver.User
			r := blueprints.Visited(t, conform.AccountKeyVersion(t),
				blueprints.Options(func(o *fakeserver.RoomOptions) {
					o.PowerLevels = map[string]any{"invite": 0, "state_default": 0, "events": map[string]int{}}
				}),
				blueprints.Before(func(r *blueprints.Room) { mallory = unverified(r) }))
			setup := conform.Setup(t)
			if c.name == "a knock" {
				r.Room.Add(blueprints.NewEvent(t, r.Room, r.Fay, fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": "knock"})))
			}
			c.act(setup, r, mallory)

			// The fence is an invitation to another room, by a verified user.
			other := r.Another(t)
			invite(setup, other, r.Fay)
			r.Alice.MustSeeInvite(setup, other.ID)

			answer := r.Alice.Sync(t, csapi.SyncRequest{})
			shown := answer.Get("rooms.invite").Map()[r.ID].Raw + answer.Get("rooms.knock").Map()[r.ID].Raw
			if strings.Contains(shown, string(mallory.KeyID())) {
				conform.Violation(t, "MSC4243-VIS-17", "no account key with the domain that it claims in stripped state", shown)
			}
			conform.Info(t, "MSC4243-VIS-17", "what is shown of "+c.name+": "+shown)
		})
	}
}
