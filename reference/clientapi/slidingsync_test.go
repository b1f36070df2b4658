package clientapi

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
)

func TestSlidingSync(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	roomID := alice.createRoom(map[string]any{"room_version": matrix.VersionMSC4243, "name": "A name"})
	const sync = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
	body := map[string]any{"lists": map[string]any{"all": map[string]any{
		"ranges": [][]int{{0, 9}}, "timeline_limit": 1, "required_state": [][]string{{"m.room.name", ""}, {"m.room.member", "$ME"}},
	}}}
	first := alice.ok(http.MethodPost, sync, body)
	inRoom := first.Get("rooms").Map()[roomID]
	require.True(t, inRoom.Get("initial").Bool(), first.Raw)
	require.Equal(t, int64(1), first.Get("lists.all.count").Int())
	require.Len(t, inRoom.Get("required_state").Array(), 2, inRoom.Raw)
	require.Equal(t, int64(1), inRoom.Get("joined_count").Int())

	pos := "?pos=" + first.Get("pos").Str
	quiet := alice.ok(http.MethodPost, sync+pos, body)
	require.Equal(t, "{}", quiet.Get("rooms").Raw)
	said := alice.say(roomID, "hello")
	next := alice.ok(http.MethodPost, sync+pos+"&timeout=1000", body).Get("rooms").Map()[roomID]
	require.False(t, next.Get("initial").Exists(), next.Raw)
	require.Equal(t, said, next.Get("timeline.0.event_id").Str, next.Raw)
	require.Equal(t, int64(1), next.Get("num_live").Int())
	alice.refused(http.StatusBadRequest, "M_UNKNOWN_POS", http.MethodPost, sync+"?pos=s1_1_1_1", body)
}
