//go:build unix

package process

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/deploy"
	"countersign/deploy/internal/fakehs"
)

func TestMain(m *testing.M) {
	fakehs.RunIfAsked()
	beKilledIfAsked()
	os.Exit(m.Run())
}

func options(t *testing.T, behaviour string) Options {
	t.Helper()
	line, err := fakehs.Command(behaviour)
	require.NoError(t, err)
	command, err := Find(line)
	require.NoError(t, err)
	ca, err := deploy.NewCA()
	require.NoError(t, err)
	return Options{Alias: "hs1", Command: command, CA: ca, TempDir: t.TempDir()}
}

func start(t *testing.T, behaviour string) *Server {
	t.Helper()
	s, err := Start(t.Context(), options(t, behaviour))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close(context.Background())) })
	return s
}

func get(t *testing.T, url string) string {
	t.Helper()
	body, err := tryGet(url, 10*time.Second)
	require.NoError(t, err)
	return body
}

func tryGet(url string, timeout time.Duration) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: timeout}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestServerMeetsTheContract(t *testing.T) {
	t.Setenv("COUNTERSIGN_TARGET", "the suite's own")
	t.Setenv("COMPLEMENT_DEBUG", "the suite's own")
	t.Setenv("SOMETHING_ELSE", "inherited")
	s := start(t, fakehs.Healthy)
	env := get(t, s.ClientURL()+"/env")
	require.Contains(t, env, "COUNTERSIGN_SERVER_NAME="+s.Name()+"\n")
	require.Contains(t, env, "COUNTERSIGN_REGISTRATION_SHARED_SECRET=complement")
	require.Contains(t, env, "SOMETHING_ELSE=inherited")
	require.NotContains(t, env, "the suite's own")
	_, namePort, err := net.SplitHostPort(s.Name())
	require.NoError(t, err)
	require.Equal(t, s.FederationAddr(), "127.0.0.1:"+namePort, "the name's port is that of federation")

	d := deploy.NewGroup(deploy.GroupConfig{CA: s.options.CA, Servers: []deploy.ManagedServer{s}, PeerHost: "localhost", PeerListenAddr: "127.0.0.1"})
	resp, err := (&http.Client{Transport: d.Transport()}).Get("https://" + s.Name() + "/starts")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, s, d.Server("hs1"))
	require.Nil(t, d.Server("hs2"))
}

func TestServersAreToldOfAMutant(t *testing.T) {
	t.Setenv("COUNTERSIGN_MUTANT", "Inherited")
	require.NotContains(t, get(t, start(t, fakehs.Healthy).ClientURL()+"/env"), "COUNTERSIGN_MUTANT")
	o := options(t, fakehs.Healthy)
	o.Config.Mutant = "ErrInThisWay"
	s, err := Start(t.Context(), o)
	require.NoError(t, err)
	require.Contains(t, get(t, s.ClientURL()+"/env"), "COUNTERSIGN_MUTANT=ErrInThisWay\n")
	require.NoError(t, s.Close(t.Context()))
}

func TestRestartKeepsDataAndPorts(t *testing.T) {
	s := start(t, fakehs.Healthy)
	url, federation := s.ClientURL(), s.FederationAddr()
	require.Equal(t, "1", get(t, url+"/starts"))
	require.NoError(t, s.Restart(t.Context()))
	require.Equal(t, "2", get(t, url+"/starts"))

	require.NoError(t, s.Stop(t.Context()))
	_, err := tryGet(url+"/starts", time.Second)
	require.Error(t, err)
	require.NoError(t, s.Stop(t.Context()), "stopping twice is stopping once")
	require.NoError(t, s.Start(t.Context()))
	require.NoError(t, s.Start(t.Context()), "a server that runs is left alone")
	require.Equal(t, "3", get(t, url+"/starts"))
	require.Equal(t, []string{url, federation}, []string{s.ClientURL(), s.FederationAddr()})

	logs, err := s.Logs(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(logs, "fake homeserver "+s.Name()), "the log goes on over restarts")
	require.Equal(t, 2, strings.Count(logs, "fake homeserver ends"), "each stop was a polite one")
}

func TestPauseHoldsConnectionsAndAnswersNothing(t *testing.T) {
	s := start(t, fakehs.Healthy)
	require.NoError(t, s.Pause(t.Context()))
	_, err := tryGet(s.ClientURL()+"/starts", 200*time.Millisecond)
	require.ErrorContains(t, err, "Client.Timeout")
	require.NoError(t, s.Unpause(t.Context()))
	require.Equal(t, "1", get(t, s.ClientURL()+"/starts"))

	require.NoError(t, s.Pause(t.Context()))
	require.NoError(t, s.Stop(t.Context()), "a paused server can be stopped")
	logs, err := s.Logs(t.Context())
	require.NoError(t, err)
	require.Contains(t, logs, "fake homeserver ends")
	require.ErrorContains(t, s.Pause(t.Context()), "not running")
}

func TestACrashedServerStartsAgain(t *testing.T) {
	s := start(t, fakehs.Crashes)
	_, err := tryGet(s.ClientURL()+"/crash", time.Second)
	require.Error(t, err)
	<-s.child.ended
	require.NoError(t, s.Start(t.Context()))
	require.Equal(t, "2", get(t, s.ClientURL()+"/starts"))
}

func TestStubbornServerIsKilled(t *testing.T) {
	o := options(t, fakehs.Stubborn)
	o.Config.TimeoutScale = 0.02
	o.Config.SpawnTimeout = 1000 * time.Second
	s, err := Start(t.Context(), o)
	require.NoError(t, err)
	require.NoError(t, s.Close(t.Context()))
	require.False(t, s.child.running())
}

func TestCloseEndsGrandchildren(t *testing.T) {
	s := start(t, fakehs.Parent)
	pid, err := strconv.Atoi(get(t, s.ClientURL()+"/child"))
	require.NoError(t, err)
	require.True(t, runs(pid))
	require.NoError(t, s.Close(t.Context()))
	require.Eventually(t, func() bool { return !runs(pid) }, 5*time.Second, 5*time.Millisecond)
	require.NoError(t, s.Close(t.Context()), "closing twice is closing once")
	require.ErrorContains(t, s.Start(t.Context()), "was removed")
}

// runs reports whether a process exists and is not merely waiting to be reaped.
func runs(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return runtime.GOOS != "linux" && syscall.Kill(pid, 0) == nil
	}
	return !strings.Contains(string(stat), ") Z ")
}

func TestServersThatDoNotComeUp(t *testing.T) {
	for behaviour, message := range map[string]string{
		fakehs.Exits:    "ended with exit status 3 before it answered",
		fakehs.NotFound: "answers 404 Not Found",
		fakehs.Hangs:    "is not ready after",
		fakehs.Resets:   "is not ready after",
		fakehs.Endless:  "does not end",
	} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			o := options(t, behaviour)
			o.Config.SpawnTimeout = 2 * time.Second
			begin := time.Now()
			_, err := Start(t.Context(), o)
			require.ErrorContains(t, err, message)
			require.Less(t, time.Since(begin), 15*time.Second)
			require.Equal(t, deploy.KindStart, deploy.KindOf(err))
			require.Contains(t, err.Error(), "the last lines of its log:\n")
			if behaviour == fakehs.Exits {
				require.True(t, strings.HasSuffix(err.Error(), "the configuration file is missing"), err.Error())
			}
			requireEmpty(t, o.TempDir)
		})
	}
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestStartEndsWithItsContext(t *testing.T) {
	o := options(t, fakehs.Hangs)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := Start(ctx, o)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	requireEmpty(t, o.TempDir)
}

func TestCloseInterruptsAStart(t *testing.T) {
	s := start(t, fakehs.Healthy)
	require.NoError(t, s.Stop(t.Context()))
	line, err := fakehs.Command(fakehs.Hangs)
	require.NoError(t, err)
	s.options.Command, err = Find(line)
	require.NoError(t, err)
	result := make(chan error)
	go func() { result <- s.Start(t.Context()) }()
	require.Eventually(t, func() bool {
		_, err := net.DialTimeout("tcp", s.env.ClientAddr, time.Second)
		return err == nil
	}, 5*time.Second, 5*time.Millisecond)
	require.NoError(t, s.Close(t.Context()))
	require.ErrorContains(t, <-result, "removed meanwhile")
}

func TestBusyPortIsOneClearLine(t *testing.T) {
	s := start(t, fakehs.Healthy)
	require.NoError(t, s.Stop(t.Context()))
	l, err := net.Listen("tcp", s.env.ClientAddr)
	require.NoError(t, err)
	defer l.Close()
	err = s.Start(t.Context())
	require.ErrorContains(t, err, "hs1: cannot listen at "+s.env.ClientAddr)
	require.ErrorContains(t, err, "address already in use")
	require.NotContains(t, err.Error(), "\n")
}

func TestFind(t *testing.T) {
	for line, want := range map[string]struct {
		kind    deploy.ErrorKind
		message string
	}{
		"no-such-command-anywhere --x": {deploy.KindStart, "executable file not found"},
		"./no/such/file":               {deploy.KindStart, "no such file or directory"},
		"./server_test.go":             {deploy.KindStart, "permission denied"},
		"'open":                        {deploy.KindUsage, "quotes"},
		"":                             {deploy.KindUsage, "names no command"},
	} {
		_, err := Find(line)
		require.ErrorContains(t, err, want.message, line)
		require.Equal(t, want.kind, deploy.KindOf(err), line)
		require.NotContains(t, err.Error(), "\n")
	}
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "tests", "deep"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module x"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "server"), nil, 0o700))
	t.Chdir(filepath.Join(dir, "tests", "deep"))
	command, err := Find("./server a 'b c'")
	require.NoError(t, err, "a path that was written at the root of the module")
	require.Equal(t, []string{"a", "b c"}, command.Args)
	require.Equal(t, "server", filepath.Base(command.Path))
}

func TestLogIsBounded(t *testing.T) {
	s := start(t, fakehs.Chatty)
	for range 12 {
		get(t, s.ClientURL()+"/chat")
	}
	var logs string
	require.Eventually(t, func() bool {
		var err error
		logs, err = s.Logs(t.Context())
		return err == nil && strings.HasPrefix(logs, "[older output was dropped]") && strings.HasSuffix(logs, "16383\n")
	}, 5*time.Second, 10*time.Millisecond)
	require.LessOrEqual(t, len(logs), 9<<20)
	require.Greater(t, len(logs), 3<<20)
}

// A run that is killed: this test binary starts a server and prints what it needs to be found.
const beKilled = "start-a-server-and-be-killed"

func beKilledIfAsked() {
	if len(os.Args) < 4 || os.Args[1] != beKilled {
		return
	}
	command, err := Find(os.Args[3])
	if err == nil {
		var ca *deploy.CA
		if ca, err = deploy.NewCA(); err == nil {
			var s *Server
			if s, err = Start(context.Background(), Options{Alias: "hs1", Command: command, CA: ca, TempDir: os.Args[2]}); err == nil {
				_, _ = io.WriteString(os.Stdout, strconv.Itoa(s.child.process.Pid)+" "+s.ClientURL()+"\n")
				select {}
			}
		}
	}
	panic(err)
}

func TestKilledRunLeavesNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a process's environment")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	line, err := fakehs.Command(fakehs.Parent)
	require.NoError(t, err)
	tempDir := t.TempDir()
	run := exec.Command(self, beKilled, tempDir, line)
	out, err := run.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, run.Start())
	line1 := make([]byte, 200)
	n, err := out.Read(line1)
	require.NoError(t, err)
	fields := strings.Fields(string(line1[:n]))
	require.Len(t, fields, 2)
	server, err := strconv.Atoi(fields[0])
	require.NoError(t, err)
	grandchild, err := strconv.Atoi(get(t, fields[1]+"/child"))
	require.NoError(t, err)

	require.NoError(t, Sweep(tempDir))
	require.True(t, runs(server), "a sweep leaves the servers of living runs alone")

	require.NoError(t, run.Process.Kill())
	_ = run.Wait() // it says "signal: killed"
	require.Eventually(t, func() bool { return !runs(server) }, 5*time.Second, 5*time.Millisecond, "the kernel kills the server with its owner")
	// The server's own child lives on, unless the sweep of another run on this machine is first.
	bystander := exec.Command("sleep", "60")
	bystander.Env = append(os.Environ(), "COUNTERSIGN_DATA_DIR=/somewhere/else")
	require.NoError(t, bystander.Start())
	defer func() { _ = bystander.Process.Kill(); _ = bystander.Wait() }()

	require.NoError(t, Sweep(tempDir))
	require.Eventually(t, func() bool { return !runs(grandchild) }, 5*time.Second, 5*time.Millisecond, "the next run's sweep kills it")
	require.True(t, runs(bystander.Process.Pid))
	requireEmpty(t, tempDir)
}
