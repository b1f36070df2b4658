package blueprints

import (
	"testing"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// draft is the honest event in which forgeries of a kind are committed. Author sends it; second is
// another user of the author's server, who authorises or is invited.
func (r *Room) draft(kind fakeserver.Kind, author, second *fakeserver.User) fakeserver.Draft {
	switch kind {
	case fakeserver.LeaveEvent:
		return fakeserver.Membership(r.UserID(author), "leave")
	case fakeserver.JoinEvent:
		return fakeserver.Membership(r.UserID(author), "join")
	case fakeserver.RestrictedJoinEvent:
		d := fakeserver.Membership(r.UserID(author), "join").With("join_authorised_via_users_server", r.UserID(second))
		d.CoSigners = []*fakeserver.User{second}
		return d
	case fakeserver.InviteEvent:
		d := fakeserver.Membership(r.UserID(second), "invite")
		d.CoSigners = []*fakeserver.User{second}
		return d
	case fakeserver.PowerLevelsEvent:
		return fakeserver.State("m.room.power_levels", "", powerLevels(r.UserID(author)))
	case fakeserver.JoinRulesEvent:
		return fakeserver.State("m.room.join_rules", "", map[string]any{"join_rule": "public", "org.countersign.tag": Unique("tag")})
	default:
		return Probe()
	}
}

// powerLevels gives a moderator the power to change them and the join rules, and lets everyone invite
// and send other state.
func powerLevels(moderator matrix.UserID) map[string]any {
	levels := map[string]any{
		"state_default": 0, "invite": 0, "events": map[string]any{"m.room.power_levels": 50, "m.room.join_rules": 50},
	}
	if moderator != "" {
		levels["users"] = map[string]any{string(moderator): 50}
	}
	return levels
}

// Probe is the draft of an event that means nothing, in a place of the state of its own: whether it
// was accepted can be read off the room's state.
func Probe() fakeserver.Draft {
	return fakeserver.State("org.countersign.probe", Unique("probe"), map[string]any{"body": "honest"})
}

// cast brings the room into the state in which events of the kind are honest, and returns the user
// who sends them; nil when each event has an author of its own.
func (r *Room) cast(t testing.TB, kind fakeserver.Kind) *fakeserver.User {
	t.Helper()
	setup := conform.Setup(t)
	hosted := r.FayMade()
	switch kind {
	case fakeserver.JoinEvent, fakeserver.LeaveEvent:
		return nil
	case fakeserver.RestrictedJoinEvent:
		rules := map[string]any{"join_rule": "restricted", "allow": []any{}}
		if hosted {
			r.Keep(t, r.Forge(t, r.Fay, fakeserver.State("m.room.join_rules", "", rules), fakeserver.Forgery{}))
		} else {
			r.Peer.MustReceiveEvent(setup, r.Alice.MustSendState(setup, r.ID, "m.room.join_rules", "", rules))
		}
		return nil
	case fakeserver.PowerLevelsEvent, fakeserver.JoinRulesEvent:
		if !hosted {
			levels := r.Alice.MustState(setup, r.ID, "m.room.power_levels", "").Value().(map[string]any)
			levels["users"] = map[string]any{r.ClientID(r.Fay): 50}
			r.Peer.MustReceiveEvent(setup, r.Alice.MustSendState(setup, r.ID, "m.room.power_levels", "", levels))
			return r.Fay
		}
		admin := r.Peer.Member(t, "admin")
		r.Keep(t, r.Forge(t, admin, fakeserver.Membership(r.UserID(admin), "join"), fakeserver.Forgery{}))
		levels := fakeserver.State("m.room.power_levels", "", powerLevels(r.UserID(admin)))
		r.Keep(t, r.Forge(t, r.Fay, levels, fakeserver.Forgery{}))
		return admin
	}
	return r.Fay
}

// author returns who sends the next event of the kind, and the event's draft.
func (r *Room) author(t testing.TB, kind fakeserver.Kind, author *fakeserver.User) (*fakeserver.User, fakeserver.Draft) {
	t.Helper()
	if author == nil {
		author = r.Peer.Member(t, "mallory")
	}
	if kind == fakeserver.LeaveEvent {
		MustSend(conform.Setup(t), r.Room, author, fakeserver.Membership(r.UserID(author), "join"))
	}
	second := r.Fay
	if kind == fakeserver.InviteEvent {
		second = r.Peer.Member(t, "guest")
	}
	d := r.draft(kind, author, second)
	if kind == fakeserver.PowerLevelsEvent {
		// What is there stays, so that nothing is changed that is beyond a moderator's power.
		levels := r.Room.State("m.room.power_levels", "").Get("@this").Value().(map[string]any)
		levels["events"].(map[string]any)[Unique("org.countersign.type")] = 50
		d.Content = levels
	}
	return author, d
}

// An author builds the next event in which a forgery can be committed.
type author func(t testing.TB, f fakeserver.Forgery) fakeserver.Forged

// casting brings the room into the state in which events of the row's kind are honest.
func (r *Room) casting(t testing.TB, row fakeserver.NamedForgery) author {
	t.Helper()
	if r.Version.HasParticipation() {
		return r.castingServers(t, row)
	}
	user := r.cast(t, row.On)
	return func(t testing.TB, f fakeserver.Forgery) fakeserver.Forged {
		author, d := r.author(t, row.On, user)
		return r.Forge(t, author, d, f)
	}
}

// handingIn is the author of the memberships that are handed in: a new user each, who has knocked
// before leaving.
func (r *Room) handingIn(t testing.TB, membership string, row fakeserver.NamedForgery) author {
	t.Helper()
	if r.Version.HasParticipation() {
		r.castServers(t, row)
	}
	user := func(t testing.TB, name string) *fakeserver.User {
		user := r.Peer.Member(t, name)
		if membership == "leave" {
			MustSend(conform.Setup(t), r.Room, user, fakeserver.Membership(r.UserID(user), "knock"))
		}
		return user
	}
	if membership == "leave" && row.Forgery.Sender == "{victim}" {
		// Not alice: when she is made to leave, nothing more can be observed.
		r.castKnocker(t, user)
	}
	return func(t testing.TB, f fakeserver.Forgery) fakeserver.Forged {
		mallory := user(t, "mallory")
		return r.Forge(t, mallory, fakeserver.Membership(r.UserID(mallory), membership).With("body", "honest"), f)
	}
}

// hosted is a room of alice's with fay in it, and who sends the events there that a path carries. The
// paths of a forgery share one that is public, and one in which one has to knock.
func (f *Forging) hosted(t testing.TB, carries fakeserver.Carries) (*Room, author) {
	t.Helper()
	switch carries {
	case fakeserver.Knocks, fakeserver.Leaves:
		if f.knocking == nil {
			f.knocking = f.AnotherHosted(t)
			setup, rule := conform.Setup(t), map[string]any{"join_rule": "knock"}
			f.Peer.MustReceiveEvent(setup, f.Alice.MustSendState(setup, f.knocking.ID, "m.room.join_rules", "", rule))
		}
		return f.knocking, f.knocking.handingIn(t, carries.Membership(), f.row)
	}
	if f.public == nil {
		room := f.AnotherHosted(t, Create("power_level_content_override", powerLevels("")))
		f.public, f.author = room, room.casting(t, f.row)
	}
	switch carries {
	case fakeserver.Joins:
		return f.public, f.public.handingIn(t, carries.Membership(), f.row)
	case fakeserver.Requests:
		return f.public, f.public.requesting()
	}
	return f.public, f.author
}

// castKnocker makes somebody who has knocked the victim of the forgeries: where servers participate,
// through another server than the forger's.
func (r *Room) castKnocker(t testing.TB, knocking func(testing.TB, string) *fakeserver.User) {
	t.Helper()
	if !r.Version.HasParticipation() {
		victim := knocking(t, "victim")
		r.Room.SetCast(fakeserver.Cast{Victim: string(r.UserID(victim)), VictimName: victim.Name()})
		return
	}
	setup := conform.Setup(t)
	victim := actor{r.Peer.Member(t, "victim"), r.Peer.MintServerKey()}
	r.bring(setup, victim.key, matrix.Accepted)
	id := victim.IDThrough(r.Version, victim.key)
	MustSend(setup, r.Room, victim.User, fakeserver.Membership(id, "knock").Through(victim.key))
	cast := r.Room.Cast()
	cast.Victim, cast.VictimName = string(id), victim.Name()
	r.Room.SetCast(cast)
}
