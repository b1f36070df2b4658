// Package deploy starts the homeservers under test and reaches them. It knows how a server is
// started, stopped and spoken to; it knows nothing about what a server should do.
//
// The four kinds of target are packages of their own (deploy/embedded, deploy/process,
// deploy/docker, deploy/attach); deploy/target opens the one that a configuration names.
package deploy

import (
	"context"
	"errors"
	"net/http"
)

// ErrUnsupported is returned by an operation that a target cannot perform, such as pausing a
// server that runs inside the test process. A test that needs the operation is skipped.
var ErrUnsupported = errors.New("this target cannot do that")

// Deployment is a set of homeservers under test that federate with one another and with listeners
// in this process, and that trust one certificate authority.
type Deployment interface {
	// Servers are the homeservers, in the order of their aliases: hs1, hs2, ...
	Servers() []Server

	// Server returns the homeserver with the given alias, or nil when there is none.
	Server(alias string) Server

	// CA is the certificate authority that every homeserver of the deployment trusts.
	CA() *CA

	// PeerHost is the host name under which the homeservers reach listeners in this process:
	// "localhost", or "host.docker.internal" from a container. A fake server's name is PeerHost
	// and a port.
	PeerHost() string

	// PeerListenAddr is the address (host only) that a listener in this process must bind to be
	// reachable as PeerHost: "127.0.0.1", or "0.0.0.0" for containers.
	PeerListenAddr() string

	// Transport speaks federation with the homeservers (and with any other loopback peer): it
	// dials the address behind a server name and checks the certificate against the CA.
	Transport() http.RoundTripper

	// Close stops and removes everything that the deployment started. It may be called twice.
	Close(ctx context.Context) error
}

// Server is one homeserver under test.
type Server interface {
	// Alias is the server's name within the deployment, such as "hs1".
	Alias() string

	// Name is the Matrix server name, such as "hs1" or "localhost:41234".
	Name() string

	// Origin is where the server comes from, for the report.
	Origin() Origin

	// ClientURL is the base of the client-server API as seen from this process, without a
	// trailing slash. It may change when a server is started again.
	ClientURL() string

	// FederationAddr is the host:port of the federation listener as seen from this process.
	FederationAddr() string

	// Start brings a stopped server up with the data it had and waits until it answers.
	Start(ctx context.Context) error
	// Stop ends the server and keeps its data.
	Stop(ctx context.Context) error
	// Restart is Stop followed by Start.
	Restart(ctx context.Context) error
	// Pause freezes the server: it holds its connections and answers nothing.
	Pause(ctx context.Context) error
	// Unpause lets a paused server go on.
	Unpause(ctx context.Context) error
	// Logs returns what the server has printed so far.
	Logs(ctx context.Context) (string, error)
}
