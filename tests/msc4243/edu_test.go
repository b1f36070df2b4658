package msc4243

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"context"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// ephemeral is a kind of ephemeral message that belongs to a room.
type ephemeral struct {
	name, requirement string
	// about is the message that a server sends about one of its users.
	about func(r *blueprints.Room, user matrix.UserID) (eduType string, content map[string]any)
	// eventType is what clients are sent, and users whom its content names.
	eventType string
	users     func(content gjson.Result) []string
	// does has a client do what the message is about.
	does func(t testing.TB, r *blueprints.Room)
	// sender is the user whom a message of a homeserver is about.
	sender func(r *blueprints.Room, content gjson.Result) string
}

func ephemerals() []ephemeral {
	return []ephemeral{{
		name: "typing", requirement: "MSC4243-EDU-01",
		about: func(r *blueprints.Room, user matrix.UserID) (string, map[string]any) {
			return "m.typing", map[string]any{"room_id": r.ID, "user_id": user, "typing": true}
		},
		eventType: "m.typing",
		users: func(content gjson.Result) (users []string) {
			for _, user := range content.Get("user_ids").Array() {
				users = append(users, user.Str)
			}
			return users
		},
		does:   func(t testing.TB, r *blueprints.Room) { r.Alice.Typing(t, r.ID, true).MustOK(t) },
		sender: func(_ *blueprints.Room, content gjson.Result) string { return content.Get("user_id").Str },
	}, {
		name: "receipts", requirement: "MSC4243-EDU-02",
		about: func(r *blueprints.Room, user matrix.UserID) (string, map[string]any) {
			receipt := map[string]any{"event_ids": []string{lastSaid(r)}, "data": map[string]any{"ts": 1_700_000_000_000}}
			return "m.receipt", map[string]any{r.ID: map[string]any{"m.read": map[string]any{string(user): receipt}}}
		},
		eventType: "m.receipt",
		users: func(content gjson.Result) (users []string) {
			content.ForEach(func(_, kinds gjson.Result) bool {
				kinds.Get(`m\.read`).ForEach(func(user, _ gjson.Result) bool {
					users = append(users, user.Str)
					return true
				})
				return true
			})
			return users
		},
		does: func(t testing.TB, r *blueprints.Room) { r.Alice.Receipt(t, r.ID, "m.read", lastSaid(r)).MustOK(t) },
		sender: func(r *blueprints.Room, content gjson.Result) (user string) {
			content.Get(gjson.Escape(r.ID) + `.m\.read`).ForEach(func(key, _ gjson.Result) bool {
				user = key.Str
				return false
			})
			return user
		},
	}}
}

// lastSaid is the latest message of fay's server's copy of the room.
func lastSaid(r *blueprints.Room) string {
	for _, e := range slices.Backward(r.Room.Timeline()) {
		if e.Type() == "m.room.message" {
			return e.ID()
		}
	}
	return ""
}

// send sends an ephemeral message about a user.
func (k ephemeral) send(t testing.TB, r *blueprints.Room, user matrix.UserID) {
	t.Helper()
	eduType, content := k.about(r, user)
	must.NoError(conform.Setup(t), "sending "+eduType, r.Room.SendEDU(wait.Context(t), eduType, content))
}

// shown are the users whom alice's client has been told of, as often as it was.
func (k ephemeral) shown(r *blueprints.Room, view *csapi.View) (users []string) {
	for _, event := range view.Room(r.ID).Ephemeral {
		if event.Get("type").Str == k.eventType {
			users = append(users, k.users(event.Get("content"))...)
		}
	}
	return users
}

// form says how a user ID names its user.
func form(id matrix.UserID) string {
	if _, err := id.AccountKey(); err == nil {
		return "account key"
	}
	return "account name"
}

// Server-server API, "Typing Notifications" and "Receipts", in rooms with account keys: the text does
// not say how such messages name a user. One of the two forms has to work; clients see account names.
func TestEphemeral_Forms(t *testing.T) {
	t.Parallel()
	for _, k := range ephemerals() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, k.requirement)
			r := hosting(t)
			setup := conform.Setup(t)
			r.Fence(t)
			byName, byKey := r.Fay, r.Join(t, "gil")
			k.send(t, r, byName.NameID())
			k.send(t, r, byKey.KeyID())
			err := r.Alice.SyncUntil(wait.Context(t), "either user's "+k.name, func(v *csapi.View) bool {
				users := k.shown(r, v)
				return slices.Contains(users, r.ClientID(byName)) || slices.Contains(users, r.ClientID(byKey))
			})
			if err != nil {
				conform.Violation(t, k.requirement, "the "+k.name+" of other servers' users are shown, in one form of user ID at least", err.Error())
			}
			r.Fence(t)
			users := k.shown(r, r.Alice.View())
			if slices.Contains(users, string(byKey.KeyID())) {
				conform.Violation(t, k.requirement, "clients are shown account names", strings.Join(users, ", "))
			}

			k.does(setup, r)
			ctx, cancel := context.WithTimeout(wait.Context(t), wait.Limit())
			defer cancel()
			eduType, _ := k.about(r, "")
			own, err := r.Peer.WaitEDU(ctx, func(e fakeserver.EDU) bool {
				return e.Type == eduType && k.sender(r, gjson.ParseBytes(e.Content)) != ""
			})
			sent := "nothing"
			if err == nil {
				sent = "the " + form(matrix.UserID(k.sender(r, gjson.ParseBytes(own.Content))))
			}
			conform.Info(t, k.requirement, fmt.Sprintf("%s by account name are shown: %t; by account key: %t; the homeserver itself sends %s",
				k.name, slices.Contains(users, r.ClientID(byName)), slices.Contains(users, r.ClientID(byKey)), sent))
		})
	}
}

// Server-server API, "Presence", between users who share nothing but a room with account keys.
func TestEphemeral_Presence(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-EDU-03")
	r := hosting(t)
	setup := conform.Setup(t)
	byName, byKey := r.Fay, r.Join(t, "gil")
	since := r.Alice.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch")
	for _, id := range []matrix.UserID{byName.NameID(), byKey.KeyID()} {
		content := map[string]any{"push": []any{map[string]any{"user_id": id, "presence": "online", "last_active_ago": 1000, "currently_active": true}}}
		must.NoError(setup, "sending m.presence", r.Room.SendEDU(wait.Context(t), "m.presence", content))
	}
	r.Fence(t)
	var senders []string
	err := wait.Until(wait.Context(t), wait.Limit()/5, "either user's presence", func(context.Context) (bool, error) {
		senders = nil
		for _, event := range r.Alice.Sync(setup, csapi.SyncRequest{Since: since}).Get("presence.events").Array() {
			senders = append(senders, event.Get("sender").Str)
		}
		return slices.Contains(senders, r.ClientID(byName)) || slices.Contains(senders, r.ClientID(byKey)), nil
	})
	if errors.Is(err, context.DeadlineExceeded) && len(senders) == 0 {
		conform.Skip(t, "the homeserver shows nobody's presence, which is optional")
	}
	if !slices.Contains(senders, r.ClientID(byName)) {
		conform.Violation(t, "MSC4243-EDU-03", "the presence of a user named by account name is shown", strings.Join(senders, ", "))
	}
	if slices.Contains(senders, string(byKey.KeyID())) {
		conform.Violation(t, "MSC4243-EDU-03", "clients are shown account names", strings.Join(senders, ", "))
	}
}

// Server-server API, "Typing Notifications" and "Receipts": a server speaks for its own users who are
// in the room. An honest message about fay, in both forms, is the fence.
func TestEphemeral_AboutOthers(t *testing.T) {
	t.Parallel()
	for _, k := range ephemerals() {
		for _, c := range []struct {
			name string
			// about whom the message is, in the two forms, and as whom a client would see them.
			about func(t *testing.T, r *blueprints.Room) (ids []matrix.UserID, shown string)
		}{
			{"a user of the homeserver", func(t *testing.T, r *blueprints.Room) ([]matrix.UserID, string) {
				carol := local(t, r, "carol")
				return []matrix.UserID{matrix.UserID(carol.UserID), idOf(t, r, carol)}, carol.UserID
			}},
			{"a user of a third server", func(t *testing.T, r *blueprints.Room) ([]matrix.UserID, string) {
				elsewhere := r.Scene.Peer(t)
				gil := elsewhere.Member(t, "gil")
				elsewhere.MustJoin(conform.Setup(t), r.At, r.Version, r.ID, gil)
				r.Alice.MustSeeMember(conform.Setup(t), r.ID, r.ClientID(gil), "join")
				return []matrix.UserID{gil.NameID(), gil.KeyID()}, r.ClientID(gil)
			}},
			{"a user who has left the room", func(t *testing.T, r *blueprints.Room) ([]matrix.UserID, string) {
				gil := r.Join(t, "gil")
				blueprints.MustSend(conform.Setup(t), r.Room, gil, fakeserver.Membership(gil.KeyID(), "leave"))
				r.Alice.MustSeeMember(conform.Setup(t), r.ID, r.ClientID(gil), "leave")
				return []matrix.UserID{gil.NameID(), gil.KeyID()}, r.ClientID(gil)
			}},
			{"an unverified user", func(t *testing.T, r *blueprints.Room) ([]matrix.UserID, string) {
				mallory := r.JoinUnverified(t, "mallory")
				return []matrix.UserID{mallory.NameID(), mallory.KeyID()}, r.ClientID(mallory)
			}},
		} {
			t.Run(k.name+" of "+c.name, func(t *testing.T) {
				t.Parallel()
				conform.Covers(t, "MSC4243-EDU-04")
				r := hosting(t)
				ids, shown := c.about(t, r)
				r.Fence(t)
				for _, id := range append(ids, r.Fay.NameID(), r.Fay.KeyID()) {
					k.send(t, r, id)
				}
				r.Alice.MustSyncUntil(conform.Setup(t), "fay's "+k.name, func(v *csapi.View) bool {
					return slices.Contains(k.shown(r, v), r.ClientID(r.Fay))
				})
				for _, id := range append(ids, matrix.UserID(shown)) {
					if users := k.shown(r, r.Alice.View()); slices.Contains(users, string(id)) {
						conform.Violation(t, "MSC4243-EDU-04", "no "+k.name+" of "+c.name+", which fay's server has sent", strings.Join(users, ", "))
					}
				}
			})
		}
	}
}

// Server behaviour: a homeserver knows its own users by account name, and shows them so to its clients.
func TestEphemeral_OfLocalUsers(t *testing.T) {
	t.Parallel()
	for _, k := range ephemerals() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, k.requirement)
			r := hosting(t)
			setup := conform.Setup(t)
			bob := local(t, r, "bob")
			bob.MustSee(setup, r.ID, r.Fence(t).ID())
			k.does(setup, r)
			err := bob.SyncUntil(wait.Context(t), "alice's "+k.name, func(v *csapi.View) bool {
				return slices.Contains(k.shown(r, v), r.Alice.UserID)
			})
			users := k.shown(r, bob.View())
			if keys := blueprints.KeyUserIDs(strings.Join(users, " ")); err != nil || len(keys) > 0 {
				conform.Violation(t, k.requirement, "the "+k.name+" of another user of the homeserver, by account name", strings.Join(users, ", "))
			}
		})
	}
}

// Client-server API, "Receipts": a user has read up to one event. That user is one, in whichever form their
// server names them.
func TestReceipts_AreOneOfEachUser(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-EDU-02")
	k := ephemerals()[1]
	r := hosting(t)
	setup := conform.Setup(t)
	r.Fence(t)
	for _, form := range []matrix.UserID{r.Fay.KeyID(), r.Fay.NameID()} {
		r.Alice.MustSee(setup, r.ID, lastSaid(r))
		k.send(setup, r, form)
		r.Fence(t)
	}
	gil := r.Join(t, "gil") // whose receipt is the fence
	k.send(setup, r, gil.KeyID())
	k.send(setup, r, gil.NameID())
	r.Alice.MustSyncUntil(setup, "gil's receipt", func(v *csapi.View) bool { return slices.Contains(k.shown(r, v), r.ClientID(gil)) })
	var read []string
	for _, event := range inSync(t, place{client: r.Alice, roomID: r.ID}, csapi.SyncRequest{}).Get("ephemeral.events").Array() {
		if event.Get("type").Str == k.eventType {
			read = append(read, k.users(event.Get("content"))...)
		}
	}
	of := slices.DeleteFunc(slices.Clone(read), func(user string) bool { return user != r.ClientID(r.Fay) })
	if len(of) > 1 {
		conform.Violation(t, "MSC4243-EDU-02", "one receipt of "+r.ClientID(r.Fay), strings.Join(read, ", "))
	}
}

// Server-server API, "Presence" and "Send-to-device messaging": a server speaks for its own users. Here fay's
// server speaks for gil, of a third one, and then for fay, which is the fence.
func TestEphemeral_InTheNameOfOthers(t *testing.T) {
	t.Parallel()
	stranger := func(t *testing.T, r *blueprints.Room) *fakeserver.User {
		elsewhere := r.Scene.Peer(t)
		gil := elsewhere.Member(t, "gil")
		elsewhere.MustJoin(conform.Setup(t), r.At, r.Version, r.ID, gil)
		r.Alice.MustSeeMember(conform.Setup(t), r.ID, r.ClientID(gil), "join")
		return gil
	}
	t.Run("presence", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-EDU-04")
		r := hosting(t)
		setup := conform.Setup(t)
		gil := stranger(t, r)
		since := r.Alice.Sync(setup, csapi.SyncRequest{}).MustString(setup, "next_batch")
		for _, id := range []matrix.UserID{gil.NameID(), gil.KeyID(), r.Fay.NameID(), r.Fay.KeyID()} {
			content := map[string]any{"push": []any{map[string]any{"user_id": id, "presence": "online", "last_active_ago": 1000}}}
			must.NoError(setup, "sending m.presence", r.Room.SendEDU(wait.Context(t), "m.presence", content))
		}
		var senders []string
		err := wait.Until(wait.Context(t), wait.Limit()/5, "fay's presence", func(context.Context) (bool, error) {
			senders = nil
			for _, event := range r.Alice.Sync(setup, csapi.SyncRequest{Since: since}).Get("presence.events").Array() {
				senders = append(senders, event.Get("sender").Str)
			}
			return slices.Contains(senders, r.ClientID(r.Fay)), nil
		})
		if err != nil {
			conform.Skip(t, "the homeserver shows no presence, which is optional: %v", err)
		}
		if slices.Contains(senders, r.ClientID(gil)) {
			conform.Violation(t, "MSC4243-EDU-04", "no presence of a user of a third server, which fay's server has sent", strings.Join(senders, ", "))
		}
	})
	t.Run("a message to a device", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-EDU-04")
		r := hosting(t)
		gil := stranger(t, r)
		kind := blueprints.Unique("org.countersign.message")
		for _, id := range []matrix.UserID{gil.NameID(), r.Fay.NameID()} {
			must.NoError(conform.Setup(t), "sending m.direct_to_device", r.Room.SendEDU(wait.Context(t), "m.direct_to_device", map[string]any{
				"sender": id, "type": kind, "message_id": blueprints.Unique("message"),
				"messages": map[string]any{r.Alice.UserID: map[string]any{r.Alice.DeviceID: map[string]any{"body": "hello"}}},
			}))
		}
		sent := func(v *csapi.View, by *fakeserver.User) bool {
			return slices.ContainsFunc(v.ToDevice, func(message gjson.Result) bool {
				return message.Get("type").Str == kind && message.Get("sender").Str == r.ClientID(by)
			})
		}
		r.Alice.MustSyncUntil(conform.Setup(t), "a message by fay to alice's device", func(v *csapi.View) bool { return sent(v, r.Fay) })
		if sent(r.Alice.View(), gil) {
			conform.Violation(t, "MSC4243-EDU-04", "no message by a user of a third server, which fay's server has sent", "it is shown")
		}
	})
}
