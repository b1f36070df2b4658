package fakeserver_test

import (
	"crypto/ed25519"
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/fakeserver"
	"countersign/matrix"
)

// pair is a room of alice's that bob has joined through her server.
type pair struct {
	hs, fs     *fakeserver.Server
	alice, bob *fakeserver.User
	at, of     *fakeserver.Room // the room at hs, and fs's copy of it
}

func newPair(t testing.TB, v matrix.RoomVersion, o fakeserver.RoomOptions) *pair {
	t.Helper()
	w := newWorld(t)
	p := &pair{hs: w.server(t), fs: w.server(t)}
	p.alice, p.bob = user(t, p.hs, "alice"), user(t, p.fs, "bob")
	o.Version = v
	var err error
	p.at, err = p.hs.CreateRoom(p.alice, o)
	require.NoError(t, err)
	p.of, err = p.fs.JoinRoom(ctx(t), p.hs.Name(), p.at.ID(), p.bob)
	require.NoError(t, err)
	return p
}

// verify checks an event as a receiving server would: the sender's signature, and the hash.
func verify(t testing.TB, p *pair, e *matrix.Event) {
	t.Helper()
	require.NotNil(t, e)
	require.True(t, e.HashOK())
	require.NoError(t, verifySender(p, e))
}

func verifySender(p *pair, e *matrix.Event) error {
	if e.Version().HasAccountKeys() {
		return e.VerifyAccountKey(e.Sender())
	}
	signer := p.hs.Signer()
	if e.Sender().Domain() == p.fs.Name() {
		signer = p.fs.Signer()
	}
	return e.VerifySignature(signer.Entity, signer.KeyID, signer.Key.Public().(ed25519.PublicKey))
}

func TestJoinThroughAnotherServer(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		p := newPair(t, v, fakeserver.RoomOptions{})
		require.Equal(t, "join", p.at.Membership(p.bob.ID(v)))
		require.Equal(t, "join", p.of.Membership(p.bob.ID(v)))
		require.Len(t, p.of.FullState(), 6)
		for _, e := range p.of.FullState() {
			verify(t, p, e)
		}

		e, err := p.of.Send(ctx(t), p.bob, fakeserver.Message("hello"))
		require.NoError(t, err)
		got, err := p.hs.WaitPDU(ctx(t), func(p fakeserver.PDU) bool { return p.Type() == "m.room.message" })
		require.NoError(t, err)
		require.Equal(t, e.ID(), got.Event.ID())
		require.Equal(t, []string{e.ID()}, p.at.Extremities())
		verify(t, p, got.Event)

		answer, err := p.at.Send(ctx(t), p.alice, fakeserver.State("m.room.topic", "", map[string]any{"topic": "t"}))
		require.NoError(t, err)
		require.NotNil(t, p.of.State("m.room.topic", ""))
		require.Equal(t, answer.ID(), p.of.State("m.room.topic", "").ID())
	})
}

func TestObservation(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		p := newPair(t, v, fakeserver.RoomOptions{})
		var sent []string
		for _, body := range []string{"a", "b", "c"} {
			e, err := p.at.Send(ctx(t), p.alice, fakeserver.Message(body))
			require.NoError(t, err)
			sent = append(sent, e.ID())
		}
		room, hs := p.at.ID(), p.hs.Name()

		answer, err := p.fs.GetEvent(ctx(t), hs, sent[1])
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Status())
		require.Equal(t, string(p.at.Event(sent[1]).JSON()), string(answer.Events[0]))
		answer, err = p.fs.GetEvent(ctx(t), hs, "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, answer.Status())

		answer, err = p.fs.GetBackfill(ctx(t), hs, room, 2, sent[2])
		require.NoError(t, err)
		require.Equal(t, []string{sent[2], sent[1]}, ids(t, v, answer.Events))
		answer, err = p.fs.GetMissingEvents(ctx(t), hs, room, 10, sent[:1], sent[2:])
		require.NoError(t, err)
		require.Equal(t, sent[1:2], ids(t, v, answer.Events))

		answer, err = p.fs.GetStateIDs(ctx(t), hs, room, sent[2])
		require.NoError(t, err)
		require.Len(t, answer.IDs, 6)
		require.NotEmpty(t, answer.AuthIDs)
		full, err := p.fs.GetState(ctx(t), hs, room, sent[2])
		require.NoError(t, err)
		require.Equal(t, answer.IDs, ids(t, v, full.Events))
		require.ElementsMatch(t, answer.AuthIDs, ids(t, v, full.AuthChain))
		chain, err := p.fs.GetEventAuth(ctx(t), hs, room, sent[2])
		require.NoError(t, err)
		require.Subset(t, answer.AuthIDs, ids(t, v, chain.AuthChain))

		// The state before the creator's join is the create event alone.
		first, err := p.fs.GetStateIDs(ctx(t), hs, room, p.at.Timeline()[1].ID())
		require.NoError(t, err)
		require.Equal(t, []string{p.at.Timeline()[0].ID()}, first.IDs)
	})
}

func ids(t *testing.T, v matrix.RoomVersion, pdus []json.RawMessage) []string {
	list := []string{}
	for _, raw := range pdus {
		e, err := matrix.ParseEvent(v, raw)
		require.NoError(t, err)
		list = append(list, e.ID())
	}
	return list
}

func TestKnockInviteLeave(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w := newWorld(t)
		hs, fs := w.server(t), w.server(t)
		alice, bob := user(t, hs, "alice"), user(t, fs, "bob")
		room, err := hs.CreateRoom(alice, fakeserver.RoomOptions{Version: v, JoinRule: "knock"})
		require.NoError(t, err)

		knock, answer, err := fs.Knock(ctx(t), hs.Name(), room.ID(), bob)
		require.NoError(t, err)
		require.Equal(t, "knock", room.Membership(bob.ID(v)))
		require.Equal(t, bob.ID(v), knock.Sender())
		require.Equal(t, "m.room.create", answer.Get("knock_room_state.0.type").String())

		// Invitations name the account; in rooms with account keys the key comes back.
		e, err := room.Invite(ctx(t), alice, bob.NameID())
		require.NoError(t, err)
		require.Equal(t, "invite", room.Membership(bob.ID(v)))
		verify(t, &pair{hs: hs, fs: fs}, e)
		if v.HasAccountKeys() {
			require.NoError(t, e.VerifyAccountKey(bob.ID(v)))
			require.Len(t, e.SignatureEntities(), 2)
		} else {
			key := fs.Signer()
			require.NoError(t, e.VerifySignature(key.Entity, key.KeyID, key.Key.Public().(ed25519.PublicKey)))
		}
		invite, err := fs.WaitInvite(ctx(t), func(i fakeserver.Invite) bool { return i.RoomID == room.ID() })
		require.NoError(t, err)
		require.Equal(t, bob, invite.User)
		require.NotEmpty(t, invite.RoomState)

		_, err = fs.Leave(ctx(t), hs.Name(), room.ID(), bob)
		require.NoError(t, err)
		require.Equal(t, "leave", room.Membership(bob.ID(v)))

		ban, err := room.OfferBan(ctx(t), alice, bob.NameID())
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, ban.Response.Status)
		_, err = room.Confirm(ctx(t), alice, ban)
		require.NoError(t, err)
		require.Equal(t, "ban", room.Membership(bob.ID(v)))

		refused, err := room.OfferInvite(ctx(t), alice, matrix.UserID("@nobody:"+string(fs.Name())))
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, refused.Response.Status)
		_, err = room.Confirm(ctx(t), alice, refused)
		var status *fakeserver.StatusError
		require.ErrorAs(t, err, &status)
	})
}

func TestRestrictedJoinIsCosigned(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		p := newPair(t, v, fakeserver.RoomOptions{JoinRule: "restricted", Allow: json.RawMessage(`[]`)})
		join := p.of.State("m.room.member", string(p.bob.ID(v)))
		require.Equal(t, string(p.alice.ID(v)), join.Get("join_authorised_via_users_server").String())
		if v.HasAccountKeys() {
			require.NoError(t, join.VerifyAccountKey(p.alice.ID(v)))
		} else {
			require.Contains(t, join.SignatureEntities(), string(p.hs.Name()))
		}
	})
}

// A third server in the room is told of a join that another one accepted.
func TestJoinsArePassedOn(t *testing.T) {
	t.Parallel()
	p := newPair(t, matrix.RoomVersionMSC4243(), fakeserver.RoomOptions{})
	eve := user(t, p.hs, "eve")
	_, err := p.hs.JoinRoom(ctx(t), p.fs.Name(), p.of.ID(), eve)
	require.NoError(t, err)
	require.NoError(t, p.of.WaitMembership(ctx(t), eve.KeyID(), "join"))
	require.NoError(t, p.at.WaitMembership(ctx(t), eve.KeyID(), "join"))
}

func TestForgedTemplatesAndInvites(t *testing.T) {
	t.Parallel()
	v := matrix.RoomVersionMSC4243()
	p := newPair(t, v, fakeserver.RoomOptions{})
	carol := user(t, p.fs, "carol")
	for _, row := range fakeserver.Forgeries() {
		if row.On != fakeserver.TemplateEvent {
			continue
		}
		p.at.ForgeTemplates(fakeserver.Forgery{})
		honest, err := p.fs.Begin(ctx(t), p.hs.Name(), "join", p.at.ID(), carol)
		require.NoError(t, err)
		p.at.ForgeTemplates(row.Forgery)
		forged, err := p.fs.Begin(ctx(t), p.hs.Name(), "join", p.at.ID(), carol)
		require.NoError(t, err)
		require.NotEmpty(t, slices.DeleteFunc(changes(honest.Template, forged.Template), func(name string) bool { return name == "origin_server_ts" }), row.Name)
	}
	p.at.ForgeTemplates(fakeserver.Forgery{})

	offer := func(f fakeserver.Forgery) json.RawMessage {
		p.fs.ForgeInvites(f, fakeserver.Cast{})
		i, err := p.at.OfferInvite(ctx(t), p.alice, carol.NameID())
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, i.Response.Status, "%s", i.Response.Body)
		return i.Returned
	}
	read := func(raw json.RawMessage) *matrix.Event {
		e, err := matrix.ParseEvent(v, raw)
		require.NoError(t, err)
		return e
	}
	e := read(offer(fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "content.membership", JSON: `"leave"`}}}))
	require.Equal(t, "leave", e.Membership())
	require.True(t, e.HashOK())
	require.NoError(t, e.VerifyAccountKey(carol.KeyID()))
	e = read(offer(fakeserver.Forgery{SignWith: fakeserver.StrangerKey}))
	require.Error(t, e.VerifyAccountKey(carol.KeyID()))
	e = read(offer(fakeserver.Forgery{StateKey: "@{name}:{domain}"}))
	require.True(t, e.IsState("m.room.member", string(carol.NameID())))
	e = read(offer(fakeserver.Forgery{}))
	require.True(t, e.IsState("m.room.member", string(carol.KeyID())))
	require.NoError(t, e.VerifyAccountKey(carol.KeyID()))
}
