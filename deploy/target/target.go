// Package target opens the deployment that a configuration names, whatever kind of target it is,
// and sees to it that nothing of it outlives this process.
package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"

	"countersign/deploy"
	"countersign/deploy/attach"
	"countersign/deploy/docker"
	"countersign/deploy/embedded"
	"countersign/deploy/process"
)

// Open starts (or finds) one homeserver for each alias, such as "hs1" and "hs2", and returns once
// all of them answer. What earlier runs left because they were killed is removed first. Until the
// deployment is closed, an interrupt (Ctrl-C, SIGTERM, SIGHUP) closes it before it ends this
// process, and a watchdog cleans up when this process is killed.
//
// Errors are of type *deploy.Error where the configuration or a server is at fault: their messages
// are one line (and the end of the server's log), and nothing is left behind.
func Open(ctx context.Context, config deploy.Config, aliases ...string) (deploy.Deployment, error) {
	plan, err := makePlan(&config, aliases)
	if err != nil {
		return nil, err
	}
	if plan.kind != deploy.KindAttach {
		plan.sweep(ctx, config)
	}
	guard, ctx := newGuard(ctx)
	d, err := plan.open(ctx, config, guard)
	if err != nil {
		guard.release()
		return nil, err
	}
	guard.protect(d)
	return d, nil
}

// Preflight makes the cheap checks that tell whether Open can work: the engine answers and has the
// images, the commands exist, the file can be read. It starts nothing. Errors are one line, of
// type *deploy.Error.
func Preflight(ctx context.Context, config deploy.Config, aliases ...string) error {
	plan, err := makePlan(&config, aliases)
	if err != nil {
		return err
	}
	switch plan.kind {
	case deploy.KindDocker:
		return docker.Check(ctx, config, plan.images()...)
	case deploy.KindAttach:
		_, err := attach.Load(plan.file(), aliases...)
		return err
	}
	return nil // makePlan has looked the commands up
}

// plan is what to start. Its kind stands for all servers: KindExec also for a mixture with
// KindEmbedded, since both live on this machine and can reach one another.
type plan struct {
	kind     deploy.TargetKind
	aliases  []string
	targets  map[string]deploy.Target
	commands map[string]process.Command
}

var aliasForm = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

func makePlan(config *deploy.Config, aliases []string) (*plan, error) {
	p := &plan{aliases: aliases, targets: map[string]deploy.Target{}, commands: map[string]process.Command{}}
	if len(aliases) == 0 {
		return nil, deploy.Usagef("a deployment needs at least one homeserver")
	}
	for _, alias := range aliases {
		if _, twice := p.targets[alias]; twice || !aliasForm.MatchString(alias) {
			return nil, deploy.Usagef("%q is no name for a homeserver of a deployment, or is there twice; write hs1, hs2, ...", alias)
		}
		t, err := config.TargetFor(alias)
		if err != nil {
			return nil, err
		}
		p.targets[alias] = t
		if err := p.add(alias, t); err != nil {
			return nil, err
		}
		if t.Kind == deploy.KindExec {
			if p.commands[alias], err = process.Find(t.Arg); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// add refuses what cannot live in one deployment: servers that do not see one another.
func (p *plan) add(alias string, t deploy.Target) error {
	onThisMachine := func(k deploy.TargetKind) bool { return k == deploy.KindExec || k == deploy.KindEmbedded }
	switch {
	case p.kind == "" || p.kind == t.Kind && t.Kind != deploy.KindAttach:
		p.kind = t.Kind
	case onThisMachine(p.kind) && onThisMachine(t.Kind):
		p.kind = deploy.KindExec
	case p.kind == deploy.KindAttach && t == p.targets[p.aliases[0]]:
	default:
		return deploy.Usagef("%s is %s and %s is %s, which cannot reach one another; mix embedded with exec, or images with images",
			p.aliases[0], p.targets[p.aliases[0]], alias, t)
	}
	return nil
}

func (p *plan) file() string { return p.targets[p.aliases[0]].Arg }

func (p *plan) images() []string {
	var images []string
	for _, alias := range p.aliases {
		if image := p.targets[alias].Arg; !slices.Contains(images, image) {
			images = append(images, image)
		}
	}
	return images
}

// sweepTimeout bounds the removal of debris, before the timeout scale.
const sweepTimeout = 30 * time.Second

// sweep removes debris. That it cannot be removed is no reason not to run.
func (p *plan) sweep(ctx context.Context, config deploy.Config) {
	ctx, cancel := context.WithTimeout(ctx, config.Scaled(sweepTimeout))
	defer cancel()
	err := process.Sweep("")
	if p.kind == deploy.KindDocker {
		if dockerErr := docker.Sweep(ctx, config); dockerErr != nil {
			config.Debugf("%v", dockerErr) // opening says the same, if it is not passing
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "countersign: what an earlier run left cannot be removed: %v\n", err)
	}
}

func (p *plan) open(ctx context.Context, config deploy.Config, guard *guard) (deploy.Deployment, error) {
	switch p.kind {
	case deploy.KindAttach:
		return attach.Open(ctx, config, p.file(), p.aliases...)
	case deploy.KindDocker:
		return p.openDocker(ctx, config, guard)
	default:
		return p.openHost(ctx, config, guard)
	}
}

func (p *plan) openDocker(ctx context.Context, config deploy.Config, guard *guard) (deploy.Deployment, error) {
	dog, err := startWatchdog()
	if err != nil {
		return nil, err
	}
	fleet, err := docker.NewFleet(ctx, config)
	if err != nil {
		return nil, errors.Join(err, dog.dismiss())
	}
	servers, err := deploy.StartServers(ctx, p.aliases, func(ctx context.Context, alias string) (deploy.ManagedServer, error) {
		return fleet.Start(ctx, alias, p.targets[alias].Arg)
	})
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), config.Scaled(sweepTimeout))
		defer cancel()
		return nil, join(err, fleet.Close(ctx), dog.dismiss())
	}
	return p.group(config, guard, deploy.GroupConfig{
		CA: fleet.CA(), Servers: servers, PeerHost: fleet.PeerHost(), PeerListenAddr: fleet.PeerListenAddr(),
		AfterClose: func(ctx context.Context) error { return join(fleet.Close(ctx), dog.dismiss()) },
	}), nil
}

func (p *plan) openHost(ctx context.Context, config deploy.Config, guard *guard) (deploy.Deployment, error) {
	ca, err := deploy.NewCA()
	if err != nil {
		return nil, err
	}
	var dog *watchdog
	if p.kind == deploy.KindExec {
		if dog, err = startWatchdog(); err != nil {
			return nil, err
		}
	}
	servers, err := deploy.StartServers(ctx, p.aliases, func(ctx context.Context, alias string) (deploy.ManagedServer, error) {
		if p.targets[alias].Kind == deploy.KindExec {
			return process.Start(ctx, process.Options{Alias: alias, Command: p.commands[alias], CA: ca, Config: config})
		}
		return embedded.Start(ctx, embedded.Options{Alias: alias, CA: ca, Config: config})
	})
	if err != nil {
		return nil, join(err, dog.dismiss())
	}
	return p.group(config, guard, deploy.GroupConfig{
		CA: ca, Servers: servers, PeerHost: "localhost", PeerListenAddr: "127.0.0.1",
		AfterClose: func(context.Context) error { return dog.dismiss() },
	}), nil
}

// group adds to a deployment what every kind has: what happens at the end of a test and of all.
func (p *plan) group(config deploy.Config, guard *guard, group deploy.GroupConfig) deploy.Deployment {
	end := &ending{config: config, servers: group.Servers}
	group.ExchangeTimeout = config.Scaled(deploy.DefaultExchangeTimeout)
	group.OnTestEnd = end.testEnded
	group.BeforeClose = end.beforeClose
	after := group.AfterClose
	group.AfterClose = func(ctx context.Context) error {
		defer guard.release()
		return after(ctx)
	}
	return deploy.NewGroup(group)
}

// join is errors.Join that leaves a single error as it is.
func join(errs ...error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
