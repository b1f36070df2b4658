// Package blueprints holds the situations in which conformance tests begin: who is on which server,
// in which room. A situation is a function that takes the test and returns a value with everyone in
// it; every user, room and fake server belongs to that test alone, so that tests share homeservers
// and nothing else.
//
// What fails while a situation is brought about makes the test INCONCLUSIVE, not failed: a server
// that cannot be brought into a situation has not been shown to do wrong in it.
package blueprints

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"countersign/deploy"
	"countersign/helpers/conform"
	"countersign/helpers/csapi"
	"countersign/matrix"
)

// Scene is the stage of one test: a deployment, and the clients and fake servers that are the test's
// own. When the test ends, the fake servers are closed, what was on the wire is handed to the report,
// and the sweepers look at everything that the homeservers sent.
type Scene struct {
	deployment deploy.Deployment
	// shared: the deployment is the package's, in which a server that hangs is everybody's concern.
	shared  bool
	clients csapi.Transcript
	devices []*csapi.Client
	peers   []*Peer
	sweeper sweeper
	inParts bool // subtests keep the transcript
}

// NewScene returns an empty stage for the test, on the deployment that the package shares.
func NewScene(t testing.TB) *Scene {
	t.Helper()
	conform.NeedAnswers(t)
	s := NewSceneOn(t, conform.Deployment(t))
	s.shared = true
	return s
}

// NewSceneOn is [NewScene] on a deployment of the test's own.
func NewSceneOn(t testing.TB, deployment deploy.Deployment) *Scene {
	t.Helper()
	s := &Scene{deployment: deployment}
	t.Cleanup(func() {
		s.sweep(t)
		if !s.inParts || t.Failed() {
			s.record(t, time.Time{})
		}
	})
	return s
}

// NewSceneAlone is [NewScene] on a homeserver of the test's own, hs1, which the test may restart. It skips the test
// when the homeservers under test do not offer a room version.
func NewSceneAlone(t testing.TB, v matrix.RoomVersion) *Scene {
	t.Helper()
	conform.NeedRoomVersion(t, conform.Server(t, "hs1"), v.ID)
	return NewSceneOn(t, conform.FreshDeployment(t, 1))
}

// Server is a homeserver of the deployment by its alias, hs1 or another.
func (s *Scene) Server(t testing.TB, alias string) deploy.Server {
	t.Helper()
	server := s.deployment.Server(alias)
	if server == nil {
		conform.HarnessError(t, "there is no homeserver %q in this deployment", alias)
	}
	return server
}

// User registers a new user on the homeserver with an alias, hs1 or another. The name begins the
// account name, to be recognised in transcripts.
func (s *Scene) User(t testing.TB, alias, name string, options ...csapi.Option) *csapi.Client {
	t.Helper()
	t = conform.Setup(t)
	client := s.client(t, s.Server(t, alias), options)
	client.MustRegister(t, Unique(name), rand.Text())
	return client
}

// Device logs in another device of a user.
func (s *Scene) Device(t testing.TB, user *csapi.Client, options ...csapi.Option) *csapi.Client {
	t.Helper()
	t = conform.Setup(t)
	client := s.client(t, user.Server(), options)
	client.MustLogin(t, user.UserID, user.Password)
	return client
}

// client makes a client whose exchanges are recorded and looked at.
func (s *Scene) client(t testing.TB, server csapi.Server, options []csapi.Option) *csapi.Client {
	t.Helper()
	own := []csapi.Option{csapi.RecordIn(&s.clients), s.sweeper.watch()}
	if s.shared {
		own = append(own, conform.WatchClient(t))
	}
	client := csapi.New(t, server, append(own, options...)...)
	s.devices = append(s.devices, client)
	return client
}

// Restart stops a homeserver of the deployment, which must be the test's own, and starts it again with
// the data that it had. It skips the test when the target cannot do that. Clients and fake servers
// open new connections afterwards: one that the homeserver has closed would fail a request that is not
// safe to repeat.
func (s *Scene) Restart(t testing.TB, server deploy.Server) {
	t.Helper()
	conform.CanDo(t, "restarting "+server.Alias(), s.TryRestart(t.Context(), server))
}

// TryRestart is [Scene.Restart] for a test that goes on without: the error says why the homeserver does
// not run, and wraps [deploy.ErrUnsupported] when the target cannot start one again.
func (s *Scene) TryRestart(ctx context.Context, server deploy.Server) error {
	if err := server.Restart(ctx); err != nil {
		return err
	}
	for _, client := range s.devices {
		client.Close()
	}
	if pool, ok := s.deployment.Transport().(interface{ CloseIdleConnections() }); ok {
		pool.CloseIdleConnections()
	}
	return nil
}

// Peer starts a fake server.
func (s *Scene) Peer(t testing.TB) *Peer {
	t.Helper()
	return s.PeerAt(t, s.PeerHost())
}

// Unique returns an account name that begins with the given one and that no other test has.
func Unique(name string) string {
	return name + "-" + strings.ToLower(rand.Text()[:12])
}

// Name is the server name of a homeserver, in the type of the wire.
func Name(server deploy.Server) matrix.ServerName { return matrix.ServerName(server.Name()) }
