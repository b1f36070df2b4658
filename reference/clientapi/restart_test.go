package clientapi

import (
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"
)

// What clients are shown survives a restart, even while nobody can be asked about account keys (CS-33).
func TestRestartKeepsTheView(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, stop := openWorld(t, dir)
	alice := w.register("alice")
	roomID := publicKeyRoom(alice)
	bob, mallory := w.remoteUser(), w.remoteUser()
	mallory.join(roomID)
	w.named(map[string]*remoteUser{"bob": bob})
	bob.join(roomID)
	bob.say(roomID, "a secret")
	mallory.say(roomID, "another secret")
	since := alice.sync().Get("next_batch").Str
	alice.ok(http.MethodPut, path("rooms", roomID, "send", "m.room.message", "once"), map[string]string{"body": "x", "msgtype": "m.text"})
	before := alice.surfaces(roomID)
	incremental := alice.sync("since", since)
	stop()

	again, stop := openWorld(t, dir)
	t.Cleanup(stop)
	same := &client{again, alice.id, alice.token}
	for name, answer := range same.surfaces(roomID) {
		require.JSONEq(t, timeless(before[name]), timeless(answer), name)
	}
	require.JSONEq(t, timeless(incremental), timeless(same.sync("since", since)))
	repeated := same.ok(http.MethodPut, path("rooms", roomID, "send", "m.room.message", "once"), map[string]string{"body": "x", "msgtype": "m.text"})
	require.Equal(t, incremental.Get("rooms.join.*.timeline.events.0.event_id").Str, repeated.Get("event_id").Str)
}

// timeless is an answer without what depends on the time of asking.
func timeless(answer gjson.Result) string {
	return regexp.MustCompile(`"age":\d+|"next_batch":"s[^"]*"|"prev_batch":"t[^"]*"|"start":"t[^"]*"`).ReplaceAllString(answer.Raw, `"x":0`)
}
