package fakeserver_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/matrix"
)

func forEachParticipationVersion(t *testing.T, test func(t *testing.T, v matrix.RoomVersion)) {
	for _, v := range matrix.ParticipationRoomVersions() {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			test(t, v)
		})
	}
}

// newParticipants is a room of alice's at hs which bob of fs has joined after his server was accepted.
func newParticipants(t testing.TB, v matrix.RoomVersion) *pair {
	t.Helper()
	w := newWorld(t)
	p := &pair{hs: w.server(t), fs: w.server(t)}
	p.alice, p.bob = user(t, p.hs, "alice"), user(t, p.fs, "bob")
	var err error
	p.at, err = p.hs.CreateRoom(p.alice, fakeserver.RoomOptions{Version: v})
	require.NoError(t, err)
	p.of, err = p.fs.ParticipateAndJoin(ctx(t), p.hs.Name(), p.at.ID(), p.bob, fakeserver.AcceptedBy(p.at, p.alice))
	require.NoError(t, err)
	return p
}

// everyEventVerifies checks every event of a room as a receiving server would.
func everyEventVerifies(t testing.TB, r *fakeserver.Room) {
	t.Helper()
	for _, e := range append(r.FullState(), r.Timeline()...) {
		require.True(t, e.HashOK())
		require.NoError(t, r.VerifySender(e), "%s", e.JSON())
	}
}

func TestParticipateAndJoin(t *testing.T) {
	t.Parallel()
	forEachParticipationVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		p := newParticipants(t, v)
		var types []string
		for _, e := range p.at.Timeline() {
			types = append(types, e.Type())
		}
		const participation = matrix.ParticipationType
		require.Equal(t, []string{"m.room.create", participation, "m.room.member", "m.room.power_levels", "m.room.join_rules",
			"m.room.history_visibility", participation, participation, "m.room.member"}, types)
		for _, r := range []*fakeserver.Room{p.at, p.of} {
			everyEventVerifies(t, r)
			require.Equal(t, matrix.Accepted, r.Participation(p.at.Key().Key().Name()))
			require.Equal(t, matrix.Accepted, r.Participation(p.of.Key().Key().Name()))
			require.Equal(t, "join", r.Membership(p.at.UserID(p.alice)))
			require.Equal(t, "join", r.Membership(p.of.UserID(p.bob)))
			require.Equal(t, p.fs.Name(), r.DomainOf(p.of.UserID(p.bob)))
		}
		require.Equal(t, []matrix.ServerName{p.fs.Name()}, p.at.Peers())
		require.Equal(t, []matrix.ServerName{p.hs.Name()}, p.of.Peers())

		said, err := p.of.Send(ctx(t), p.bob, fakeserver.Message("hello"))
		require.NoError(t, err)
		require.NotNil(t, p.at.Event(said.ID()))
		cosigner, err := p.at.CoSigner(said)
		require.NoError(t, err)
		require.Equal(t, p.of.Key().Key().Name(), cosigner)
		require.Contains(t, said.AuthEvents(), p.at.State(participation, string(cosigner)).ID())

		submitted, err := p.hs.WaitRequest(ctx(t), fakeserver.Is(fakeserver.OpSendParticipation))
		require.NoError(t, err)
		require.Equal(t, fakeserver.Submission{Method: http.MethodPut}, submitted.Submission())
	})
}

func TestRequestIsSignedByAllWhoMust(t *testing.T) {
	t.Parallel()
	forEachParticipationVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w := newWorld(t)
		hs, fs := w.server(t), w.server(t)
		room, err := hs.CreateRoom(user(t, hs, "alice"), fakeserver.RoomOptions{Version: v})
		require.NoError(t, err)
		bob := user(t, fs, "bob")
		_, err = fs.JoinRoom(ctx(t), hs.Name(), room.ID(), bob, fakeserver.InRoomVersion(v))
		var refused *fakeserver.StatusError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "M_FORBIDDEN", refused.Response.ErrCode())

		p, err := fs.RequestParticipation(ctx(t), hs.Name(), room.ID(), bob)
		require.NoError(t, err)
		require.Equal(t, room.Key().Key().Name(), p.Authoriser())
		require.NoError(t, p.Authorised())
		e := room.State(matrix.ParticipationType, p.ServerKey.Key().String())
		require.Equal(t, matrix.Requested, e.Participation())
		require.NoError(t, room.VerifySender(e))
		require.NoError(t, e.VerifyServerKey(room.Key().Key().Name()))
		want := 2 // the subject's key and the authorising server's
		if v.HasPortableAccounts() {
			want = 3 // and the account's
		}
		require.Len(t, e.SignatureEntities(), want)
		require.NotEmpty(t, p.State(false))
		require.NotEmpty(t, p.State(true))
		domain, _ := e.UnverifiedDomain()
		require.Equal(t, fs.Name(), domain)
	})
}

func TestRequestsThatMustNotBeSigned(t *testing.T) {
	t.Parallel()
	forEachParticipationVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		w := newWorld(t)
		hs, fs := w.server(t), w.server(t)
		room, err := hs.CreateRoom(user(t, hs, "alice"), fakeserver.RoomOptions{Version: v})
		require.NoError(t, err)
		bob := user(t, fs, "bob")
		for name, f := range map[string]fakeserver.Forgery{
			"accepted":          {Edits: []fakeserver.Edit{{Path: "content.participation", JSON: `"accepted"`}}},
			"of another type":   {Edits: []fakeserver.Edit{{Path: "type", JSON: `"m.room.topic"`}}},
			"another domain":    {Edits: []fakeserver.Edit{{Path: "content.unverified_domain", JSON: `"elsewhere.invalid"`}}},
			"another authority": {AuthorisedBy: fakeserver.UnknownServer},
			"not the owner":     {StateKey: "{unknown-server}"},
			"bad signature":     {FlipSignatureBits: []int{1}},
		} {
			p, err := fs.AskToParticipate(ctx(t), hs.Name(), room.ID(), bob)
			require.NoError(t, err)
			forged, err := p.Forge(f, fakeserver.Cast{UnknownServer: fakeserver.NewServerKey()})
			require.NoError(t, err, name)
			r, err := p.Submit(ctx(t), forged)
			require.NoError(t, err)
			require.Equal(t, http.StatusForbidden, r.Status, name)
			require.Error(t, p.Finish(forged, r))
			require.False(t, r.Get("event").Exists())
		}
		for _, way := range fakeserver.Submissions() {
			p, err := fs.AskToParticipate(ctx(t), hs.Name(), room.ID(), bob, fakeserver.WithServerKey(fakeserver.NewServerKey()))
			require.NoError(t, err)
			forged, err := p.Forge(fakeserver.Forgery{}, fakeserver.Cast{})
			require.NoError(t, err)
			r, err := p.SubmitBy(ctx(t), forged, way)
			require.NoError(t, err)
			require.NoError(t, p.Finish(forged, r), way.String())
			last := hs.Transcript().Exchanges(fakeserver.Is(fakeserver.OpSendParticipation))
			require.Equal(t, way, last[len(last)-1].Submission())
		}
	})
}

func TestServerKeyQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hs, fs := w.server(t), w.server(t)
	key, other := fs.MintServerKey(), fs.MintServerKey()
	name := key.Key().Name()
	for _, q := range []fakeserver.KeyQuery{
		{Keys: []matrix.ServerName{name}}, {Path: fakeserver.StableServerKeysPath, Keys: []matrix.ServerName{name}},
		{Get: true, Keys: []matrix.ServerName{name}},
	} {
		r, err := hs.QueryServerKeys(ctx(t), fs.Name(), q)
		require.NoError(t, err)
		require.Equal(t, []matrix.ServerName{name}, r.ServerKeys(fs.Name()))
		require.Empty(t, r.ServerKeys(hs.Name()))
		object := []byte(r.Get("server_keys.0").Raw)
		require.NoError(t, matrix.VerifyJSON(object, string(name), matrix.ServerKeyID, key.Key().PublicKey()))
		require.False(t, gjson.GetBytes(object, "valid_until_ts").Exists())
	}
	require.Len(t, fs.Transcript().Exchanges(fakeserver.AsksForServerKey(name)), 3)
	require.Empty(t, fs.Transcript().Exchanges(fakeserver.AsksForServerKey(other.Key().Name())))
	r, err := hs.QueryServerKeys(ctx(t), fs.Name(), fakeserver.KeyQuery{})
	require.NoError(t, err)
	require.Len(t, r.ServerKeys(fs.Name()), 2)
	r, err = hs.QueryServerKeys(ctx(t), fs.Name(), fakeserver.KeyQuery{Unsigned: true})
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, r.Status)

	for _, row := range append(fakeserver.KeyAnswers(), fakeserver.UnsignedKeyAnswers()...) {
		if row.Answer.Manner != fakeserver.Plain {
			continue
		}
		fs.AnswerServerKey(name, row.Answer)
		r, err := hs.QueryServerKeys(ctx(t), fs.Name(), fakeserver.KeyQuery{Keys: []matrix.ServerName{name}})
		require.NoError(t, err)
		listed := r.Status == http.StatusOK && len(r.ServerKeys(fs.Name())) == 1 && r.ServerKeys(fs.Name())[0] == name
		require.Equal(t, row.Verifies, listed, "%s: %s", row.Name, r.Body)
		r, err = hs.QueryServerKeys(ctx(t), fs.Name(), fakeserver.KeyQuery{Keys: []matrix.ServerName{other.Key().Name()}})
		require.NoError(t, err)
		require.Equal(t, []matrix.ServerName{other.Key().Name()}, r.ServerKeys(fs.Name()), row.Name)
	}
	fs.AnswerServerKey(name, fakeserver.KeyAnswer{})
	fs.DropServerKey(name)
	r, err = hs.QueryServerKeys(ctx(t), fs.Name(), fakeserver.KeyQuery{Keys: []matrix.ServerName{name}})
	require.NoError(t, err)
	require.Empty(t, r.ServerKeys(fs.Name()))
}
