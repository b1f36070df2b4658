package msc4243

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"countersign/blueprints"
	"countersign/fakeserver"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/helpers/must"
	"countersign/matrix"
)

// Proposal: "A user SHOULD have exactly 1 immutable account key for all rooms they are a part of."
func TestAccountKey_IsTheSameInAllRooms(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-KEY-01")
	r := visiting(t) // a room of another server's, and two of her own
	ids := []matrix.UserID{idOf(t, r, r.Alice), creator(t, r, r.Alice), creator(t, r, r.Alice)}
	if ids[0] != ids[1] || ids[1] != ids[2] {
		conform.Violation(t, "MSC4243-KEY-01", "one account key in three rooms", fmt.Sprint(ids))
	}
}

// creator has a client make a room, and is the user ID that made it.
func creator(t *testing.T, r *blueprints.Room, client *csapi.Client) matrix.UserID {
	t.Helper()
	setup := conform.Setup(t)
	return creatorOf(t, r, client.MustCreateRoom(setup, publicRoom(r)))
}

// creatorOf is the user ID that made a room.
func creatorOf(t *testing.T, r *blueprints.Room, roomID string) matrix.UserID {
	t.Helper()
	room := r.Peer.MustJoin(conform.Setup(t), r.At, r.Version, roomID, r.Fay)
	return room.State("m.room.create", "").Sender()
}

func publicRoom(r *blueprints.Room) any {
	return map[string]any{"room_version": r.Version.ID, "preset": "public_chat"}
}

// returns are the ways to leave a room and be free to return. The moderator is somebody else.
var returns = []struct {
	name string
	// leave is what the user does, and moderate what the moderator does to them.
	leave    func(t testing.TB, user *csapi.Client, roomID string)
	moderate []string
}{
	{name: "leaves", leave: func(t testing.TB, user *csapi.Client, roomID string) { user.MustLeave(t, roomID) }},
	{name: "forgets", leave: func(t testing.TB, user *csapi.Client, roomID string) {
		user.MustLeave(t, roomID)
		user.Forget(t, roomID).MustOK(t)
	}},
	{name: "is kicked", moderate: []string{"leave"}},
	{name: "is banned for a while", moderate: []string{"ban", "leave"}},
}

// Proposal: "Leaving and rejoining the same room MUST NOT change the account key." Here in a room of
// the user's own server.
func TestAccountKey_SurvivesLeavingTheRoom(t *testing.T) {
	t.Parallel()
	for _, c := range returns {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-KEY-02")
			r := hosting(t)
			setup := conform.Setup(t)
			bob := local(t, r, "bob")
			before := idOf(t, r, bob)
			if c.leave != nil {
				c.leave(setup, bob, r.ID)
			}
			for _, membership := range c.moderate {
				r.Alice.MustSendState(setup, r.ID, "m.room.member", bob.UserID, map[string]any{"membership": membership})
			}
			bob.MustJoin(setup, r.ID)
			must.Equal(t, "user ID after the return", idOf(t, r, bob), before)
		})
	}
}

// The same in a room of another server, which the user's server has to join anew.
func TestAccountKey_SurvivesLeavingTheRoomOfAnotherServer(t *testing.T) {
	t.Parallel()
	for _, c := range returns {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-KEY-02")
			r := visiting(t)
			setup := conform.Setup(t)
			before := idOf(t, r, r.Alice)
			if c.leave != nil {
				c.leave(setup, r.Alice, r.ID)
				waitFor(t, r, before, "leave")
			}
			for _, membership := range c.moderate {
				blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Membership(before, membership))
			}
			if c.moderate != nil { // her server is not told what happens once she is out
				r.Alice.MustSeeMember(setup, r.ID, r.Alice.UserID, c.moderate[0])
			}
			r.Alice.MustJoin(setup, r.ID, string(r.Peer.Name()))
			must.Equal(t, "user ID after the return", idOf(t, r, r.Alice), before)
		})
	}
}

// waitFor waits until a user has a membership in the fake server's copy of the room.
func waitFor(t *testing.T, r *blueprints.Room, id matrix.UserID, membership string) {
	t.Helper()
	must.NoError(conform.Setup(t), "waiting for a membership", r.Room.WaitMembership(t.Context(), id, membership))
}

// Proposal: the account key "SHOULD be kept immutable for the lifetime of that user", which does not
// end with a restart. In a room where the user has been before, it must be.
func TestAccountKey_SurvivesARestart(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-KEY-02", "MSC4243-KEY-03")
	version := conform.AccountKeyVersion(t)
	conform.NeedRoomVersion(t, conform.Server(t, "hs1"), version.ID)
	r := blueprints.HostedOn(t, blueprints.NewSceneOn(t, conform.FreshDeployment(t, 1)), version)
	r.FayJoins(t)
	setup := conform.Setup(t)
	bob := local(t, r, "bob")
	before := idOf(t, r, bob)
	bob.MustLeave(setup, r.ID)

	r.Restart(t, r.HS)
	if after := creator(t, r, bob); after != before {
		conform.Violation(t, "MSC4243-KEY-03", string(before)+" in a new room after the restart", string(after))
	}
	answer := r.Peer.Ask(setup, r.At, http.MethodPost, queryAccounts, map[string]any{"account_keys": []string{before.Localpart()}})
	entry := must.Succeed(setup, answer).Get("account_keys").Map()[before.Localpart()]
	key, err := before.AccountKey()
	must.NoError(setup, "reading bob's account key", err)
	if err := matrix.VerifyJSON([]byte(entry.Raw), key.String(), matrix.AccountKeyID, key.PublicKey()); err != nil {
		conform.Violation(t, "MSC4243-KEY-03", "what is said of the key after the restart to be signed by the key", err.Error()+": "+entry.Raw)
	}
	bob.MustJoin(setup, r.ID)
	if after := idOf(t, r, bob); after != before {
		conform.Violation(t, "MSC4243-KEY-02", string(before)+" in the same room after the restart", string(after))
	}
}

// queryAccounts is the path of the endpoint that resolves account keys ("Unstable prefix").
const queryAccounts = "/_matrix/federation/unstable/org.matrix.msc4243/query/accounts"

// Footnote 2: "Servers are allowed to lazily create account keys on usage."
func TestAccountKey_IsThereWhenItIsFirstNeeded(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(t testing.TB, r *blueprints.Room, fresh *csapi.Client){
		"creating a room": func(t testing.TB, r *blueprints.Room, fresh *csapi.Client) {
			fresh.MustCreateRoom(t, publicRoom(r))
		},
		"joining a room": func(t testing.TB, r *blueprints.Room, fresh *csapi.Client) {
			fresh.MustJoin(t, r.ID)
		},
		"being invited to a room": func(t testing.TB, r *blueprints.Room, fresh *csapi.Client) {
			_, reply := blueprints.OfferInvite(t, r.Room, r.Fay, matrix.UserID(fresh.UserID))
			must.Succeed(t, reply)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-KEY-04")
			r := hosting(t)
			act(t, r, r.User(t, r.HS.Alias(), "fresh"))
			conform.Info(t, "MSC4243-KEY-04", name+" works for a user who has never been in a room with account keys")
		})
	}
}

// Proposal: one key, also when it is first needed in many places at once.
func TestAccountKey_IsMintedOnce(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-KEY-05")
	r := hosting(t)
	fresh := r.User(t, r.HS.Alias(), "fresh")
	rooms := make([]*csapi.Response, 8)
	var connected, asked sync.WaitGroup
	connected.Add(len(rooms))
	for i := range rooms {
		asked.Go(func() {
			// Connections that are open let the requests arrive together. What goes wrong is in rooms.
			_, _ = fresh.Do(t.Context(), http.MethodGet, csapi.Path("v3", "account", "whoami"))
			connected.Done()
			connected.Wait()
			rooms[i], _ = fresh.Do(t.Context(), http.MethodPost, csapi.Path("v3", "createRoom"), csapi.Body(map[string]any{
				"room_version": r.Version.ID, "preset": "public_chat", "creation_content": map[string]any{"com.example.room": i},
			}))
		})
	}
	asked.Wait()
	keys := map[matrix.UserID]bool{}
	for _, room := range rooms {
		keys[creatorOf(t, r, room.MustString(conform.Setup(t), "room_id"))] = true
	}
	first, second := creator(t, r, fresh), creator(t, r, fresh)
	switch {
	case len(keys) == 1:
	case first != second:
		conform.Info(t, "MSC4243-KEY-05", "every room has a key of its own")
	default:
		conform.Violation(t, "MSC4243-KEY-05", "one key of a user who makes 8 rooms at once", fmt.Sprintf("%d keys", len(keys)))
	}
}

// Proposal: keys belong to users. Two servers' users of the same name have nothing in common.
func TestAccountKey_DoesNotFollowFromTheName(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-KEY-06")
	r := hosting(t)
	conform.NeedRoomVersion(t, conform.Server(t, "hs2"), r.Version.ID)
	name, setup := blueprints.Unique("same"), conform.Setup(t)
	var keys [2]string
	for i, alias := range []string{"hs1", "hs2"} {
		server := conform.Server(t, alias)
		same := csapi.New(t, server)
		same.MustRegister(setup, name, rand.Text())
		roomID := same.MustCreateRoom(setup, publicRoom(r))
		room := r.Peer.MustJoin(setup, blueprints.Name(server), r.Version, roomID, r.Fay)
		keys[i] = room.State("m.room.create", "").Sender().Localpart()
	}
	must.Be(t, keys[0] != keys[1], "users of two servers to have two keys, got %s for both", keys[0])
}

// Impacts on key validity: the signing key validity period is removed. Whenever an event claims to be
// sent, and whatever the sender's server says of its own key, the account key's signature is valid.
func TestSignatures_HaveNoValidityPeriod(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		sent time.Time
		keys func(server *blueprints.Peer)
	}{
		{"sent in 1970", time.UnixMilli(1), nil},
		{"sent in 2100", time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), nil},
		{"sent by a server whose own key has expired", time.Time{}, func(server *blueprints.Peer) {
			server.EditKeyDocument(func(keys matrix.ServerKeys) matrix.ServerKeys {
				keys.ValidUntil = time.Now().Add(-time.Hour)
				return keys
			})
		}},
		{"sent by a server that does not publish its key", time.Time{}, func(server *blueprints.Peer) {
			server.Override(fakeserver.OpServerKeys, fakeserver.With(fakeserver.Errorf(500, "M_UNKNOWN", "no keys here")))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conform.Covers(t, "MSC4243-KEY-07")
			r := visiting(t)
			r.Fence(t) // the server's key is known from now on, for requests
			if c.keys != nil {
				c.keys(r.Peer)
			}
			message := fakeserver.Message(c.name)
			message.Time = c.sent
			conform.Expect(t, "a message that its sender's account key has signed is accepted, %s", c.name)
			r.Alice.MustSee(t, r.ID, blueprints.MustSend(conform.Setup(t), r.Room, r.Fay, message).ID())
		})
	}
}

// Server behaviour: "No external requests need to be made in order to verify the event signatures of
// the DAG."
func TestSignatures_NeedNoKeyServer(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-KEY-08")
	var elsewhere *blueprints.Peer
	var gil *fakeserver.User
	r := visiting(t, blueprints.Before(func(r *blueprints.Room) {
		elsewhere = r.Scene.Peer(t)
		gil = elsewhere.Member(t, "gil")
		for _, op := range []fakeserver.Operation{fakeserver.OpServerKeys, fakeserver.OpNotary} {
			elsewhere.Override(op, fakeserver.With(fakeserver.Errorf(500, "M_UNKNOWN", "no keys here")))
		}
		// Fay hands gil's join out with the state of the room; his server speaks to nobody.
		r.Room.Add(blueprints.NewEvent(t, r.Room, gil, fakeserver.Membership(gil.KeyID(), "join")))
		r.Room.Ignore(elsewhere.Name())
	}))

	conform.Expect(t, "a member whose server has no key to offer is a member")
	mustFind(t, r.Alice, r.ID, r.ClientID(gil))
	message := blueprints.NewEvent(t, r.Room, gil, fakeserver.Message("by way of fay's server"))
	r.Room.Add(message)
	r.Fence(t) // whose previous event is the message
	for _, op := range []fakeserver.Operation{fakeserver.OpServerKeys, fakeserver.OpNotary} {
		asked := elsewhere.Transcript().Exchanges(fakeserver.Is(op))
		must.Be(t, len(asked) == 0, "no request for the keys of a server whose users have account keys, got:\n%s", elsewhere.Transcript().Print(fakeserver.Is(op)))
	}
}

// oneName has the fake server say of every one of its users that it is the one with this name.
func oneName(peer *blueprints.Peer, name string) {
	peer.Override(fakeserver.OpQueryAccounts, func(q *fakeserver.Inquiry, honest fakeserver.Handler) fakeserver.Answer {
		entries := map[string]any{}
		for _, user := range peer.Users() {
			if gjson.GetBytes(q.Body, fmt.Sprintf("account_keys.#(==%q)", user.Key())).Exists() {
				entry, err := matrix.SignJSON(fmt.Appendf(nil, `{"account_name":%q,"domain":%q}`, name, peer.Name()), user.Account().Signer())
				if err != nil {
					return fakeserver.Errorf(500, "M_UNKNOWN", "%v", err)
				}
				entries[user.Key()] = gjson.ParseBytes(entry).Value()
			}
		}
		return fakeserver.JSON(200, map[string]any{"account_keys": entries})
	})
}

// Impacts on key validity: a user whose key is compromised invites a new one, gives it their power
// and leaves.
func TestCompromisedKey_IsReplaced(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-KEY-09")
	r := visiting(t, blueprints.Before(func(r *blueprints.Room) { oneName(r.Peer, r.Fay.Name()) }))
	setup := conform.Setup(t)
	heir := r.Peer.Member(t, "heir")
	invite := fakeserver.Membership(heir.KeyID(), "invite")
	invite.CoSigners = []*fakeserver.User{heir}
	blueprints.MustSend(setup, r.Room, r.Fay, invite)
	joined := blueprints.MustSend(setup, r.Room, heir, fakeserver.Membership(heir.KeyID(), "join"))
	blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.State("m.room.power_levels", "", map[string]any{
		"users": map[string]any{string(heir.KeyID()): 100},
	}))
	left := blueprints.MustSend(setup, r.Room, r.Fay, fakeserver.Membership(r.Fay.KeyID(), "leave"))
	topic := blueprints.MustSend(setup, r.Room, heir, fakeserver.State("m.room.topic", "", map[string]any{"topic": "safe again"}))

	state := r.StateBefore(t, r.Next(t))
	for what, e := range map[string]*matrix.Event{"the new key's join": joined, "the old key's leave": left, "the topic that the new key set": topic} {
		if !slices.Contains(state, e.ID()) {
			conform.Violation(t, "MSC4243-KEY-09", what+" in the state of the room", fmt.Sprint(state))
		}
	}
}

// Proposal, footnote perroom: "there will be multiple account keys for the same underlying account".
func TestTwoKeysOfOneName_AreToldApart(t *testing.T) {
	t.Parallel()
	conform.Covers(t, "MSC4243-KEY-10")
	r := visiting(t, blueprints.Before(func(r *blueprints.Room) { oneName(r.Peer, r.Fay.Name()) }))
	setup := conform.Setup(t)
	second := r.Peer.Member(t, "second")
	blueprints.MustSend(setup, r.Room, second, fakeserver.Membership(second.KeyID(), "join"))
	for _, user := range []*fakeserver.User{r.Fay, second} {
		message := blueprints.MustSend(setup, r.Room, user, fakeserver.Message("which key am I?"))
		shown := r.Alice.MustSee(setup, r.ID, message.ID())
		if key := shown.Get("unsigned.sender_account.key").String(); key != user.Key() {
			conform.Violation(t, "MSC4243-KEY-10", "sender_account.key "+user.Key(), shown.Raw)
		}
	}
	for _, answer := range []*csapi.Response{r.Alice.Members(t, r.ID), r.Alice.JoinedMembers(t, r.ID)} {
		if !answer.OK() {
			conform.Violation(t, "MSC4243-KEY-10", "the members of a room in which two keys have one name", answer.String())
		}
	}
}
