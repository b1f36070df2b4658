package fakeserver_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/fakeserver"
	"countersign/matrix"
)

// The forgeries of rooms with participation take the paths, or are refused with a reason.
func TestForgeriesInParticipationVersionsTakePaths(t *testing.T) {
	t.Parallel()
	forEachParticipationVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		s := newCast(t, v)
		taken := map[string]int{}
		for i, row := range fakeserver.ForgeriesIn(v) {
			for _, path := range fakeserver.DeliveryPathsIn(v) {
				if reason := path.Refuses(row); reason != "" {
					require.Regexp(t, `^[a-z].{20,}[a-z]$`, reason)
					continue
				}
				taken[path.Name]++
				if i%8 != 0 && path.Carries != fakeserver.Requests {
					continue // one like it is enough
				}
				forged := s.forge(t, row, path)
				room := s.of
				if path.Needs == fakeserver.Join || path.Needs == fakeserver.Page {
					var err error
					room, err = s.fs.CreateRoom(s.bob, fakeserver.RoomOptions{Version: v})
					require.NoError(t, err)
				}
				before := room.State(forgedTuple(forged))
				_, err := path.Deliver(ctx(t), room, s.hs.Name(), forged)
				require.NoError(t, err, "%s by %s", row.Name, path)
				require.Same(t, before, room.State(forgedTuple(forged)), "the room has made %s its own", row.Name)
			}
		}
		for _, path := range fakeserver.DeliveryPathsIn(v) {
			require.NotZero(t, taken[path.Name], path.Name)
		}
	})
}

// forge commits a forgery in an event that can take a path.
func (p *participants) forge(t *testing.T, row fakeserver.NamedForgery, path fakeserver.DeliveryPath) fakeserver.Forged {
	t.Helper()
	if path.Carries == fakeserver.Requests {
		petition, err := p.fs.AskToParticipate(ctx(t), p.hs.Name(), p.of.ID(), p.bob, fakeserver.WithServerKey(fakeserver.NewServerKey()))
		require.NoError(t, err)
		forged, err := petition.Forge(row.Forgery, p.of.Cast())
		require.NoError(t, err, row.Name)
		return forged
	}
	d := p.draft(t, row.On)
	switch {
	case path.Carries == fakeserver.Invitations:
		d = fakeserver.Membership(p.at.UserID(p.alice), "invite").With("body", "x")
	case path.Carries != fakeserver.Anything:
		d = fakeserver.Membership(p.of.UserID(p.bob), path.Carries.Membership()).With("body", "x")
	}
	forged, err := p.of.Forge(p.bob, d.With("path", path.Name), row.Forgery)
	require.NoError(t, err, row.Name)
	return forged
}

// A server that asks by way of a fake server learns a planted event with the room.
func TestPlantedInARoomWithParticipation(t *testing.T) {
	t.Parallel()
	forEachParticipationVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		s := newCast(t, v)
		room, err := s.fs.CreateRoom(s.bob, fakeserver.RoomOptions{Version: v})
		require.NoError(t, err)
		room.AcceptRequests(s.bob)
		forged, err := room.Forge(s.bob, fakeserver.State("m.room.topic", "", map[string]any{"topic": "x"}),
			fakeserver.Forgery{Through: fakeserver.UnknownServer, Cite: fakeserver.MadeUpParticipation})
		require.NoError(t, err)
		_, err = fakeserver.SendJoinPath().Deliver(ctx(t), room, s.hs.Name(), forged)
		require.NoError(t, err)
		_, err = s.hs.RequestParticipation(ctx(t), s.fs.Name(), room.ID(), s.alice)
		require.NoError(t, err)
		joined, err := s.hs.JoinRoom(ctx(t), s.fs.Name(), room.ID(), s.alice)
		require.NoError(t, err)
		require.Equal(t, forged.EventID, joined.State("m.room.topic", "").ID())
		e, err := forged.Event()
		require.NoError(t, err)
		require.NoError(t, joined.VerifySender(e), "the made-up acceptance came with the auth chain")
		require.NotContains(t, room.Participants(), e.Sender().Domain())
	})
}
