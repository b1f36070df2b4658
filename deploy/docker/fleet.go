package docker

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"strings"
	"sync"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"

	"countersign/deploy"
	"countersign/deploy/internal/owner"
)

// The labels of everything that a run makes.
const (
	ownerLabel = "countersign.owner" // the process that made it, as owner.ID prints it
	runLabel   = "countersign.run"   // the deployment that it belongs to
	aliasLabel = "countersign.hs"    // a container's alias
)

// Fleet is the containers of one deployment: they share a network and a certificate authority.
type Fleet struct {
	config  deploy.Config
	engine  *client.Client
	ca      *deploy.CA
	run     string
	labels  map[string]string
	network string // its ID

	closing  sync.Once
	closeErr error
}

// NewFleet connects to the engine and makes the network and the authority. Errors are one line;
// nothing is left behind then.
func NewFleet(ctx context.Context, config deploy.Config) (*Fleet, error) {
	self, err := owner.Self()
	if err != nil {
		return nil, deploy.Startf("%w", err)
	}
	engine, err := connect(ctx, &config)
	if err != nil {
		return nil, err
	}
	f := &Fleet{config: config, engine: engine, run: strings.ToLower(rand.Text()[:10])}
	f.labels = map[string]string{ownerLabel: self.String(), runLabel: f.run}
	var caErr error
	var making sync.WaitGroup
	// Images for Complement expect the authority's key to be RSA, which takes a while to make.
	making.Go(func() { f.ca, caErr = deploy.NewRSACA() })
	err = f.makeNetwork(ctx)
	making.Wait()
	if err == nil && caErr != nil {
		err = deploy.Startf("%w", caErr)
	}
	if err == nil {
		return f, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.config.Scaled(engineTimeout))
	defer cancel()
	if closeErr := f.Close(ctx); closeErr != nil {
		return nil, errors.Join(err, closeErr)
	}
	return nil, err
}

func (f *Fleet) makeNetwork(ctx context.Context) error {
	// The engine would go on making a network that nobody waits for, and nobody would remove it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.config.Scaled(engineTimeout))
	defer cancel()
	made, err := f.engine.NetworkCreate(ctx, f.networkName(), network.CreateOptions{Driver: "bridge", Labels: f.labels})
	if err != nil {
		return deploy.Startf("the Docker engine cannot make a network: %w; \"docker network prune\" frees unused ones", plain(err))
	}
	f.network = made.ID
	return nil
}

// networkName is the name of the network; the names of the containers begin with it.
func (f *Fleet) networkName() string { return "countersign-" + f.run }

// CA is the authority whose certificate and key every container is given.
func (f *Fleet) CA() *deploy.CA { return f.ca }

// PeerHost is the name under which containers reach this machine.
func (f *Fleet) PeerHost() string { return peerHost(&f.config) }

// PeerListenAddr is where a listener in this process must bind for containers to reach it.
func (f *Fleet) PeerListenAddr() string { return "0.0.0.0" }

func peerHost(config *deploy.Config) string {
	if config.HostnameRunningComplement == "" {
		return "host.docker.internal"
	}
	return config.HostnameRunningComplement
}

// Close removes the network, and any container of the fleet that was not closed. It may be called
// twice.
func (f *Fleet) Close(ctx context.Context) error {
	f.closing.Do(func() {
		own := filters.NewArgs(filters.Arg("label", runLabel+"="+f.run))
		f.closeErr = errors.Join(removeAll(ctx, f.engine, own, func(map[string]string) bool { return true }), f.engine.Close())
	})
	return f.closeErr
}

// Sweep removes the containers and networks that earlier runs on this machine left on the engine
// because they were killed. What another machine made, or a run that is still going, is left alone.
func Sweep(ctx context.Context, config deploy.Config) error {
	engine, err := connect(ctx, &config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, config.Scaled(engineTimeout))
	defer cancel()
	ours := filters.NewArgs(filters.Arg("label", ownerLabel))
	return errors.Join(removeAll(ctx, engine, ours, ownerIsDead), engine.Close())
}

func ownerIsDead(labels map[string]string) bool {
	id, err := owner.Parse(labels[ownerLabel])
	return err == nil && id.Dead()
}

// removeAll removes the containers, and then the networks, that pass the filter and whose labels
// are chosen. It goes on after an error and joins what went wrong.
func removeAll(ctx context.Context, engine *client.Client, filter filters.Args, chosen func(labels map[string]string) bool) error {
	containers, err := engine.ContainerList(ctx, container.ListOptions{All: true, Filters: filter})
	if err != nil {
		return failed("looking for containers to remove", err)
	}
	var errs []error
	for _, c := range containers {
		if chosen(c.Labels) {
			errs = append(errs, remove(ctx, engine, c.ID))
		}
	}
	networks, err := engine.NetworkList(ctx, network.ListOptions{Filters: filter})
	if err != nil {
		return errors.Join(append(errs, failed("looking for networks to remove", err))...)
	}
	for _, n := range networks {
		if !chosen(n.Labels) {
			continue
		}
		if err := engine.NetworkRemove(ctx, n.ID); err != nil && !cerrdefs.IsNotFound(err) {
			errs = append(errs, failed("removing the network "+n.Name, err))
		}
	}
	return errors.Join(errs...)
}

// remove removes a container with its anonymous volumes, in whatever state it is, and returns when
// it is gone.
func remove(ctx context.Context, engine *client.Client, id string) error {
	removed, waitErr := engine.ContainerWait(ctx, id, container.WaitConditionRemoved)
	err := engine.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	switch {
	case err == nil || cerrdefs.IsNotFound(err):
		return nil
	case !cerrdefs.IsConflict(err):
		return failed("removing the container "+id[:12], err)
	}
	// Somebody else, a sweep of another run, is removing it right now.
	select {
	case <-removed:
		return nil
	case err := <-waitErr:
		if err == nil || cerrdefs.IsNotFound(err) {
			return nil
		}
		return failed("waiting until the container "+id[:12]+" is removed", err)
	}
}

func (f *Fleet) labelsFor(alias string) map[string]string {
	labels := maps.Clone(f.labels)
	labels[aliasLabel] = alias
	return labels
}
