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
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
