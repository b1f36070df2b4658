package embedded

import (
	"context"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/deploy"
)

func start(t testing.TB) *Server {
	t.Helper()
	ca, err := deploy.NewCA()
	require.NoError(t, err)
	s, err := Start(t.Context(), Options{Alias: "hs1", CA: ca, TempDir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close(context.Background())) })
	return s
}

func status(t *testing.T, client *http.Client, url string) int {
	t.Helper()
	resp, err := client.Get(url)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

func TestLifeOfAnEmbeddedServer(t *testing.T) {
	s := start(t)
	d := deploy.NewGroup(deploy.GroupConfig{CA: s.options.CA, Servers: []deploy.ManagedServer{s}, PeerHost: "localhost", PeerListenAddr: "127.0.0.1"})
	federation, client := &http.Client{Transport: d.Transport()}, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	keys := "https://" + s.Name() + "/_matrix/key/v2/server"
	require.Equal(t, http.StatusOK, status(t, federation, keys))
	url, addr := s.ClientURL(), s.FederationAddr()

	require.NoError(t, s.Start(t.Context()), "a server that runs is left alone")
	require.NoError(t, s.Restart(t.Context()))
	require.Equal(t, []string{url, addr}, []string{s.ClientURL(), s.FederationAddr()})
	require.Equal(t, http.StatusOK, status(t, federation, keys))
	require.NoError(t, s.Stop(t.Context()))
	require.NoError(t, s.Stop(t.Context()), "stopping twice is stopping once")
	_, err := client.Get(url)
	require.Error(t, err)
	require.NoError(t, s.Start(t.Context()))
	require.Equal(t, http.StatusOK, status(t, client, url+"/_matrix/client/versions"))

	require.ErrorIs(t, s.Pause(t.Context()), deploy.ErrUnsupported)
	require.ErrorIs(t, s.Unpause(t.Context()), deploy.ErrUnsupported)
	_, err = s.Logs(t.Context())
	require.NoError(t, err)
	require.NoError(t, d.Close(t.Context()))
	require.NoDirExists(t, s.dir)
	require.ErrorContains(t, s.Start(t.Context()), "was removed")
}

func TestRestartKeepsTheSigningKey(t *testing.T) {
	s := start(t)
	rt := &http.Client{Transport: deploy.NewTransport(deploy.TransportConfig{CA: s.options.CA})}
	verifyKeys := func() string {
		resp, err := rt.Get("https://" + s.Name() + "/_matrix/key/v2/server")
		require.NoError(t, err)
		defer resp.Body.Close()
		return keyIDs(t, resp.Body)
	}
	before := verifyKeys()
	require.NotEmpty(t, before)
	require.NoError(t, s.Restart(t.Context()))
	require.Equal(t, before, verifyKeys())
}

func TestAFailedStartLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	ca, err := deploy.NewCA()
	require.NoError(t, err)
	trustOnly, err := deploy.ParseCA(ca.CertPEM(), nil)
	require.NoError(t, err)
	_, err = Start(t.Context(), Options{Alias: "hs1", CA: trustOnly, TempDir: dir})
	require.ErrorContains(t, err, "hs1: the embedded homeserver cannot be started")
	require.Equal(t, deploy.KindStart, deploy.KindOf(err))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// BenchmarkStart is how long a fresh homeserver takes until it answers. It must stay under 20 ms.
func BenchmarkStart(b *testing.B) {
	ca, err := deploy.NewCA()
	require.NoError(b, err)
	dir := b.TempDir()
	var total time.Duration
	for b.Loop() {
		begin := time.Now()
		s, err := Start(b.Context(), Options{Alias: "hs1", CA: ca, TempDir: dir})
		total += time.Since(begin)
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, s.Close(b.Context()))
		b.StartTimer()
	}
	b.ReportMetric(float64(total)/float64(b.N)/float64(20*time.Millisecond), "of-20ms")
}
