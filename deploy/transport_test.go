package deploy

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// federationServer serves TLS on loopback with a certificate of the CA for the given hosts.
func federationServer(t *testing.T, ca *CA, handler http.Handler, hosts ...string) (addr string) {
	t.Helper()
	cert, err := ca.Issue(hosts...)
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(handler)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func get(t *testing.T, rt http.RoundTripper, url string) (*http.Response, string, error) {
	t.Helper()
	resp, err := (&http.Client{Transport: rt}).Get(url)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func TestTransportReachesServersByName(t *testing.T) {
	ca, err := NewCA()
	require.NoError(t, err)
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host+" "+r.TLS.ServerName)
	})
	addr := federationServer(t, ca, echo, "hs1", "localhost", "127.0.0.1", "host.docker.internal")
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	rt := NewTransport(TransportConfig{
		CA:         ca,
		LocalHosts: []string{"host.docker.internal"},
		Resolve: func(name string) string {
			return map[string]string{"hs1": addr, "hs1:443": "127.0.0.1:1"}[name]
		},
	})
	for url, want := range map[string]string{
		"https://hs1/":                               "hs1 hs1",      // found in the map
		"https://hs1:8448/":                          "hs1:8448 hs1", // the default port names the same server
		"https://localhost:" + port + "/":            "localhost:" + port + " localhost",
		"https://127.0.0.1:" + port + "/":            "127.0.0.1:" + port + " ", // no SNI for an address
		"https://host.docker.internal:" + port + "/": "host.docker.internal:" + port + " host.docker.internal",
	} {
		_, body, err := get(t, rt, url)
		require.NoError(t, err, url)
		require.Equal(t, want, body, url)
	}
	_, _, err = get(t, rt, "https://hs1:443/")
	require.Error(t, err, "an explicit port 443 is another server than the default port")
	_, _, err = get(t, rt, "http://hs1/")
	require.ErrorContains(t, err, "federation requests are https")
}

func TestTransportChecksCertificates(t *testing.T) {
	ca, err := NewCA()
	require.NoError(t, err)
	other, err := NewCA()
	require.NoError(t, err)
	nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	wrongName := federationServer(t, ca, nothing, "hs2")
	wrongAuthority := federationServer(t, other, nothing, "hs1")
	for name, addr := range map[string]string{"name": wrongName, "authority": wrongAuthority} {
		rt := NewTransport(TransportConfig{CA: ca, Resolve: func(string) string { return addr }})
		_, _, err := get(t, rt, "https://hs1/")
		require.ErrorContains(t, err, "certificate", name)
	}
}

func TestTransportBoundsEveryExchange(t *testing.T) {
	ca, err := NewCA()
	require.NoError(t, err)
	addr := federationServer(t, ca, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			<-r.Context().Done()
		case "/trickle":
			_, _ = io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/reset":
			panic(http.ErrAbortHandler)
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		case "/exact":
			_, _ = w.Write(make([]byte, 1<<20))
		}
	}), "hs1")
	resolve := func(string) string { return addr }
	rt := NewTransport(TransportConfig{CA: ca, Resolve: resolve, Timeout: 300 * time.Millisecond})
	_, _, err = get(t, rt, "https://hs1/hang")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "took longer than 300ms")
	_, _, err = get(t, rt, "https://hs1/trickle")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	rt = NewTransport(TransportConfig{CA: ca, Resolve: resolve, MaxBody: 1 << 20})
	_, _, err = get(t, rt, "https://hs1/reset")
	require.Error(t, err)
	_, body, err := get(t, rt, "https://hs1/endless")
	require.ErrorIs(t, err, ErrBodyTooLarge)
	require.Len(t, body, 1<<20)
	_, body, err = get(t, rt, "https://hs1/exact")
	require.NoError(t, err, "a body of exactly the limit is allowed")
	require.Len(t, body, 1<<20)
}

func TestLimitedBodyIsAWellBehavedReader(t *testing.T) {
	text := strings.Repeat("abc", 1000)
	_, cancel := context.WithCancel(t.Context())
	body := &limitedBody{body: io.NopCloser(strings.NewReader(text)), left: int64(len(text)), ctx: t.Context(), cancel: cancel}
	require.NoError(t, iotest.TestReader(body, []byte(text)))
}
