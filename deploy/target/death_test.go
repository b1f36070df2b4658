//go:build unix

package target

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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

// A run that dies: this test binary opens two deployments, prints the URLs of their servers, and
// waits to be killed, or panics.
const deployAnd = "deploy-and"

func runIfAsked() {
	if len(os.Args) < 3 || os.Args[1] != deployAnd {
		return
	}
	config, err := deploy.ConfigFromEnvironment()
	if err != nil {
		panic(err)
	}
	for range 2 {
		d, err := Open(context.Background(), config, "hs1")
		if err != nil {
			panic(err)
		}
		fmt.Println(d.Server("hs1").ClientURL())
	}
	if os.Args[2] == "panic" {
		go panic("as a test does")
	}
	select {}
}

func TestNothingOutlivesARun(t *testing.T) {
	for _, target := range []string{"exec", "docker"} {
		for name, end := range map[string]struct {
			argument string
			signal   syscall.Signal
		}{
			"Ctrl-C":  {"wait", syscall.SIGINT},
			"SIGTERM": {"wait", syscall.SIGTERM},
			"kill -9": {"wait", syscall.SIGKILL},
			"a panic": {"panic", 0},
		} {
			t.Run(target+" "+name, func(t *testing.T) {
				value := execTarget(t, fakehs.Healthy)
				if target == "docker" {
					value = "docker:" + fakeimage.Make(t, fakehs.Healthy)
				}
				run, dir, urls := startRun(t, end.argument, value)
				if end.signal != 0 {
					require.NoError(t, run.Process.Signal(end.signal))
				}
				err := run.Wait()
				require.Error(t, err)
				if end.signal != 0 {
					status := run.ProcessState.Sys().(syscall.WaitStatus)
					require.Equal(t, end.signal, status.Signal(), "the signal has its way in the end")
				}
				gone := func() bool { return len(left(t, dir, run.Process.Pid, urls)) == 0 }
				if end.signal == syscall.SIGINT || end.signal == syscall.SIGTERM {
					require.True(t, gone(), "it is all gone before the process is")
				}
				require.Eventually(t, gone, 20*time.Second, 20*time.Millisecond)
			})
		}
	}
}

// startRun starts a run and waits until its deployments are up.
func startRun(t *testing.T, argument, target string) (run *exec.Cmd, dir string, urls []string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	dir = t.TempDir()
	run = exec.Command(self, deployAnd, argument)
	run.Env = append(os.Environ(), "TMPDIR="+dir, "COUNTERSIGN_TARGET="+target)
	out, err := run.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, run.Start())
	lines := bufio.NewScanner(out)
	for len(urls) < 2 && lines.Scan() {
		urls = append(urls, lines.Text())
	}
	require.Len(t, urls, 2, "the run did not get its servers up")
	return run, dir, urls
}

// left lists what a run has left: folders, servers that answer, containers, networks.
func left(t *testing.T, dir string, pid int, urls []string) (what []string) {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	what = append(what, folders...)
	for _, url := range urls {
		if resp, err := (&http.Client{Timeout: time.Second}).Get(url); err == nil {
			require.NoError(t, resp.Body.Close())
			what = append(what, url)
		}
	}
	if !strings.Contains(t.Name(), "docker") {
		return what
	}
	label := filters.NewArgs(filters.Arg("label", "countersign.owner"))
	containers, err := fakeimage.Engine(t).ContainerList(t.Context(), container.ListOptions{All: true, Filters: label})
	require.NoError(t, err)
	ours := fmt.Sprintf(`"pid":%d,`, pid)
	for _, c := range containers {
		if strings.Contains(c.Labels["countersign.owner"], ours) {
			what = append(what, c.Names...)
		}
	}
	networks, err := fakeimage.Engine(t).NetworkList(t.Context(), network.ListOptions{Filters: label})
	require.NoError(t, err)
	for _, n := range networks {
		if strings.Contains(n.Labels["countersign.owner"], ours) {
			what = append(what, n.Name)
		}
	}
	return what
}

func TestARunInTheBackgroundCanBeInterrupted(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	// A shell starts its background jobs with SIGINT ignored.
	run := exec.Command("sh", "-c", `trap "" INT; exec "$0" "$@"`, self, deployAnd, "wait")
	run.Env = append(os.Environ(), "TMPDIR="+dir, "COUNTERSIGN_TARGET="+execTarget(t, fakehs.Healthy))
	out, err := run.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, run.Start())
	lines := bufio.NewScanner(out)
	for range 2 {
		require.True(t, lines.Scan(), "the run did not get its servers up")
	}
	require.NoError(t, run.Process.Signal(syscall.SIGINT))
	require.Error(t, run.Wait())
	require.Equal(t, syscall.SIGTERM, run.ProcessState.Sys().(syscall.WaitStatus).Signal())
	requireEmpty(t, dir)
}

func TestAnInterruptEndsAnOpening(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	run := exec.Command(self, deployAnd, "wait")
	run.Env = append(os.Environ(), "TMPDIR="+dir, "COUNTERSIGN_TARGET="+execTarget(t, fakehs.Hangs))
	require.NoError(t, run.Start())
	require.Eventually(t, func() bool {
		logs, err := filepath.Glob(filepath.Join(dir, "*", "server.log"))
		return err == nil && len(logs) == 1
	}, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, run.Process.Signal(syscall.SIGTERM))
	require.Error(t, run.Wait())
	requireEmpty(t, dir)
}
