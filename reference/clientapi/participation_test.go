package clientapi

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/room"
)

// fakeCompany knows a few users and servers of a room with participation by heart.
type fakeCompany struct {
	// inRoom are local users by account name user ID.
	inRoom map[matrix.UserID]matrix.UserID
	// servers are the servers of users.
	servers map[matrix.UserID]room.Participant
	// names are account names by account key and domain.
	names map[accountAt]string
	// verified are the names of users of other servers.
	verified map[matrix.UserID]matrix.UserID
}

func (c *fakeCompany) InRoom(local matrix.UserID) (matrix.UserID, bool) {
	user, ok := c.inRoom[local]
	return user, ok
}

func (c *fakeCompany) LocalUser(user matrix.UserID) (matrix.UserID, bool) {
	for local, known := range c.inRoom {
		if known == user {
			return local, true
		}
	}
	return "", false
}

func (c *fakeCompany) ServerOf(e *matrix.Event) (room.Participant, bool) {
	return c.ServerOfUser(e.Sender())
}

func (c *fakeCompany) ServerOfUser(user matrix.UserID) (room.Participant, bool) {
	p, ok := c.servers[user]
	return p, ok
}

func (c *fakeCompany) ClientName(user matrix.UserID) (matrix.UserID, bool) {
	if local, ok := c.LocalUser(user); ok {
		return local, true
	}
	name, ok := c.verified[user]
	return name, ok
}

func (c *fakeCompany) RoomUsers(name matrix.UserID) (users []matrix.UserID) {
	for user, known := range c.verified {
		if known == name {
			users = append(users, user)
		}
	}
	return users
}

func (c *fakeCompany) AccountName(user matrix.UserID, domain matrix.ServerName) (string, bool) {
	name, ok := c.names[accountAt{user, domain}]
	return name, ok
}

// companions are the users of a room with participation: alice is local, bob's server is verified, carol's
// claims to be of bob's domain, and dave has moved from bob's domain to another.
type companions struct {
	*translator
	company                 *fakeCompany
	alice, bob, carol, dave matrix.UserID
	signers                 map[matrix.UserID][]matrix.Signer
}

func newCompanions(v matrix.RoomVersion) *companions {
	c := &companions{
		company: &fakeCompany{map[matrix.UserID]matrix.UserID{}, map[matrix.UserID]room.Participant{}, map[accountAt]string{}, map[matrix.UserID]matrix.UserID{}},
		signers: map[matrix.UserID][]matrix.Signer{},
	}
	seed := byte(0)
	next := func() []byte {
		seed++
		return append(make([]byte, 31), seed)
	}
	user := func(name string, domain matrix.ServerName, verified bool) matrix.UserID {
		server, account := matrix.ServerKeyPairFromSeed(next()), matrix.AccountFromSeed(next())
		user, signers := server.Key().UserID(name), []matrix.Signer{server.Signer()}
		if v.HasPortableAccounts() {
			user, signers = account.Key().PortableUserID(), append(signers, account.Signer())
		}
		c.signers[user] = signers
		c.company.servers[user] = room.Participant{
			Key: server.Key().Name(), Participation: matrix.Accepted, UnverifiedDomain: domain, Verified: verified,
		}
		return user
	}
	c.alice, c.bob, c.carol, c.dave = user("alice", "hs1.test", true), user("bob", "fs.test", true), user("carol", "fs.test", false), user("dave", "fs2.test", true)
	c.company.inRoom["@alice:hs1.test"] = c.alice
	c.company.verified[c.bob] = "@bob:fs.test"
	c.company.names[accountAt{c.alice, "hs1.test"}] = "alice"
	c.company.names[accountAt{c.bob, "fs.test"}] = "bob"
	c.company.names[accountAt{c.dave, "fs.test"}] = "dave"
	c.translator = &translator{
		names: fakeNames{}, version: v, server: "hs1.test", company: c.company,
		exists:     func(name string) bool { return name == "alice" },
		membership: func(matrix.UserID) string { return "join" },
	}
	return c
}

func (c *companions) build(t require.TestingT, sender matrix.UserID, eventType string, stateKey *string, content any) *matrix.Event {
	e, err := matrix.ProtoEvent{
		Type: eventType, StateKey: stateKey, Sender: sender, RoomID: "!r", Content: mustJSON(content), Depth: 1,
		PrevEvents: []string{}, AuthEvents: []string{}, Unsigned: []byte(`{"server_domain":"liar.test","account":"liar","sender_account":{}}`),
	}.Build(c.version, c.signers[sender]...)
	require.NoError(t, err)
	return e
}

func eachCompanions(t *testing.T, test func(*testing.T, *companions)) {
	for _, v := range matrix.ParticipationRoomVersions() {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			test(t, newCompanions(v))
		})
	}
}

func TestCompanyIsShownAsTheRoomKnowsIt(t *testing.T) {
	t.Parallel()
	eachCompanions(t, func(t *testing.T, c *companions) {
		key := string(c.carol)
		content := map[string]any{"membership": "join", "join_authorised_via_users_server": c.bob}
		e := c.build(t, c.bob, "m.room.member", &key, content)
		shown := c.event(e, surroundings{replaced: c.build(t, c.carol, "m.room.member", &key, content), redaction: c.build(t, c.bob, "m.room.redaction", nil, map[string]any{})})
		require.Equal(t, c.bob, shown.Sender)
		require.Equal(t, string(c.carol), *shown.StateKey)
		require.JSONEq(t, string(mustJSON(content)), string(shown.Content))
		text := string(mustJSON(shown))
		require.Equal(t, string(c.carol), gjson.Get(text, "unsigned.prev_sender").Str)
		require.Equal(t, "fs.test", gjson.Get(text, "unsigned.server_domain").Str)
		require.Equal(t, "fs.test", gjson.Get(text, "unsigned.redacted_because.unsigned.server_domain").Str)
		require.False(t, gjson.Get(text, "unsigned.sender_account").Exists(), "that is MSC4243's")
		require.NotContains(t, text, "liar")
		require.Equal(t, "fs.test", gjson.GetBytes(mustJSON(c.stripped(e)), "unsigned.server_domain").Str)
		require.False(t, gjson.GetBytes(mustJSON(c.stripped(e)), "unsigned.age").Exists())
	})
}

func TestOnlyWhatIsVerifiedIsSaidOfASender(t *testing.T) {
	t.Parallel()
	eachCompanions(t, func(t *testing.T, c *companions) {
		portable := c.version.HasPortableAccounts()
		for user, want := range map[matrix.UserID]provenance{
			c.alice: {Account: "alice", ServerDomain: "hs1.test"},
			c.bob:   {Account: "bob", ServerDomain: "fs.test"},
			c.carol: {}, // her server's claim is not verified, but her messages are shown
			c.dave:  {ServerDomain: "fs2.test"},
		} {
			if !portable {
				want.Account = ""
			}
			shown := c.event(c.build(t, user, "m.room.message", nil, map[string]string{"body": "hello"}), surroundings{nowMillis: 1})
			require.NotNil(t, shown)
			require.Equal(t, want, shown.Unsigned.provenance)
		}
		shown := c.event(c.build(t, c.carol, "m.room.message", nil, map[string]string{}), surroundings{})
		require.False(t, gjson.GetBytes(mustJSON(shown), "unsigned.server_domain").Exists())
		require.False(t, gjson.GetBytes(mustJSON(shown), "unsigned.account").Exists())
	})
}

func TestAnAccountThatMovesTakesNobodysName(t *testing.T) {
	t.Parallel()
	c := newCompanions(matrix.RoomVersionMSC4348())
	// Dave moves to bob's domain's rival, which calls him bob; what came through fs.test is not "@bob:fs.test"'s.
	c.company.names[accountAt{c.dave, "fs2.test"}] = "bob"
	require.Equal(t, provenance{Account: "bob", ServerDomain: "fs2.test"}, c.provenance(c.build(t, c.dave, "m.room.message", nil, map[string]string{})))
	c.company.servers[c.dave] = c.company.servers[c.bob]
	require.Equal(t, provenance{Account: "dave", ServerDomain: "fs.test"}, c.provenance(c.build(t, c.dave, "m.room.message", nil, map[string]string{})))
}

func TestLateVerificationIsSeenByWhoLooksAgain(t *testing.T) {
	t.Parallel()
	eachCompanions(t, func(t *testing.T, c *companions) {
		e := c.build(t, c.carol, "m.room.message", nil, map[string]string{})
		require.Empty(t, c.event(e, surroundings{}).Unsigned.ServerDomain)
		p := c.company.servers[c.carol]
		p.Verified = true
		c.company.servers[c.carol] = p
		require.Equal(t, "fs.test", string(c.event(e, surroundings{}).Unsigned.ServerDomain))
	})
}

func TestCompanyIsNamedByClients(t *testing.T) {
	t.Parallel()
	eachCompanions(t, func(t *testing.T, c *companions) {
		for _, test := range []struct {
			name matrix.UserID
			want matrix.UserID
		}{
			{"@alice:hs1.test", c.alice},
			{"@bob:fs.test", c.bob},
			{c.alice, c.alice},
			{c.bob, c.bob},
			{c.carol, c.carol},
			{"@carol:fs.test", ""}, // her server is not verified
			{"@ghost:hs1.test", ""},
			{"@bob:elsewhere.test", ""},
			{"@carol:", ""},
			{"nonsense", ""},
		} {
			user, ok := c.find(test.name)
			require.Equal(t, test.want, user, test.name)
			require.Equal(t, test.want != "", ok)
			user, err := c.roomUser(test.name)
			require.Equal(t, test.want, user)
			require.Equal(t, test.want == "", err != nil)
		}
	})
}

func TestStateKeysOfClientsInCompany(t *testing.T) {
	t.Parallel()
	eachCompanions(t, func(t *testing.T, c *companions) {
		for _, test := range []struct{ eventType, key, want string }{
			{"m.room.member", "@bob:fs.test", string(c.bob)},
			{"m.room.member", string(c.carol), string(c.carol)},
			{"m.x", "@alice:hs1.test", string(c.alice)},
			{"m.x", "@bob:fs.test", "@bob:fs.test"},
			{"m.x", "", ""},
			{matrix.ParticipationType, string(c.company.servers[c.bob].Key), string(c.company.servers[c.bob].Key)},
		} {
			key, err := c.stateKeyIn(test.eventType, test.key, "@alice:hs1.test")
			require.NoError(t, err)
			require.Equal(t, test.want, key)
		}
		_, err := c.stateKeyIn("m.room.member", "@nobody:fs.test.invalid", "@alice:hs1.test")
		require.Error(t, err)
		levels := []byte(`{"users":{"@bob:fs.test":50}}`)
		in, err := c.contentIn("m.room.power_levels", levels, nil)
		require.NoError(t, err)
		require.Equal(t, levels, in, "content is the room's")
	})
}

func TestCompanyIsKnownByName(t *testing.T) {
	t.Parallel()
	eachCompanions(t, func(t *testing.T, c *companions) {
		for user, want := range map[matrix.UserID]matrix.UserID{c.alice: "@alice:hs1.test", c.bob: "@bob:fs.test", c.carol: ""} {
			name, ok := c.knownAs(user)
			require.Equal(t, want, name)
			require.Equal(t, want != "", ok)
		}
		r := &reader{translator: *c.translator, ignored: map[matrix.UserID]bool{"@bob:fs.test": true, c.carol: true}}
		require.True(t, r.ignores(c.build(t, c.bob, "m.room.message", nil, map[string]string{})), "ignored by name")
		require.True(t, r.ignores(c.build(t, c.carol, "m.room.message", nil, map[string]string{})), "ignored by the room's ID")
		require.False(t, r.ignores(c.build(t, c.alice, "m.room.message", nil, map[string]string{})))
		only := eventFilter{Senders: &[]matrix.UserID{"@bob:fs.test"}}
		require.True(t, only.wants(c.event(c.build(t, c.bob, "m.x", nil, map[string]string{}), surroundings{})))
		require.False(t, only.wants(c.event(c.build(t, c.carol, "m.x", nil, map[string]string{}), surroundings{})))
	})
}

// EDUs come from the domain that the participation of the user's server names (D-52).
func TestEDUsOfCompanyComeFromItsDomain(t *testing.T) {
	t.Parallel()
	eachCompanions(t, func(t *testing.T, c *companions) {
		require.Equal(t, "fs.test", string(c.domainOf(c.bob, c.bob)))
		require.Equal(t, "fs.test", string(c.domainOf(c.carol, c.carol)), "verified or not")
		require.Empty(t, c.domainOf("@x:fs.test", "@x:fs.test"), "a user whom the room does not know")
	})
}
