package msc4243

import (
	"net/http"
	"slices"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/must"
	"countersign/matrix"
)

// mustNotCount judges an event that the room's rules do not allow, after it was delivered: an honest
// message of the fence's sender arrives, and the event has had no effect.
func mustNotCount(t *testing.T, r *blueprints.Room, fence *fakeserver.User, id, expected string, event fakeserver.Forged) {
	t.Helper()
	r.FenceBy(t, fence)
	if got := r.Observe(t, event); got.Effective() {
		conform.Violation(t, id, expected, got.String())
	}
}

// try builds an honest event that may not be allowed and delivers it. It does not become part of the
// fake server's own copy of the room.
func try(t *testing.T, r *blueprints.Room, author *fakeserver.User, d fakeserver.Draft) fakeserver.Forged {
	t.Helper()
	event := r.Forge(t, author, d, fakeserver.Forgery{})
	blueprints.MustDeliver(conform.Setup(t), r.Room, event.PDU)
	return event
}

// mustCount is the control beside a refusal: an event that is allowed is in the room's state.
func mustCount(t *testing.T, r *blueprints.Room, author *fakeserver.User, d fakeserver.Draft) *matrix.Event {
	t.Helper()
	setup := conform.Setup(t)
	event := blueprints.MustSend(setup, r.Room, author, d)
	r.FenceBy(t, r.Fay)
	must.Contain(setup, "the state over federation, after an event that is allowed", r.StateBefore(setup, r.Next(setup)), event.ID())
	return event
}

// seat gives users of the fake server power in a room of fay's, and then makes them members of it,
// before anybody else joins.
func seat(t *testing.T, r *blueprints.Room, powers map[*fakeserver.User]int) {
	t.Helper()
	users := map[string]any{}
	for user, power := range powers {
		users[string(user.KeyID())] = power
	}
	r.Room.Add(blueprints.NewEvent(t, r.Room, r.Fay, fakeserver.State("m.room.power_levels", "", map[string]any{
		"users": users, "events": map[string]any{"m.room.power_levels": 50, "org.countersign.creators_only": 101},
	})))
	for user := range powers {
		r.Room.Add(blueprints.NewEvent(t, r.Room, user, fakeserver.Membership(user.KeyID(), "join")))
	}
}

// Room version 12, authorization rule 5.3.1: the first join in a room is by the sender of the create
// event, and only that one needs no join rules.
func TestAuthRules_FirstJoin(t *testing.T) {
	t.Parallel()
	t.Run("of a room of the homeserver", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-AUTH-01")
		r := hosting(t)
		create := r.Room.State("m.room.create", "")
		join := r.Room.State("m.room.member", string(create.Sender()))
		must.Be(t, join != nil, "the state to have a membership of the sender of the create event, %s", create.Sender())
		must.Be(t, join.Sender() == create.Sender() && join.VerifyAccountKey(create.Sender()) == nil,
			"the first join to be sent and signed by the sender of the create event, got:\n%s", join.JSON())
		must.SameSet(t, "prev_events of the first join", join.PrevEvents(), []string{create.ID()})
		must.SameSet(t, "auth_events of the first join", join.AuthEvents(), nil)
	})
	t.Run("by another key", func(t *testing.T) {
		t.Parallel()
		conform.Covers(t, "MSC4243-AUTH-01")
		r := blueprints.Visited(t, conform.AccountKeyVersion(t))
		other := r.Peer.Member(t, "other")
		d := fakeserver.Membership(other.KeyID(), "join")
		d.PrevEvents, d.AuthEvents = []string{r.Room.State("m.room.create", "").ID()}, []string{}
		forged := r.Forge(t, other, d, fakeserver.Forgery{})
		r.Room.Plant(forged)
		r.AliceJoins(t)
		mustNotCount(t, r, r.Fay, "MSC4243-AUTH-01", "a first join by another key than the creator's has no effect", forged)

		// Control: the creator's own first join, which has the same form, counts.
		setup, next := conform.Setup(t), r.Next(t)
		must.Contain(setup, "the state over federation", r.StateBefore(setup, next), r.Room.State("m.room.member", string(r.Fay.KeyID())).ID())
	})
}

// Room version 12, "power of room creators": an account key is a creator together with its domain.
func TestAuthRules_PowerOfCreators(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-AUTH-02")
	v := conform.AccountKeyVersion(t)
	r := blueprints.Visited(t, v)
	carol := r.Peer.Member(t, "carol")
	r = r.AnotherWith(t, fakeserver.RoomOptions{CreateContent: map[string]any{"additional_creators": []string{string(carol.KeyID())}}})
	seat(t, r, nil)
	r.Room.Add(blueprints.NewEvent(t, r.Room, carol, fakeserver.Membership(carol.KeyID(), "join")))
	r.AliceJoins(t)
	creatorsOnly := func() fakeserver.Draft {
		return fakeserver.State("org.countersign.creators_only", blueprints.Unique("key"), map[string]any{})
	}
	for who, creator := range map[string]*fakeserver.User{"the sender of the create event": r.Fay, "an additional creator": carol} {
		event := blueprints.MustSend(conform.Setup(t), r.Room, creator, creatorsOnly())
		r.Fence(t)
		if state := r.StateBefore(t, r.Next(t)); !slices.Contains(state, event.ID()) {
			conform.Violation(t, "MSC4243-AUTH-02", who+" may do what needs a power level above 100", "the event is not in the room's state")
		}
	}

	// The same account key at another domain is nobody.
	elsewhere := r.Scene.Peer(t)
	stolen := elsewhere.Member(t, "stolen", fakeserver.WithAccount(carol.Account()))
	copied := *r
	copied.Peer, copied.Room = elsewhere, elsewhere.MustJoin(conform.Setup(t), r.At, v, r.ID, stolen)
	forged := try(t, &copied, stolen, creatorsOnly())
	mustNotCount(t, &copied, stolen, "MSC4243-AUTH-02", "a creator's account key at another domain has no power", forged)
}

// Room version 12, authorization rule 10.4, where creators are account key user IDs.
func TestAuthRules_CreatorsInPowerLevels(t *testing.T) {
	t.Parallel()
	r := hosting(t)
	setup := conform.Setup(t)
	admin, guest := r.Join(t, "admin"), r.Join(t, "guest")
	levels := r.Alice.MustState(setup, r.ID, "m.room.power_levels", "").Value().(map[string]any)
	levels["users"] = map[string]any{r.ClientID(admin): 100}
	r.Peer.MustReceiveEvent(setup, r.Alice.MustSendState(setup, r.ID, "m.room.power_levels", "", levels))
	with := func(id matrix.UserID) fakeserver.Draft {
		content := r.Room.State("m.room.power_levels", "").Get("@this").Value().(map[string]any)
		content["users"].(map[string]any)[string(id)] = 100
		return fakeserver.State("m.room.power_levels", "", content)
	}

	t.Run("a creator's account key", func(t *testing.T) {
		conform.Covers(t, "MSC4243-AUTH-03")
		creator := r.Room.State("m.room.create", "").Sender()
		forged := try(t, r, admin, with(creator))
		mustNotCount(t, r, r.Fay, "MSC4243-AUTH-03", "power levels that list a creator's account key user ID have no effect", forged)
	})
	t.Run("a creator's account name", func(t *testing.T) {
		conform.Covers(t, "MSC4243-AUTH-03")
		event := blueprints.MustSend(conform.Setup(t), r.Room, admin, with(matrix.UserID(r.Alice.UserID)))
		r.Fence(t)
		if state := r.StateBefore(t, r.Next(t)); !slices.Contains(state, event.ID()) {
			conform.Violation(t, "MSC4243-AUTH-03", "power levels may list an account name user ID, which is no creator", "the event is not in the room's state")
		}
	})
	t.Run("an account name has no power", func(t *testing.T) {
		conform.Covers(t, "MSC4243-AUTH-03")
		mustCount(t, r, admin, with(guest.NameID()))
		forged := try(t, r, guest, fakeserver.State("m.room.topic", "", map[string]any{"topic": "mine"}))
		mustNotCount(t, r, r.Fay, "MSC4243-AUTH-03", "power that is given to an account name user ID is nobody's", forged)
	})
}

// Room version 12, authorization rules 5.3 and 5.4: whoever is banned neither joins nor leaves.
func TestAuthRules_BannedKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-AUTH-04")
	r := hosting(t)
	setup := conform.Setup(t)
	banned := r.Join(t, "banned")
	r.Alice.MustBan(setup, r.ID, r.ClientID(banned))
	r.MustReceiveMember(setup, string(banned.KeyID()), "ban")

	join := try(t, r, banned, fakeserver.Membership(banned.KeyID(), "join"))
	mustNotCount(t, r, r.Fay, "MSC4243-AUTH-04", "a banned account key does not join again", join)
	leave := try(t, r, banned, fakeserver.Membership(banned.KeyID(), "leave"))
	mustNotCount(t, r, r.Fay, "MSC4243-AUTH-04", "a banned account key does not leave", leave)

	// By way of a leave that does not count.
	after := fakeserver.Membership(banned.KeyID(), "join")
	after.PrevEvents = []string{leave.EventID}
	rejoin := r.Forge(t, banned, after, fakeserver.Forgery{})
	r.Peer.SendPDUs(setup, r.At, leave.PDU, rejoin.PDU)
	mustNotCount(t, r, r.Fay, "MSC4243-AUTH-04", "a banned account key does not join after leaving", rejoin)
	if made := r.Peer.Make(t, r.At, "join", r.ID, string(banned.KeyID()), r.Version.ID); made.StatusCode() != http.StatusForbidden {
		conform.Violation(t, "MSC4243-AUTH-04", "make_join for a banned account key is refused with 403", made.String())
	}

	// Control: the key was banned, not its name or its server.
	other := r.Join(t, "other")
	must.Equal(setup, "membership of another user of the same server", r.Member(setup, r.ClientID(other)), "join")
}
