package matrix

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Appendices, "Server Name".
func TestServerNames(t *testing.T) {
	for text, want := range map[string]struct {
		host string
		port int
	}{
		"matrix.org": {"matrix.org", 0}, "matrix.org:8888": {"matrix.org", 8888}, "1.2.3.4": {"1.2.3.4", 0}, "1.2.3.4:1234": {"1.2.3.4", 1234},
		"[1234:5678::abcd]": {"1234:5678::abcd", 0}, "[1234:5678::abcd]:5678": {"1234:5678::abcd", 5678}, "localhost": {"localhost", 0},
		"UPPER.example": {"UPPER.example", 0}, "[::ffff:1.2.3.4]:1": {"::ffff:1.2.3.4", 1}, strings.Repeat("a", 255): {strings.Repeat("a", 255), 0},
	} {
		n, err := ParseServerName(text)
		require.NoError(t, err, text)
		host, port := n.HostPort()
		require.Equal(t, want.host, host)
		require.Equal(t, want.port, port)
	}
	for _, bad := range []string{
		"", ":80", "a b", "a_b", "exämple.org", "a:", "a:x", "a:123456", "a:1:2", "[::1", "[::1]x", "[::1]:", "[]", "[g::1]", "::1", "a/b", "a\n", "a:-1", "@a", strings.Repeat("a", 256),
	} {
		_, err := ParseServerName(bad)
		require.Error(t, err, "%q", bad)
	}
}

func TestUserIDs(t *testing.T) {
	for _, good := range []string{"@alice:example.org", "@:example.org", "@Alice!#$:example.org:1", "@ü ö:[::1]", "@a/b=c:x", "@\n:x", "@" + strings.Repeat("a", 255-3) + ":x"} {
		u, err := ParseUserID(good)
		require.NoError(t, err, "%q", good)
		require.Equal(t, good, "@"+u.Localpart()+":"+string(u.Domain()))
	}
	for _, bad := range []string{"", "@", "alice:example.org", "@alice", "@alice:", "@a\x00b:x", "@a:b c", "#a:b", "@a:b:c", "@" + strings.Repeat("a", 256-3) + ":x"} {
		_, err := ParseUserID(bad)
		require.Error(t, err, "%q", bad)
	}
	require.Equal(t, ServerName("b:1"), UserID("@a:b:1").Domain())
	require.Equal(t, ServerName(""), UserID("@a").Domain())
	require.Equal(t, "a", UserID("@a").Localpart())
}

func TestAccountNames(t *testing.T) {
	u, err := ParseAccountName("al.ice_=-/+0", "example.org")
	require.NoError(t, err)
	require.Equal(t, UserID("@al.ice_=-/+0:example.org"), u)
	for _, bad := range []string{"", "Alice", "al ice", "älice", "a:b", "@a", strings.Repeat("a", 250)} {
		_, err := ParseAccountName(bad, "example.org")
		require.Error(t, err, "%q", bad)
	}
	_, err = ParseAccountName("alice", "not a server")
	require.Error(t, err)
}

// The 45 bytes around an account key leave 210 for the domain.
func TestLongestDomainOfAnAccountKey(t *testing.T) {
	key := AccountFromSeed(make([]byte, 32)).Key()
	_, _, err := ParseAccountKeyUserID(string(key.UserID(ServerName(strings.Repeat("d", 210)))))
	require.NoError(t, err)
	_, _, err = ParseAccountKeyUserID(string(key.UserID(ServerName(strings.Repeat("d", 211)))))
	require.Error(t, err)
}

func TestRoomVersions(t *testing.T) {
	for _, v := range RoomVersions() {
		got, ok := RoomVersionByID(v.ID)
		require.True(t, ok)
		require.Equal(t, v, got)
	}
	_, ok := RoomVersionByID("11")
	require.False(t, ok)
	require.True(t, RoomVersionMSC4243().HasAccountKeys())
	require.False(t, RoomVersion12().HasAccountKeys())
}

// Server-server API, "Auth events selection".
func TestAuthEventTuples(t *testing.T) {
	const alice, bob = "@alice:one", "@bob:two"
	var (
		levels = StateTuple{"m.room.power_levels", ""}
		rules  = StateTuple{"m.room.join_rules", ""}
		member = func(u string) StateTuple { return StateTuple{"m.room.member", u} }
	)
	for _, c := range []struct {
		name, eventType string
		stateKey        *string
		content         string
		want            []StateTuple
	}{
		{"create", "m.room.create", StateKey(""), `{}`, nil},
		{"message", "m.room.message", nil, `{}`, []StateTuple{levels, member(alice)}},
		{"message that talks of membership", "m.room.message", nil, `{"membership":"join"}`, []StateTuple{levels, member(alice)}},
		{"member without state key", "m.room.member", nil, `{"membership":"join"}`, []StateTuple{levels, member(alice)}},
		{"join", "m.room.member", StateKey(alice), `{"membership":"join"}`, []StateTuple{levels, member(alice), rules}},
		{"knock", "m.room.member", StateKey(alice), `{"membership":"knock"}`, []StateTuple{levels, member(alice), rules}},
		{"invite", "m.room.member", StateKey(bob), `{"membership":"invite"}`, []StateTuple{levels, member(alice), member(bob), rules}},
		{"kick", "m.room.member", StateKey(bob), `{"membership":"leave"}`, []StateTuple{levels, member(alice), member(bob)}},
		{"ban", "m.room.member", StateKey(bob), `{"membership":"ban"}`, []StateTuple{levels, member(alice), member(bob)}},
		{"leave", "m.room.member", StateKey(alice), `{"membership":"leave"}`, []StateTuple{levels, member(alice)}},
		{"restricted join", "m.room.member", StateKey(alice), `{"join_authorised_via_users_server":"@bob:two","membership":"join"}`, []StateTuple{levels, member(alice), rules, member(bob)}},
		{"authoriser without a join", "m.room.member", StateKey(alice), `{"join_authorised_via_users_server":"@bob:two","membership":"leave"}`, []StateTuple{levels, member(alice)}},
		{"authorised by oneself", "m.room.member", StateKey(alice), `{"join_authorised_via_users_server":"@alice:one","membership":"join"}`, []StateTuple{levels, member(alice), rules}},
		{"authoriser is not a string", "m.room.member", StateKey(alice), `{"join_authorised_via_users_server":5,"membership":"join"}`, []StateTuple{levels, member(alice), rules}},
		{"third party invite", "m.room.member", StateKey(bob), `{"membership":"invite","third_party_invite":{"signed":{"token":"t"}}}`, []StateTuple{levels, member(alice), member(bob), rules, {"m.room.third_party_invite", "t"}}},
		{"third party invite without token", "m.room.member", StateKey(bob), `{"membership":"invite","third_party_invite":{"signed":{}}}`, []StateTuple{levels, member(alice), member(bob), rules}},
		{"third party invite in a join", "m.room.member", StateKey(alice), `{"membership":"join","third_party_invite":{"signed":{"token":"t"}}}`, []StateTuple{levels, member(alice), rules}},
		{"odd types", "m.room.member", StateKey(bob), `{"membership":["join"],"third_party_invite":[]}`, []StateTuple{levels, member(alice), member(bob)}},
	} {
		require.Equal(t, c.want, AuthEventTuples(c.eventType, c.stateKey, alice, []byte(c.content)), c.name)
	}
}
