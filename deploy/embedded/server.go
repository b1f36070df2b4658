// Package embedded runs the reference homeserver inside this process, on loopback: the target
// embedded. It is a homeserver like any other from outside: it listens on real ports, speaks TLS to
// other servers, and keeps its data in a folder that survives a restart.
package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"countersign/deploy"
	"countersign/deploy/internal/boundedlog"
	"countersign/deploy/internal/ports"
	"countersign/deploy/internal/scratch"
	"countersign/reference"
)

// stopGrace is how long a server may take to end what it is doing, before the timeout scale.
const stopGrace = 10 * time.Second

// Options say what to start.
type Options struct {
	// Alias is the server's name within the deployment.
	Alias string
	// CA is the authority that signs the server's certificate and that it trusts.
	CA *deploy.CA
	// Config gives the deadlines; with Config.Debug the server logs everything.
	Config deploy.Config
	// TempDir is where the server's folder is made; empty means os.TempDir.
	TempDir string
}

// Server is a reference homeserver in this process. Its methods may be called from several
// goroutines; they take turns.
type Server struct {
	options        Options
	dir            string
	log            *boundedlog.Log
	reached        *reached
	name           string
	clientAddr     string
	federationAddr string
	certificate    tls.Certificate

	mu      sync.Mutex
	running *running // nil while it is stopped
	closed  bool
}

// running is one life of the server, from a start to a stop.
type running struct {
	server *reference.Server
	end    context.CancelFunc
	ended  chan struct{} // closed when Serve has returned
	result error         // what Serve returned; read after ended
}

// Start starts a homeserver in a folder of its own and waits until it answers. Nothing is left
// behind when it fails.
func Start(ctx context.Context, options Options) (*Server, error) {
	dir, err := scratch.Make(options.TempDir)
	if err != nil {
		return nil, deploy.Startf("%s: %w", options.Alias, err)
	}
	s := &Server{options: options, dir: dir}
	if err := s.firstStart(ctx); err != nil {
		err = errors.Join(err, s.Close(context.WithoutCancel(ctx)))
		if _, ok := errors.AsType[*deploy.Error](err); !ok {
			err = deploy.Startf("%s: the embedded homeserver cannot be started: %w", options.Alias, err)
		}
		return nil, err
	}
	return s, nil
}

func (s *Server) firstStart(ctx context.Context) (err error) {
	if s.log, err = boundedlog.Open(filepath.Join(s.dir, "server.log"), boundedlog.DefaultLimit); err != nil {
		return err
	}
	if s.reached, err = openReached(s.options.Config.Reached); err != nil {
		return err
	}
	if err = s.options.Config.WriteAppServices(s.appServices()); err != nil {
		return err
	}
	if s.certificate, err = s.options.CA.Issue("localhost", "127.0.0.1", "::1"); err != nil {
		return err
	}
	client, err := ports.Listen()
	if err != nil {
		return err
	}
	federation, err := ports.Listen()
	if err != nil {
		return errors.Join(err, client.Close())
	}
	s.clientAddr, s.federationAddr = client.Addr().String(), federation.Addr().String()
	_, port, err := net.SplitHostPort(s.federationAddr)
	if err != nil {
		return errors.Join(err, client.Close(), federation.Close())
	}
	s.name = net.JoinHostPort("localhost", port)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run(ctx, client, federation)
}

func (s *Server) appServices() string { return filepath.Join(s.dir, "appservices") }

// run begins a life of the server on the given listeners, which it takes over.
func (s *Server) run(ctx context.Context, client, federation net.Listener) error {
	level := slog.LevelInfo
	if s.options.Config.Debug {
		level = slog.LevelDebug
	}
	server, err := reference.Open(reference.Config{
		ServerName:               s.name,
		DataDir:                  filepath.Join(s.dir, "data"),
		Certificate:              s.certificate,
		RootCAs:                  s.options.CA.Pool(),
		ClientListener:           client,
		FederationListener:       federation,
		RegistrationSharedSecret: deploy.RegistrationSharedSecret,
		AppServiceDir:            s.appServices(),
		Logger:                   slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: level})),
		Defect:                   s.options.Config.Mutant,
		Reached:                  s.reached.note(),
	})
	if err != nil {
		return errors.Join(fmt.Errorf("%s: opening the homeserver: %w", s.options.Alias, err), closeListener(client), closeListener(federation))
	}
	life, end := context.WithCancel(context.Background())
	r := &running{server: server, end: end, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.result = server.Serve(life)
	}()
	s.running = r
	return s.waitReady(ctx, r)
}

// closeListener closes a listener that the server may have closed already.
func closeListener(l net.Listener) error {
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (s *Server) waitReady(ctx context.Context, r *running) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timeout := s.options.Config.StartTimeout()
	defer time.AfterFunc(timeout, func() { cancel(fmt.Errorf("%s does not answer after %v", s.options.Alias, timeout)) }).Stop()
	go func() {
		select {
		case <-r.ended:
			cancel(errors.Join(fmt.Errorf("%s ended by itself", s.options.Alias), r.result))
		case <-ctx.Done():
		}
	}()
	return deploy.WaitReady(ctx, s.ClientURL)
}

// Alias implements deploy.Server.
func (s *Server) Alias() string { return s.options.Alias }

// Name implements deploy.Server.
func (s *Server) Name() string { return s.name }

// Origin implements deploy.Server. The server is a part of the test process, and so of the suite.
func (s *Server) Origin() deploy.Origin { return deploy.Origin{Target: "embedded"} }

// ClientURL implements deploy.Server.
func (s *Server) ClientURL() string { return "http://" + s.clientAddr }

// FederationAddr implements deploy.Server.
func (s *Server) FederationAddr() string { return s.federationAddr }

// Start implements deploy.Server. A server that runs is left alone.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("%s was removed and cannot be started again", s.options.Alias)
	}
	if s.running != nil {
		select {
		case <-s.running.ended: // by itself; what it left is cleared away before it starts again
			if err := s.stop(ctx); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	client, err := listen(s.options.Alias, s.clientAddr)
	if err != nil {
		return err
	}
	federation, err := listen(s.options.Alias, s.federationAddr)
	if err != nil {
		return errors.Join(err, client.Close())
	}
	return s.run(ctx, client, federation)
}

func listen(alias, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, deploy.Startf("%s: cannot listen at %s: %w; end the program that uses this port", alias, addr, errors.Unwrap(err))
	}
	return l, nil
}

// Stop implements deploy.Server.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(ctx)
}

func (s *Server) stop(ctx context.Context) error {
	r := s.running
	if r == nil {
		return nil
	}
	s.running = nil
	r.end()
	grace := time.NewTimer(s.options.Config.Scaled(stopGrace))
	defer grace.Stop()
	var late error
	select {
	case <-r.ended:
	case <-grace.C:
		late = fmt.Errorf("%s has not ended %v after it was asked to", s.options.Alias, s.options.Config.Scaled(stopGrace))
	case <-ctx.Done():
		late = fmt.Errorf("stopping %s: %w", s.options.Alias, context.Cause(ctx))
	}
	if err := r.server.Close(); err != nil {
		return errors.Join(late, fmt.Errorf("stopping %s: %w", s.options.Alias, err))
	}
	return late
}

// Restart implements deploy.Server. Ports and data stay.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}
	return s.Start(ctx)
}

// Pause implements deploy.Server with deploy.ErrUnsupported: a part of this process cannot be
// frozen without freezing the tests.
func (s *Server) Pause(context.Context) error {
	return fmt.Errorf("cannot pause %s, which runs inside the test process: %w", s.options.Alias, deploy.ErrUnsupported)
}

// Unpause implements deploy.Server with deploy.ErrUnsupported.
func (s *Server) Unpause(context.Context) error {
	return fmt.Errorf("cannot unpause %s, which runs inside the test process: %w", s.options.Alias, deploy.ErrUnsupported)
}

// Logs implements deploy.Server with the newest 8 MiB of what the server logged.
func (s *Server) Logs(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", fmt.Errorf("%s was removed, and its log with it", s.options.Alias)
	}
	return s.log.Read()
}

// Close implements deploy.ManagedServer.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := errors.Join(s.stop(ctx), s.reached.close())
	if s.log != nil {
		err = errors.Join(err, s.log.Close())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
