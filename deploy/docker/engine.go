// Package docker runs homeservers as containers: the target docker:IMAGE. It follows Complement's
// image contract, so that an image made for Complement runs unchanged; dockerfiles/README.md says
// what that contract is. Everything that it makes carries labels that name its owner, and Sweep
// removes what dead owners left.
package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"

	"countersign/deploy"
)

// minAPIVersion is that of engine 20.10, the first that knows host-gateway.
const minAPIVersion = "1.41"

// Bounds of talking to the engine, before the timeout scale.
const (
	pingTimeout   = 10 * time.Second
	engineTimeout = 60 * time.Second
	stopGrace     = 10 * time.Second
	pauseTimeout  = 10 * time.Second
)

// connect returns a client of the engine that DOCKER_HOST (and DOCKER_TLS_VERIFY,
// DOCKER_CERT_PATH, DOCKER_API_VERSION) or the default socket leads to, once it answers. Errors
// are one line, of KindStart.
func connect(ctx context.Context, config *deploy.Config) (*client.Client, error) {
	engine, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, deploy.Usagef("the Docker engine's address in DOCKER_HOST or its certificates in DOCKER_CERT_PATH cannot be used: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, config.Scaled(pingTimeout))
	defer cancel()
	if _, err := engine.Ping(ctx); err != nil {
		return nil, closing(engine, deploy.Startf("no Docker engine answers at %s (%w); start one, or point DOCKER_HOST at one, or choose another target", engine.DaemonHost(), unreachable(ctx, engine, err)))
	}
	engine.NegotiateAPIVersion(ctx)
	if version := engine.ClientVersion(); versions.LessThan(version, minAPIVersion) {
		return nil, closing(engine, deploy.Startf("the Docker engine at %s speaks API %s; at least %s (engine 20.10) is needed", engine.DaemonHost(), version, minAPIVersion))
	}
	return engine, nil
}

// unreachable says why the engine cannot be spoken to. The client only says that it cannot, so the
// reason is found by dialling once more.
func unreachable(ctx context.Context, engine *client.Client, err error) error {
	conn, dialErr := engine.Dialer()(ctx)
	if dialErr != nil {
		return plain(dialErr)
	}
	return errors.Join(plain(err), conn.Close())
}

// closing closes a client that is of no use, because of err.
func closing(engine *client.Client, err error) error {
	if closeErr := engine.Close(); closeErr != nil {
		return errors.Join(err, closeErr)
	}
	return err
}

// plain cuts an error of the client down to what happened: the client's own text repeats the
// engine's address and asks whether the engine is running, over several lines.
func plain(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("it took too long")
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err
	}
	text := strings.TrimPrefix(err.Error(), "Error response from daemon: ")
	text, _, _ = strings.Cut(text, "\n")
	return errors.New(text)
}

// Check reports, without starting anything, whether the engine answers and has the images. Errors
// are one line.
func Check(ctx context.Context, config deploy.Config, images ...string) error {
	engine, err := connect(ctx, &config)
	if err != nil {
		return err
	}
	for _, image := range images {
		if _, err := lookUpImage(ctx, &config, engine, image); err != nil {
			return closing(engine, err)
		}
	}
	return engine.Close()
}

func lookUpImage(ctx context.Context, config *deploy.Config, engine *client.Client, image string) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, config.Scaled(engineTimeout))
	defer cancel()
	found, err := engine.ImageInspect(ctx, image)
	switch {
	case err == nil:
		return found.ID, nil
	case cerrdefs.IsNotFound(err):
		return "", deploy.Startf("the Docker engine has no image %q; build it, or get it with: docker pull %s", image, image)
	case cerrdefs.IsInvalidArgument(err):
		return "", deploy.Usagef("%q is not the name of an image: %w", image, plain(err))
	default:
		return "", deploy.Startf("the Docker engine cannot look up the image %q: %w", image, plain(err))
	}
}

// failed makes a one-line error of what the engine refused to do.
func failed(what string, err error) error {
	return fmt.Errorf("%s: %w", what, plain(err))
}
