package msc4243

import (
	"context"
	"fmt"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// ignore has a client ignore a user, and returns the position of /sync from which on it does.
func ignore(t testing.TB, c *csapi.Client, userID string) (since string) {
	t.Helper()
	c.SetAccountData(t, "", "m.ignored_user_list", map[string]any{"ignored_users": map[string]any{userID: struct{}{}}}).MustOK(t)
	return c.Sync(t, csapi.SyncRequest{}).MustString(t, "next_batch")
}

// Potential Issues: ignoring users needs account names. Client-server API, "Ignoring Users": an ignored
// user's messages do not come, by whichever key of theirs.
func TestIgnoredUsers_AreNamedByAccountName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// troll brings a user into the room and returns who is to be ignored, and what says something.
		troll func(t testing.TB, r *blueprints.Room) (userID string, speak func(t testing.TB) (eventID string))
	}{
		{"a local user", func(t testing.TB, r *blueprints.Room) (string, func(testing.TB) string) {
			bob := local(t, r, "bob")
			return bob.UserID, func(t testing.TB) string { return bob.MustSay(t, r.ID, "hello") }
		}},
		{"a remote user", func(t testing.TB, r *blueprints.Room) (string, func(testing.TB) string) {
			gil := r.Join(t, "gil")
			return r.ClientID(gil), func(t testing.TB) string {
				return blueprints.MustSend(t, r.Room, gil, fakeserver.Message("hello")).ID()
			}
		}},
		{"another key of a remote user's name", func(t testing.TB, r *blueprints.Room) (string, func(testing.TB) string) {
			elsewhere, name := r.Scene.Peer(t), blueprints.Unique("troll")
			oneName(elsewhere, name)
			userID := "@" + name + ":" + string(elsewhere.Name())
			elsewhere.MustJoin(t, r.At, r.Version, r.ID, elsewhere.Member(t, "first"))
			second := elsewhere.Member(t, "second")
			room := elsewhere.MustJoin(t, r.At, r.Version, r.ID, second)
			return userID, func(t testing.TB) string {
				return blueprints.MustSend(t, room, second, fakeserver.Message("hello")).ID()
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-17")
			r := hosting(t)
			setup := conform.Setup(t)
			userID, speak := c.troll(setup, r)
			r.Alice.MustSee(setup, r.ID, speak(setup)) // the control: not ignored yet
			since := ignore(setup, r.Alice, userID)

			ignored := speak(setup)
			wait.For(setup, "the homeserver to have accepted the message of "+userID, func(context.Context) (bool, error) {
				return r.Peer.Event(t, r.At, ignored).StatusCode() == 200, nil
			})
			r.Fence(t)
			for what, q := range map[string]csapi.SyncRequest{"a later sync": {Since: since, Filter: longTimeline}, "a first sync": {Filter: longTimeline}} {
				room := inSync(t, place{client: r.Alice, roomID: r.ID}, q)
				must.Be(t, !eventIn(room, ignored).Exists(), "no message by %s, who is ignored, in %s, got:\n%s", userID, what, room.Raw)
			}
		})
	}
}

// The same of invitations. The fence is an invitation by somebody else of the same server.
func TestIgnoredUsers_CannotInvite(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-CS-17")
	r := blueprints.Visited(t, conform.AccountKeyVersion(t))
	setup := conform.Setup(t)
	since := ignore(setup, r.Alice, r.ClientID(r.Fay))
	invite := func(room *fakeserver.Room, by *fakeserver.User) blueprints.Reply {
		invitation, reply := blueprints.OfferInvite(setup, room, by, matrix.UserID(r.Alice.UserID))
		if invitation.Returned != nil { // a homeserver may refuse for a user who ignores the inviter
			blueprints.MustConfirm(setup, room, by, invitation)
		}
		return reply
	}
	invite(r.Room, r.Fay)
	gil := r.Peer.Member(t, "gil")
	other, err := r.Peer.CreateRoom(gil, fakeserver.RoomOptions{Version: r.Version})
	must.NoError(setup, "making a room", err)
	must.Succeed(setup, invite(other, gil))
	r.Alice.MustSeeInvite(setup, other.ID())

	invites := r.Alice.Sync(t, csapi.SyncRequest{Since: since}).MustOK(t).Get("rooms.invite").Map()
	must.Be(t, !invites[r.ID].Exists(), "no invitation by %s, who is ignored, got:\n%s", r.ClientID(r.Fay), invites[r.ID].Raw)
}

// Client-server API, "Push Notifications": rules name users as clients know them, and power is the power
// of whom they name. Each case is one message of fay's or bob's, who is a local user.
func TestPushRules_KnowAccountNames(t *testing.T) {
	t.Parallel()
	highlight := map[string]any{"actions": []any{"notify", map[string]any{"set_tweak": "highlight"}}}
	plain := map[string]any{"msgtype": "m.text", "body": "hello"}
	toRoom := map[string]any{"msgtype": "m.text", "body": "@room: hello", "m.mentions": map[string]any{"room": true}}
	none := func(testing.TB, *blueprints.Room, string) {}
	for _, c := range []struct {
		name string
		// rule prepares the room and the rules of alice, for messages by a user.
		rule    func(t testing.TB, r *blueprints.Room, userID string)
		message func(r *blueprints.Room) map[string]any
		want    int64 // how many events are highlighted
	}{
		{"a sender's rule", func(t testing.TB, r *blueprints.Room, userID string) {
			r.Alice.SetPushRule(t, "sender", userID, highlight).MustOK(t)
		}, func(*blueprints.Room) map[string]any { return plain }, 1},
		{"a condition on the sender", func(t testing.TB, r *blueprints.Room, userID string) {
			r.Alice.SetPushRule(t, "override", "org.countersign.sender", map[string]any{
				"actions": highlight["actions"], "conditions": []any{
					map[string]any{"kind": "event_match", "key": "sender", "pattern": userID},
					map[string]any{"kind": "event_match", "key": "type", "pattern": "m.room.message"},
				},
			}).MustOK(t)
		}, func(*blueprints.Room) map[string]any { return plain }, 1},
		{"a mention", none, func(r *blueprints.Room) map[string]any {
			return map[string]any{"msgtype": "m.text", "body": "look", "m.mentions": map[string]any{"user_ids": []string{r.Alice.UserID}}}
		}, 1},
		{"a mention of the room by power", func(t testing.TB, r *blueprints.Room, userID string) {
			received(t, r, r.Alice.MustSendState(t, r.ID, "m.room.power_levels", "", map[string]any{"users": map[string]any{userID: 50}}))
		}, func(*blueprints.Room) map[string]any { return toRoom }, 1},
		{"a mention of the room without power", none, func(*blueprints.Room) map[string]any { return toRoom }, 0},
	} {
		for _, by := range []string{"a local user", "a remote user"} {
			t.Run(c.name+"/"+by, func(t *testing.T) {
				t.Parallel()
				conform.Covers(t, "MSC4243-CS-20")
				r := hosting(t)
				setup := conform.Setup(t)
				bob := local(t, r, "bob")
				userID := map[string]string{"a local user": bob.UserID, "a remote user": r.ClientID(r.Fay)}[by]
				c.rule(setup, r, userID)
				content := c.message(r)
				var said string
				if userID == bob.UserID {
					said = bob.MustSend(setup, r.ID, "m.room.message", content)
				} else {
					said = blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Draft{Type: "m.room.message", Content: content}).ID()
				}
				r.Alice.MustSee(setup, r.ID, said)

				var counts gjson.Result
				err := wait.Until(t.Context(), wait.Limit(), "the message to be counted", func(context.Context) (bool, error) {
					counts = inSync(t, place{client: r.Alice, roomID: r.ID}, csapi.SyncRequest{}).Get("unread_notifications")
					return counts.Get("notification_count").Int() > 0 && counts.Get("highlight_count").Int() == c.want, nil
				})
				if err != nil {
					conform.Violation(t, "MSC4243-CS-20", fmt.Sprintf("%d events to be highlighted", c.want), counts.Raw)
				}
			})
		}
	}
}
