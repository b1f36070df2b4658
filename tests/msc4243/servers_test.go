package msc4243

import (
	"testing"

	"countersign/blueprints"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
)

// MSC4243, "Proposal" and "Server behaviour": two homeservers under test, in both directions, before
// and after a restart of either. Neither fake server nor oracle: whatever the two agree on besides the
// proposal, each of them is held to the proposal by the other tests.
func TestTwoServers_FederateAndSurviveRestarts(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-SIG-10", "MSC4243-KEY-03", "MSC4243-QC-15")
	v := conform.AccountKeyVersion(t)
	scene := blueprints.NewSceneOn(t, conform.FreshDeployment(t, 2))
	hs1, hs2 := scene.Server(t, "hs1"), scene.Server(t, "hs2")
	conform.NeedRoomVersion(t, hs1, v.ID)
	conform.NeedRoomVersion(t, hs2, v.ID)
	alice, bob := scene.User(t, "hs1", "alice"), scene.User(t, "hs2", "bob")

	// One room of each, which the other joins.
	rooms := map[string]string{}
	for _, way := range []struct {
		name        string
		host, guest *csapi.Client
	}{{"hosted by hs1", alice, bob}, {"hosted by hs2", bob, alice}} {
		room := way.host.MustCreateRoom(t, map[string]any{"room_version": v.ID, "preset": "public_chat"})
		way.guest.MustJoin(t, room, way.host.Server().Name())
		mustFind(t, way.host, room, way.guest.UserID)
		mustFind(t, way.guest, room, way.host.UserID)
		rooms[way.name] = room
	}
	talk := func(when string) {
		for name, room := range rooms {
			said := alice.MustSay(t, room, when)
			must.Equal(t, "sender of alice's message in the room "+name+" as bob sees it, "+when, bob.MustSee(t, room, said).Get("sender").Str, alice.UserID)
			said = bob.MustSay(t, room, when)
			must.Equal(t, "sender of bob's message in the room "+name+" as alice sees it, "+when, alice.MustSee(t, room, said).Get("sender").Str, bob.UserID)
			must.SameSet(t, "state on both servers", blueprints.StateIDs(t, alice, room), blueprints.StateIDs(t, bob, room))
		}
	}
	talk("at first")
	scene.Restart(t, hs1)
	talk("after a restart of hs1")
	scene.Restart(t, hs2)
	talk("after a restart of hs2")
}
