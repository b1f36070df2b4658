package blueprints

import (
	"slices"
	"testing"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/matrix"
)

// castServers brings the servers that a row of the table names into a room with participation: each is a
// key of the fake server with the participation that it should have, come to honestly. In a room of alice's
// fay is given the power to decide about servers.
func (r *Room) castServers(t testing.TB, row fakeserver.NamedForgery) {
	t.Helper()
	t = conform.Setup(t)
	cast := r.Room.Cast()
	if cast.Other != nil {
		return // the room has been cast for another path
	}
	cast.UnknownServer = fakeserver.NewServerKey()
	parties := row.Parties()
	if slices.Contains(parties, fakeserver.ForeignServer) || row.Requirement == "MSC4345-FORGE-21" {
		cast.OtherRoom = r.Another(t).Room
		cast.ForeignServer = cast.OtherRoom.Key()
	}
	keys := map[fakeserver.Party]*matrix.ServerKeyPair{
		fakeserver.OtherServer: &cast.OtherServer, fakeserver.RequestedServer: &cast.RequestedServer, fakeserver.RevokedServer: &cast.RevokedServer,
	}
	for _, key := range keys {
		*key = r.Peer.MintServerKey()
	}
	r.empower(t, cast.UnknownServer, cast.RequestedServer, cast.RevokedServer)
	cast.Other = r.Peer.Member(t, "other")
	MustSend(t, r.Room, cast.Other, fakeserver.Membership(r.UserID(cast.Other), "join"))
	for party, participation := range map[fakeserver.Party]matrix.Participation{
		fakeserver.OtherServer: matrix.Accepted, fakeserver.RequestedServer: matrix.Requested, fakeserver.RevokedServer: matrix.Revoked,
	} {
		if !slices.Contains(parties, party) {
			continue
		}
		if party == fakeserver.RevokedServer {
			// Fay was in the room through it as well, so that nothing but the revocation speaks against her.
			r.bring(t, *keys[party], matrix.Accepted)
			r.joinThrough(t, *keys[party])
			r.FayRevokes(t, keys[party].Key().Name())
			continue
		}
		r.bring(t, *keys[party], participation)
	}
	r.Room.SetCast(cast)
}

// joinThrough has fay join through another accepted server key of hers: in rooms of MSC4345 as another
// user of the same name.
func (r *Room) joinThrough(t testing.TB, key matrix.ServerKeyPair) {
	t.Helper()
	MustSend(t, r.Room, r.Fay, fakeserver.Membership(r.Fay.IDThrough(r.Version, key), "join").Through(key))
}

// empower lets fay, by the names that she has through several servers, do everything that the forgeries
// do but revoke the creator's server.
func (r *Room) empower(t testing.TB, keys ...matrix.ServerKeyPair) {
	t.Helper()
	levels := powerLevels("")
	users := map[string]any{}
	for _, key := range keys {
		users[string(r.Fay.IDThrough(r.Version, key))] = 100
	}
	levels["users"] = users
	if r.FayMade() {
		delete(users, string(r.UserID(r.Fay)))
		MustSend(t, r.Room, r.Fay, fakeserver.State("m.room.power_levels", "", levels))
		return
	}
	users[string(r.UserID(r.Fay))] = 100
	r.Peer.MustReceiveEvent(t, r.Alice.MustSendState(t, r.ID, "m.room.power_levels", "", levels))
}

// castingServers is casting for rooms with participation.
func (r *Room) castingServers(t testing.TB, row fakeserver.NamedForgery) author {
	t.Helper()
	r.castServers(t, row)
	return func(t testing.TB, f fakeserver.Forgery) fakeserver.Forged {
		switch row.On {
		case fakeserver.RequestEvent:
			return r.Forge(t, r.Fay, r.Room.Asks(r.Peer.MintServerKey()), f)
		case fakeserver.AcceptEvent:
			cast := r.Room.Cast()
			cast.RequestedServer = r.Peer.MintServerKey()
			r.bring(conform.Setup(t), cast.RequestedServer, matrix.Requested)
			r.Room.SetCast(cast)
			return r.Forge(t, r.Fay, r.Room.Accepts(cast.RequestedServer.Key().Name()), f)
		case fakeserver.RevokeEvent:
			key := r.Peer.MintServerKey()
			r.bring(conform.Setup(t), key, matrix.Accepted)
			return r.Forge(t, r.Fay, r.Room.Revokes(key.Key().Name()), f)
		}
		author := r.Fay
		if row.On == fakeserver.JoinEvent || row.On == fakeserver.LeaveEvent {
			author = nil // each has an author of its own
		}
		author, d := r.author(t, row.On, author)
		return r.Forge(t, author, d, f)
	}
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
