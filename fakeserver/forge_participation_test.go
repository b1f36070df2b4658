package fakeserver_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/matrix"
)

// everyForgery is the tables of all versions.
func everyForgery() []fakeserver.NamedForgery {
	all := fakeserver.Forgeries()
	for _, v := range matrix.ParticipationRoomVersions() {
		all = append(all, fakeserver.ForgeriesIn(v)...)
	}
	return all
}

// participants is a room of hs's alice in which forgeries are made by fs's bob, an admin, with a server key of
// every participation.
type participants struct {
	*pair
	eve *fakeserver.User // who co-signs
}

func newCast(t *testing.T, v matrix.RoomVersion) *participants {
	t.Helper()
	p := &participants{pair: newParticipants(t, v)}
	p.eve = user(t, p.fs, "eve")
	zoe := user(t, p.fs, "zoe")
	for _, u := range []*fakeserver.User{p.eve, zoe} {
		_, err := p.of.Send(ctx(t), u, fakeserver.Membership(p.of.UserID(u), "join"))
		require.NoError(t, err)
	}
	levels := map[string]any{"users": map[string]any{string(p.of.UserID(p.bob)): 100}}
	_, err := p.at.Send(ctx(t), p.alice, fakeserver.State("m.room.power_levels", "", levels))
	require.NoError(t, err)
	accepted, requested, revoked := p.fs.MintServerKey(), p.fs.MintServerKey(), p.fs.MintServerKey()
	require.NoError(t, p.of.Admit(ctx(t), p.bob, accepted))
	require.NoError(t, p.of.Admit(ctx(t), p.bob, revoked))
	_, err = p.of.Revoke(ctx(t), p.bob, revoked.Key().Name())
	require.NoError(t, err)
	_, err = p.of.Ask(ctx(t), p.bob, requested)
	require.NoError(t, err)
	other, err := p.fs.CreateRoom(p.bob, fakeserver.RoomOptions{Version: v})
	require.NoError(t, err)
	p.of.SetCast(fakeserver.Cast{OtherRoom: other, Other: zoe})
	return p
}

func (p *participants) draft(t *testing.T, on fakeserver.Kind) fakeserver.Draft {
	t.Helper()
	switch on {
	case fakeserver.RequestEvent, fakeserver.AcceptEvent, fakeserver.RevokeEvent:
		d, err := p.of.DraftOf(on)
		require.NoError(t, err)
		return d
	case fakeserver.JoinEvent:
		return fakeserver.Membership(p.of.UserID(p.bob), "join")
	case fakeserver.RestrictedJoinEvent:
		d := fakeserver.Membership(p.of.UserID(p.bob), "join").With("join_authorised_via_users_server", p.of.UserID(p.eve))
		d.CoSigners = []*fakeserver.User{p.eve}
		return d
	case fakeserver.InviteEvent:
		d := fakeserver.Membership(p.of.UserID(p.eve), "invite")
		d.CoSigners = []*fakeserver.User{p.eve}
		return d
	case fakeserver.PowerLevelsEvent:
		return fakeserver.State("m.room.power_levels", "", map[string]any{"users": map[string]int{}})
	case fakeserver.StateEvent:
		return fakeserver.State("m.room.topic", "", map[string]any{"topic": "x"})
	}
	return fakeserver.Message("hello")
}

// wellSigned matches the rows, by requirement, version and name, whose events carry the signatures without which
// they would be dropped: only the rules of the room speak against them.
var wellSigned = regexp.MustCompile(strings.Join([]string{
	`^MSC4345-FORGE-(0[1-6]|10|18|19) `,
	`^MSC4345-FORGE-07 [0-9]+ request-authorised-[biuw]`, `^MSC4345-FORGE-(08|14|15|16) 4345 `,
	`^MSC4345-FORGE-09 4345 request-with-a-state-key`,
	`^MSC4345-FORGE-11 [0-9]+ .*-by-a-user-without-power`,
	`^MSC4345-FORGE-17 4345`, `^MSC4345-FORGE-17 4348 .*cites-a`,
	`^MSC4345-FORGE-22 4345`, `^MSC4345-FORGE-22 4348 revocation`,
	`^MSC4345-FORGE-24 4345 .*-through-an-unknown-server`,
	`^MSC4348-FORGE-03 4348 .*-through-a-`,
	`^MSC4348-FORGE-06 4348 join-about`, `^MSC4348-FORGE-09 4348 .*-as-well`, `^MSC4348-FORGE-11 4348 .*authorise`,
}, "|"))

// allowedToServers is the properties that a forgery may change, those that only rooms with participation have
// included.
func allowedToServers(f fakeserver.Forgery) []string {
	names := allowed(f)
	authored := []string{"hashes", "signatures", "auth_events"}
	switch {
	case f.Through != fakeserver.Nobody, f.ByOther, f.Subject != "":
		names = append(append(names, authored...), "sender", "state_key")
	case f.AuthorisedBy != fakeserver.Nobody:
		names = append(append(names, authored...), "content")
	case f.Cite != fakeserver.CurrentParticipation:
		names = append(names, authored...)
	case f.RecosignedBy != fakeserver.Nobody:
		names = append(names, "signatures")
	}
	return names
}

func TestForgeriesInParticipationVersions(t *testing.T) {
	t.Parallel()
	forEachParticipationVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		s := newCast(t, v)
		names := map[string]bool{}
		for _, row := range fakeserver.ForgeriesIn(v) {
			require.False(t, names[row.Name], "%s is there twice", row.Name)
			names[row.Name] = true
			if row.On == fakeserver.RequestTemplateEvent {
				continue
			}
			d := s.draft(t, row.On)
			d.Time = time.UnixMilli(1700000000000)
			honest, err := s.of.Forge(s.bob, d, fakeserver.Forgery{})
			require.NoError(t, err, row.Name)
			e, err := honest.Event()
			require.NoError(t, err, row.Name)
			require.NoError(t, s.of.VerifySender(e), "%s: %s", row.Name, honest.PDU)
			forged, err := s.of.Forge(s.bob, d, row.Forgery)
			require.NoError(t, err, row.Name)
			d.Time = time.UnixMilli(gjson.GetBytes(forged.PDU, "origin_server_ts").Int()) // it may have been built later
			honest, err = s.of.Forge(s.bob, d, fakeserver.Forgery{})
			require.NoError(t, err)
			require.NotEqual(t, string(honest.PDU), string(forged.PDU), row.Name)
			require.True(t, gjson.ValidBytes(forged.PDU))
			e, err = forged.Event()
			if err == nil {
				err = s.of.VerifySender(e)
			}
			called := row.Requirement + " " + v.ID[len("org.matrix.msc"):len("org.matrix.msc4345")] + " " + row.Name
			require.Equal(t, wellSigned.MatchString(called), err == nil, "%s: %v\n%s", called, err, forged.PDU)
			if e != nil && slices.Contains([]string{"MSC4345-FORGE-02", "MSC4345-FORGE-07"}, row.Requirement) {
				require.Error(t, e.VerifyServerKey(e.RequestAuthorisedVia()), called)
			}
			for _, name := range changes(honest.PDU, forged.PDU) {
				require.Contains(t, allowedToServers(row.Forgery), name, called)
			}
		}
	})
}

// Every entry of the catalogue's tables is there, but for those that are about what a server is sent in an answer or
// does with two copies of one event.
func TestForgeriesOfParticipationAreComplete(t *testing.T) {
	t.Parallel()
	covered := map[string]bool{}
	for _, row := range fakeserver.ForgeriesIn(matrix.RoomVersionMSC4345()) {
		covered[row.Requirement] = true
	}
	for i := 1; i <= 24; i++ {
		require.True(t, covered["MSC4345-FORGE-"+string(rune('0'+i/10))+string(rune('0'+i%10))], i)
	}
	for _, row := range fakeserver.ForgeriesIn(matrix.RoomVersionMSC4348()) {
		covered[row.Requirement] = true
	}
	for i := 1; i <= 12; i++ {
		require.True(t, covered["MSC4348-FORGE-"+string(rune('0'+i/10))+string(rune('0'+i%10))], i)
	}
}

func TestPartiesOfForgeries(t *testing.T) {
	t.Parallel()
	parties := map[string][]fakeserver.Party{}
	for _, row := range fakeserver.ForgeriesIn(matrix.RoomVersionMSC4348()) {
		parties[row.Name] = row.Parties()
	}
	require.Empty(t, parties["request-names-no-authoriser"])
	require.Equal(t, []fakeserver.Party{fakeserver.RequestedServer}, parties["self-accept-after-a-request"])
	require.Equal(t, []fakeserver.Party{fakeserver.RequestedServer, fakeserver.RevokedServer}, parties["accept-after-revocation"])
	require.Equal(t, []fakeserver.Party{fakeserver.OtherServer}, parties["cites-several-participations"])
	require.Equal(t, []fakeserver.Party{fakeserver.OtherServer}, parties["authoriser-altered"])
}
