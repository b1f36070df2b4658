package fakeserver_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/matrix"
)

// What is revoked stays so; the server comes back by another key.
func TestRevokedServersComeBackWithAnotherKey(t *testing.T) {
	t.Parallel()
	forEachParticipationVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		p := newParticipants(t, v)
		old := p.of.Key()
		revoked, err := p.at.Revoke(ctx(t), p.alice, old.Key().Name())
		require.NoError(t, err)
		require.NoError(t, p.of.WaitParticipation(ctx(t), old.Key().Name(), matrix.Revoked))
		require.Empty(t, p.at.Peers(), "nothing more is sent to it")
		_, named := revoked.UnverifiedDomain()
		require.False(t, named, "it was told nevertheless")

		fresh := p.fs.MintServerKey()
		p.of.UseKey(fresh)
		again, err := p.fs.ParticipateAndJoin(ctx(t), p.hs.Name(), p.at.ID(), p.bob, fakeserver.AcceptedBy(p.at, p.alice))
		require.NoError(t, err)
		require.Equal(t, p.of, again)
		require.Equal(t, matrix.Accepted, p.at.Participation(fresh.Key().Name()))
		said, err := p.of.Send(ctx(t), p.bob, fakeserver.Message("back"))
		require.NoError(t, err)
		cosigner, err := p.at.CoSigner(said)
		require.NoError(t, err)
		require.Equal(t, fresh.Key().Name(), cosigner)
		require.NotNil(t, p.at.Event(said.ID()))

		_, err = p.of.RevokeSelf(ctx(t), p.bob, fresh)
		require.NoError(t, err)
		require.Equal(t, matrix.Revoked, p.at.Participation(fresh.Key().Name()))
		require.Len(t, p.at.Participants(matrix.Revoked), 2)
		everyEventVerifies(t, p.at)
	})
}

func TestInviteKnockLeaveWithParticipation(t *testing.T) {
	t.Parallel()
	forEachParticipationVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		p := newParticipants(t, v)
		carol := user(t, p.fs, "carol")
		// Carol is named as clients do; her server says who she is in the room.
		invited, err := p.at.InviteAt(ctx(t), p.alice, p.fs.Name(), carol.NameID())
		require.NoError(t, err)
		require.True(t, invited.IsState("m.room.member", string(p.of.UserID(carol))))
		require.Equal(t, "invite", p.of.Membership(p.of.UserID(carol)))
		_, err = p.fs.Leave(ctx(t), p.hs.Name(), p.at.ID(), carol)
		require.NoError(t, err)
		_, _, err = p.fs.Knock(ctx(t), p.hs.Name(), p.at.ID(), carol)
		require.NoError(t, err)
		require.Equal(t, "knock", p.at.Membership(p.of.UserID(carol)))
		invited, err = p.at.InviteAt(ctx(t), p.alice, p.fs.Name(), p.of.UserID(carol))
		require.NoError(t, err)
		require.NoError(t, p.at.VerifySender(invited))
		_, err = p.fs.JoinRoom(ctx(t), p.hs.Name(), p.at.ID(), carol)
		require.NoError(t, err)
		require.Equal(t, "join", p.at.Membership(p.of.UserID(carol)))
		everyEventVerifies(t, p.at)
	})
}

// One deployment can be two servers, and one key can be held by two deployments.
func TestKeysAndDomains(t *testing.T) {
	t.Parallel()
	forEachParticipationVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		p := newParticipants(t, v)
		second := p.fs.MintServerKey()
		_, err := p.of.Ask(ctx(t), p.bob, second)
		require.NoError(t, err)
		_, err = p.at.Accept(ctx(t), p.alice, second.Key().Name())
		require.NoError(t, err)
		d := fakeserver.Membership(p.bob.IDThrough(v, second), "join").Through(second)
		joined, err := p.of.Send(ctx(t), p.bob, d)
		require.NoError(t, err)
		cosigner, err := p.at.CoSigner(p.at.Event(joined.ID()))
		require.NoError(t, err)
		require.Equal(t, second.Key().Name(), cosigner)
		require.Equal(t, []matrix.ServerName{p.fs.Name()}, p.at.Peers())

		thief, err := fakeserver.Start(newWorld(t).config())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, thief.Close()) })
		thief.UseRoomKey(p.at.ID(), second)
		require.Equal(t, second, thief.RoomKey(p.at.ID()))
		require.Equal(t, second, thief.ServerKeys()[0])
		everyEventVerifies(t, p.at)
	})
}

func TestForgedRequestTemplates(t *testing.T) {
	t.Parallel()
	forEachParticipationVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w := newWorld(t)
		hs, fs := w.server(t), w.server(t)
		room, err := hs.CreateRoom(user(t, hs, "alice"), fakeserver.RoomOptions{Version: v})
		require.NoError(t, err)
		bob := user(t, fs, "bob")
		ask := func() *fakeserver.Petition {
			p, err := fs.AskToParticipate(ctx(t), hs.Name(), room.ID(), bob)
			require.NoError(t, err)
			return p
		}
		honest := ask()
		id := gjson.GetBytes(honest.Template, "sender").String()
		require.Equal(t, string(bob.IDThrough(v, honest.ServerKey)), id)
		want := honest.ServerKey.Key().String()
		if v.HasPortableAccounts() {
			want = "" // the user ID names no server
		}
		require.Equal(t, want, gjson.GetBytes(honest.Template, "state_key").String())
		require.Equal(t, "requested", gjson.GetBytes(honest.Template, "content.participation").String())
		for _, row := range fakeserver.ForgeriesIn(v) {
			if row.On != fakeserver.RequestTemplateEvent {
				continue
			}
			room.ForgeTemplates(row.Forgery)
			var changed []string
			for _, name := range changes(honest.Template, ask().Template) {
				if name != "origin_server_ts" {
					changed = append(changed, name)
				}
			}
			require.Len(t, changed, 1, row.Name)
		}
	})
}

func TestHandshakesOfOtherVersionsAndServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hs, fs := w.server(t), w.server(t)
	bob := user(t, fs, "bob")
	room, err := hs.CreateRoom(user(t, hs, "alice"), fakeserver.RoomOptions{})
	require.NoError(t, err)
	_, err = fs.AskToParticipate(ctx(t), hs.Name(), room.ID(), bob)
	var refused *fakeserver.StatusError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, http.StatusBadRequest, refused.Response.Status)

	room, err = hs.CreateRoom(user(t, hs, "anna"), fakeserver.RoomOptions{Version: matrix.RoomVersionMSC4345()})
	require.NoError(t, err)
	_, err = fs.AskToParticipate(ctx(t), hs.Name(), room.ID(), bob, fakeserver.SupportingVersions("12"))
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "M_INCOMPATIBLE_ROOM_VERSION", refused.Response.ErrCode())

	// A server that is in the room has its second key in as any other would.
	p, err := fs.RequestParticipation(ctx(t), hs.Name(), room.ID(), bob)
	require.NoError(t, err)
	require.Equal(t, matrix.VersionMSC4345, p.Version.ID)
	require.Equal(t, "PUT with an event ID", p.Submission.String())
}
