package reference_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/reference"
)

// selfSigned is a certificate for localhost.
func selfSigned(tb testing.TB) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(tb, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func listen(tb testing.TB) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	return l
}

// start opens and serves a homeserver. stop ends it and returns what Serve returned.
func start(tb testing.TB, dir string, certificate tls.Certificate) (clientURL string, stop func() error) {
	clients, servers := listen(tb), listen(tb)
	s, err := reference.Open(reference.Config{
		ServerName: fmt.Sprintf("localhost:%d", servers.Addr().(*net.TCPAddr).Port), DataDir: dir, Certificate: certificate,
		ClientListener: clients, FederationListener: servers,
	})
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	return "http://" + clients.Addr().String(), func() error {
		cancel()
		return <-served
	}
}

func get(tb testing.TB, url string) (status int, body string) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	require.NoError(tb, err)
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	require.NoError(tb, err)
	return response.StatusCode, string(b)
}

func TestServerAnswersAndStopsAndStartsAgain(t *testing.T) {
	dir, certificate := t.TempDir(), selfSigned(t)
	for range 2 {
		url, stop := start(t, dir, certificate)
		status, body := get(t, url+"/_matrix/client/versions")
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, body, "versions")
		began := time.Now()
		require.NoError(t, stop())
		require.Less(t, time.Since(began), 2*time.Second)
	}
}

func TestTwoServersDoNotShareData(t *testing.T) {
	dir, certificate := t.TempDir(), selfSigned(t)
	_, stop := start(t, dir, certificate)
	defer func() { require.NoError(t, stop()) }()
	clients, servers := listen(t), listen(t)
	defer clients.Close()
	defer servers.Close()
	_, err := reference.Open(reference.Config{
		ServerName: "localhost:1", DataDir: dir, Certificate: certificate, ClientListener: clients, FederationListener: servers,
	})
	require.ErrorContains(t, err, "in use by another process")
}

func TestIncompleteConfigurationsAreRefused(t *testing.T) {
	_, err := reference.Open(reference.Config{ServerName: "a b"})
	require.ErrorContains(t, err, "server name")
	_, err = reference.Open(reference.Config{ServerName: "localhost"})
	require.ErrorContains(t, err, "data folder")
}

// BenchmarkStart measures from Open to the first answer; 20 ms is the target.
func BenchmarkStart(b *testing.B) {
	certificate := selfSigned(b)
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		b.StartTimer()
		url, stop := start(b, dir, certificate)
		get(b, url+"/_matrix/client/versions")
		b.StopTimer()
		require.NoError(b, stop())
		b.StartTimer()
	}
}

// TestCloseEndsLongPolls closes the server while a client waits for news.
func TestCloseEndsLongPolls(t *testing.T) {
	url, stop := start(t, t.TempDir(), selfSigned(t))
	response, err := http.Post(url+"/_matrix/client/v3/register", "application/json",
		strings.NewReader(`{"username":"alice","password":"secret words","auth":{"type":"m.login.dummy"}}`))
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	token := gjson.GetBytes(body, "access_token").Str
	require.NotEmpty(t, token)
	sync := func(query string) (*http.Response, error) {
		r, err := http.NewRequest(http.MethodGet, url+"/_matrix/client/v3/sync"+query, nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+token)
		return http.DefaultClient.Do(r)
	}
	response, err = sync("")
	require.NoError(t, err)
	body, err = io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if r, err := sync("?timeout=60000&since=" + gjson.GetBytes(body, "next_batch").Str); err == nil {
			_ = r.Body.Close()
		}
	}()
	began := time.Now()
	require.NoError(t, stop())
	require.Less(t, time.Since(began), 2*time.Second)
	<-ended
}
