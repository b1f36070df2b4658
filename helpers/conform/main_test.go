package conform

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/deploy"
	"countersign/report/verdict"
)

// stubVariable makes this test binary a homeserver that can do just enough to be probed, for the
// target exec. Its value is the path that the homeserver refuses, or "none".
const stubVariable = "CONFORM_STUB_REFUSES"

func TestMain(m *testing.M) {
	if refused := os.Getenv(stubVariable); refused != "" {
		stub(refused)
		return
	}
	os.Exit(m.Run())
}

func stub(refused string) {
	env, err := deploy.LoadServerEnv(os.Environ())
	if err != nil {
		panic(err)
	}
	answers := map[string]string{
		"/_matrix/client/versions":        `{"versions":["v1.16"]}`,
		"/_matrix/client/v3/register":     `{"user_id":"@probe:` + env.ServerName + `","access_token":"t","device_id":"D"}`,
		"/_matrix/client/v3/capabilities": `{"capabilities":{"m.room_versions":{"default":"12","available":{"12":"stable","org.example.1.2":"unstable"}}}}`,
		"/_matrix/federation/v1/version":  `{"server":{"name":"Stub","version":"0.1"}}`,
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path]
		if !ok || r.URL.Path == refused {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"errcode":"M_UNRECOGNIZED","error":"no such endpoint"}`
		}
		_, _ = w.Write([]byte(answer))
	})
	listener, err := net.Listen("tcp", env.ClientAddr)
	if err != nil {
		panic(err)
	}
	go func() {
		panic(http.ListenAndServeTLS(env.FederationAddr, env.TLSCert, env.TLSKey, handler))
	}()
	panic(http.Serve(listener, handler))
}

// runStub runs a package against stubs of this binary.
func runStub(t *testing.T, refused string, tests func() int) (code int, out string) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	t.Setenv(stubVariable, refused)
	t.Setenv("COUNTERSIGN_TARGET", "exec:'"+program+"'")
	return runIt(t, tests)
}

func runIt(t *testing.T, tests func() int) (code int, out string) {
	t.Helper()
	t.Cleanup(func() { shared.Store(nil) })
	var output bytes.Buffer
	code = runPackage(t.Context(), Options{Servers: 2}, tests, &output)
	t.Log(output.String())
	return code, output.String()
}

func TestRunPackage_ProbesThenRunsThenCloses(t *testing.T) {
	var url string
	code, out := runStub(t, "none", func() int {
		require.Equal(t, "hs2", Server(t, "hs2").Alias())
		require.True(t, OffersRoomVersion(t, Server(t, "hs1"), "org.example.1.2"))
		skipped := play(t, func(tb testing.TB) { NeedRoomVersion(tb, Server(t, "hs1"), "org.matrix.12.4243") })
		require.True(t, skipped.skipped)
		require.Equal(t, []string{"hs1 does not offer room version org.matrix.12.4243"}, skipped.output)
		url = Server(t, "hs1").ClientURL()
		return 7
	})
	require.Equal(t, 7, code)
	_, err := http.Get(url + "/_matrix/client/versions")
	require.Error(t, err, "the homeserver is gone")

	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 2)
	var fact verdict.Fact
	require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(lines[0], verdict.LineFact)), &fact))
	require.Equal(t, "hs1", fact.Server)
	require.Equal(t, "Stub", fact.Name)
	require.Equal(t, "0.1", fact.Version)
	program, err := os.Executable()
	require.NoError(t, err)
	require.Equal(t, "exec:'"+program+"'", fact.Target)
	require.Equal(t, deploy.FileDigest(program), fact.Digest)
	require.Regexp(t, "^sha256:[0-9a-f]{64}$", fact.Digest)
	require.Equal(t, map[string]string{"12": "stable", "org.example.1.2": "unstable"}, fact.RoomVersions)
}

func TestRunPackage_RemovesOldTranscripts(t *testing.T) {
	artifacts := t.TempDir()
	t.Setenv(ArtifactsVariable, artifacts)
	old := filepath.Join(transcripts(artifacts), "TestOfYesterday.txt")
	require.NoError(t, os.MkdirAll(filepath.Dir(old), 0o755))
	require.NoError(t, os.WriteFile(old, []byte("GET /"), 0o644))
	code, _ := runStub(t, "none", func() int { return 0 })
	require.Zero(t, code)
	require.NoFileExists(t, old)
}

func TestRunPackage_RefusesWhatCannotBeTested(t *testing.T) {
	notRun := func() int { t.Error("the tests ran"); return 0 }
	for _, c := range []struct {
		refused string
		says    []string
	}{
		{"/_matrix/client/v3/register", []string{"cannot be tested", "status 404 from POST /_matrix/client/v3/register"}},
		{"/_matrix/client/v3/capabilities", []string{"cannot be tested", "what it is capable of"}},
	} {
		t.Run(c.refused, func(t *testing.T) {
			code, out := runStub(t, c.refused, notRun)
			requireRefused(t, code, out, c.says...)
		})
	}
}

func TestRunPackage_RefusesABadConfiguration(t *testing.T) {
	notRun := func() int { t.Error("the tests ran"); return 0 }
	for variable, value := range map[string]string{
		"COUNTERSIGN_TARGET":        "nonsense",
		"COUNTERSIGN_TIMEOUT_SCALE": "fast",
	} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, value)
			code, out := runIt(t, notRun)
			requireRefused(t, code, out, variable, value)
		})
	}
}

// What a homeserver said before it ended stands below the reason, for the report.
func TestRunPackage_TellsAServersLastWords(t *testing.T) {
	t.Setenv("COUNTERSIGN_TARGET", `exec:sh -c 'echo reading; printf "no database\r\n" >&2; exit 3'`)
	code, out := runIt(t, func() int { t.Error("the tests ran"); return 0 })
	require.Equal(t, exitStart, code)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.True(t, strings.HasPrefix(lines[0], verdict.LineError), lines[0])
	require.Contains(t, lines[0], "exit status 3")
	require.Equal(t, []string{
		verdict.LineMore + "the last lines of its log:", verdict.LineMore + "reading", verdict.LineMore + "no database",
	}, lines[1:])
}

func requireRefused(t *testing.T, code int, out string, says ...string) {
	t.Helper()
	require.Equal(t, exitStart, code)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.True(t, strings.HasPrefix(lines[0], verdict.LineError), lines[0])
	for _, more := range lines[1:] {
		require.True(t, strings.HasPrefix(more, verdict.LineMore), more)
	}
	for _, text := range says {
		require.Contains(t, lines[0], text)
	}
}

func TestServer_WithoutMainIsAHarnessError(t *testing.T) {
	r := play(t, func(tb testing.TB) { Server(tb, "hs1") })
	require.True(t, r.failed)
	require.Contains(t, r.output[0], "TestMain")
}

func TestSetup_FailuresAreInconclusive(t *testing.T) {
	for name, fail := range map[string]func(testing.TB){
		"Fatal":   func(tb testing.TB) { tb.Fatal("no", "room") },
		"Fatalf":  func(tb testing.TB) { tb.Fatalf("no %s", "room") },
		"Error":   func(tb testing.TB) { tb.Error("no", "room") },
		"Errorf":  func(tb testing.TB) { tb.Errorf("no %s", "room") },
		"FailNow": func(tb testing.TB) { tb.FailNow() },
		"Fail":    func(tb testing.TB) { tb.Fail() },
	} {
		t.Run(name, func(t *testing.T) {
			r := play(t, func(tb testing.TB) {
				fail(Setup(Setup(tb)))
				tb.Log("unreachable")
			})
			require.True(t, r.failed)
			require.Len(t, r.output, 1)
			findings := r.findings(t)
			require.Len(t, findings, 1)
			require.Equal(t, verdict.Inconclusive, findings[0].Verdict)
		})
	}
}
