package clientapi

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAppServiceRegistrations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bridge.yaml"), []byte(`
id: bridge
url: http://localhost:1/
hs_token: secret
namespaces:
  users:
    - exclusive: true
      regex: "@bridge_.*:hs1"
  aliases: []
`), 0o600))
	services, err := LoadAppServices(dir)
	require.NoError(t, err)
	require.Len(t, services, 1)
	s := services[0]
	require.Equal(t, "http://localhost:1", s.URL)
	require.True(t, matchesAny(s.Users, "@bridge_bob:hs1"))
	require.False(t, matchesAny(s.Users, "@alice:hs1"))
	require.False(t, matchesAny(s.Users, "x@bridge_bob:hs1"), "a part of an ID is not the ID")

	none, err := LoadAppServices(filepath.Join(dir, "nothing"))
	require.NoError(t, err)
	require.Empty(t, none)
	for _, broken := range []string{`id: x`, `[`, `{"id":"x","hs_token":"y","namespaces":{"users":[{"regex":"("}]}}`} {
		_, err := ParseAppService([]byte(broken))
		require.Error(t, err, broken)
	}
}

func TestPushers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.register("alice")
	pusher := map[string]any{"kind": "http", "app_id": "org.x", "pushkey": "k", "data": map[string]any{"url": "https://push.example/_matrix/push/v1/notify"}}
	alice.ok(http.MethodPost, path("pushers", "set"), pusher)
	require.Equal(t, "k", alice.ok(http.MethodGet, path("pushers"), nil).Get("pushers.0.pushkey").Str)
	alice.ok(http.MethodPost, path("pushers", "set"), map[string]any{"kind": nil, "app_id": "org.x", "pushkey": "k"})
	require.Equal(t, "[]", alice.ok(http.MethodGet, path("pushers"), nil).Get("pushers").Raw)
	pusher["data"] = map[string]any{"url": "http://push.example/_matrix/push/v1/notify"}
	alice.refused(http.StatusBadRequest, "M_INVALID_PARAM", http.MethodPost, path("pushers", "set"), pusher)
}
