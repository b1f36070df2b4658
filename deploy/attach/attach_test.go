package attach

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/deploy"
)

// write writes a description beside an authority's files and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	ca, err := deploy.NewCA()
	require.NoError(t, err)
	for name, content := range map[string][]byte{"ca.crt": ca.CertPEM(), "ca.key": ca.KeyPEM(), "hs1.log": []byte("hello"), "servers.yaml": []byte(text)} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	return filepath.Join(dir, "servers.yaml")
}

func TestOpen(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/_matrix/client/versions" {
			_, _ = io.WriteString(w, "{}")
		}
	}))
	defer server.Close()
	file := write(t, strings.ReplaceAll(`
ca: {certificate: ca.crt, key: ca.key}
servers:
  hs1: {name: one.example, client: URL/, log: hs1.log}
  hs2: {name: "two.example:443", client: URL, federation: "127.0.0.1:9"}
`, "URL", server.URL))
	d, err := Open(t.Context(), deploy.Config{}, file, "hs1", "hs2")
	require.NoError(t, err)
	hs1, hs2 := d.Server("hs1"), d.Server("hs2")
	require.Equal(t, server.URL, hs1.ClientURL())
	require.Equal(t, []string{"one.example", "one.example:8448"}, []string{hs1.Name(), hs1.FederationAddr()})
	require.Equal(t, []string{"two.example:443", "127.0.0.1:9"}, []string{hs2.Name(), hs2.FederationAddr()})
	require.Equal(t, []string{"localhost", "127.0.0.1"}, []string{d.PeerHost(), d.PeerListenAddr()})
	_, err = d.CA().Issue("localhost")
	require.NoError(t, err)
	ctx := t.Context()
	for _, err := range []error{hs1.Start(ctx), hs1.Stop(ctx), hs1.Restart(ctx), hs1.Pause(ctx), hs1.Unpause(ctx)} {
		require.ErrorIs(t, err, deploy.ErrUnsupported)
	}
	logs, err := hs1.Logs(ctx)
	require.NoError(t, err)
	require.Equal(t, "hello", logs)

	// What describes a deployment is what can be attached to.
	written, err := Write(filepath.Join(t.TempDir(), "new"), d)
	require.NoError(t, err)
	again, err := Open(ctx, deploy.Config{}, written, "hs1", "hs2")
	require.NoError(t, err)
	for _, alias := range []string{"hs1", "hs2"} {
		s, other := d.Server(alias), again.Server(alias)
		require.Equal(t, []string{s.Name(), s.ClientURL(), s.FederationAddr()}, []string{other.Name(), other.ClientURL(), other.FederationAddr()})
	}
	require.Equal(t, d.CA().CertPEM(), again.CA().CertPEM())
	require.Equal(t, []string{d.PeerHost(), d.PeerListenAddr()}, []string{again.PeerHost(), again.PeerListenAddr()})
	require.NoError(t, again.Close(ctx))
	_, err = hs2.Logs(ctx)
	require.ErrorIs(t, err, deploy.ErrUnsupported)
	require.NoError(t, d.Close(ctx))
}

func TestTheDocumentedExampleIsRead(t *testing.T) {
	document, err := os.ReadFile("../../docs/ENVIRONMENT.md")
	require.NoError(t, err)
	_, example, found := strings.Cut(string(document), "```yaml\n")
	require.True(t, found)
	example, _, _ = strings.Cut(example, "```")
	f, err := Load(write(t, example), "hs1", "hs2")
	require.NoError(t, err)
	require.Equal(t, "tests.example", f.Peer.Host)
	require.Equal(t, "one.log", filepath.Base(f.Servers["hs1"].Log))
}

func TestMistakesAreOneLine(t *testing.T) {
	const ca = "ca: {certificate: ca.crt, key: ca.key}\n"
	for text, message := range map[string]string{
		"":                "ca.certificate and ca.key are needed",
		"servers: [":      "servers.yaml: ",
		ca + "server: {}": `unknown field "server"`,
		ca + "servers: {hs9: {name: x, client: 'http://x'}}":                                    "servers.hs1 is not described, and the tests need it; described are: hs9",
		ca + "servers: {hs1: {client: 'http://x'}}":                                             "servers.hs1.name is missing",
		ca + "servers: {hs1: {name: x, client: 'x:8008'}}":                                      "servers.hs1.client",
		ca + "servers: {hs1: {name: x, client: 'http://x', federation: x}}":                     "servers.hs1.federation",
		"ca: {certificate: no.crt, key: ca.key}\nservers: {hs1: {name: x, client: 'http://x'}}": "no such file",
	} {
		file := write(t, text)
		_, err := Open(t.Context(), deploy.Config{}, file, "hs1")
		require.ErrorContains(t, err, message, text)
		require.Equal(t, deploy.KindUsage, deploy.KindOf(err), text)
		require.NotContains(t, err.Error(), "\n", text)
	}
	_, err := Open(t.Context(), deploy.Config{}, "/no/such/file", "hs1")
	require.EqualError(t, err, "attach:/no/such/file: the file cannot be read: no such file or directory")
}

func TestAServerThatDoesNotAnswer(t *testing.T) {
	file := write(t, "ca: {certificate: ca.crt, key: ca.key}\nservers: {hs1: {name: x, client: 'http://127.0.0.1:1'}}")
	_, err := Open(t.Context(), deploy.Config{TimeoutScale: 0.02}, file, "hs1")
	require.ErrorContains(t, err, "hs1: no homeserver answers at http://127.0.0.1:1 within 200ms")
	require.Equal(t, deploy.KindStart, deploy.KindOf(err))
}
