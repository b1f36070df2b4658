package roomv12

import (
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
)

// highPower asks for power level 100 for everything, and gives it to some users.
func highPower(users ...string) map[string]any {
	levels := map[string]any{}
	for _, user := range users {
		levels[user] = 100
	}
	return map[string]any{
		"users": levels, "users_default": 0, "events_default": 100, "state_default": 100,
		"ban": 100, "kick": 100, "redact": 100, "invite": 100,
	}
}

// creators is a room that alice and fay created, in which everything needs power level 100, and gil,
// who has it.
func creators(t *testing.T) (r *blueprints.Room, gil *fakeserver.User) {
	t.Helper()
	scene := blueprints.NewScene(t)
	r = blueprints.HostedOn(t, scene, v12, blueprints.CreateWith(func(r *blueprints.Room) map[string]any {
		return map[string]any{"creation_content": map[string]any{"additional_creators": []string{string(r.Fay.ID(v12))}}}
	}))
	r.FayJoins(t)
	gil = r.Join(t, "gil")
	id := r.Alice.MustSendState(conform.Setup(t), r.ID, "m.room.power_levels", "", highPower(string(gil.ID(v12))))
	r.Peer.MustReceiveEvent(conform.Setup(t), id)
	return r, gil
}

// rooms/v12, "power of room creators": every creator may do anything.
func TestCreator_MayDoAnything(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "RV12-CREATOR-01")
	r, _ := creators(t)
	r.Peer.MustReceiveEvent(t, r.Alice.MustSendState(t, r.ID, "m.room.name", "", map[string]any{"name": "by the creator"}))
	blueprints.MustSend(t, r.Room, r.Fay, topic("by the additional creator"))
	r.Alice.MustSeeState(t, r.ID, "m.room.topic", "", blueprints.ContentIs("topic", "by the additional creator"))
}

// rooms/v12, rules 5.5 and 5.6: nobody's power level is above a creator's.
func TestCreator_CannotBeActedUpon(t *testing.T) {
	t.Parallel()
	for _, membership := range []string{"leave", "ban"} {
		t.Run(membership, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "RV12-CREATOR-01")
			r, gil := creators(t)
			outsider := r.Join(t, "outsider")

			// Control: the same user acts on somebody who is not a creator.
			blueprints.MustSend(conform.Setup(t), r.Room, gil, fakeserver.Membership(outsider.ID(v12), membership))
			r.Alice.MustSeeMember(conform.Setup(t), r.ID, string(outsider.ID(v12)), membership)

			forged := blueprints.NewEvent(t, r.Room, gil, fakeserver.Membership(r.Fay.ID(v12), membership))
			blueprints.MustDeliver(t, r.Room, forged.JSON())
			r.FenceBy(t, gil)
			r.MustStayUnseen(t, forged)
			must.Equal(t, "membership of the additional creator", r.Member(t, string(r.Fay.ID(v12))), "join")
		})
	}
}

// rooms/v12, rule 10.4: no creator has a place in the power levels.
func TestCreator_IsNotListedInPowerLevels(t *testing.T) {
	t.Parallel()
	t.Run("over the client API", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "RV12-CREATOR-01")
		r, gil := creators(t)
		for _, creator := range []string{r.Alice.UserID, string(r.Fay.ID(v12))} {
			must.RefuseAny(t, r.Alice.SendState(t, r.ID, "m.room.power_levels", "", highPower(string(gil.ID(v12)), creator)))
		}
	})
	t.Run("over federation", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "RV12-CREATOR-01")
		r, gil := creators(t)

		// Control: the same event without the creator.
		control := fakeserver.State("m.room.power_levels", "", highPower(string(gil.ID(v12)), "@somebody:else.example"))
		blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, control)
		r.Fence(t)
		must.Field(conform.Setup(t), r.Alice.MustState(t, r.ID, "m.room.power_levels", ""), `users.@somebody:else\.example`, 100)

		forged := blueprints.NewEvent(t, r.Room, r.Fay,
			fakeserver.State("m.room.power_levels", "", highPower(string(gil.ID(v12)), r.Alice.UserID)))
		blueprints.MustDeliver(t, r.Room, forged.JSON())
		r.Fence(t)
		next := r.MustStayUnseen(t, forged)
		must.NotContain(t, "state over federation", r.StateBefore(t, next), forged.ID())
	})
}
