package roomv12

import (
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
)

// Server-server API: two homeservers under test, in both directions.
func TestTwoServers_Federate(t *testing.T) {
	t.Parallel()
	for _, way := range []struct{ name, from, to string }{
		{"hs1 invites hs2", "hs1", "hs2"},
		{"hs2 invites hs1", "hs2", "hs1"},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "RV12-TWO-01")
			scene := blueprints.NewScene(t)
			conform.NeedRoomVersion(t, scene.Server(t, way.from), v12.ID)
			conform.NeedRoomVersion(t, scene.Server(t, way.to), v12.ID)
			alice := scene.User(t, way.from, "alice")
			bob := scene.User(t, way.to, "bob")
			room := alice.MustCreateRoom(t, map[string]any{"room_version": v12.ID, "preset": "private_chat",
				"power_level_content_override": map[string]any{"users": map[string]any{bob.UserID: 50}}})

			alice.MustInvite(t, room, bob.UserID)
			bob.MustSeeInvite(t, room)
			bob.MustJoin(t, room, alice.Server().Name())
			alice.MustSeeMember(t, room, bob.UserID, "join")

			bob.MustSee(t, room, alice.MustSay(t, room, "hello"))
			alice.MustSee(t, room, bob.MustSay(t, room, "hello yourself"))
			bob.MustSee(t, room, alice.MustSendState(t, room, "m.room.topic", "", map[string]any{"topic": "by alice"}))
			alice.MustSee(t, room, bob.MustSendState(t, room, "m.room.name", "", map[string]any{"name": "by bob"}))

			must.SameSet(t, "state on both servers", blueprints.StateIDs(t, alice, room), blueprints.StateIDs(t, bob, room))
		})
	}
}

// The specification takes durability for granted: a server that forgets a room on a restart leaves
// the federation with it.
func TestRestart_RoomSurvives(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-RESTART-01")
	scene := blueprints.NewSceneOn(t, conform.FreshDeployment(t, 1))
	r := blueprints.HostedOn(t, scene, v12)
	r.FayJoins(t)
	said := say(t, r, 2)
	r.Alice.MustSendState(t, r.ID, "m.room.topic", "", map[string]any{"topic": "kept"})
	r.Fence(t)
	before := blueprints.StateIDs(t, r.Alice, r.ID)

	r.Restart(t, r.HS)

	must.SameSet(t, "state after the restart", blueprints.StateIDs(t, r.Alice, r.ID), before)
	for _, id := range said {
		must.Be(t, r.Alice.HistoryHas(t, r.ID, id), "message %s in the history after the restart", id)
	}
	r.Peer.MustReceiveEvent(t, r.Alice.MustSay(t, r.ID, "still here"))
	r.Alice.MustSee(t, r.ID, blueprints.MustSend(t, r.Room, r.Fay, fakeserver.Message("so are we")).ID())
}
