package msc4243

import (
	"context"
	"fmt"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
)

// Potential Issues: "some features need the account key user ID [...] and some need the account name user
// ID". These compare the sender of an event with somebody: the client's own user, whom the room knows by
// account key, or the sender of another event. What a homeserver does in rooms without account keys, it does
// in those with them.
func TestSenders_AreRecognised(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, requirement string
		// look is what the homeserver makes of it; empty when it does nothing of the kind.
		look func(t testing.TB, r *blueprints.Room) string
	}{
		{"one's own messages leave nothing unread", "MSC4243-CS-34", func(t testing.TB, r *blueprints.Room) string {
			said := blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Message("hello")).ID()
			r.Alice.MustSee(t, r.ID, said)
			notified := func(is func(count int64) bool) string {
				counts := inSync(t, place{client: r.Alice, roomID: r.ID}, csapi.SyncRequest{}).Get("unread_notifications.notification_count")
				err := wait.Until(t.Context(), wait.Limit()/5, "the count of unread messages", func(context.Context) (bool, error) {
					counts = inSync(t, place{client: r.Alice, roomID: r.ID}, csapi.SyncRequest{}).Get("unread_notifications.notification_count")
					return is(counts.Int()), nil
				})
				return fmt.Sprint(counts.Raw, err == nil)
			}
			if notified(func(count int64) bool { return count == 1 }) != "1true" {
				return ""
			}
			r.Alice.Receipt(t, r.ID, "m.read", said).MustOK(t)
			notified(func(count int64) bool { return count == 0 })
			for range 3 {
				r.Alice.MustSee(t, r.ID, r.Alice.MustSay(t, r.ID, "I know what I say"))
			}
			return notified(func(count int64) bool { return count == 0 })
		}},
		{"the transaction of one's own message", "MSC4243-CS-34", func(t testing.TB, r *blueprints.Room) string {
			shown := r.Alice.MustSee(t, r.ID, r.Alice.MustSay(t, r.ID, "hello"))
			return map[bool]string{true: "there"}[shown.Get("unsigned.transaction_id").Exists()]
		}},
		{"one's own membership at an event", "MSC4243-CS-34", func(t testing.TB, r *blueprints.Room) string {
			shown := r.Alice.MustSee(t, r.ID, blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Message("hello")).ID())
			return shown.Get("unsigned.membership").Str
		}},
		{"a thread that one has answered", "MSC4243-CS-34", func(t testing.TB, r *blueprints.Room) string {
			root := blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Message("the root")).ID()
			r.Alice.MustSee(t, r.ID, root)
			answer := map[string]any{"msgtype": "m.text", "body": "an answer", "m.relates_to": map[string]any{"rel_type": "m.thread", "event_id": root}}
			r.Alice.MustSee(t, r.ID, r.Alice.MustSend(t, r.ID, "m.room.message", answer))
			return r.Alice.Event(t, r.ID, root).Get(`unsigned.m\.relations.m\.thread.current_user_participated`).Raw
		}},
		{"one's own state in sliding sync", "MSC4243-CS-34", func(t testing.TB, r *blueprints.Room) string {
			answer := r.Alice.SlidingSync(t, "", 0, map[string]any{
				"conn_id": "self", "lists": map[string]any{},
				"room_subscriptions": map[string]any{r.ID: map[string]any{"timeline_limit": 1, "required_state": [][]string{{"m.room.member", "$ME"}}}},
			})
			state := answer.Get("rooms").Map()[r.ID].Get("required_state").Array()
			return map[bool]string{true: "found"}[len(state) == 1 && state[0].Get("state_key").Str == r.Alice.UserID]
		}},
		{"an edit by who has sent the event", "MSC4243-CS-10", func(t testing.TB, r *blueprints.Room) string {
			said := blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Message("good")).ID()
			edit := blueprints.MustSend(t, r.Room, r.Fay, relates("m.replace", said).With("m.new_content", map[string]any{"msgtype": "m.text", "body": "better"})).ID()
			r.Alice.MustSee(t, r.ID, edit)
			return map[bool]string{true: "bundled"}[r.Alice.Event(t, r.ID, said).Get(`unsigned.m\.relations.m\.replace.event_id`).Str == edit]
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, c.requirement)
			conform.NeedRoomVersion(t, conform.Server(t, "hs1"), v12.ID)
			setup := conform.Setup(t)
			plain := c.look(setup, blueprints.FayJoined(t, v12))
			if plain == "" {
				conform.Skip(t, "the homeserver does nothing of the kind in rooms without account keys")
			}
			if got := c.look(setup, hosting(t)); got != plain {
				conform.Violation(t, c.requirement, c.name+", as in rooms without account keys: "+plain, fmt.Sprintf("%q", got))
			}
		})
	}
}

// Gradual compatibility is "to enable clients to gradually become aware of account keys". Other servers ask the
// domain for the name; what they are sent in unsigned would be kept beside the DAG, without a signature and
// beyond all erasure.
func TestSenderAccount_IsNotSentToServers(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-CS-35")
	r := hosting(t)
	setup := conform.Setup(t)
	said := r.Alice.MustSay(setup, r.ID, "hello")
	must.Be(setup, received(setup, r, said) != nil, "alice's message to be sent to fay's server")
	for _, pdu := range append(pdusOf(r), r.Peer.Event(setup, r.At, said).Events...) {
		for _, told := range blueprints.SenderAccounts(pdu) {
			conform.Violation(t, "MSC4243-CS-35", "no sender_account in what other servers are sent", told)
		}
	}
}
