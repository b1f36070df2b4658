package msc4243

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

var v12 = matrix.RoomVersion12()

// Unstable prefix: the room version is org.matrix.12.4243.
func TestRoomVersion_IsOffered(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-RV-01")
	version := conform.AccountKeyVersion(t)
	hs := conform.Server(t, "hs1")
	conform.NeedRoomVersion(t, hs, version.ID)
	scene := blueprints.NewScene(t)
	alice, peer := scene.User(t, "hs1", "alice"), scene.Peer(t)

	roomID := alice.MustCreateRoom(t, map[string]any{"room_version": version.ID, "preset": "public_chat"})
	room := peer.MustJoin(t, blueprints.Name(hs), version, roomID, peer.Member(t, "fay"))
	create := room.State("m.room.create", "")
	must.Be(t, create != nil, "a create event in the state of %s", roomID)
	must.Equal(t, "room_version of the create event", create.Get("room_version").String(), version.ID)
}

// Proposal, "Starting in room version vNext": rooms of other versions stay as they are.
func TestOtherRoomVersions_HaveNoAccountKeys(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-RV-02")
	r := hosting(t)
	conform.NeedRoomVersion(t, r.HS, v12.ID)
	setup := conform.Setup(t)
	plainID := r.Alice.MustCreateRoom(setup, map[string]any{"room_version": v12.ID, "preset": "public_chat"})
	plain := r.Peer.MustJoin(setup, r.At, v12, plainID, r.Fay)

	// The same user speaks in both rooms; in the other one she has an account key.
	eventID := r.Alice.MustSay(t, plainID, "hello")
	_, err := idOf(t, r, r.Alice).AccountKey()
	must.NoError(setup, "reading alice's account key", err)

	event := r.Peer.MustReceiveEvent(t, eventID) // signed by the server's key
	must.Equal(t, "sender", string(event.Sender()), r.Alice.UserID)
	must.SameSet(t, "names of signatures", event.SignatureEntities(), []string{string(r.At)})
	for _, e := range plain.FullState() {
		for field, id := range blueprints.Identified(e.JSON()) {
			_, err := id.AccountKey()
			must.Be(t, err != nil, "no account key in %s of:\n%s", field, e.JSON())
		}
	}
	shown := r.Alice.MustSee(t, plainID, eventID)
	must.Field(t, shown, "sender", r.Alice.UserID)
	must.Lack(t, shown, "unsigned.sender_account")
}

// Unstable prefix: the room version is based on room version 12.
func TestRoomVersion12_IsInherited(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-RV-03")
	r := hosting(t)
	create := r.Room.State("m.room.create", "")

	t.Run("the room ID is the create event's hash", func(t *testing.T) {
		must.Equal(t, "room ID", r.ID, "!"+strings.TrimPrefix(create.ID(), "$"))
		must.Be(t, !create.HasRoomID(), "no room_id in the create event:\n%s", create.JSON())
	})
	t.Run("no event cites the create event to be authorised", func(t *testing.T) {
		for _, e := range append(r.Room.FullState(), r.Next(t)) {
			must.NotContain(t, "auth_events of "+e.Type(), e.AuthEvents(), create.ID())
		}
	})
	t.Run("creators are above all power levels", func(t *testing.T) {
		users := r.Room.State("m.room.power_levels", "").Get("users").Map()
		_, named := users[string(create.Sender())]
		must.Be(t, !named, "power levels without the creator, got %v", users)
		r.Alice.MustSendState(t, r.ID, "m.room.power_levels", "", map[string]any{"events": map[string]any{"m.room.name": 1000}})
		received(t, r, r.Alice.MustSendState(t, r.ID, "m.room.name", "", map[string]any{"name": "set by the creator"}))
	})
	t.Run("redactions name their event in the content", func(t *testing.T) {
		message := r.Alice.MustSay(t, r.ID, "to be redacted")
		redaction := received(t, r, r.Alice.MustRedact(t, r.ID, message, ""))
		must.Equal(t, "content.redacts", redaction.Get("redacts").String(), message)
		must.Lack(t, gjson.ParseBytes(redaction.JSON()), "redacts")
	})
}

// Server-server API, make_join: a server that does not know the room version is told so.
func TestMakeJoin_RefusesOtherVersions(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-RV-04")
	r := hosting(t) // fay offered the version, and joined
	late := string(r.Peer.Member(t, "late").KeyID())
	for name, offered := range map[string][]string{"version 12": {"12"}, "older versions": {"1", "10", "11"}, "none": nil} {
		t.Run(name, func(t *testing.T) {
			reply := r.Peer.Make(t, r.At, "join", r.ID, late, offered...)
			must.Refuse(t, reply, 400, "M_INCOMPATIBLE_ROOM_VERSION")
			must.Field(t, reply.JSON(), "room_version", r.Version.ID)
		})
	}
}

// Unstable prefix: what the room version scopes needs no prefix of its own.
func TestInviteAndUnsigned_AreNotPrefixed(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-RV-05")
	r := hosting(t)
	guest := r.Peer.Member(t, "guest")

	r.Alice.MustInvite(t, r.ID, string(guest.NameID()))
	asked := r.Peer.MustBeAsked(t, fakeserver.OpInvite)
	must.Be(t, strings.HasPrefix(asked.URI, "/_matrix/federation/v2/invite/"), "the invite at /v2/invite, got %s", asked.URI)

	shown := r.Alice.MustSee(t, r.ID, r.Alice.MustSay(t, r.ID, "hello"))
	must.Have(t, shown, "unsigned.sender_account")
}

// Client-server API, room upgrades: everybody is named as the version of the new room names users.
func TestUpgrade_RenamesUsers(t *testing.T) {
	t.Parallel()
	keys := conform.AccountKeyVersion(t)
	for _, c := range []struct {
		name     string
		from, to matrix.RoomVersion
	}{
		{"to account keys", v12, keys},
		{"from account keys", keys, v12},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-RV-06")
			conform.NeedRoomVersion(t, conform.Server(t, "hs1"), keys.ID)
			conform.NeedRoomVersion(t, conform.Server(t, "hs1"), v12.ID)
			r := blueprints.FayJoined(t, c.from)
			bob := local(t, r, "bob")
			knowFay(t, r)
			r.Alice.MustSendState(conform.Setup(t), r.ID, "m.room.power_levels", "", map[string]any{
				"users": map[string]any{bob.UserID: 50, string(r.Fay.NameID()): 25},
			})

			upgrade := r.Alice.Upgrade(t, r.ID, c.to.ID)
			if !upgrade.OK() {
				conform.Violation(t, "MSC4243-RV-06", "the room to be upgraded to version "+c.to.ID, upgrade.String())
				return
			}
			newID := upgrade.Get("replacement_room").String()
			room := r.Peer.MustJoin(conform.Setup(t), r.At, c.to, newID, r.Fay)
			judgeUpgrade(t, r, room)

			bob.MustJoin(conform.Setup(t), newID)
			users := room.State("m.room.power_levels", "").Get("users").Map()
			bobID := r.Peer.MustReceiveEvent(conform.Setup(t), bob.MustSay(conform.Setup(t), newID, "this is me")).Sender()
			for id, level := range map[matrix.UserID]int64{bobID: 50, r.Fay.ID(c.to): 25} {
				if users[string(id)].Int() != level {
					conform.Violation(t, "MSC4243-RV-06", "the power levels of the old room under the user IDs of the new one", room.State("m.room.power_levels", "").Get("users").Raw)
				}
			}
		})
	}
}

// knowFay has alice's server learn fay's account key, in a room of its own.
func knowFay(t *testing.T, r *blueprints.Room) {
	t.Helper()
	setup, version := conform.Setup(t), conform.AccountKeyVersion(t)
	roomID := r.Alice.MustCreateRoom(setup, map[string]any{"room_version": version.ID, "preset": "public_chat"})
	r.Peer.MustJoin(setup, r.At, version, roomID, r.Fay)
	r.Alice.MustSeeMember(setup, roomID, r.ClientID(r.Fay), "join")
}

// judgeUpgrade looks at both ends of an upgrade.
func judgeUpgrade(t *testing.T, old *blueprints.Room, room *fakeserver.Room) {
	t.Helper()
	judge := func(holds bool, expected string, e *matrix.Event) {
		if !holds {
			conform.Violation(t, "MSC4243-RV-06", expected, string(e.JSON()))
		}
	}
	create := room.State("m.room.create", "")
	judge(create.Get("predecessor.room_id").String() == old.ID, "a create event whose predecessor is "+old.ID, create)
	for _, e := range room.FullState() {
		for field, id := range blueprints.Identified(e.JSON()) {
			_, err := id.AccountKey()
			judge((err == nil) == room.Version().HasAccountKeys(), "in "+field+" a user ID as version "+room.Version().ID+" has them", e)
		}
	}
	tombstone := old.Peer.MustReceive(conform.Setup(t), "the tombstone of "+old.ID, func(pdu fakeserver.PDU) bool {
		return pdu.Event != nil && pdu.Event.RoomID() == old.ID && pdu.Event.IsState("m.room.tombstone", "")
	}).Event
	judge(tombstone.Get("replacement_room").String() == room.ID(), "a tombstone that names "+room.ID(), tombstone)
	creator := old.Room.State("m.room.create", "").Sender()
	judge(tombstone.Sender() == creator, "a tombstone by "+string(creator), tombstone)
}
