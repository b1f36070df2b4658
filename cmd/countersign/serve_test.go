package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/deploy"
	"countersign/reference"
	"countersign/report"
)

// address reserves an address for a server that is started next.
func address(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// served is a homeserver that runs by `countersign serve`.
type served struct {
	name, client, federation string
	ended                    chan int
}

// serve starts a homeserver as somebody would by hand, and waits until it is healthy.
func (c *checkout) serve(ctx context.Context, alias string) *served {
	c.t.Helper()
	s := &served{client: address(c.t), federation: address(c.t), ended: make(chan int, 1)}
	_, port, err := net.SplitHostPort(s.federation)
	require.NoError(c.t, err)
	s.name = "localhost:" + port
	go func() {
		s.ended <- c.runIn(ctx, c.root, nil, "serve", "--server-name", s.name, "--client-addr", s.client, "--federation-addr", s.federation,
			"--data-dir", filepath.Join(c.root, alias), "--ca-cert", filepath.Join(c.root, "ca.crt"), "--ca-key", filepath.Join(c.root, "ca.key"), "--quiet").code
	}()
	require.Eventually(c.t, func() bool { return c.run("healthcheck", "--client-addr", s.client).code == 0 }, 30*time.Second, 20*time.Millisecond)
	return s
}

// Homeservers that somebody else started are tested where they are: nothing of the suite starts them,
// and nothing stops them.
func TestAttach_ServersOfSomebodyElse(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: the suite is not built")
	}
	c := &checkout{t: t, root: t.TempDir()}
	ca, err := deploy.NewCA()
	require.NoError(t, err)
	c.write("ca.crt", string(ca.CertPEM()))
	c.write("ca.key", string(ca.KeyPEM()))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	one, two := c.serve(ctx, "hs1"), c.serve(ctx, "hs2")
	description := "ca: {certificate: ca.crt, key: ca.key}\nservers:\n"
	for i, s := range []*served{one, two} {
		description += fmt.Sprintf("  hs%d: {name: %q, client: \"http://%s\", federation: %q}\n", i+1, s.name, s.client, s.federation)
	}
	c.write("servers.yaml", description)

	here, err := filepath.Abs(".") // a folder of the checkout
	require.NoError(t, err)
	r := c.runIn(t.Context(), here, preflight, "run", "--target", "attach:"+filepath.Join(c.root, "servers.yaml"),
		"--suite", "roomv12", "--requirement", "RV12-MSG-01,RV12-TWO-01,RV12-RESTART-01", "--report", filepath.Join(c.root, "report"))
	assert.Equal(t, 0, r.code, "%s\n%s", r.out, r.err)
	judged, err := report.Read(filepath.Join(c.root, "report"))
	require.NoError(t, err)
	assert.Equal(t, 2, judged.Summary.Pass)
	assert.Equal(t, 1, judged.Summary.Skip, "a restart is not for us")
	require.Len(t, judged.Servers, 2)
	assert.Equal(t, []string{one.name, two.name}, []string{judged.Servers[0].ServerName, judged.Servers[1].ServerName})
	for _, s := range []*served{one, two} {
		assert.Equal(t, 0, c.run("healthcheck", "--client-addr", s.client).code, "it is still up")
	}

	stop()
	assert.Equal(t, []int{0, 0}, []int{<-one.ended, <-two.ended}, "they end when they are asked to")
	assert.Equal(t, 1, c.run("healthcheck", "--client-addr", one.client).code)
	r = c.runIn(t.Context(), here, preflight, "run", "--target", "attach:"+filepath.Join(c.root, "servers.yaml"), "--timeout-scale", "0.1",
		"--suite", "roomv12", "--requirement", "RV12-MSG-01", "--report", filepath.Join(c.root, "gone"))
	assert.Equal(t, report.ExitHarness, r.code)
	assert.Contains(t, r.out, "no homeserver answers at http://")
}

func TestServe_Refuses(t *testing.T) {
	t.Parallel()
	c := &checkout{t: t, root: t.TempDir()}
	ca, err := deploy.NewCA()
	require.NoError(t, err)
	c.write("ca.crt", string(ca.CertPEM()))
	c.write("ca.key", string(ca.KeyPEM()))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	good := func() []string {
		return []string{"serve", "--server-name", "localhost:1", "--client-addr", "127.0.0.1:0", "--federation-addr", "127.0.0.1:0",
			"--data-dir", filepath.Join(c.root, "data"), "--ca-cert", filepath.Join(c.root, "ca.crt"), "--ca-key", filepath.Join(c.root, "ca.key")}
	}
	for says, change := range map[string]struct {
		code int
		args []string
	}{
		"give --server-name":               {report.ExitUsage, []string{"--server-name="}},
		"give --data-dir":                  {report.ExitUsage, []string{"--data-dir="}},
		"there is no certificate":          {report.ExitUsage, []string{"--ca-key="}},
		"there is no mutant":               {report.ExitUsage, []string{"--mutant=Nobody"}},
		"see --ca-cert":                    {report.ExitUsage, []string{"--ca-cert=/no/one"}},
		"choose another --client-addr":     {report.ExitHarness, []string{"--client-addr", taken.Addr().String()}},
		"choose another --federation-addr": {report.ExitHarness, []string{"--federation-addr", taken.Addr().String()}},
		"unknown flag":                     {report.ExitUsage, []string{"--bogus"}},
	} {
		r := c.run(append(good(), change.args...)...)
		assert.Equal(t, change.code, r.code, says)
		assert.Contains(t, r.oneLine(t), says)
	}
}

// A homeserver that was told to err does so as a process of its own: this one is a server that answers 404 to
// everything.
func TestServe_ErrsOnPurpose(t *testing.T) {
	t.Parallel()
	ca, err := deploy.NewCA()
	require.NoError(t, err)
	files := t.TempDir()
	for name, content := range map[string][]byte{"ca.crt": ca.CertPEM(), "ca.key": ca.KeyPEM()} {
		require.NoError(t, os.WriteFile(filepath.Join(files, name), content, 0o600))
	}
	o, err := loadServeOptions([]string{"SERVER_NAME=hs1", "COUNTERSIGN_CLIENT_ADDR=127.0.0.1:0", "COUNTERSIGN_FEDERATION_ADDR=127.0.0.1:0",
		"COUNTERSIGN_DATA_DIR=" + filepath.Join(files, "data"), "COUNTERSIGN_CA_CERT=" + filepath.Join(files, "ca.crt"),
		"COUNTERSIGN_CA_KEY=" + filepath.Join(files, "ca.key"), "COUNTERSIGN_MUTANT=AnswersNotFound"})
	require.NoError(t, err)
	config, err := o.config(io.Discard)
	require.NoError(t, err)
	server, err := reference.Open(config)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(t.Context()) }()
	err = healthcheck(t.Context(), config.ClientListener.Addr().String())
	require.ErrorContains(t, err, "404")
	require.NoError(t, server.Close())
	require.NoError(t, <-ended)
}

func TestHealthcheck_ExitCodes(t *testing.T) {
	t.Parallel()
	c := &checkout{t: t, root: t.TempDir()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	broken := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	go func() { _ = broken.Serve(listener) }() // it ends with Close
	defer broken.Close()
	for address, want := range map[string]int{listener.Addr().String(): 1, address(t): 1, "nonsense": report.ExitUsage} {
		r := c.run("healthcheck", "--client-addr", address)
		assert.Equal(t, want, r.code, address)
		r.oneLine(t)
	}
}
