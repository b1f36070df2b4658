package fed

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/peer"
)

func TestEndpointsHaveNamesWithoutIDs(t *testing.T) {
	for path, name := range map[string]string{
		"/_matrix/federation/v1" + peer.Path("make_join", "!room", "@user:there"):    "/_matrix/federation/v1/make_join",
		"/_matrix/federation/v1" + peer.Path("event", "$event"):                      "/_matrix/federation/v1/event",
		"/_matrix/federation/v1" + peer.Path("send", "7"):                            "/_matrix/federation/v1/send",
		"/_matrix/federation/v2" + peer.Path("send_join", "!room", "$event"):         "/_matrix/federation/v2/send_join",
		"/_matrix/federation/v1/query/profile":                                       "/_matrix/federation/v1/query/profile",
		"/_matrix/federation/unstable/org.matrix.msc4243/query/accounts":             "/_matrix/federation/unstable/org.matrix.msc4243/query/accounts",
		"/_matrix/federation/v1" + peer.Path("user", "devices", "@somebody:at.home"): "/_matrix/federation/v1/user/devices",
	} {
		require.Equal(t, endpoint{"there", "GET", name}, endpointOf("there", peer.Call{Method: "GET", Path: path}), path)
	}
}

// TestUnknownEndpointsAreLeftAloneByThemselves is 404 M_UNRECOGNIZED, which is about an endpoint, and any other 404,
// which says that there may be no homeserver at all.
func TestUnknownEndpointsAreLeftAloneByThemselves(t *testing.T) {
	for _, c := range []struct {
		name, body  string
		status      int
		others, own bool // are asked again at once: other endpoints, the same one
	}{
		{"an unknown endpoint", `{"errcode":"M_UNRECOGNIZED","error":"what is that?"}`, 404, true, false},
		{"an unknown method", `{"errcode":"M_UNRECOGNIZED","error":"not so"}`, 405, true, false},
		{"a refusal of one request", `{"errcode":"M_UNRECOGNIZED","error":"not in this room"}`, 400, true, true},
		{"nothing is there", `{"errcode":"M_NOT_FOUND","error":"no such event"}`, 404, true, true},
		{"no error code", `{"error":"not found"}`, 404, false, false},
		{"no homeserver", `<h1>Not Found</h1>`, 404, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int32
			there := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if r.URL.Path == "/_matrix/federation/v1/query/profile" {
					_, _ = w.Write([]byte(`{}`))
					return
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer there.Close()
			roots := x509.NewCertPool()
			roots.AddCert(there.Certificate())
			now := time.Unix(1e9, 0)
			client := NewClient(ClientOptions{
				ServerName: "here", Key: matrix.Signer{Entity: "here", KeyID: "ed25519:a", Key: ed25519.NewKeyFromSeed(make([]byte, 32))},
				RootCAs: roots, Logger: slog.New(slog.DiscardHandler), Clock: func() time.Time { return now },
			})
			defer client.Close()
			server := matrix.ServerName(there.Listener.Addr().String())
			call := func(method, path string) (reached bool) {
				before := asked.Load()
				_, _ = client.Call(context.Background(), server, peer.Call{Method: method, Path: path})
				return asked.Load() > before
			}
			event := func(id string) string { return "/_matrix/federation/v1" + peer.Path("event", id) }
			require.True(t, call("GET", event("$one")))
			require.Equal(t, c.others, call("GET", "/_matrix/federation/v1/query/profile"), "another endpoint")
			require.Equal(t, c.own, call("GET", event("$two")), "the same endpoint")
			now = now.Add(firstBackoff)
			require.True(t, call("GET", event("$two")), "the same endpoint, later")
			require.Equal(t, c.own, call("GET", event("$two")), "and then with a longer pause")
			now = now.Add(firstBackoff)
			require.Equal(t, c.own, call("GET", event("$two")), "which is not over yet")
		})
	}
}
