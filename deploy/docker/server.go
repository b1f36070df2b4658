package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-connections/nat"

	"countersign/deploy"
)

const (
	// logLines is how much of a server's log an error message carries.
	logLines = 20
	// maxLog is how much of a server's log is read, counted from its end.
	maxLog = 8 << 20
)

// Server is a homeserver that runs in a container. Its methods may be called from several
// goroutines; those that change its state take turns.
type Server struct {
	fleet *Fleet
	alias string
	image string
	// imageID is what the name of the image stood for when the container was made.
	imageID string
	id      string

	// life ends with Close, and with it any Start that is under way.
	life context.Context
	end  context.CancelFunc

	changing sync.Mutex // held while the container's state changes
	closed   bool
	paused   bool

	mu             sync.RWMutex // guards the addresses, which change when the container starts
	clientAddr     string
	federationAddr string
}

// Start starts a homeserver from an image and waits until it is healthy and answers. The alias is
// its server name and its name on the network. Errors are of type *deploy.Error; the container is
// gone then.
func (f *Fleet) Start(ctx context.Context, alias, image string) (*Server, error) {
	imageID, err := lookUpImage(ctx, &f.config, f.engine, image)
	if err != nil {
		return nil, err
	}
	// The engine would go on making a container that nobody waits for, and nobody would remove it.
	createCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.config.Scaled(engineTimeout))
	defer cancel()
	id, err := f.create(createCtx, alias, image)
	if err != nil {
		return nil, err
	}
	s := &Server{fleet: f, alias: alias, image: image, imageID: imageID, id: id}
	s.life, s.end = context.WithCancel(context.Background())
	f.config.Debugf("%s: container %s of %s", alias, id[:12], image)
	if err := s.Start(ctx); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.config.Scaled(engineTimeout))
		defer cancel()
		if closeErr := s.Close(ctx); closeErr != nil {
			return nil, errors.Join(err, closeErr)
		}
		return nil, err
	}
	return s, nil
}

// ContainerID is the container's ID.
func (s *Server) ContainerID() string { return s.id }

// Alias implements deploy.Server.
func (s *Server) Alias() string { return s.alias }

// Name implements deploy.Server: servers in containers are named by their aliases.
func (s *Server) Name() string { return s.alias }

// Origin implements deploy.Server, with the ID of the image.
func (s *Server) Origin() deploy.Origin {
	return deploy.Origin{Target: "docker:" + s.image, Digest: s.imageID}
}

// ClientURL implements deploy.Server.
func (s *Server) ClientURL() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.clientAddr == "" {
		return ""
	}
	return "http://" + s.clientAddr
}

// FederationAddr implements deploy.Server.
func (s *Server) FederationAddr() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.federationAddr
}

// Start implements deploy.Server. A server that runs is left alone.
func (s *Server) Start(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.closed {
		return fmt.Errorf("%s was removed and cannot be started again", s.alias)
	}
	f := s.fleet
	engineCtx, cancel := context.WithTimeout(ctx, f.config.Scaled(engineTimeout))
	defer cancel()
	state, err := f.engine.ContainerInspect(engineCtx, s.id)
	if err != nil {
		return failed("looking up the container of "+s.alias, err)
	}
	if state.State.Running {
		return nil
	}
	if err := f.engine.ContainerStart(engineCtx, s.id, container.StartOptions{}); err != nil {
		return deploy.Startf("%s: the Docker engine cannot start a container of %s: %w", s.alias, s.image, plain(err))
	}
	return s.waitReady(ctx)
}

// Stop implements deploy.Server: the image's stop signal, and SIGKILL after ten seconds (scaled).
func (s *Server) Stop(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.closed {
		return nil
	}
	return s.stop(ctx)
}

func (s *Server) stop(ctx context.Context) error {
	if err := s.setPaused(ctx, false); err != nil { // a frozen process cannot end politely
		return err
	}
	grace := s.fleet.config.Scaled(stopGrace)
	ctx, cancel := context.WithTimeout(ctx, s.fleet.config.Scaled(engineTimeout)+grace)
	defer cancel()
	seconds := int(max(grace, time.Second).Seconds())
	if err := s.fleet.engine.ContainerStop(ctx, s.id, container.StopOptions{Timeout: &seconds}); err != nil {
		return failed("stopping "+s.alias, err)
	}
	return nil
}

// Restart implements deploy.Server. The data stays; the addresses as seen from here may change.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}
	return s.Start(ctx)
}

// Pause implements deploy.Server with the control group's freezer.
func (s *Server) Pause(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.setPaused(ctx, true)
}

// Unpause implements deploy.Server.
func (s *Server) Unpause(ctx context.Context) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	return s.setPaused(ctx, false)
}

func (s *Server) setPaused(ctx context.Context, pause bool) error {
	if s.paused == pause {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.fleet.config.Scaled(pauseTimeout))
	defer cancel()
	change, what := s.fleet.engine.ContainerUnpause, "unpausing "
	if pause {
		change, what = s.fleet.engine.ContainerPause, "pausing "
	}
	tick := time.NewTicker(lastLook)
	defer tick.Stop()
	for {
		err := change(ctx, s.id)
		if err == nil {
			s.paused = pause
			return nil
		}
		// The engine learns of each pause and unpause a second time, from below, and believes the
		// old news for a moment when the next change has come first. Only then is it worth another try.
		if !cerrdefs.IsConflict(err) || !s.runs(ctx) {
			return failed(what+s.alias, err)
		}
		select {
		case <-ctx.Done():
			return failed(what+s.alias, err)
		case <-tick.C:
		}
	}
}

// runs reports whether the engine knows the container to run, paused or not.
func (s *Server) runs(ctx context.Context) bool {
	state, err := s.fleet.engine.ContainerInspect(ctx, s.id)
	return err == nil && state.State.Running
}

// Logs implements deploy.Server with the newest 8 MiB of what the container printed.
func (s *Server) Logs(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.fleet.config.Scaled(engineTimeout))
	defer cancel()
	stream, err := s.fleet.engine.ContainerLogs(ctx, s.id, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return "", failed("reading the log of "+s.alias, err)
	}
	end := tail{limit: maxLog}
	_, err = stdcopy.StdCopy(&end, &end, stream)
	if err = errors.Join(err, stream.Close()); err != nil {
		return "", failed("reading the log of "+s.alias, err)
	}
	return end.String(), nil
}

// Close implements deploy.ManagedServer.
func (s *Server) Close(ctx context.Context) error {
	s.end()
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	ctx, cancel := context.WithTimeout(ctx, s.fleet.config.Scaled(engineTimeout))
	defer cancel()
	return remove(ctx, s.fleet.engine, s.id)
}

// readAddresses finds the ports of this machine that lead to the container's.
func (s *Server) readAddresses(ports nat.PortMap) bool {
	client, federation := published(ports, clientPort), published(ports, federationPort)
	if client == "" || federation == "" {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clientAddr, s.federationAddr = client, federation
	return true
}

func (s *Server) forgetAddresses() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clientAddr, s.federationAddr = "", ""
}

func published(ports nat.PortMap, port nat.Port) string {
	for _, binding := range ports[port] {
		if binding.HostPort != "" && binding.HostPort != "0" {
			return net.JoinHostPort("127.0.0.1", binding.HostPort)
		}
	}
	return ""
}

// tail is a writer that keeps the end of what is written.
type tail struct {
	limit int
	kept  []byte
	lost  bool
}

var _ io.Writer = (*tail)(nil)

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*t.limit {
		t.cut()
	}
	return len(p), nil
}

func (t *tail) cut() {
	if over := len(t.kept) - t.limit; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
		t.lost = true
	}
}

func (t *tail) String() string {
	t.cut()
	if t.lost {
		return "[older output was dropped]\n" + string(t.kept)
	}
	return string(t.kept)
}
