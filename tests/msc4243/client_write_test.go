package msc4243

import (
	"encoding/json"
	"maps"
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

// levelsOf are the power levels of users in the content of power levels.
func levelsOf(content gjson.Result) map[string]int64 {
	levels := map[string]int64{}
	for user, level := range content.Get("users").Map() {
		levels[user] = level.Int()
	}
	return levels
}

// Server behaviour, of power levels: a client names users by their account names, the room by their
// keys.
func TestPowerLevels_AreTranslatedBothWays(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-CS-06")
	r := hosting(t)
	bob := local(t, r, "bob")
	bobKey := idOf(t, r, bob)
	named := map[string]int64{bob.UserID: 25, r.ClientID(r.Fay): 50}

	set := r.Alice.MustSendState(t, r.ID, "m.room.power_levels", "", map[string]any{"users": named})
	pdu := received(t, r, set)
	want := map[string]int64{string(bobKey): 25, string(r.Fay.KeyID()): 50}
	if got := levelsOf(pdu.Get("@this")); !maps.Equal(got, want) {
		conform.Violation(t, "MSC4243-CS-06", "the power levels of account keys in the room", string(pdu.JSON()))
	}
	shown := r.Alice.MustSee(conform.Setup(t), r.ID, set).Get("content")
	for where, content := range map[string]gjson.Result{
		"/sync": shown, "/state": r.Alice.MustState(t, r.ID, "m.room.power_levels", ""), "/event": r.Alice.Event(t, r.ID, set).Get("content"),
	} {
		if got := levelsOf(content); !maps.Equal(got, named) {
			conform.Violation(t, "MSC4243-CS-06", "the power levels of account names in "+where, content.Raw)
		}
	}

	// They are the power of those whom they name.
	r.Alice.MustSee(t, r.ID, bob.MustSay(t, r.ID, "still here"))
	topic := blueprints.MustSend(t, r.Room, r.Fay, fakeserver.State("m.room.topic", "", map[string]any{"topic": "by fay's power"}))
	r.Alice.MustSee(t, r.ID, topic.ID())
}

// Server behaviour, and room version 12's rule 10: a name for which the homeserver knows no key has no
// form in the room. The reading adopted is that the client is refused.
func TestPowerLevels_OfUnknownUsers(t *testing.T) {
	t.Parallel()
	for name, unknown := range map[string]func(r *blueprints.Room) string{
		"nobody of the own server":   func(r *blueprints.Room) string { return "@" + blueprints.Unique("nobody") + ":" + string(r.At) },
		"somebody of another server": func(r *blueprints.Room) string { return string(r.Peer.Member(t, "stranger").NameID()) },
		"nobody of another server": func(r *blueprints.Room) string {
			return "@" + blueprints.Unique("nobody") + ":" + string(r.Peer.Name())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-06")
			r := hosting(t)
			user := unknown(r)
			answer := r.Alice.SendState(t, r.ID, "m.room.power_levels", "", map[string]any{"users": map[string]int{user: 50}})
			if answer.Status < 400 || answer.Status > 499 {
				conform.Info(t, "MSC4243-CS-06", "a power level of an unknown user is not refused: "+answer.String())
			}
			for _, pdu := range append(r.Peer.StateAt(t, r.At, r.ID, r.Next(t).ID()).Events, pdusOf(r)...) {
				must.Be(t, !strings.Contains(string(pdu), user), "no account name in the room, got %s in:\n%s", user, pdu)
			}
		})
	}
}

// pdusOf are the events that the fake server was sent.
func pdusOf(r *blueprints.Room) (pdus []json.RawMessage) {
	for _, pdu := range r.Peer.PDUs() {
		pdus = append(pdus, pdu.Raw)
	}
	return pdus
}

// A client that changes power levels writes back what it has read, and cannot have read of users who are
// hidden from it.
func TestPowerLevels_KeepHiddenUsers(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-CS-07")
	r := hosting(t)
	setup := conform.Setup(t)
	mallory := r.JoinUnverified(t, "mallory")
	r.Alice.MustSendState(setup, r.ID, "m.room.power_levels", "", map[string]any{"users": map[string]int{r.ClientID(r.Fay): 100}})
	received(setup, r, r.Alice.MustSay(setup, r.ID, "fay has power now"))
	r.MustHide(t, r.Fay, fakeserver.State("m.room.power_levels", "", map[string]any{
		"users": map[string]int{string(r.Fay.KeyID()): 100, string(mallory.KeyID()): 50},
	}))

	levels, ok := r.Alice.MustState(setup, r.ID, "m.room.power_levels", "").Value().(map[string]any)
	must.Be(setup, ok, "power levels to be an object")
	levels["events"] = map[string]int{"com.example.changed": 7}
	written := received(setup, r, r.Alice.MustSendState(setup, r.ID, "m.room.power_levels", "", levels))
	if got := levelsOf(written.Get("@this"))[string(mallory.KeyID())]; got != 50 {
		conform.Violation(t, "MSC4243-CS-07", "level 50 of a hidden user, after a client has changed something else", string(written.JSON()))
	}
}

// Room version 12 has creators in the content of the create event. They are named like all users.
func TestAdditionalCreators_AreTranslatedBothWays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		body func(user string) map[string]any
	}{
		{"named by the client", func(user string) map[string]any {
			return map[string]any{"preset": "public_chat", "creation_content": map[string]any{"additional_creators": []string{user}}}
		}},
		{"trusted with a private chat", func(user string) map[string]any {
			return map[string]any{"preset": "trusted_private_chat", "invite": []string{user}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-08")
			r := hosting(t)
			setup := conform.Setup(t)
			bob := local(t, r, "bob")
			body := c.body(bob.UserID)
			body["room_version"] = r.Version.ID
			roomID := r.Alice.MustCreateRoom(setup, body)
			shown := r.Alice.MustState(setup, roomID, "m.room.create", "")
			if got := shown.Get("additional_creators").String(); got != `["`+bob.UserID+`"]` {
				conform.Violation(t, "MSC4243-CS-08", "additional_creators "+bob.UserID+" for clients", shown.Raw)
			}
			guest := r.Peer.Member(t, "guest")
			r.Alice.MustInvite(setup, roomID, string(guest.NameID()))
			r.Peer.MustReceiveInvite(setup, roomID, guest)
			create := r.Peer.MustJoin(setup, r.At, r.Version, roomID, guest).State("m.room.create", "")
			if got := create.Get("additional_creators").String(); got != `["`+string(idOf(t, r, bob))+`"]` {
				conform.Violation(t, "MSC4243-CS-08", "the additional creator's account key in the room", string(create.JSON()))
			}
		})
	}
	for _, c := range []struct {
		name  string
		named func(r *blueprints.Room) *fakeserver.User
	}{
		{"a remote user whose key is known", func(r *blueprints.Room) *fakeserver.User { return r.Fay }},
		{"a remote user whose key is not known", func(r *blueprints.Room) *fakeserver.User { return r.Peer.Member(t, "stranger") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-08")
			r := hosting(t)
			user := c.named(r)
			answer := r.Alice.CreateRoom(t, map[string]any{
				"room_version": r.Version.ID, "preset": "public_chat",
				"creation_content": map[string]any{"additional_creators": []any{user.NameID()}},
			})
			if !answer.OK() {
				conform.Info(t, "MSC4243-CS-08", c.name+" cannot be made a creator: "+answer.String())
				return
			}
			create := r.Peer.MustJoin(conform.Setup(t), r.At, r.Version, answer.Get("room_id").Str, r.Fay).State("m.room.create", "")
			if strings.Contains(string(create.JSON()), string(user.NameID())) {
				conform.Violation(t, "MSC4243-CS-08", "no account name in the room", string(create.JSON()))
			}
			conform.Info(t, "MSC4243-CS-08", c.name+" can be made a creator: "+string(create.JSON()))
		})
	}
}

// Server behaviour: clients kick, ban and invite whom they know by account name.
func TestModeration_TakesAccountNames(t *testing.T) {
	t.Parallel()
	type verb = func(c *csapi.Client, t testing.TB, roomID, userID string) *csapi.Response
	for _, c := range []struct {
		name       string
		before     []verb // what must be so for the verb to be possible
		verb       verb
		membership string
		outside    bool // the target is somebody who is not in the room
	}{
		{"kick", nil, (*csapi.Client).Kick, "leave", false},
		{"ban", nil, (*csapi.Client).Ban, "ban", false},
		{"unban", []verb{(*csapi.Client).Ban}, (*csapi.Client).Unban, "leave", false},
		{"invite", nil, (*csapi.Client).Invite, "invite", true},
		{"invite again", []verb{(*csapi.Client).Kick}, (*csapi.Client).Invite, "invite", false},
	} {
		judge := func(t *testing.T, r *blueprints.Room, name string, key func() matrix.UserID) {
			t.Helper()
			for _, before := range c.before {
				before(r.Alice, t, r.ID, name).MustOK(conform.Setup(t))
			}
			c.verb(r.Alice, t, r.ID, name).MustOK(t)
			r.Alice.MustSeeMember(t, r.ID, name, c.membership)
			r.MustReceiveMember(t, string(key()), c.membership)
		}
		t.Run(c.name+"/a local user", func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-13")
			r := hosting(t)
			bob := r.User(t, r.HS.Alias(), "bob")
			key := creator(t, r, bob)
			if !c.outside {
				bob.MustJoin(conform.Setup(t), r.ID)
			}
			judge(t, r, bob.UserID, func() matrix.UserID { return key })
		})
		t.Run(c.name+"/a remote user", func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-13")
			r := hosting(t)
			var gil *fakeserver.User
			if c.outside {
				gil = r.Peer.Member(t, "gil")
			} else {
				gil = r.Join(t, "gil")
			}
			judge(t, r, r.ClientID(gil), gil.KeyID)
		})
		t.Run(c.name+"/an account key user ID", func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-13")
			r := hosting(t)
			gil := r.Join(t, "gil")
			for _, before := range c.before {
				before(r.Alice, t, r.ID, r.ClientID(gil)).MustOK(conform.Setup(t))
			}
			answer := c.verb(r.Alice, t, r.ID, string(gil.KeyID()))
			conform.Info(t, "MSC4243-CS-13", c.name+" by account key user ID: "+answer.String())
		})
	}
}

// Room version 12, rule 9: a state key that begins with "@" must be the sender. A client writes the
// sender as it knows them.
func TestOwnStateKeys_AreTranslatedBothWays(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-CS-14")
	r := hosting(t, anybodyMay())
	bob := local(t, r, "bob")
	for _, client := range []*csapi.Client{r.Alice, bob} {
		content := map[string]any{"of": client.UserID}
		set := client.MustSendState(t, r.ID, "com.example.own", client.UserID, content)
		pdu := received(t, r, set)
		key, _ := pdu.StateKey()
		must.Equal(t, "state key in the room", key, string(pdu.Sender()))
		must.NoError(t, "checking the signature of the event", pdu.VerifyAccountKey(pdu.Sender()))

		must.Field(t, r.Alice.MustSee(t, r.ID, set), "state_key", client.UserID)
		must.Field(t, r.Alice.MustState(t, r.ID, "com.example.own", client.UserID), "of", client.UserID)
	}
	set := blueprints.MustSend(t, r.Room, r.Fay, fakeserver.State("com.example.own", string(r.Fay.KeyID()), map[string]any{"of": "fay"}))
	must.Field(t, r.Alice.MustSee(t, r.ID, set.ID()), "state_key", r.ClientID(r.Fay))
	must.Field(t, r.Alice.MustState(t, r.ID, "com.example.own", r.ClientID(r.Fay)), "of", "fay")
	for _, other := range []string{r.Alice.UserID, r.ClientID(r.Fay)} {
		must.Refuse(t, bob.SendState(t, r.ID, "com.example.own", other, map[string]any{}), http.StatusForbidden)
	}
}

// Server behaviour: a display name is changed under the same account key user ID.
func TestDisplayName_ReachesTheRoom(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-CS-23")
	r := hosting(t)
	bob := local(t, r, "bob")
	key := idOf(t, r, bob)
	name := blueprints.Unique("Bob")
	bob.SetProfile(t, "displayname", name).MustOK(t)
	renamed := r.Peer.MustReceive(t, "bob's new name", func(pdu fakeserver.PDU) bool {
		return pdu.Event != nil && pdu.Event.IsState("m.room.member", string(key)) && pdu.Get("content.displayname").String() == name
	}).Event
	r.Peer.MustVerify(t, renamed)
	must.Equal(t, "sender", renamed.Sender(), key)
	shown := r.Alice.MustSee(t, r.ID, renamed.ID())
	must.Field(t, shown, "state_key", bob.UserID)
	must.Field(t, shown, "content.displayname", name)
}

// Client-server API: what else takes rooms, events and users works with account names. Each once.
func TestOtherEndpoints_TakeAccountNames(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(t *testing.T){
		"report an event": func(t *testing.T) {
			r := hosting(t)
			r.Alice.Report(t, r.ID, r.Fence(t).ID()).MustOK(t)
		},
		"report a room": func(t *testing.T) {
			r := hosting(t)
			r.Alice.Report(t, r.ID, "").MustOK(t)
		},
		"knock": func(t *testing.T) {
			r := blueprints.Visited(t, conform.AccountKeyVersion(t), blueprints.Options(func(o *fakeserver.RoomOptions) { o.JoinRule = "knock" }))
			r.Alice.MustKnock(t, r.ID, string(r.Peer.Name()))
			r.Alice.MustSyncUntil(t, "the knock", func(v *csapi.View) bool { return v.Room(r.ID).StrippedMembership(r.Alice.UserID) == "knock" })
		},
		"forget": func(t *testing.T) {
			r := hosting(t)
			bob := local(t, r, "bob")
			bob.MustLeave(t, r.ID)
			bob.Forget(t, r.ID).MustOK(t)
			must.RefuseAny(t, bob.Messages(t, r.ID, "b", "", 1))
		},
		"upgrade": func(t *testing.T) {
			r := hosting(t)
			newID := r.Alice.Upgrade(t, r.ID, r.Version.ID).MustString(t, "replacement_room")
			must.Field(t, r.Alice.MustState(t, newID, "m.room.create", ""), "predecessor.room_id", r.ID)
		},
		"aliases": func(t *testing.T) {
			r := hosting(t)
			alias := "#" + blueprints.Unique("alias") + ":" + string(r.At)
			r.Alice.SetAlias(t, alias, r.ID).MustOK(t)
			must.Equal(t, "aliases of the room", r.Alice.Aliases(t, r.ID).MustOK(t).Get("aliases").String(), `["`+alias+`"]`)
			bob := r.User(t, r.HS.Alias(), "bob")
			bob.MustJoin(t, alias)
			r.Alice.MustSeeMember(t, r.ID, bob.UserID, "join")
			r.Alice.DeleteAlias(t, alias).MustOK(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-25")
			act(t)
		})
	}
}

// Client-server API, "Redactions": one's own events, and others' by power.
func TestRedactions_ByClients(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		by      func(r *blueprints.Room, bob *csapi.Client) *csapi.Client
		of      func(t testing.TB, r *blueprints.Room, bob *csapi.Client) (eventID string)
		allowed bool
	}{
		{"one's own event", bobActs, bobSpeaks, true},
		{"a local user's by power", aliceActs, bobSpeaks, true},
		{"a remote user's by power", aliceActs, faySpeaks, true},
		{"a remote user's without power", bobActs, faySpeaks, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-27")
			r := hosting(t)
			bob := local(t, r, "bob")
			client, target := c.by(r, bob), c.of(conform.Setup(t), r, bob)
			answer := client.Redact(t, r.ID, target, "")
			if !c.allowed { // it is refused, or has no effect
				r.Alice.MustSee(t, r.ID, client.MustSay(t, r.ID, "after the redaction"))
				must.Have(t, r.Alice.Event(t, r.ID, target).MustOK(t), "content.body")
				return
			}
			redaction := received(t, r, answer.MustString(t, "event_id"))
			must.Equal(t, "content.redacts", redaction.Get("redacts").String(), target)
			must.Equal(t, "sender of the redaction", redaction.Sender(), idOf(t, r, client))
			r.MustSeeRedacted(t, target)
		})
	}
}

func aliceActs(r *blueprints.Room, _ *csapi.Client) *csapi.Client { return r.Alice }
func bobActs(_ *blueprints.Room, bob *csapi.Client) *csapi.Client { return bob }

func bobSpeaks(t testing.TB, r *blueprints.Room, bob *csapi.Client) string {
	return bob.MustSay(t, r.ID, "to be redacted")
}

func faySpeaks(t testing.TB, r *blueprints.Room, _ *csapi.Client) string { return r.Fence(t).ID() }

// Gradual compatibility: sender_account is the server's to say. What a client or another server puts
// into an event changes nothing.
func TestSenderAccount_CannotBeSupplied(t *testing.T) {
	t.Parallel()
	forged := map[string]any{"sender_account": map[string]any{"key": "forged", "user_id": "@forged:example.com"}}
	for _, c := range []struct {
		name string
		send func(t testing.TB, r *blueprints.Room, bob *csapi.Client) (eventID string)
		by   func(r *blueprints.Room, bob *csapi.Client) string
	}{
		{"by a client", func(t testing.TB, r *blueprints.Room, bob *csapi.Client) string {
			return bob.MustSend(t, r.ID, "m.room.message", map[string]any{
				"msgtype": "m.text", "body": "hello", "unsigned": forged, "sender_account": forged["sender_account"],
			})
		}, func(_ *blueprints.Room, bob *csapi.Client) string { return bob.UserID }},
		{"by another server", func(t testing.TB, r *blueprints.Room, _ *csapi.Client) string {
			d := fakeserver.Message("hello")
			d.Unsigned = []byte(`{"sender_account":{"key":"forged","user_id":"@forged:example.com"}}`)
			return blueprints.MustSend(t, r.Room, r.Fay, d).ID()
		}, func(r *blueprints.Room, _ *csapi.Client) string { return r.ClientID(r.Fay) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-CS-32")
			r := hosting(t)
			bob := local(t, r, "bob")
			eventID := c.send(conform.Setup(t), r, bob)
			for _, shown := range []gjson.Result{r.Alice.MustSee(t, r.ID, eventID), r.Alice.Event(t, r.ID, eventID).MustOK(t)} {
				must.Field(t, shown, "unsigned.sender_account.user_id", c.by(r, bob))
				key := shown.Get("unsigned.sender_account.key").Str
				must.Be(t, slices.Contains([]string{r.Fay.Key(), string(idOf(t, r, bob).Localpart())}, key), "the sender's account key, got:\n%s", shown.Raw)
			}
		})
	}
}
