package blueprints

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/wait"
	"countersign/matrix"
)

// The words of rooms in which servers participate by key (MSC4345, MSC4348). [FayJoined], [AliceJoined] and
// the rest bring such rooms about too: the server of whoever joins requests to participate, and whoever
// made the room accepts it.

// FayRequests has fay's server request to participate in a room that the homeserver under test is in: the
// whole handshake. The request that the homeserver returned carries its signature.
func (r *Room) FayRequests(t testing.TB, options ...fakeserver.HandshakeOption) *fakeserver.Petition {
	t.Helper()
	return r.Peer.MustRequest(t, r.At, r.Version, r.ID, r.Fay, options...)
}

// MustRequest has the fake server request to participate in a room through a resident server, which must
// authorise the request.
func (p *Peer) MustRequest(t testing.TB, via matrix.ServerName, v matrix.RoomVersion, roomID string, user *fakeserver.User, options ...fakeserver.HandshakeOption) *fakeserver.Petition {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	petition, err := p.RequestParticipation(ctx, via, roomID, user, slices.Concat(p.asking(v), options)...)
	if err != nil {
		t.Fatalf("%s cannot request to participate in %s through %s: %v", p.Name(), roomID, via, err)
	}
	if err := petition.Authorised(); err != nil {
		t.Fatalf("%s has returned the request without its own signature: %v\n%s", via, err, petition.Event.JSON())
	}
	return petition
}

// MustAsk asks a resident server for the template of a request to participate: make_participation.
func (p *Peer) MustAsk(t testing.TB, via matrix.ServerName, v matrix.RoomVersion, roomID string, user *fakeserver.User, options ...fakeserver.HandshakeOption) *fakeserver.Petition {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	petition, err := p.AskToParticipate(ctx, via, roomID, user, slices.Concat(p.asking(v), options)...)
	if err != nil {
		t.Fatalf("expected a template for the request of %s: %v", p.Name(), err)
	}
	return petition
}

func (p *Peer) asking(v matrix.RoomVersion) []fakeserver.HandshakeOption {
	return []fakeserver.HandshakeOption{fakeserver.InRoomVersion(v), fakeserver.SupportingVersions(v.ID)}
}

// HandInRequest submits a request to participate, honest or not, in the way that the resident server
// understands (D-33), and returns the answer, whatever it is.
func HandInRequest(t testing.TB, petition *fakeserver.Petition, forged fakeserver.Forged) Reply {
	t.Helper()
	request := fmt.Sprintf("asking %s to authorise %s", petition.Via, forged.PDU)
	return ask(t, request, func(ctx context.Context) (*fakeserver.EventAnswer, error) {
		r, err := petition.Submit(ctx, forged)
		return &fakeserver.EventAnswer{Response: r}, err
	})
}

// Decide has a client set the participation of a server, by the client-server API as it is, and returns
// the answer. The domain is the one that the room's state has for the server, if there is one.
func (r *Room) Decide(t testing.TB, client *csapi.Client, server matrix.ServerName, p matrix.Participation) *csapi.Response {
	t.Helper()
	content := map[string]any{"participation": p}
	if now := client.State(t, r.ID, matrix.ParticipationType, string(server)); now.OK() && now.Get("unverified_domain").Exists() {
		content["unverified_domain"] = now.Get("unverified_domain").Str
	}
	return client.SendState(t, r.ID, matrix.ParticipationType, string(server), content)
}

// AliceAccepts has alice accept a server, and returns the ID of the event. When fay's server is in the room
// it has the event when the method returns.
func (r *Room) AliceAccepts(t testing.TB, server matrix.ServerName) (eventID string) {
	t.Helper()
	return r.aliceDecides(t, server, matrix.Accepted)
}

// AliceRevokes has alice revoke a server, and returns the ID of the event. When fay's server is in the room
// it has the event when the method returns, unless it is the one that is revoked.
func (r *Room) AliceRevokes(t testing.TB, server matrix.ServerName) (eventID string) {
	t.Helper()
	return r.aliceDecides(t, server, matrix.Revoked)
}

func (r *Room) aliceDecides(t testing.TB, server matrix.ServerName, p matrix.Participation) (eventID string) {
	t.Helper()
	eventID = r.Decide(t, r.Alice, server, p).MustString(t, "event_id")
	if r.Room != nil && server != r.Room.Key().Key().Name() && r.Room.Membership(r.UserID(r.Fay)) == "join" {
		r.Peer.MustReceiveEvent(t, eventID)
	}
	return eventID
}

// FayAccepts has fay accept a server in a room that she has made, and returns the event.
func (r *Room) FayAccepts(t testing.TB, server matrix.ServerName) *matrix.Event {
	t.Helper()
	return MustSend(t, r.Room, r.Fay, r.Room.Accepts(server))
}

// FayRevokes has fay revoke a server in a room that she has made, and returns the event.
func (r *Room) FayRevokes(t testing.TB, server matrix.ServerName) *matrix.Event {
	t.Helper()
	return MustSend(t, r.Room, r.Fay, r.Room.Revokes(server))
}

// FayMade reports whether the room is one of fay's, and not of alice's.
func (r *Room) FayMade() bool {
	return r.Room != nil && r.Room.State("m.room.create", "").Sender() == r.UserID(r.Fay)
}

// via is the server of whoever made the room.
func (r *Room) via() matrix.ServerName {
	if r.FayMade() {
		return r.Peer.Name()
	}
	return r.At
}

// Requests has a client try to join the room, so that its homeserver requests to participate there, and
// returns the key that it requests for. Whatever the client is told meanwhile is not judged.
func (r *Room) Requests(t testing.TB, client *csapi.Client) matrix.ServerName {
	t.Helper()
	client.Join(t, r.ID, string(r.via()))
	domain := matrix.ServerName(client.Server().Name())
	var key matrix.ServerName
	wait.For(t, fmt.Sprintf("%s to request to participate in %s", domain, r.ID), func(context.Context) (bool, error) {
		key = r.keyAt(t, domain, matrix.Requested)
		return key != "", nil
	})
	return key
}

// LetIn brings a client of another homeserver into the room: its homeserver requests to participate,
// whoever made the room accepts it, and the client joins. Whether a homeserver joins by itself once it was
// accepted, or when the client asks again, is its own affair.
func (r *Room) LetIn(t testing.TB, client *csapi.Client) matrix.ServerName {
	t.Helper()
	key := r.Requests(t, client)
	if r.FayMade() {
		r.FayAccepts(t, key)
	} else {
		r.AliceAccepts(t, key)
	}
	r.MustEnter(t, client)
	return key
}

// MustEnter has a client whose homeserver was accepted join the room.
func (r *Room) MustEnter(t testing.TB, client *csapi.Client) {
	t.Helper()
	via := r.via()
	wait.For(t, client.UserID+" to join "+r.ID, func(context.Context) (bool, error) {
		if response := client.Join(t, r.ID, string(via)); !response.OK() {
			return false, fmt.Errorf("the homeserver answers %s", response)
		}
		return true, nil
	})
	r.mustBeIn(t, client)
}

// mustBeIn waits until a client is told that it is in the room.
func (r *Room) mustBeIn(t testing.TB, client *csapi.Client) {
	t.Helper()
	client.MustSyncUntil(t, "to be in "+r.ID, func(v *csapi.View) bool { return v.Room(r.ID).Section == "join" })
}

// enter has alice join a room that fay made, and returns the answer. Where servers participate, fay accepts
// hers as soon as it requests, and alice asks again unless her homeserver has joined at once.
func (r *Room) enter(t testing.TB) *csapi.Response {
	t.Helper()
	if r.Version.HasParticipation() {
		r.Room.AcceptRequests(r.Fay)
	}
	response := r.Alice.Join(t, r.ID, string(r.Peer.Name()))
	if !response.OK() && r.keyAt(t, r.At, matrix.Accepted) != "" {
		return r.Alice.Join(t, r.ID, string(r.Peer.Name()))
	}
	return response
}

// ServerKey is the key of the homeserver under test in the room: the accepted one that names its domain.
func (r *Room) ServerKey(t testing.TB) matrix.ServerName {
	t.Helper()
	return r.KeyOf(t, r.At)
}

// KeyOf is the accepted server key in the room that names a domain. Without one the test is INCONCLUSIVE.
func (r *Room) KeyOf(t testing.TB, domain matrix.ServerName) matrix.ServerName {
	t.Helper()
	key := r.keyAt(t, domain, matrix.Accepted)
	if key == "" {
		conform.Inconclusive(t, "no server of the domain %s participates in %s", domain, r.ID)
	}
	return key
}

// keyAt is the server key that names a domain and has a participation, as fay's copy of the room has it
// or, when she is in none, as alice is told; empty when there is none.
func (r *Room) keyAt(t testing.TB, domain matrix.ServerName, p matrix.Participation) matrix.ServerName {
	t.Helper()
	if r.Room != nil {
		for _, key := range r.Room.Participants(p) {
			if at, ok := r.Room.State(matrix.ParticipationType, string(key)).UnverifiedDomain(); ok && at == domain {
				return key
			}
		}
		return ""
	}
	for _, event := range r.Alice.AllState(t, r.ID).MustOK(t).Array() {
		if event.Get("type").Str == matrix.ParticipationType && event.Get("content.participation").Str == string(p) &&
			event.Get("content.unverified_domain").Str == string(domain) {
			return matrix.ServerName(event.Get("state_key").Str)
		}
	}
	return ""
}

// Participation is what alice's client is told of a server; empty when it is told nothing.
func (r *Room) Participation(t testing.TB, server matrix.ServerName) matrix.Participation {
	t.Helper()
	response := r.Alice.State(t, r.ID, matrix.ParticipationType, string(server))
	if response.Status == 404 {
		return ""
	}
	return matrix.Participation(response.MustOK(t).Get("participation").Str)
}

// MustSeeParticipation waits until alice is shown a participation of a server, and returns the event.
func (r *Room) MustSeeParticipation(t testing.TB, server matrix.ServerName, p matrix.Participation) gjson.Result {
	t.Helper()
	return r.Alice.MustSeeState(t, r.ID, matrix.ParticipationType, string(server), ContentIs("participation", string(p)))
}

// AnotherServer is a further server key that the fake server holds, with a participation in the room that
// it has come to honestly: it has requested by way of fay's server, and whoever made the room has decided.
// The homeserver under test has it all when the method returns. The empty participation is a key of which
// the room has never heard.
func (r *Room) AnotherServer(t testing.TB, p matrix.Participation) matrix.ServerKeyPair {
	t.Helper()
	t = conform.Setup(t)
	key := r.Peer.MintServerKey()
	if p == "" {
		return key
	}
	MustSend(t, r.Room, r.Fay, r.Room.Asks(key))
	name := key.Key().Name()
	if r.FayMade() {
		if p != matrix.Requested {
			r.FayAccepts(t, name)
		}
		if p == matrix.Revoked {
			r.FayRevokes(t, name)
		}
		r.MustSeeParticipation(t, name, p)
		return key
	}
	r.MustSeeParticipation(t, name, matrix.Requested)
	if p != matrix.Requested {
		r.AliceAccepts(t, name)
	}
	if p == matrix.Revoked {
		r.AliceRevokes(t, name)
	}
	return key
}

// bring gives a server key a participation, where fay may decide: the server requests, and fay accepts and
// revokes it.
func (r *Room) bring(t testing.TB, key matrix.ServerKeyPair, p matrix.Participation) {
	t.Helper()
	MustSend(t, r.Room, r.Fay, r.Room.Asks(key))
	if p != matrix.Requested {
		r.FayAccepts(t, key.Key().Name())
	}
	if p == matrix.Revoked {
		r.FayRevokes(t, key.Key().Name())
	}
}
