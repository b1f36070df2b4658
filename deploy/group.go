package deploy

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"
)

// ManagedServer is a Server that a target has started and can remove for good.
type ManagedServer interface {
	Server
	// Close ends the server and removes what belongs to it, data included. It may be called twice.
	Close(ctx context.Context) error
}

// TestEnder is implemented by deployments that want to know how a test ended, because they print
// the servers' logs or run a script then. A test that has a deployment of its own calls TestEnded
// before Close; a deployment that was shared by many tests is closed without.
type TestEnder interface {
	TestEnded(ctx context.Context, testName string, failed bool) error
}

// GroupConfig is what a Group is made of.
type GroupConfig struct {
	// CA is the authority that all servers trust.
	CA *CA
	// Servers in the order of their aliases.
	Servers []ManagedServer
	// PeerHost and PeerListenAddr are the Deployment's.
	PeerHost, PeerListenAddr string
	// ExchangeTimeout bounds one federation exchange; zero means DefaultExchangeTimeout.
	ExchangeTimeout time.Duration
	// OnTestEnd, when not nil, is called by TestEnded.
	OnTestEnd func(ctx context.Context, testName string, failed bool) error
	// BeforeClose, when not nil, runs once, while the servers can still be looked at.
	BeforeClose func(ctx context.Context) error
	// AfterClose, when not nil, runs once, after the last server is gone.
	AfterClose func(ctx context.Context) error
}

// Group is a Deployment made of servers that were started one by one, whatever started them.
type Group struct {
	config    GroupConfig
	servers   []Server
	transport http.RoundTripper
	closing   sync.Once
	closeErr  error
}

// NewGroup makes a Deployment of running servers. It takes over closing them.
func NewGroup(config GroupConfig) *Group {
	g := &Group{config: config}
	for _, s := range config.Servers {
		g.servers = append(g.servers, s)
	}
	g.transport = NewTransport(TransportConfig{
		CA: config.CA, Resolve: g.resolve, LocalHosts: []string{config.PeerHost}, Timeout: config.ExchangeTimeout,
	})
	return g
}

func (g *Group) resolve(serverName string) string {
	for _, s := range g.servers {
		if s.Name() == serverName {
			return s.FederationAddr()
		}
	}
	return ""
}

// Servers implements Deployment.
func (g *Group) Servers() []Server { return slices.Clone(g.servers) }

// Server implements Deployment.
func (g *Group) Server(alias string) Server {
	for _, s := range g.servers {
		if s.Alias() == alias {
			return s
		}
	}
	return nil
}

// CA implements Deployment.
func (g *Group) CA() *CA { return g.config.CA }

// PeerHost implements Deployment.
func (g *Group) PeerHost() string { return g.config.PeerHost }

// PeerListenAddr implements Deployment.
func (g *Group) PeerListenAddr() string { return g.config.PeerListenAddr }

// Transport implements Deployment.
func (g *Group) Transport() http.RoundTripper { return g.transport }

// TestEnded implements TestEnder.
func (g *Group) TestEnded(ctx context.Context, testName string, failed bool) error {
	if g.config.OnTestEnd == nil {
		return nil
	}
	return g.config.OnTestEnd(ctx, testName, failed)
}

// Close implements Deployment: it closes all servers at once, and goes on when one of them fails.
// A second call waits for the first and returns what it returned.
func (g *Group) Close(ctx context.Context) error {
	g.closing.Do(func() {
		var errs []error
		if g.config.BeforeClose != nil {
			errs = append(errs, g.config.BeforeClose(ctx))
		}
		errs = append(errs, CloseServers(ctx, g.config.Servers))
		if c, ok := g.transport.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
		if g.config.AfterClose != nil {
			errs = append(errs, g.config.AfterClose(ctx))
		}
		g.closeErr = errors.Join(errs...)
	})
	return g.closeErr
}

// StartServers calls start once per alias, all at once, and returns the servers in the order of the
// aliases. When one fails, those that came up are closed and the first error is returned, in the
// order of the aliases, so that the same fault always reads the same.
func StartServers(ctx context.Context, aliases []string, start func(ctx context.Context, alias string) (ManagedServer, error)) ([]ManagedServer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	servers := make([]ManagedServer, len(aliases))
	errs := make([]error, len(aliases))
	var all sync.WaitGroup
	for i, alias := range aliases {
		all.Go(func() {
			if servers[i], errs[i] = start(ctx, alias); errs[i] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	err := firstCause(errs)
	if err == nil {
		return servers, nil
	}
	var up []ManagedServer
	for i, s := range servers {
		if errs[i] == nil {
			up = append(up, s)
		}
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	return nil, errors.Join(err, CloseServers(ctx, up))
}

// cleanUpTimeout bounds the removal of what a failed start left.
const cleanUpTimeout = 20 * time.Second

// firstCause is the first error that is not merely the cancellation that another error caused.
func firstCause(errs []error) error {
	var cancelled error
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		if cancelled == nil {
			cancelled = err
		}
	}
	return cancelled
}

// CloseServers closes all servers at once and joins their errors.
func CloseServers(ctx context.Context, servers []ManagedServer) error {
	errs := make([]error, len(servers))
	var all sync.WaitGroup
	for i, s := range servers {
		all.Go(func() { errs[i] = s.Close(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}
