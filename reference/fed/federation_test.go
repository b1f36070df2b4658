package fed_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/account"
)

// eachVersion runs a test in both room versions.
func eachVersion(t *testing.T, f func(t *testing.T, v matrix.RoomVersion)) {
	for _, v := range matrix.RoomVersions() {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			f(t, v)
		})
	}
}

func TestTwoServersTalkAndSurviveRestarts(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		hs1.say(id, "alice", "before")
		hs2.join(id, "bob", hs1)
		hs1.waitFor("bob's join", func() bool { return hs1.membership(id, hs2.inRoom(v, "bob")) == "join" })
		require.Equal(t, hs1.state(id), hs2.state(id))

		hs2.waitForEvent(id, hs1.say(id, "alice", "one").ID())
		hs1.waitForEvent(id, hs2.say(id, "bob", "two").ID())

		hs1.restart()
		hs2.waitForEvent(id, hs1.say(id, "alice", "three").ID())
		hs2.restart()
		hs1.waitForEvent(id, hs2.say(id, "bob", "four").ID())
		require.Equal(t, hs1.state(id), hs2.state(id))

		if v.HasAccountKeys() {
			e := hs1.directory.Lookup(hs2.inRoom(v, "bob"))
			require.Equal(t, account.Entry{State: account.Verified, Name: hs2.user("bob")}, e)
			require.Equal(t, hs1.user("alice"), hs2.directory.Lookup(hs1.inRoom(v, "alice")).Name)
			require.Zero(t, hs1.requests.count("/key/v2/query"))
		}
	})
}

// TestQueuedEventsAreDeliveredLater sends while the other server is down.
func TestQueuedEventsAreDeliveredLater(t *testing.T) {
	eachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		n := newNetwork(t)
		hs1, hs2 := n.start(t), n.start(t)
		id := hs1.create(v, "alice", joinRules("public"))
		hs2.join(id, "bob", hs1)
		_, port := hs2.name.HostPort()
		hs2.stop()
		e := hs1.say(id, "alice", "while you were away")
		hs1.restart()
		hs2.listen(port)
		hs2.waitForEvent(id, e.ID())
	})
}
