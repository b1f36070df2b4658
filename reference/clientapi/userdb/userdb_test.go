package userdb_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/store"
)

const alice, bob matrix.UserID = "@alice:hs", "@bob:hs"

func open(t *testing.T) *userdb.DB {
	t.Helper()
	s, err := store.Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return userdb.New(s, "hs")
}

func TestUsersKeepTheirNamesAndPasswords(t *testing.T) {
	t.Parallel()
	db := open(t)
	u := userdb.User{ID: alice}
	require.NoError(t, u.SetPassword("secret"))
	require.NoError(t, db.CreateUser(u))
	require.ErrorIs(t, db.CreateUser(u), userdb.ErrExists)
	stored, err := db.User(alice)
	require.NoError(t, err)
	require.True(t, stored.CheckPassword("secret"))
	require.False(t, stored.CheckPassword("Secret"))
	require.False(t, (&userdb.User{}).CheckPassword(""))
	require.True(t, db.Exists("alice"))
	require.False(t, db.Exists("bob"))
	require.NoError(t, db.UpdateUser(alice, func(u *userdb.User) error { u.Deactivated = true; return nil }))
	require.False(t, db.Exists("alice"))
	require.ErrorIs(t, db.CreateUser(u), userdb.ErrExists)
	_, err = db.User(bob)
	require.ErrorIs(t, err, userdb.ErrNotFound)
}

func TestADeviceHasOneToken(t *testing.T) {
	t.Parallel()
	db := open(t)
	first, err := db.CreateSession(alice, userdb.Device{ID: "D", DisplayName: "Phone"})
	require.NoError(t, err)
	second, err := db.CreateSession(alice, userdb.Device{ID: "D"})
	require.NoError(t, err)
	_, err = db.Session(first)
	require.ErrorIs(t, err, userdb.ErrNotFound)
	session, err := db.Session(second)
	require.NoError(t, err)
	require.Equal(t, userdb.Session{User: alice, DeviceID: "D"}, session)
	d, err := db.Device(alice, "D")
	require.NoError(t, err)
	require.Equal(t, "Phone", d.DisplayName)
	require.NoError(t, db.RenameDevice(alice, "D", "Other"))
	_, err = db.Session(second)
	require.NoError(t, err, "renaming logs nobody out")
	_, err = db.DeleteDevices(alice, "D", "unknown")
	require.NoError(t, err)
	_, err = db.Session(second)
	require.ErrorIs(t, err, userdb.ErrNotFound)
}

func TestKeysOfDifferentPartsNeverMeet(t *testing.T) {
	t.Parallel()
	db := open(t)
	names := []string{"a", "a\x00", "a\x00\x01b", "a\x01", "\x00", ""}
	for _, room := range names {
		for _, kind := range names {
			require.NoError(t, db.SetAccountData(alice, room, kind, json.RawMessage(`"`+"x"+`"`)))
		}
	}
	data, err := db.AccountDataBetween(alice, 0, 1000)
	require.NoError(t, err)
	require.Len(t, data, len(names)*len(names))
	seen := map[[2]string]bool{}
	for _, d := range data {
		seen[[2]string{d.RoomID, d.Type}] = true
	}
	require.Len(t, seen, len(names)*len(names))
	none, err := db.AccountDataBetween("@alice:h", 0, 1000)
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestToDeviceMessagesComeInPages(t *testing.T) {
	t.Parallel()
	db := open(t)
	for _, id := range []string{"A", "B"} {
		_, err := db.CreateSession(alice, userdb.Device{ID: id})
		require.NoError(t, err)
	}
	for range 5 {
		require.NoError(t, db.SendToDevice(alice, userdb.AllDevices, userdb.ToDevice{Type: "m.x", Sender: bob, Content: []byte("{}")}))
	}
	require.NoError(t, db.SendToDevice(bob, "none", userdb.ToDevice{}))
	until, err := db.Position()
	require.NoError(t, err)
	var since userdb.Position
	total := 0
	for range 10 {
		page, next, err := db.ToDeviceMessages(alice, "A", since, until, 2)
		require.NoError(t, err)
		total += len(page)
		require.NoError(t, db.DeleteToDevice(alice, "A", since))
		since = next
	}
	require.Equal(t, 5, total)
	left, _, err := db.ToDeviceMessages(alice, "B", 0, until, 100)
	require.NoError(t, err)
	require.Len(t, left, 5)
}

func TestOneTimeKeysAreClaimedOnce(t *testing.T) {
	t.Parallel()
	db := open(t)
	id := userdb.KeyID{Algorithm: "c", ID: "1"}
	require.NoError(t, db.AddOneTimeKeys(alice, "D", map[userdb.KeyID]json.RawMessage{id: []byte(`"k"`)}))
	require.NoError(t, db.AddOneTimeKeys(alice, "D", map[userdb.KeyID]json.RawMessage{id: []byte(`"k"`)}), "again the same")
	require.ErrorIs(t, db.AddOneTimeKeys(alice, "D", map[userdb.KeyID]json.RawMessage{id: []byte(`"other"`)}), userdb.ErrExists)
	claimed, key, err := db.ClaimOneTimeKey(alice, "D", "c")
	require.NoError(t, err)
	require.Equal(t, id, claimed)
	require.JSONEq(t, `"k"`, string(key))
	_, _, err = db.ClaimOneTimeKey(alice, "D", "c")
	require.ErrorIs(t, err, userdb.ErrNotFound)
	require.NoError(t, db.SetFallbackKey(alice, "D", id, []byte(`"f"`)))
	for range 2 {
		_, key, err = db.ClaimOneTimeKey(alice, "D", "c")
		require.NoError(t, err)
		require.JSONEq(t, `"f"`, string(key))
	}
}

func TestDeviceChangesAreNotedOnce(t *testing.T) {
	t.Parallel()
	db := open(t)
	for range 3 {
		_, err := db.MarkDevicesChanged(alice)
		require.NoError(t, err)
	}
	at, err := db.MarkDevicesChanged(bob)
	require.NoError(t, err)
	users, err := db.DevicesChangedBetween(0, at)
	require.NoError(t, err)
	require.Equal(t, []matrix.UserID{alice, bob}, users)
	users, err = db.DevicesChangedBetween(at-1, at)
	require.NoError(t, err)
	require.Equal(t, []matrix.UserID{bob}, users)
}

func TestEqualFiltersHaveOneID(t *testing.T) {
	t.Parallel()
	db := open(t)
	first, err := db.PutFilter(alice, []byte(`{"a":1}`))
	require.NoError(t, err)
	second, err := db.PutFilter(alice, []byte(`{"a":2}`))
	require.NoError(t, err)
	again, err := db.PutFilter(alice, []byte(`{"a":1}`))
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.NotEqual(t, first, second)
	_, err = db.Filter(bob, first)
	require.ErrorIs(t, err, userdb.ErrNotFound)
}

func TestForgettingKeepsTheName(t *testing.T) {
	t.Parallel()
	db := open(t)
	require.NoError(t, db.CreateUser(userdb.User{ID: alice}))
	require.NoError(t, db.SetProfileField(alice, "displayname", []byte(`"A"`)))
	require.NoError(t, db.SetAccountData(alice, "", "t", []byte(`{}`)))
	require.NoError(t, db.ForgetUserData(alice))
	profile, err := db.Profile(alice)
	require.NoError(t, err)
	require.Empty(t, profile)
	_, err = db.User(alice)
	require.NoError(t, err)
}
