package attach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"countersign/deploy"
)

// Server is a homeserver that somebody else runs.
type Server struct {
	file        string
	alias       string
	description Description
}

var errSilent = errors.New("the time to answer is over")

func (s *Server) waitReady(ctx context.Context, config *deploy.Config) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timeout := config.Scaled(answerTimeout)
	defer time.AfterFunc(timeout, func() { cancel(errSilent) }).Stop()
	err := deploy.WaitReady(ctx, s.ClientURL)
	if e, ok := errors.AsType[*deploy.NotReadyError](err); ok && errors.Is(err, errSilent) {
		return deploy.Startf("%s: no homeserver answers at %s within %v: %w; start it, or correct the file", s.alias, s.ClientURL(), timeout, e.LastProbe)
	}
	return err
}

// Alias implements deploy.Server.
func (s *Server) Alias() string { return s.alias }

// Name implements deploy.Server.
func (s *Server) Name() string { return s.description.Name }

// Origin implements deploy.Server. What runs there is not known.
func (s *Server) Origin() deploy.Origin { return deploy.Origin{Target: "attach:" + s.file} }

// ClientURL implements deploy.Server.
func (s *Server) ClientURL() string { return strings.TrimRight(s.description.Client, "/") }

// FederationAddr implements deploy.Server.
func (s *Server) FederationAddr() string {
	if s.description.Federation != "" {
		return s.description.Federation
	}
	if _, _, err := net.SplitHostPort(s.description.Name); err == nil {
		return s.description.Name
	}
	return net.JoinHostPort(strings.Trim(s.description.Name, "[]"), "8448")
}

// Start implements deploy.Server with deploy.ErrUnsupported.
func (s *Server) Start(context.Context) error { return s.unsupported("start") }

// Stop implements deploy.Server with deploy.ErrUnsupported.
func (s *Server) Stop(context.Context) error { return s.unsupported("stop") }

// Restart implements deploy.Server with deploy.ErrUnsupported.
func (s *Server) Restart(context.Context) error { return s.unsupported("restart") }

// Pause implements deploy.Server with deploy.ErrUnsupported.
func (s *Server) Pause(context.Context) error { return s.unsupported("pause") }

// Unpause implements deploy.Server with deploy.ErrUnsupported.
func (s *Server) Unpause(context.Context) error { return s.unsupported("unpause") }

func (s *Server) unsupported(what string) error {
	return fmt.Errorf("cannot %s %s, which somebody else runs: %w", what, s.alias, deploy.ErrUnsupported)
}

// Logs implements deploy.Server with the newest 8 MiB of the described log file, or with
// deploy.ErrUnsupported when none is described.
func (s *Server) Logs(context.Context) (text string, err error) {
	if s.description.Log == "" {
		return "", s.unsupported("read the log of")
	}
	file, err := os.Open(s.description.Log)
	if err != nil {
		return "", fmt.Errorf("reading the log of %s: %w", s.alias, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("reading the log of %s: %w", s.alias, err)
	}
	if over := info.Size() - maxLog; over > 0 {
		if _, err := file.Seek(over, io.SeekStart); err != nil {
			return "", fmt.Errorf("reading the log of %s: %w", s.alias, err)
		}
	}
	end, err := io.ReadAll(io.LimitReader(file, maxLog))
	if err != nil {
		return "", fmt.Errorf("reading the log of %s: %w", s.alias, err)
	}
	return string(end), nil
}

// Close implements deploy.ManagedServer; the server goes on running.
func (s *Server) Close(context.Context) error { return nil }
