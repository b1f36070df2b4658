package conform

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"countersign/deploy"
	"countersign/deploy/target"
	"countersign/fakeserver"
	"countersign/helpers/wait"
	"countersign/report/verdict"
)

// Options say what the tests of a package need.
type Options struct {
	// Servers is how many homeservers the package's deployment has: hs1, hs2, ... It is at least 1.
	Servers int
}

// exitStart is the exit code of a package whose homeservers could not be brought up. It is the
// command line's code for the harness and for start-up.
const exitStart = 2

// closeLimit bounds the removal of a deployment, before scaling.
const closeLimit = 30 * time.Second

// stage is what the tests of a package share: one deployment, what was found out about it, and the
// names that were used up in it.
type stage struct {
	deployment deploy.Deployment
	facts      map[string]verdict.Fact
	ports      fakeserver.Ports
	vigil      vigil
}

// shared is the stage of this test binary. Main sets it once, before the first test runs; tests
// only read it.
var shared atomic.Pointer[stage]

// Main is the TestMain of a package of conformance tests:
//
//	func TestMain(m *testing.M) { conform.Main(m, conform.Options{Servers: 1}) }
//
// It starts the homeservers that the environment names, asks each what it is and which room
// versions it offers, prints that for the report, runs the tests, and removes the homeservers
// however the tests end. It does not return. When the homeservers cannot be brought up it prints
// one line that begins with "countersign: error: ", below it what a homeserver last said, each line
// behind "countersign: more: ", and exits with code 2.
//
// Nothing is started when the tests are only listed.
func Main(m *testing.M, options Options) {
	flag.Parse()
	if list := flag.Lookup("test.list"); list != nil && list.Value.String() != "" {
		os.Exit(m.Run())
	}
	relaxCollector()
	if err := raiseParallelism(); err != nil {
		os.Exit(refuse(os.Stdout, err))
	}
	os.Exit(runPackage(context.Background(), options, m.Run, os.Stdout))
}

// runPackage is Main without the process around it. An interrupt is the deployment's to handle: it
// closes itself and then ends the process.
func runPackage(ctx context.Context, options Options, tests func() int, out io.Writer) (code int) {
	config, err := deploy.ConfigFromEnvironment()
	if err != nil {
		return refuse(out, err)
	}
	if _, err := wait.Scale(); err != nil {
		return refuse(out, err)
	}
	if folder := transcripts(config.Artifacts); folder != "" {
		if err := os.RemoveAll(folder); err != nil { // what an earlier run has left
			return refuse(out, fmt.Errorf("while removing old transcripts: %w; check %s", err, ArtifactsVariable))
		}
	}
	deployment, err := target.Open(ctx, config, aliases(max(options.Servers, 1))...)
	if err != nil {
		return refuse(out, err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait.Scaled(closeLimit))
		defer cancel()
		if err := deployment.Close(closing); err != nil {
			code = refuse(out, fmt.Errorf("while removing the homeservers: %w", err))
		}
	}()
	facts, err := probe(ctx, deployment)
	if err != nil {
		return refuse(out, err)
	}
	for _, server := range deployment.Servers() {
		printFact(out, facts[server.Alias()])
	}
	shared.Store(&stage{deployment: deployment, facts: facts})
	code = tests()
	if config.Keep {
		if err := keep(deployment, config.Artifacts, out); err != nil {
			return refuse(out, err)
		}
		<-ctx.Done() // an interrupt ends the process first, once the homeservers are removed
	}
	return code
}

// aliases are the names of the homeservers of a deployment: hs1, hs2, ...
func aliases(count int) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("hs%d", i+1)
	}
	return names
}

// refuse prints why the tests cannot run: one line, and below it a homeserver's last words, if any.
func refuse(out io.Writer, err error) int {
	reason, more, _ := strings.Cut(err.Error(), "\n")
	fmt.Fprintf(out, "\n%s%s\n", verdict.LineError, reason)
	for line := range strings.Lines(more) {
		fmt.Fprintf(out, "%s%s\n", verdict.LineMore, strings.TrimRight(line, "\r\n"))
	}
	return exitStart
}

func printFact(out io.Writer, fact verdict.Fact) {
	line, err := json.Marshal(fact)
	if err != nil {
		// A Fact is strings and a map of strings.
		panic(err)
	}
	fmt.Fprintf(out, "%s%s\n", verdict.LineFact, line)
}

// current returns the stage, and stops a test whose package has no [Main].
func current(t testing.TB) *stage {
	t.Helper()
	s := shared.Load()
	if s == nil {
		HarnessError(t, "no homeserver was started: the package needs `func TestMain(m *testing.M) { conform.Main(m, conform.Options{}) }`")
	}
	return s
}

// Deployment is the deployment that the tests of the package share.
func Deployment(t testing.TB) deploy.Deployment {
	t.Helper()
	return current(t).deployment
}

// FreshDeployment starts a deployment for one test alone, for what would disturb the tests that run
// at the same time, such as a restart, or for what must be so before a homeserver starts, such as the
// application services that are registered with it. It is removed when the test ends. A target that
// cannot do what is asked for skips the test.
func FreshDeployment(t testing.TB, servers int, services ...deploy.AppService) deploy.Deployment {
	t.Helper()
	config, err := deploy.ConfigFromEnvironment()
	if err != nil {
		HarnessError(t, "%v", err)
	}
	config.AppServices = services
	deployment, err := target.Open(t.Context(), config, aliases(servers)...)
	if errors.Is(err, deploy.ErrUnsupported) {
		Skip(t, "%v", err)
	}
	if err != nil {
		HarnessError(t, "starting a deployment for this test: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), wait.Scaled(closeLimit))
		defer cancel()
		if ender, ok := deployment.(deploy.TestEnder); ok {
			if err := ender.TestEnded(ctx, t.Name(), t.Failed()); err != nil {
				t.Logf("at the end of a test with its own deployment: %v", err)
			}
		}
		if err := deployment.Close(ctx); err != nil {
			t.Errorf("%s: removing the deployment of this test: %v", verdict.Error, err)
		}
	})
	return deployment
}

// Server is a homeserver of the shared deployment, by its alias: "hs1", "hs2", ... A test that asks
// for one which the package's [Options] did not ask for is stopped.
func Server(t testing.TB, alias string) deploy.Server {
	t.Helper()
	server := Deployment(t).Server(alias)
	if server == nil {
		HarnessError(t, "there is no homeserver %q: raise Servers in the conform.Options of this package", alias)
	}
	return server
}

// Ports are the ports that the fake servers of this test binary have used. A homeserver remembers
// the keys of a server name, so that no two fake servers may share one.
func Ports(t testing.TB) *fakeserver.Ports {
	t.Helper()
	return &current(t).ports
}

// OffersRoomVersion reports whether a homeserver lists the room version among its capabilities.
func OffersRoomVersion(t testing.TB, server deploy.Server, version string) bool {
	t.Helper()
	_, offered := current(t).facts[server.Alias()].RoomVersions[version]
	return offered
}

// NeedRoomVersion skips the test unless the homeserver lists the room version among its
// capabilities.
func NeedRoomVersion(t testing.TB, server deploy.Server, version string) {
	t.Helper()
	if !OffersRoomVersion(t, server, version) {
		Skip(t, "%s does not offer room version %s", server.Alias(), version)
	}
}

// CanDo passes on an error of a deployment's operation: it skips the test when the target cannot
// perform it, and stops the test on every other error. Doing completes "while ...".
func CanDo(t testing.TB, doing string, err error) {
	t.Helper()
	if errors.Is(err, deploy.ErrUnsupported) {
		Skip(t, "%s: %v", doing, err)
	}
	if err != nil {
		HarnessError(t, "while %s: %v", doing, err)
	}
}
