package docker

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/stretchr/testify/require"

	"countersign/deploy"
	"countersign/deploy/internal/fakehs"
	"countersign/deploy/internal/fakehs/fakeimage"
)

func TestMain(m *testing.M) {
	beKilledIfAsked()
	os.Exit(m.Run())
}

// newFleet makes a fleet, and checks when the test ends that it leaves nothing.
func newFleet(t *testing.T, config deploy.Config) *Fleet {
	t.Helper()
	fakeimage.Engine(t)
	f, err := NewFleet(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, f.Close(context.Background()))
		require.Empty(t, leftovers(t, runLabel+"="+f.run))
	})
	return f
}

// leftovers lists the containers and networks with a label.
func leftovers(t *testing.T, label string) (names []string) {
	t.Helper()
	filter := filters.NewArgs(filters.Arg("label", label))
	containers, err := fakeimage.Engine(t).ContainerList(context.Background(), container.ListOptions{All: true, Filters: filter})
	require.NoError(t, err)
	for _, c := range containers {
		names = append(names, c.Names...)
	}
	networks, err := fakeimage.Engine(t).NetworkList(context.Background(), network.ListOptions{Filters: filter})
	require.NoError(t, err)
	for _, n := range networks {
		names = append(names, n.Name)
	}
	return names
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

func TestContainersMeetTheContract(t *testing.T) {
	image := fakeimage.Make(t, fakehs.Healthy)
	mounted := t.TempDir()
	f := newFleet(t, deploy.Config{
		HostMounts:      deploy.HostMounts{{HostPath: mounted, ContainerPath: "/mounted", ReadOnly: true}},
		ShareEnvPrefix:  "PASS_",
		Environ:         []string{"PASS_LOG_LEVEL=debug", "OTHER=x"},
		ContainerMemory: 256 << 20, ContainerCPUCores: 0.5,
	})
	servers, err := deploy.StartServers(t.Context(), []string{"hs1", "hs2"}, func(ctx context.Context, alias string) (deploy.ManagedServer, error) {
		return f.Start(ctx, alias, image)
	})
	require.NoError(t, err)
	d := deploy.NewGroup(deploy.GroupConfig{CA: f.CA(), Servers: servers, PeerHost: f.PeerHost(), PeerListenAddr: f.PeerListenAddr(), AfterClose: f.Close})
	hs1 := d.Server("hs1")
	require.Equal(t, "hs1", hs1.Name())

	env := get(t, hs1.ClientURL()+"/env")
	require.Contains(t, env, "SERVER_NAME=hs1")
	require.Contains(t, env, "LOG_LEVEL=debug")
	require.NotContains(t, env, "OTHER")

	// From here to a container, by server name, with a certificate that the container signed.
	resp, err := (&http.Client{Transport: d.Transport()}).Get("https://hs2/starts")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	// From a container to a container.
	require.Equal(t, "1", get(t, hs1.ClientURL()+"/ask/hs2"))
	// From a container to a listener in this process.
	cert, err := d.CA().Issue(d.PeerHost())
	require.NoError(t, err)
	peer, port := tlsServer(t, d.PeerListenAddr(), cert)
	defer peer.Close()
	require.Equal(t, "the peer", get(t, hs1.ClientURL()+"/ask/"+net.JoinHostPort(d.PeerHost(), port)))

	inspected, err := fakeimage.Engine(t).ContainerInspect(t.Context(), hs1.(*Server).ContainerID())
	require.NoError(t, err)
	require.EqualValues(t, 256<<20, inspected.HostConfig.Memory)
	require.EqualValues(t, 5e8, inspected.HostConfig.NanoCPUs)
	require.Len(t, inspected.Mounts, 1)
	require.False(t, inspected.Mounts[0].RW)
	require.Equal(t, "hs1", inspected.Config.Labels[aliasLabel])

	logs, err := hs1.Logs(t.Context())
	require.NoError(t, err)
	require.Contains(t, logs, "fake homeserver hs1: healthy")
	require.NoError(t, d.Close(t.Context()))
	require.NoError(t, d.Close(t.Context()), "closing twice is closing once")
	require.ErrorContains(t, hs1.Start(t.Context()), "was removed")
}

func TestRestartKeepsData(t *testing.T) {
	image := fakeimage.Make(t, fakehs.Crashes)
	f := newFleet(t, deploy.Config{})
	s, err := f.Start(t.Context(), "hs1", image)
	require.NoError(t, err)
	require.NoError(t, s.Start(t.Context()), "a server that runs is left alone")
	require.NoError(t, s.Restart(t.Context()))
	require.Equal(t, "2", get(t, s.ClientURL()+"/starts"))

	_, err = tryGet(s.ClientURL()+"/crash", 5*time.Second)
	require.Error(t, err)
	require.Eventually(t, func() bool {
		state, err := fakeimage.Engine(t).ContainerInspect(t.Context(), s.id)
		return err == nil && !state.State.Running
	}, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, s.Stop(t.Context()), "stopping a crashed server changes nothing")
	require.NoError(t, s.Start(t.Context()))
	require.Equal(t, "3", get(t, s.ClientURL()+"/starts"))

	require.NoError(t, s.Pause(t.Context()))
	require.NoError(t, s.Pause(t.Context()), "pausing twice is pausing once")
	_, err = tryGet(s.ClientURL()+"/starts", 200*time.Millisecond)
	require.ErrorContains(t, err, "Client.Timeout")
	require.NoError(t, s.Unpause(t.Context()))
	require.Equal(t, "3", get(t, s.ClientURL()+"/starts"))
	require.NoError(t, s.Pause(t.Context()))
	require.NoError(t, s.Stop(t.Context()), "a paused server can be stopped")
	logs, err := s.Logs(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(logs, "fake homeserver ends"), "each stop was a polite one")
}

func TestHealthcheckIsHonoured(t *testing.T) {
	healthy := fakeimage.Make(t, fakehs.Healthy, `HEALTHCHECK --interval=200ms --timeout=5s CMD ["/hs","healthcheck"]`)
	sick := fakeimage.Make(t, fakehs.Chatty, `HEALTHCHECK --interval=200ms --retries=1 CMD ["/hs","exits"]`)
	f := newFleet(t, deploy.Config{SpawnTimeout: 5 * time.Second})
	_, err := f.Start(t.Context(), "hs1", healthy)
	require.NoError(t, err)
	_, err = f.Start(t.Context(), "hs2", sick)
	require.ErrorContains(t, err, "its HEALTHCHECK says unhealthy: the configuration file is missing")
	require.Len(t, leftovers(t, runLabel+"="+f.run), 2, "hs1 and the network stay, hs2 is gone")
}

func TestServersThatDoNotComeUp(t *testing.T) {
	for behaviour, message := range map[string]string{
		fakehs.Exits:    "ended with exit status 3 before it was ready",
		fakehs.NotFound: "answers 404 Not Found",
		fakehs.Hangs:    "is not ready after 2s",
		fakehs.Resets:   "is not ready after 2s",
		fakehs.Endless:  "does not end",
	} {
		t.Run(behaviour, func(t *testing.T) {
			image := fakeimage.Make(t, behaviour)
			f := newFleet(t, deploy.Config{SpawnTimeout: 2 * time.Second})
			begin := time.Now()
			_, err := f.Start(t.Context(), "hs1", image)
			require.ErrorContains(t, err, message)
			require.Less(t, time.Since(begin), 20*time.Second)
			require.Equal(t, deploy.KindStart, deploy.KindOf(err))
			require.Contains(t, err.Error(), "\nthe last lines of its log:\nfake homeserver hs1: "+behaviour)
			require.Len(t, leftovers(t, runLabel+"="+f.run), 1, "only the network is left")
		})
	}
}

func TestMissingImageIsOneLine(t *testing.T) {
	fakeimage.Engine(t)
	err := Check(t.Context(), deploy.Config{}, "countersign-no-such-image")
	require.EqualError(t, err, `the Docker engine has no image "countersign-no-such-image"; build it, or get it with: docker pull countersign-no-such-image`)
	require.Equal(t, deploy.KindStart, deploy.KindOf(err))
	f := newFleet(t, deploy.Config{})
	_, err = f.Start(t.Context(), "hs1", "countersign-no-such-image")
	require.ErrorContains(t, err, "has no image")
	err = Check(t.Context(), deploy.Config{}, "Not A Name")
	require.ErrorContains(t, err, "not the name of an image")
	require.Equal(t, deploy.KindUsage, deploy.KindOf(err))
}

func TestNoEngineIsOneLine(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	for host, message := range map[string]string{
		"unix:///no/such/socket":          "no Docker engine answers at unix:///no/such/socket (connect: no such file or directory)",
		"tcp://127.0.0.1:1":               "no Docker engine answers at tcp://127.0.0.1:1 (connect: connection refused)",
		"tcp://" + silent.Addr().String(): "(it took too long)",
		"nonsense":                        "DOCKER_HOST",
	} {
		t.Setenv("DOCKER_HOST", host)
		err := Check(t.Context(), deploy.Config{TimeoutScale: 0.03}, "x")
		require.ErrorContains(t, err, message)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestRefusedMountIsOneLine(t *testing.T) {
	image := fakeimage.Make(t, fakehs.Healthy)
	f := newFleet(t, deploy.Config{HostMounts: deploy.HostMounts{{HostPath: "/no/such/folder", ContainerPath: "/x"}}})
	_, err := f.Start(t.Context(), "hs1", image)
	require.ErrorContains(t, err, "/no/such/folder")
	require.NotContains(t, err.Error(), "\n")
}

// A run that is killed: this test binary starts a container and says so.
const beKilled = "start-a-container-and-be-killed"

func beKilledIfAsked() {
	if len(os.Args) < 3 || os.Args[1] != beKilled {
		return
	}
	f, err := NewFleet(context.Background(), deploy.Config{})
	if err == nil {
		if _, err = f.Start(context.Background(), "hs1", os.Args[2]); err == nil {
			fmt.Println(f.run)
			select {}
		}
	}
	panic(err)
}

func TestKilledRunIsSweptByTheNext(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the owner's process namespace is known on Linux only")
	}
	image := fakeimage.Make(t, fakehs.Healthy)
	self, err := os.Executable()
	require.NoError(t, err)
	run := exec.Command(self, beKilled, image)
	run.Stderr = os.Stderr
	out, err := run.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, run.Start())
	line := make([]byte, 100)
	n, err := out.Read(line)
	require.NoError(t, err)
	label := runLabel + "=" + strings.TrimSpace(string(line[:n]))

	require.NoError(t, Sweep(t.Context(), deploy.Config{}))
	require.Len(t, leftovers(t, label), 2, "a sweep leaves the containers of living runs alone")
	require.NoError(t, run.Process.Kill())
	_ = run.Wait() // it says "signal: killed"
	require.NoError(t, Sweep(t.Context(), deploy.Config{}))
	require.Empty(t, leftovers(t, label))
}

func TestTailKeepsTheEnd(t *testing.T) {
	end := tail{limit: 10}
	_, err := io.Copy(&end, strings.NewReader(strings.Repeat("x", 1000)+"0123456789"))
	require.NoError(t, err)
	require.Equal(t, "[older output was dropped]\n0123456789", end.String())
	short := tail{limit: 10}
	_, err = short.Write([]byte("0123456789"))
	require.NoError(t, err)
	require.Equal(t, "0123456789", short.String())
}

func TestContainersAreToldOfAMutant(t *testing.T) {
	f := &Fleet{config: deploy.Config{ShareEnvPrefix: "PASS_", Environ: []string{"PASS_LOG_LEVEL=debug"}}}
	require.Equal(t, []string{"SERVER_NAME=hs1", "LOG_LEVEL=debug"}, f.environ("hs1"))
	f.config.Mutant = "ErrInThisWay"
	require.Equal(t, []string{"SERVER_NAME=hs1", "COUNTERSIGN_MUTANT=ErrInThisWay", "LOG_LEVEL=debug"}, f.environ("hs1"))
}
