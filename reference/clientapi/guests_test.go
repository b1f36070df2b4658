package clientapi

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
)

func TestGuestsOfThisServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.api.Run(ctx) })
	defer running.Wait()
	defer stop()
	alice := w.register("alice")
	access := func(roomID, value string) {
		alice.ok(http.MethodPut, path("rooms", roomID, "state", "m.room.guest_access"), map[string]string{"guest_access": value})
	}
	room := alice.createRoom(map[string]any{"room_version": matrix.RoomVersionMSC4243().ID, "preset": "public_chat"})
	closed := alice.createRoom(map[string]any{"preset": "public_chat"})
	access(room, "can_join")

	r := w.anonymous().ok(http.MethodPost, path("register")+"?kind=guest", map[string]any{"username": "ignored", "device_id": "IGNORED", "password": "ignored"})
	require.NotContains(t, r.Raw, "ignored")
	require.NotContains(t, r.Raw, "IGNORED")
	guest := &client{w, r.Get("user_id").Str, r.Get("access_token").Str}
	require.True(t, guest.ok(http.MethodGet, path("account", "whoami"), nil).Get("is_guest").Bool())
	require.False(t, alice.ok(http.MethodGet, path("account", "whoami"), nil).Get("is_guest").Bool())
	const forbidden = "M_GUEST_ACCESS_FORBIDDEN"
	guest.refused(http.StatusForbidden, forbidden, http.MethodPost, path("createRoom"), map[string]any{})
	guest.refused(http.StatusForbidden, forbidden, http.MethodPut, path("profile", guest.id, "avatar_url"), map[string]string{"avatar_url": "mxc://x/y"})
	guest.ok(http.MethodPut, path("profile", guest.id, "displayname"), map[string]string{"displayname": "A Guest"})
	guest.refused(http.StatusForbidden, forbidden, http.MethodPost, path("join", closed), map[string]any{})
	guest.refused(http.StatusForbidden, forbidden, http.MethodPost, path("rooms", closed, "join"), map[string]any{})
	guest.refused(http.StatusForbidden, forbidden, http.MethodPut, path("rooms", closed, "state", "m.room.member", guest.id), map[string]string{"membership": "join"})
	guest.refused(http.StatusForbidden, forbidden, http.MethodPost, path("join", "!elsewhere"), map[string]any{})

	guest.ok(http.MethodPost, path("join", room), map[string]any{})
	e, ok := w.engine.Event(room, guest.say(room, "hello"))
	require.True(t, ok)
	require.NoError(t, e.VerifyAccountKey(e.Sender()))
	require.Eventually(t, func() bool {
		access(room, "forbidden") // again, as what came before the API began to follow events is not made up for
		m, _ := w.engine.Membership(room, e.Sender())
		return m.Membership == "leave"
	}, 10*time.Second, 20*time.Millisecond)
	require.Equal(t, "join", alice.membershipOf(room, alice.id))
	guest.refused(http.StatusForbidden, forbidden, http.MethodPost, path("join", room), map[string]any{})
}

func TestGuestsHaveRoutesThatExist(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, r := range newWorld(t).api.routes() {
		known[r.method+" "+r.path] = true
	}
	for _, r := range guestRoutes() {
		require.True(t, known[r], r)
	}
}
