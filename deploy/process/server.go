// Package process runs homeservers as child processes: the target exec:COMMAND. What a homeserver
// is told is deploy.ServerEnv.
package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"countersign/deploy"
	"countersign/deploy/internal/boundedlog"
	"countersign/deploy/internal/ports"
	"countersign/deploy/internal/scratch"
)

// Bounds before the timeout scale: how long a process may take to end after SIGTERM, and to stop
// running after SIGSTOP.
const (
	stopGrace    = 10 * time.Second
	pauseTimeout = 10 * time.Second
)

// logLines is how much of a server's log an error message carries.
const logLines = 20

// Options say what to start.
type Options struct {
	// Alias is the server's name within the deployment.
	Alias string
	// Command is what to run.
	Command Command
	// CA is the authority that the server shall trust.
	CA *deploy.CA
	// Config gives the deadlines and the environment.
	Config deploy.Config
	// TempDir is where the server's folder is made; empty means os.TempDir.
	TempDir string
}

// Server is a homeserver that runs as a child process. Its methods may be called from several
// goroutines; they take turns.
type Server struct {
	options Options
	env     deploy.ServerEnv
	dir     string
	log     *boundedlog.Log

	// life ends with Close, and with it any Start that is under way.
	life context.Context
	end  context.CancelFunc

	mu     sync.Mutex
	child  *child // nil before the first start
	closed bool
}

// Start starts a homeserver in a folder of its own and waits until it answers. Errors are of type
// *deploy.Error; nothing is left behind then.
func Start(ctx context.Context, options Options) (*Server, error) {
	s, err := prepare(options)
	if err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*options.Config.Scaled(stopGrace))
		defer cancel()
		if closeErr := s.Close(ctx); closeErr != nil {
			return nil, errors.Join(err, closeErr)
		}
		return nil, err
	}
	return s, nil
}

func prepare(options Options) (*Server, error) {
	addrs, err := ports.Free(2)
	if err != nil {
		return nil, deploy.Startf("%s: %w", options.Alias, err)
	}
	_, federationPort, err := net.SplitHostPort(addrs[1])
	if err != nil {
		return nil, err
	}
	dir, err := scratch.Make(options.TempDir)
	if err != nil {
		return nil, deploy.Startf("%s: %w", options.Alias, err)
	}
	s := &Server{options: options, dir: dir}
	s.life, s.end = context.WithCancel(context.Background())
	s.env = deploy.ServerEnv{
		ServerName:               net.JoinHostPort("localhost", federationPort),
		ClientAddr:               addrs[0],
		FederationAddr:           addrs[1],
		CACert:                   filepath.Join(dir, "ca.crt"),
		CAKey:                    filepath.Join(dir, "ca.key"),
		TLSCert:                  filepath.Join(dir, "tls.crt"),
		TLSKey:                   filepath.Join(dir, "tls.key"),
		DataDir:                  filepath.Join(dir, "data"),
		RegistrationSharedSecret: deploy.RegistrationSharedSecret,
		AppServiceDir:            filepath.Join(dir, "appservices"),
		Mutant:                   options.Config.Mutant,
	}
	if err := s.writeFiles(); err != nil {
		return nil, errors.Join(deploy.Startf("%s: %w", options.Alias, err), os.RemoveAll(dir))
	}
	return s, nil
}

func (s *Server) writeFiles() error {
	cert, key, err := s.options.CA.IssuePEM("localhost", "127.0.0.1", "::1")
	if err != nil {
		return err
	}
	if err := os.Mkdir(s.env.DataDir, 0o700); err != nil {
		return err
	}
	if err := s.options.Config.WriteAppServices(s.env.AppServiceDir); err != nil {
		return err
	}
	for path, content := range map[string][]byte{
		s.env.CACert: s.options.CA.CertPEM(), s.env.CAKey: s.options.CA.KeyPEM(),
		s.env.TLSCert: cert, s.env.TLSKey: key,
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	s.log, err = boundedlog.Open(filepath.Join(s.dir, "server.log"), boundedlog.DefaultLimit)
	return err
}

// environ is our own environment without the suite's variables, and with the server's.
func (s *Server) environ() []string {
	inherited := s.options.Config.Environ
	if inherited == nil {
		inherited = os.Environ()
	}
	var environ []string
	for _, entry := range inherited {
		if !strings.HasPrefix(entry, "COUNTERSIGN_") && !strings.HasPrefix(entry, "COMPLEMENT_") {
			environ = append(environ, entry)
		}
	}
	return append(append(environ, s.env.Environ()...), "SSL_CERT_FILE="+s.env.CACert)
}

// Alias implements deploy.Server.
func (s *Server) Alias() string { return s.options.Alias }

// Name implements deploy.Server.
func (s *Server) Name() string { return s.env.ServerName }

// Origin implements deploy.Server, with the digest of the program that the command names.
func (s *Server) Origin() deploy.Origin {
	return deploy.Origin{Target: "exec:" + s.options.Command.Line, Digest: deploy.FileDigest(s.options.Command.Path)}
}

// ClientURL implements deploy.Server.
func (s *Server) ClientURL() string { return "http://" + s.env.ClientAddr }

// FederationAddr implements deploy.Server.
func (s *Server) FederationAddr() string { return s.env.FederationAddr }

// Start implements deploy.Server. A server that runs is left alone.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("%s was removed and cannot be started again", s.options.Alias)
	}
	if s.child != nil && s.child.running() {
		return nil
	}
	for _, addr := range []string{s.env.ClientAddr, s.env.FederationAddr} {
		if err := ports.Check(addr); err != nil {
			return deploy.Startf("%s: %w", s.options.Alias, err)
		}
	}
	c, err := launch(s.options.Command, s.environ(), s.log)
	if err != nil {
		return deploy.Startf("%s: the command %q cannot be started: %w", s.options.Alias, s.options.Command.Line, reason(err))
	}
	s.child = c
	s.options.Config.Debugf("%s: process %d in %s: %s", s.options.Alias, c.process.Pid, s.dir, s.options.Command.Line)
	return s.waitReady(ctx, c)
}

func (s *Server) waitReady(ctx context.Context, c *child) error {
	timeout := s.options.Config.StartTimeout()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(errClosed) })()
	late := time.AfterFunc(timeout, func() { cancel(errTooLate) })
	defer late.Stop()
	go func() {
		select {
		case <-c.ended:
			cancel(errEnded)
		case <-ctx.Done():
		}
	}()
	err := deploy.WaitReady(ctx, s.ClientURL)
	if err == nil {
		return nil
	}
	var failure *deploy.Error
	switch {
	case errors.Is(err, errEnded):
		failure = deploy.Startf("%s: the command %q ended with %s before it answered GET /_matrix/client/versions; run it by hand to see why",
			s.options.Alias, s.options.Command.Line, c.outcome())
	case errors.Is(err, errTooLate):
		failure = deploy.Startf("%s: the command %q is not ready after %v: %w; if it is only slow, raise COMPLEMENT_SPAWN_HS_TIMEOUT_SECS",
			s.options.Alias, s.options.Command.Line, timeout, lastProbe(err))
	default:
		return fmt.Errorf("%s: waiting for the command %q: %w", s.options.Alias, s.options.Command.Line, err)
	}
	log, logErr := s.log.Read()
	failure.Log = deploy.LastLines(log, logLines)
	if logErr != nil {
		return errors.Join(failure, logErr)
	}
	return failure
}

var (
	errEnded   = errors.New("the process ended")
	errTooLate = errors.New("the time to start is over")
	errClosed  = errors.New("the server was removed meanwhile")
)

func lastProbe(err error) error {
	if e, ok := errors.AsType[*deploy.NotReadyError](err); ok {
		return e.LastProbe
	}
	return err
}

// Stop implements deploy.Server: SIGTERM, and SIGKILL for what is left after ten seconds (scaled).
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop(ctx)
}

func (s *Server) stop(ctx context.Context) error {
	if s.child == nil {
		return nil
	}
	if err := s.child.stop(ctx, s.options.Config.Scaled(stopGrace)); err != nil {
		return fmt.Errorf("stopping %s: %w", s.options.Alias, err)
	}
	return nil
}

// Restart implements deploy.Server. Ports and data stay.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}
	return s.Start(ctx)
}

// Pause implements deploy.Server with SIGSTOP, for the process and those that it has started.
func (s *Server) Pause(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Config.Scaled(pauseTimeout))
	defer cancel()
	return s.signal("pause", func(leader *os.Process) error { return freeze(ctx, leader) })
}

// Unpause implements deploy.Server with SIGCONT.
func (s *Server) Unpause(context.Context) error { return s.signal("unpause", thaw) }

func (s *Server) signal(what string, send func(*os.Process) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil || !s.child.running() {
		return fmt.Errorf("cannot %s %s: it is not running", what, s.options.Alias)
	}
	if err := send(s.child.process); err != nil {
		return fmt.Errorf("cannot %s %s: %w", what, s.options.Alias, err)
	}
	return nil
}

// Logs implements deploy.Server with the newest 8 MiB of what the process printed.
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
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.stop(ctx)
	return errors.Join(err, s.log.Close(), os.RemoveAll(s.dir))
}
