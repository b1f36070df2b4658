package fakeserver_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/fakeserver"
	"countersign/matrix"
)

// world is a certificate authority and the servers that trust it.
type world struct {
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
	transport *http.Transport
	ports     fakeserver.Ports
}

func newWorld(t testing.TB) *world {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	w := &world{cert: cert, key: key, transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	t.Cleanup(w.transport.CloseIdleConnections)
	return w
}

func (w *world) issue(hosts ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: hosts, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, w.cert, key.Public(), w.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func (w *world) config() fakeserver.Config {
	return fakeserver.Config{Host: "localhost", Issue: w.issue, Transport: w.transport, Ports: &w.ports, Timeout: 10 * time.Second}
}

func (w *world) server(t testing.TB) *fakeserver.Server {
	t.Helper()
	s, err := fakeserver.Start(w.config())
	require.NoError(t, err)
	t.Cleanup(func() {
		w.transport.CloseIdleConnections()
		require.NoError(t, s.Close())
		if t.Failed() {
			t.Log(s.Transcript())
		}
	})
	return s
}

func user(t testing.TB, s *fakeserver.Server, name string, options ...fakeserver.UserOption) *fakeserver.User {
	t.Helper()
	u, err := s.NewUser(name, options...)
	require.NoError(t, err)
	return u
}

func ctx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return c
}

// forEachVersion runs a test in rooms of every version.
func forEachVersion(t *testing.T, test func(t *testing.T, v matrix.RoomVersion)) {
	for _, v := range matrix.RoomVersions() {
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			test(t, v)
		})
	}
}
