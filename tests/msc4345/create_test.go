package msc4345

import (
	"slices"
	"strings"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Room creation flow: "After creating the room, and before sending the room creator's m.room.member event"
// the creator's server accepts itself, with the domain that it advertises.
func TestCreate_ServerAcceptsItselfFirst(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-01", "MSC4345-RV-02", "MSC4345-AUTH-01")
	r := hosting(t)
	key := r.ServerKey(t)
	state := r.Room.FullState() // by depth
	var types []string
	for _, e := range state[:3] {
		types = append(types, e.Type())
	}
	want := []string{"m.room.create", matrix.ParticipationType, "m.room.member"}
	if !slices.Equal(types, want) {
		conform.Violation(t, "MSC4345-FLOW-01", "a room begins with "+strings.Join(want, ", "), strings.Join(types, ", "))
	}
	own := r.Room.State(matrix.ParticipationType, string(key))
	must.Equal(t, "the participation of the creator's server", own.Participation(), matrix.Accepted)
	must.Equal(t, "the sender of the participation", own.Sender(), state[0].Sender())
	domain, _ := own.UnverifiedDomain()
	must.Equal(conform.Judge(t, "MSC4345-FLOW-01"), "unverified_domain", domain, r.At)
	for _, e := range state {
		must.Be(t, e.Type() != "m.server.participation", "no stable type beside the unstable one:\n%s", e.JSON())
	}
}

// Room version 12, rule 5.3.1: the first join has nothing but the create event before it. With a
// participation in between it is valid all the same, in rooms of either side.
func TestCreate_FirstJoinIsValid(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-02")
	for name, room := range map[string]func(testing.TB, ...blueprints.Setting) *blueprints.Room{"hosting": hosting, "visiting": visiting} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := room(t)
			r.Fence(t)
			next := r.Next(t)
			creator := r.Room.State("m.room.create", "").Sender()
			join := r.Room.State("m.room.member", string(creator))
			told := r.StateBefore(t, next)
			if !slices.Contains(told, join.ID()) {
				conform.Violation(t, "MSC4345-FLOW-02", "the creator's join is in the state", "it is not")
			}
		})
	}
}

// Changes to the user ID format: the server name in user IDs is the server key, and the server key signs
// event JSON.
func TestCreate_SendersAreNamedByServerKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-RV-03", "MSC4345-RV-04")
	for name, room := range map[string]func(testing.TB, ...blueprints.Setting) *blueprints.Room{"hosting": hosting, "visiting": visiting} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := room(t)
			key := r.ServerKey(t)
			said := r.Next(t)
			name := matrix.UserID(r.Alice.UserID).Localpart()
			if want := matrix.UserID("@" + name + ":" + string(key)); said.Sender() != want {
				conform.Violation(t, "MSC4345-RV-03", "the sender is "+string(want), string(said.Sender()))
			}
			if entities := said.SignatureEntities(); !slices.Equal(entities, []string{string(key)}) {
				conform.Violation(t, "MSC4345-RV-04", "the event is signed by the server key and nobody else", strings.Join(entities, ", "))
			}
			if ids := said.SignatureKeyIDs(string(key)); !slices.Equal(ids, []matrix.KeyID{matrix.ServerKeyID}) {
				conform.Violation(t, "MSC4345-RV-04", "the key ID is ed25519:1", said.Get("signatures").Raw)
			}
		})
	}
}

// Server-server API, "Auth events selection": nothing says that events cite the participation of their
// server. Without it nobody can tell by the auth events whether it was accepted.
func TestCreate_EventsCiteTheirServersParticipation(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-AUTH-20")
	r := hosting(t)
	own := r.Room.State(matrix.ParticipationType, string(r.ServerKey(t)))
	said := r.Next(t)
	if !slices.Contains(said.AuthEvents(), own.ID()) {
		conform.Violation(t, "MSC4345-AUTH-20", "auth_events has "+own.ID()+", the participation of the sender's server", string(said.JSON()))
	}
	bare := r.Forge(t, r.Fay, blueprints.Probe(), fakeserver.Forgery{Cite: fakeserver.NoParticipation})
	blueprints.MustDeliver(t, r.Room, bare.PDU)
	r.Fence(t)
	if got := r.Observe(t, bare); got.Effective() {
		conform.Violation(t, "MSC4345-AUTH-20", "an event that cites no participation has no effect", got.String())
	}
}
