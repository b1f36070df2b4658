package docker

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// tlsServer is a listener in this process, as a fake server is one.
func tlsServer(t *testing.T, host string, cert tls.Certificate) (*http.Server, string) {
	t.Helper()
	l, err := tls.Listen("tcp", net.JoinHostPort(host, "0"), &tls.Config{Certificates: []tls.Certificate{cert}})
	require.NoError(t, err)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the peer") })}
	go func() { _ = s.Serve(l) }() // it ends with http.ErrServerClosed
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return s, port
}
