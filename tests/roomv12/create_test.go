package roomv12

import (
	"testing"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// rooms/v12, "Event format" and "Event IDs": the room ID is the reference hash of the create event,
// which carries no room_id.
func TestCreate_RoomIDIsHashOfCreateEvent(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-CREATE-01")
	r := blueprints.FayJoined(t, v12)

	create := r.Room.State("m.room.create", "")
	must.Be(t, create != nil, "a create event in the answer to send_join")
	r.Peer.MustVerify(t, create)
	must.Equal(t, "room ID", r.ID, "!"+create.ID()[1:])
	must.Be(t, !create.HasRoomID(), "no room_id in the create event: %s", create.JSON())
	must.Equal(t, "content.room_version", create.Get("room_version").Str, v12.ID)
}

// Client-server API, "POST /createRoom", the table of presets; rooms/v12, rule 10.4: no creator has
// a place in the power levels.
func TestCreate_InitialState(t *testing.T) {
	t.Parallel()
	for _, preset := range []struct{ name, joinRule string }{
		{"public_chat", "public"},
		{"private_chat", "invite"},
	} {
		t.Run(preset.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "RV12-CREATE-02")
			scene := blueprints.NewScene(t)
			bob := scene.User(t, "hs1", "bob")
			r := blueprints.HostedOn(t, scene, v12, blueprints.Create("preset", preset.name),
				blueprints.Create("creation_content", map[string]any{"additional_creators": []string{bob.UserID}}))

			want := []struct{ eventType, stateKey, path, value string }{
				{"m.room.create", "", "room_version", v12.ID},
				{"m.room.create", "", "additional_creators.0", bob.UserID},
				{"m.room.member", r.Alice.UserID, "membership", "join"},
				{"m.room.join_rules", "", "join_rule", preset.joinRule},
				{"m.room.history_visibility", "", "history_visibility", "shared"},
			}
			for _, piece := range want {
				must.Field(t, r.Alice.MustState(t, r.ID, piece.eventType, piece.stateKey), piece.path, piece.value)
			}
			noCreators(t, r.Alice.MustState(t, r.ID, "m.room.power_levels", ""), r.Alice.UserID, bob.UserID)

			r.Alice.MustInvite(t, r.ID, string(r.Fay.ID(v12)))
			r.FayJoins(t)
			for _, piece := range want {
				event := r.Room.State(piece.eventType, piece.stateKey)
				must.Be(t, event != nil, "%s %q in the state over federation", piece.eventType, piece.stateKey)
				must.Equal(t, piece.eventType, event.Get(piece.path).String(), piece.value)
			}
			noCreators(t, gjson.ParseBytes(r.Room.State("m.room.power_levels", "").Content()), r.Alice.UserID, bob.UserID)
		})
	}
}

func noCreators(t *testing.T, powerLevels gjson.Result, creators ...string) {
	t.Helper()
	users := powerLevels.Get("users").Map()
	for _, creator := range creators {
		_, listed := users[creator]
		must.Be(t, !listed, "no creator under users in the power levels: %s", powerLevels.Raw)
	}
}

// Server-server API, "Auth events selection"; rooms/v12: the create event is not among them.
func TestAuthEvents_AreTheSelectedOnes(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-AUTH-01")
	r := blueprints.FayJoined(t, v12)
	bob := r.User(t, "hs1", "bob")
	state := map[matrix.StateTuple]string{}
	for _, event := range r.Room.FullState() {
		state[event.Tuple()] = event.ID()
	}

	memberEvent := func(membership string) func() string {
		return func() string { return r.MustReceiveMember(t, bob.UserID, membership).ID() }
	}
	for _, step := range []struct {
		name string
		// act does something and returns the ID of the event that it makes.
		act func() string
	}{
		{"message", func() string { return r.Alice.MustSay(t, r.ID, "hello") }},
		{"topic", func() string {
			return r.Alice.MustSendState(t, r.ID, "m.room.topic", "", map[string]any{"topic": "auth events"})
		}},
		{"power levels", func() string {
			return r.Alice.MustSendState(t, r.ID, "m.room.power_levels", "", map[string]any{"users": map[string]any{bob.UserID: 50}})
		}},
		{"join", func() string { bob.MustJoin(t, r.ID); return memberEvent("join")() }},
		{"message of another user", func() string { return bob.MustSay(t, r.ID, "hello") }},
		{"kick", func() string { r.Alice.MustKick(t, r.ID, bob.UserID); return memberEvent("leave")() }},
		{"invite", func() string { r.Alice.MustInvite(t, r.ID, bob.UserID); return memberEvent("invite")() }},
		{"ban", func() string { r.Alice.MustBan(t, r.ID, bob.UserID); return memberEvent("ban")() }},
	} {
		event := r.Peer.MustReceiveEvent(t, step.act())
		var want []string
		for _, tuple := range event.AuthEventTuples() {
			if id := state[tuple]; id != "" {
				want = append(want, id)
			}
		}
		must.SameSet(t, "auth_events of the "+step.name, event.AuthEvents(), want)
		if _, isState := event.StateKey(); isState {
			state[event.Tuple()] = event.ID()
		}
	}
}
