package clientapi

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/reference/room"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	token := syncToken{rooms: 7, data: 8, toDevice: 9, fleeting: 10}
	parsed, err := parseSyncToken(token.String())
	require.NoError(t, err)
	require.Equal(t, token, parsed)
	for _, text := range []string{"", "s", "s1_2_3", "s1_2_3_4x", "s-1_2_3_4", "t1_2", "s01_2_3_4"} {
		_, err := parseSyncToken(text)
		require.Error(t, err, text)
	}
	g := gap{Major: 5, Minor: -3}
	again, err := parseGap(g.String())
	require.NoError(t, err)
	require.Equal(t, g, again)
	g, err = parseGap(token.String())
	require.NoError(t, err)
	require.Equal(t, behindPosition(7), g)
	_, err = parseGap("t5")
	require.Error(t, err)

	e := room.Stored{Place: room.Place{Major: 5}}
	require.True(t, before(e).forwards().Before(e.Place))
	require.True(t, e.Place.Before(behind(e).backwards()))
	require.False(t, e.Place.Before(before(e).backwards()))
}

func TestWildcards(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, text string
		want          bool
	}{
		{"m.room.message", "m.room.message", true}, {"m.room.*", "m.room.message", true}, {"*", "", true},
		{"m.*.message", "m.room.message", true}, {"m.*.x", "m.room.message", false}, {"*a*b", "xaxb", true},
		{"a*a", "a", false}, {"", "m", false},
	} {
		require.Equal(t, test.want, matchesWildcard(test.pattern, test.text), "%+v", test)
	}
}

func TestGlobs(t *testing.T) {
	t.Parallel()
	require.True(t, matchesGlob("M.room.member", "m.ROOM.member"))
	require.True(t, matchesGlob("m.*.m?mber", "m.room.member"))
	require.True(t, matchesGlob("", ""))
	require.False(t, matchesGlob("m.room", "m.room.member"))
	require.False(t, matchesGlob("mxroom", "m.room"))
	require.False(t, matchesGlob("m.?", "m.room"))
}

func TestWordsInMessages(t *testing.T) {
	t.Parallel()
	require.True(t, matchesWords("cake*", "Some CAKES, please"))
	require.True(t, matchesWords("cake", "cake"))
	require.False(t, matchesWords("cake", "pancakes"))
	require.False(t, matchesWords("", "anything"))
	require.True(t, matchesWords(escapeGlob("a*b"), "a*b"))
	require.True(t, matchesCount("2", 2))
	require.True(t, matchesCount(">=2", 3))
	require.False(t, matchesCount("<2", 2))
	require.False(t, matchesCount("~2", 2))
	require.False(t, matchesCount("", 0))
}

func TestTypingEnds(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	x := newTyping(func() time.Time { return now }, &fleetingClock{})
	require.True(t, x.set("!r", "@a:x", time.Minute))
	require.False(t, x.set("!r", "@a:x", 2*time.Minute), "goes on")
	users, changed := x.between("!r", 0, x.clock.now())
	require.True(t, changed)
	require.Len(t, users, 1)
	_, changed = x.between("!r", x.clock.now(), x.clock.now())
	require.False(t, changed)
	_, changed = x.between("!r", 99, x.clock.now())
	require.True(t, changed, "a position from before a restart")
	now = now.Add(time.Hour)
	rooms, next := x.expire()
	require.Equal(t, []string{"!r"}, rooms)
	require.Zero(t, next)
	users, _ = x.between("!r", 1, x.clock.now())
	require.Empty(t, users)
}

func TestNoncesAreSpentOnce(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	n := newNonces(func() time.Time { return now })
	first, ok := n.issue()
	require.True(t, ok)
	require.True(t, n.spend(first))
	require.False(t, n.spend(first))
	second, _ := n.issue()
	for range maxNonces - 1 {
		_, ok := n.issue()
		require.True(t, ok)
	}
	_, ok = n.issue()
	require.False(t, ok)
	now = now.Add(2 * nonceLifetime)
	require.False(t, n.spend(second))
	_, ok = n.issue()
	require.True(t, ok)
}
