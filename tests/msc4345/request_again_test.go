package msc4345

import (
	"context"
	"slices"
	"testing"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// The identity of a server in a room is "solely a long lived ed25519 public key". That it waits with the key that it
// has requested with, and comes back with it, is what the text implies; it does not say so.

// keysOf are the keys in fay's room that name the homeserver's domain.
func keysOf(r *blueprints.Room) (keys []string) {
	for _, key := range r.Room.Participants() {
		if domain, _ := r.Room.State(matrix.ParticipationType, string(key)).UnverifiedDomain(); domain == r.At {
			keys = append(keys, string(key))
		}
	}
	return keys
}

// Room join flow: a user who tries again while the homeserver waits makes no further server of it.
func TestJoiner_WaitsWithOneKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-13")
	r := visited(t)
	key := r.Requests(t, r.Alice)
	r.Alice.Join(t, r.ID, string(r.Peer.Name()))
	r.Alice.Join(t, r.ID, string(r.Peer.Name()))
	judge := conform.Judge(t, "MSC4345-FLOW-13")
	must.SameSet(judge, "the keys that the homeserver has requested with", keysOf(r), []string{string(key)})
	r.FayAccepts(t, key)
	r.MustEnter(judge, r.Alice)
	must.Equal(judge, "the server in the sender", r.Next(t).Sender().Domain(), key)
}

// The request participation handshake: "Joins and knocks can be sent directly where the server already has a
// participation of accepted", also when its last user has left and comes back.
func TestJoiner_ComesBackWithItsKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-13")
	r := visiting(t)
	key := r.ServerKey(t)
	r.Alice.MustLeave(conform.Setup(t), r.ID)
	waitFor(conform.Setup(t), "fay to be told that alice has left", func() bool { return r.Room.Membership(aliceAt(r, key)) == "leave" })
	judge := conform.Judge(t, "MSC4345-FLOW-13")
	r.MustEnter(judge, r.Alice)
	must.SameSet(judge, "the keys of the homeserver in the room", keysOf(r), []string{string(key)})
	must.Equal(judge, "the server in the sender", r.Next(t).Sender().Domain(), key)
}

// Revoked participation. D-74: a server that waits cannot check a revocation of its key. One that is none must not keep
// it out for good.
func TestJoiner_IsNotTalkedOutOfItsKey(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-13")
	r := visited(t)
	key := r.Requests(t, r.Alice)
	thief := r.Scene.Peer(t)
	forged := r.Forge(t, r.Fay, r.Room.Revokes(key), fakeserver.Forgery{Through: fakeserver.UnknownServer})
	must.Succeed(conform.Setup(t), thief.SendPDUs(t, r.At, forged.PDU))
	r.FayAccepts(t, key)
	judge := conform.Judge(t, "MSC4345-FLOW-13")
	r.MustEnter(judge, r.Alice)
	must.Equal(judge, "the server in the sender", r.Next(t).Sender().Domain(), key)
}

// Requested participation: requests are "visible to all participants". Several servers ask at once, and wait together.
func TestResident_SeveralServersWait(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4345-FLOW-04", "MSC4345-FLOW-12")
	r := hosted(t)
	type outcome struct {
		petition *fakeserver.Petition
		err      error
	}
	ctx, cancel := context.WithTimeout(wait.Context(t), wait.Limit())
	defer cancel()
	asked := make(chan outcome, 3)
	for range 3 {
		peer := r.Scene.Peer(t)
		user := peer.Member(t, "late")
		go func() {
			petition, err := peer.RequestParticipation(ctx, r.At, r.ID, user, fakeserver.InRoomVersion(r.Version), fakeserver.SupportingVersions(r.Version.ID))
			asked <- outcome{petition, err}
		}()
	}
	var keys []string
	for range 3 {
		o := <-asked
		must.NoError(conform.Judge(t, "MSC4345-FLOW-04"), "requesting while others do", o.err)
		keys = append(keys, o.petition.ServerKey.Key().String())
	}
	last := r.Scene.Peer(t) // when the others wait already
	petition, err := last.RequestParticipation(ctx, r.At, r.ID, last.Member(t, "last"), fakeserver.InRoomVersion(r.Version), fakeserver.SupportingVersions(r.Version.ID))
	must.NoError(conform.Judge(t, "MSC4345-FLOW-04"), "requesting while others wait", err)
	keys = append(keys, petition.ServerKey.Key().String())
	r.Alice.MustSyncUntil(conform.Judge(t, "MSC4345-FLOW-12"), "the requests of all servers", func(v *csapi.View) bool {
		return !slices.ContainsFunc(keys, func(key string) bool {
			return v.Room(r.ID).State(matrix.ParticipationType, key).Get("content.participation").Str != string(matrix.Requested)
		})
	})
}
