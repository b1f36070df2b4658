package msc4243

import (
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
)

// Impacts on restricted rooms: the join names who has authorised it. The text does not speak of what
// clients are shown there: the account name, or nothing.
func TestRestrictedJoins_ShowNoAccountKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// join has somebody join by the authority of somebody else, and returns who joined and who
		// authorised it, by their account name user IDs.
		join func(t testing.TB, r *blueprints.Room) (joined, authoriser string)
	}{
		{"authorised by a local user", func(t testing.TB, r *blueprints.Room) (string, string) {
			club := r.Alice.MustCreateRoom(t, publicRoom(r))
			restrict(t, r, map[string]any{"type": "m.room_membership", "room_id": club})
			bob := r.User(t, r.HS.Alias(), "bob")
			bob.MustJoin(t, club)
			bob.MustJoin(t, r.ID)
			return bob.UserID, r.Alice.UserID
		}},
		{"authorised by a remote user", func(t testing.TB, r *blueprints.Room) (string, string) {
			restrict(t, r, map[string]any{"type": "m.room_membership", "room_id": r.ID})
			gil := r.Peer.Member(t, "gil")
			join := fakeserver.Membership(gil.KeyID(), "join").With("join_authorised_via_users_server", r.Fay.KeyID())
			join.CoSigners = []*fakeserver.User{r.Fay}
			blueprints.MustSend(t, r.Room, gil, join)
			return r.ClientID(gil), r.ClientID(r.Fay)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-09")
			r := hosting(t, blueprints.Create("power_level_content_override", map[string]any{"invite": 0}))
			setup := conform.Setup(t)
			joined, authoriser := c.join(setup, r)
			r.Alice.MustSeeMember(setup, r.ID, joined, "join")
			for where, event := range map[string]gjson.Result{
				"/sync":    r.Alice.View().Room(r.ID).State("m.room.member", joined),
				"/members": memberIn(r.Alice.Members(setup, r.ID).MustOK(setup), joined),
				"/state":   memberIn(r.Alice.AllState(setup, r.ID).MustOK(setup), joined),
			} {
				named := event.Get("content.join_authorised_via_users_server")
				if named.Exists() && named.Str != authoriser {
					conform.Violation(t, "MSC4243-CS-09", "that "+authoriser+" has authorised the join, or nothing, in "+where, event.Raw)
				}
			}
		})
	}
}

// restrict has only members of other rooms join the room from now on.
func restrict(t testing.TB, r *blueprints.Room, allow ...any) {
	t.Helper()
	received(t, r, r.Alice.MustSendState(t, r.ID, "m.room.join_rules", "", map[string]any{"join_rule": "restricted", "allow": allow}))
}

// memberIn is the membership event of a user in a part of an answer.
func memberIn(v gjson.Result, user string) gjson.Result {
	for _, event := range eventsIn(v) {
		if event.Get("type").Str == "m.room.member" && event.Get("state_key").Str == user {
			return event
		}
	}
	return gjson.Result{}
}

// Server behaviour: an event that comes within another is an event that a client is sent.
func TestNestedEvents_AreTranslated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// nest makes fay's event part of another one, which it returns.
		nest func(t testing.TB, r *blueprints.Room) (outer string)
		path string
		// optional parts of events need not be there.
		optional bool
	}{
		{"redacted_because", func(t testing.TB, r *blueprints.Room) string {
			said := r.Fence(t).ID()
			blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Redaction(said))
			r.MustSeeRedacted(t, said)
			return said
		}, "unsigned.redacted_because", false},
		{"an edit", func(t testing.TB, r *blueprints.Room) string {
			said := r.Fence(t).ID()
			blueprints.MustSend(t, r.Room, r.Fay, relates("m.replace", said).With("m.new_content", map[string]any{"msgtype": "m.text", "body": "better"}))
			return said
		}, `unsigned.m\.relations.m\.replace`, true},
		{"the latest event of a thread", func(t testing.TB, r *blueprints.Room) string {
			root := received(t, r, r.Alice.MustSay(t, r.ID, "the root")).ID()
			blueprints.MustSend(t, r.Room, r.Fay, relates("m.thread", root))
			return root
		}, `unsigned.m\.relations.m\.thread.latest_event`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-10")
			r := hosting(t)
			setup := conform.Setup(t)
			outer := c.nest(setup, r)
			r.Fence(t)
			event := r.Alice.Event(setup, r.ID, outer).MustOK(setup)
			nested := event.Get(c.path)
			if c.optional && !nested.Get("sender").Exists() {
				conform.Skip(t, "the homeserver does not bundle %s: %s", c.name, event.Raw)
			}
			must.Be(setup, nested.Exists(), "an event at %s of:\n%s", c.path, event.Raw)
			must.Field(t, nested, "sender", r.ClientID(r.Fay))
			must.Field(t, nested, "unsigned.sender_account.key", r.Fay.Key())
			must.Field(t, nested, "unsigned.sender_account.user_id", r.ClientID(r.Fay))
		})
	}
}

// relates is a message that relates to another one.
func relates(relType, eventID string) fakeserver.Draft {
	return fakeserver.Message("related").With("m.relates_to", map[string]any{"rel_type": relType, "event_id": eventID})
}

// Server behaviour: what was there before is shown as what is there.
func TestPreviousContent_IsTranslated(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t testing.TB, r *blueprints.Room) (eventID, mentions string){
		"power levels": func(t testing.TB, r *blueprints.Room) (string, string) {
			users := map[string]any{r.ClientID(r.Fay): 50}
			r.Alice.MustSendState(t, r.ID, "m.room.power_levels", "", map[string]any{"users": users})
			return r.Alice.MustSendState(t, r.ID, "m.room.power_levels", "", map[string]any{"users": users, "invite": 1}), r.ClientID(r.Fay)
		},
		"the membership of a restricted join": func(t testing.TB, r *blueprints.Room) (string, string) {
			restrict(t, r, map[string]any{"type": "m.room_membership", "room_id": r.ID})
			gil := r.Peer.Member(t, "gil")
			join := fakeserver.Membership(gil.KeyID(), "join").With("join_authorised_via_users_server", r.Fay.KeyID())
			join.CoSigners = []*fakeserver.User{r.Fay}
			blueprints.MustSend(t, r.Room, gil, join)
			return blueprints.MustSend(t, r.Room, gil, fakeserver.Membership(gil.KeyID(), "leave")).ID(), ""
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-10")
			r := hosting(t, blueprints.Create("power_level_content_override", map[string]any{"invite": 0}))
			setup := conform.Setup(t)
			eventID, mentions := change(setup, r)
			shown := r.Alice.MustSee(setup, r.ID, eventID)
			before := shown.Get("unsigned.prev_content")
			if !before.Exists() {
				conform.Skip(t, "the homeserver has no prev_content, which is optional: %s", shown.Raw)
			}
			for _, id := range blueprints.KeyUserIDs(shown.Raw) {
				t.Fatalf("expected no account key user ID, got %s in:\n%s", id, shown.Raw)
			}
			if mentions != "" {
				_, named := before.Get("users").Map()[mentions]
				must.Be(t, named, "%s in the previous content, got:\n%s", mentions, shown.Raw)
			}
		})
	}
}

// Gradual compatibility leaves it to a later room version whether a redaction takes the account name out
// of sender_account. What happens is recorded.
func TestSenderAccount_AfterARedaction(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-CS-28")
	r := hosting(t)
	setup := conform.Setup(t)
	said := r.Fence(t).ID()
	r.Alice.MustRedact(setup, r.ID, said, "")
	r.MustSeeRedacted(setup, said)
	account := r.Alice.Event(setup, r.ID, said).Get("unsigned.sender_account")
	conform.Info(t, "MSC4243-CS-28", "sender_account of a redacted event: "+account.Raw)
}
