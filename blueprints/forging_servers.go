package blueprints

import (
	"slices"
	"testing"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// actor is a user of the fake server, and the server key through which they act.
type actor struct {
	*fakeserver.User
	key matrix.ServerKeyPair
}

// castServers brings the servers that a row of the table names into a room with participation: each is a
// key of the fake server with the participation that it should have, come to honestly. It returns who
// commits the forgeries: somebody with all the power that it takes, who is not the room's creator and is on
// another server, so that the creator can be the victim.
func (r *Room) castServers(t testing.TB, row fakeserver.NamedForgery) actor {
	t.Helper()
	t = conform.Setup(t)
	mallory := actor{r.Fay, r.Room.Key()}
	cast := r.Room.Cast()
	if cast.Other != nil {
		return mallory // the room has been cast for another path
	}
	parties := row.Parties()
	if slices.Contains(parties, fakeserver.ForeignServer) || row.Requirement == "MSC4345-FORGE-21" {
		cast.OtherRoom = r.Another(t).Room
		cast.ForeignServer = cast.OtherRoom.Key()
	}
	cast.OtherServer, cast.RequestedServer, cast.RevokedServer = r.Peer.MintServerKey(), r.Peer.MintServerKey(), r.Peer.MintServerKey()
	cast.UnknownServer = fakeserver.NewServerKey()
	if r.FayMade() {
		mallory = actor{r.Peer.Member(t, "admin"), r.Peer.MintServerKey()}
		cast.Victim, cast.VictimName, cast.VictimServer = string(r.UserID(r.Fay)), r.Fay.Name(), r.Room.Key().Key().Name()
	}
	r.empower(t, mallory, cast.UnknownServer, cast.RequestedServer, cast.RevokedServer)
	if r.FayMade() {
		r.bring(t, mallory.key, matrix.Accepted)
		r.joinThrough(t, mallory)
	}
	cast.Other = r.Peer.Member(t, "other")
	MustSend(t, r.Room, cast.Other, fakeserver.Membership(r.UserID(cast.Other), "join"))
	if slices.Contains(parties, fakeserver.OtherServer) {
		r.bring(t, cast.OtherServer, matrix.Accepted)
	}
	if slices.Contains(parties, fakeserver.RequestedServer) && row.On != fakeserver.AcceptEvent {
		r.bring(t, cast.RequestedServer, matrix.Requested)
	}
	if slices.Contains(parties, fakeserver.RevokedServer) {
		// Its user was in the room, so that nothing but the revocation speaks against them. A portable account is
		// in the room by one server at a time (D-54), which is that of the honest event.
		r.bring(t, cast.RevokedServer, matrix.Accepted)
		if !r.Version.HasPortableAccounts() {
			r.joinThrough(t, actor{mallory.User, cast.RevokedServer})
		}
		r.FayRevokes(t, cast.RevokedServer.Key().Name())
		if !r.FayMade() {
			r.MustSeeParticipation(t, cast.RevokedServer.Key().Name(), matrix.Revoked)
		}
	}
	r.Room.SetCast(cast)
	return mallory
}

// joinThrough has somebody join through an accepted server key.
func (r *Room) joinThrough(t testing.TB, who actor) {
	t.Helper()
	MustSend(t, r.Room, who.User, fakeserver.Membership(who.IDThrough(r.Version, who.key), "join").Through(who.key))
}

// empower lets somebody do everything that the forgeries do but revoke the creator's server. Through other
// servers they have the power for all but deciding about servers.
func (r *Room) empower(t testing.TB, who actor, others ...matrix.ServerKeyPair) {
	t.Helper()
	levels, users := powerLevels(""), map[string]any{}
	for _, key := range others {
		users[string(who.IDThrough(r.Version, key))] = 75
	}
	users[string(who.IDThrough(r.Version, who.key))] = 100
	levels["users"] = users
	if r.FayMade() {
		MustSend(t, r.Room, r.Fay, fakeserver.State("m.room.power_levels", "", levels))
		return
	}
	r.Peer.MustReceiveEvent(t, r.Alice.MustSendState(t, r.ID, "m.room.power_levels", "", levels))
}

// castingServers is casting for rooms with participation.
func (r *Room) castingServers(t testing.TB, row fakeserver.NamedForgery) author {
	t.Helper()
	mallory := r.castServers(t, row)
	if row.On == fakeserver.RestrictedJoinEvent {
		r.cast(t, row.On)
	}
	return func(t testing.TB, f fakeserver.Forgery) fakeserver.Forged {
		author, d := r.servedDraft(t, row.On, mallory)
		if author == mallory.User && row.On != fakeserver.RequestEvent { // a request goes through its subject
			d = d.Through(mallory.key)
		}
		return r.Forge(t, author, d, f)
	}
}

// servedDraft is the next honest event of a kind in a room with participation, and its author.
func (r *Room) servedDraft(t testing.TB, kind fakeserver.Kind, mallory actor) (*fakeserver.User, fakeserver.Draft) {
	t.Helper()
	setup := conform.Setup(t)
	switch key := r.Peer.MintServerKey(); kind {
	case fakeserver.RequestEvent:
		return r.Fay, r.Room.Asks(key)
	case fakeserver.AcceptEvent:
		cast := r.Room.Cast()
		cast.RequestedServer = key
		r.bring(setup, key, matrix.Requested)
		r.Room.SetCast(cast)
		return mallory.User, r.Room.Accepts(key.Key().Name())
	case fakeserver.RevokeEvent:
		r.bring(setup, key, matrix.Accepted)
		return mallory.User, r.Room.Revokes(key.Key().Name())
	case fakeserver.JoinEvent, fakeserver.RestrictedJoinEvent, fakeserver.LeaveEvent:
		return r.author(t, kind, nil) // each has an author of its own
	}
	return r.author(t, kind, mallory.User)
}

// requesting is the author of the requests that are handed in: each is about a server key of its own, and
// made from the template that the homeserver under test gives for it.
func (r *Room) requesting() author {
	return func(t testing.TB, f fakeserver.Forgery) fakeserver.Forged {
		t.Helper()
		petition := r.Peer.MustAsk(conform.Setup(t), r.At, r.Version, r.ID, r.Fay, fakeserver.WithServerKey(r.Peer.MintServerKey()))
		forged, err := petition.Forge(f, r.Room.Cast())
		if err != nil {
			conform.HarnessError(t, "%v", err)
		}
		return forged
	}
}
