//go:build unix

package target

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/deploy"
	"countersign/deploy/internal/fakehs"
	"countersign/deploy/internal/fakehs/fakeimage"
)

func TestMain(m *testing.M) {
	fakehs.RunIfAsked()
	runIfAsked()
	os.Exit(m.Run())
}

// load is the configuration that the variables make, in an environment like ours.
func load(t *testing.T, environ ...string) deploy.Config {
	t.Helper()
	config, err := deploy.LoadConfig(append(os.Environ(), environ...))
	require.NoError(t, err)
	return config
}

func execTarget(t *testing.T, behaviour string) string {
	t.Helper()
	line, err := fakehs.Command(behaviour)
	require.NoError(t, err)
	return "exec:" + line
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}

// tempDir makes a folder where everything temporary goes, and checks at the end that it is empty.
func tempDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() { requireEmpty(t, dir) })
	return dir
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestExecServersFederate(t *testing.T) {
	tempDir(t)
	d, err := Open(t.Context(), load(t, "COUNTERSIGN_TARGET="+execTarget(t, fakehs.Healthy)), "hs1", "hs2")
	require.NoError(t, err)
	require.Equal(t, "1", get(t, d.Server("hs1").ClientURL()+"/ask/"+d.Server("hs2").Name()))
	require.Equal(t, []string{"localhost", "127.0.0.1"}, []string{d.PeerHost(), d.PeerListenAddr()})
	require.NoError(t, d.Close(t.Context()))
	require.NoError(t, d.Close(t.Context()))
}

func TestEmbeddedServersAreTheDefaultAndMixWithCommands(t *testing.T) {
	tempDir(t)
	d, err := Open(t.Context(), load(t, "COUNTERSIGN_TARGET=", "COMPLEMENT_BASE_IMAGE=", "COUNTERSIGN_TARGET_HS2="+execTarget(t, fakehs.Healthy)), "hs1", "hs2")
	require.NoError(t, err)
	for _, s := range d.Servers() {
		require.Contains(t, get(t, s.ClientURL()+"/_matrix/client/versions"), "versions", s.Alias())
	}
	resp, err := (&http.Client{Transport: d.Transport()}).Get("https://" + d.Server("hs1").Name() + "/_matrix/key/v2/server")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.ErrorIs(t, d.Server("hs1").Pause(t.Context()), deploy.ErrUnsupported)
	require.NoError(t, d.Server("hs2").Pause(t.Context()))
	require.NoError(t, d.Close(t.Context()))
}

func TestImagesFederate(t *testing.T) {
	one, two := fakeimage.Make(t, fakehs.Healthy), fakeimage.Make(t, fakehs.Crashes)
	tempDir(t)
	d, err := Open(t.Context(), load(t, "COUNTERSIGN_TARGET=", "COMPLEMENT_BASE_IMAGE="+one, "COMPLEMENT_BASE_IMAGE_HS2="+two), "hs1", "hs2")
	require.NoError(t, err)
	require.Equal(t, "1", get(t, d.Server("hs1").ClientURL()+"/ask/hs2"))
	logs, err := d.Server("hs2").Logs(t.Context())
	require.NoError(t, err)
	require.Contains(t, logs, "fake homeserver hs2: crashes")
	require.NoError(t, d.Close(t.Context()))
}

// BenchmarkOpen is how long two fresh embedded homeservers take until both answer.
func BenchmarkOpen(b *testing.B) {
	b.Setenv("TMPDIR", b.TempDir())
	for b.Loop() {
		d, err := Open(b.Context(), deploy.Config{}, "hs1", "hs2")
		require.NoError(b, err)
		require.NoError(b, d.Close(b.Context()))
	}
}

func TestWhatCannotWorkIsOneLine(t *testing.T) {
	tempDir(t)
	for name, c := range map[string]struct {
		environ []string
		kind    deploy.ErrorKind
		message string
	}{
		"a command that is not there": {[]string{"COUNTERSIGN_TARGET=exec:/no/such/server --x"}, deploy.KindStart, "no such file"},
		"an open quote":               {[]string{"COUNTERSIGN_TARGET=exec:server 'x"}, deploy.KindUsage, "quotes"},
		"a file that is not there":    {[]string{"COUNTERSIGN_TARGET=attach:/no/such/file"}, deploy.KindUsage, "cannot be read"},
		"no engine":                   {[]string{"COUNTERSIGN_TARGET=docker:x"}, deploy.KindStart, "no Docker engine answers"},
		"a command and an image":      {[]string{"COUNTERSIGN_TARGET=exec:true", "COUNTERSIGN_TARGET_HS2=docker:x"}, deploy.KindUsage, "hs1 is exec:true and hs2 is docker:x, which cannot reach one another"},
		"two files":                   {[]string{"COUNTERSIGN_TARGET=attach:a", "COUNTERSIGN_TARGET_HS2=attach:b"}, deploy.KindUsage, "cannot reach one another"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DOCKER_HOST", "unix:///no/such/socket")
			config := load(t, c.environ...)
			err := Preflight(t.Context(), config, "hs1", "hs2")
			require.ErrorContains(t, err, c.message)
			require.Equal(t, c.kind, deploy.KindOf(err))
			require.NotContains(t, err.Error(), "\n")
			_, openErr := Open(t.Context(), config, "hs1", "hs2")
			require.EqualError(t, openErr, err.Error(), "opening says what the preflight says")
		})
	}
	require.NoError(t, Preflight(t.Context(), load(t, "COUNTERSIGN_TARGET=exec:true", "COUNTERSIGN_TARGET_HS2=embedded"), "hs1", "hs2"))
	for _, aliases := range [][]string{nil, {"hs1", "hs1"}, {"HS 1"}, {"../x"}} {
		require.Error(t, Preflight(t.Context(), deploy.Config{}, aliases...))
	}
}

func TestAServerThatDoesNotComeUpTakesTheOtherWithIt(t *testing.T) {
	tempDir(t)
	config := load(t, "COUNTERSIGN_TARGET="+execTarget(t, fakehs.Healthy), "COUNTERSIGN_TARGET_HS2="+execTarget(t, fakehs.Exits))
	_, err := Open(t.Context(), config, "hs1", "hs2")
	require.ErrorContains(t, err, "hs2: the command")
	require.True(t, strings.HasSuffix(err.Error(), "the configuration file is missing"), "%v", err)
	require.Equal(t, deploy.KindStart, deploy.KindOf(err))
}

func TestArtifactsKeepTheLogs(t *testing.T) {
	tempDir(t)
	kept := filepath.Join(t.TempDir(), "made", "when missing")
	d, err := Open(t.Context(), load(t, "COUNTERSIGN_TARGET="+execTarget(t, fakehs.Healthy), "COUNTERSIGN_ARTIFACTS="+kept), "hs1")
	require.NoError(t, err)
	require.NoError(t, d.Close(t.Context()))
	files, err := filepath.Glob(filepath.Join(kept, "hs1-*.log"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	text, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.Contains(t, string(text), "fake homeserver localhost")
}

func TestPostTestScript(t *testing.T) {
	image := fakeimage.Make(t, fakehs.Healthy)
	dir := t.TempDir()
	script, said := filepath.Join(dir, "script"), filepath.Join(dir, "said")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\necho \"$@\" >>"+said+"\n"), 0o700))
	tempDir(t)
	config := load(t, "COUNTERSIGN_TARGET=docker:"+image, "COMPLEMENT_POST_TEST_SCRIPT="+script)

	shared, err := Open(t.Context(), config, "hs1")
	require.NoError(t, err)
	sharedID := shared.Server("hs1").(interface{ ContainerID() string }).ContainerID()
	require.NoError(t, shared.Close(t.Context()))
	own, err := Open(t.Context(), config, "hs1")
	require.NoError(t, err)
	ownID := own.Server("hs1").(interface{ ContainerID() string }).ContainerID()
	require.NoError(t, own.(deploy.TestEnder).TestEnded(t.Context(), "TestX", true))
	require.NoError(t, own.Close(t.Context()))
	text, err := os.ReadFile(said)
	require.NoError(t, err)
	require.Equal(t, sharedID+" COMPLEMENT_ENABLE_DIRTY_RUNS false\n"+ownID+" TestX true\n", string(text))

	config.PostTestScript = "/no/such/script"
	broken, err := Open(t.Context(), config, "hs1")
	require.NoError(t, err)
	require.ErrorContains(t, broken.Close(t.Context()), "COMPLEMENT_POST_TEST_SCRIPT for hs1")
}
