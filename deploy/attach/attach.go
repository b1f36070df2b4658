// Package attach reaches homeservers that already run: the target attach:FILE. It starts and stops
// nothing, so most operations return deploy.ErrUnsupported.
package attach

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"countersign/deploy"
)

// answerTimeout is how long a server that is said to run may take to answer, before the scale.
const answerTimeout = 10 * time.Second

// maxLog is how much of a server's log file is read, counted from its end.
const maxLog = 8 << 20

// File is a description of servers that run. Paths in it are relative to the file.
type File struct {
	// CA is the authority that the servers trust. Fake servers get their certificates from it, so
	// its key is needed.
	CA struct {
		Certificate string `yaml:"certificate"`
		Key         string `yaml:"key"`
	} `yaml:"ca"`
	// Peer is how the servers reach listeners in this process.
	Peer struct {
		// Host is the name of this machine as the servers see it; "localhost" when empty.
		Host string `yaml:"host"`
		// Listen is the address to bind to; "127.0.0.1" when empty and Host is localhost, and
		// otherwise "0.0.0.0".
		Listen string `yaml:"listen"`
	} `yaml:"peer"`
	// Servers are the homeservers by alias: hs1, hs2, ...
	Servers map[string]Description `yaml:"servers"`
}

// Description is one server that runs.
type Description struct {
	// Name is the Matrix server name.
	Name string `yaml:"name"`
	// Client is the base URL of the client-server API.
	Client string `yaml:"client"`
	// Federation is the host:port of the federation listener; the host of Name, with its port or
	// 8448, when empty.
	Federation string `yaml:"federation"`
	// Log is a file that the server prints to; without it there are no logs.
	Log string `yaml:"log,omitempty"`
}

// Load reads and checks a file, which is looked for as deploy.FindUp does, for the servers with the
// given aliases. Errors are one line, of KindUsage.
func Load(file string, aliases ...string) (*File, error) {
	path, err := deploy.FindUp(file)
	if err != nil {
		return nil, deploy.Usagef("attach:%s: the file cannot be read: %w", file, cause(err))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, deploy.Usagef("attach:%s: the file cannot be read: %w", file, cause(err))
	}
	var f File
	if err := yaml.UnmarshalWithOptions(text, &f, yaml.Strict()); err != nil {
		return nil, deploy.Usagef("attach:%s: %w", file, errors.New(firstLine(err)))
	}
	if err := f.check(aliases); err != nil {
		return nil, deploy.Usagef("attach:%s: %w", file, err)
	}
	for _, p := range []*string{&f.CA.Certificate, &f.CA.Key} {
		*p = besides(path, *p)
	}
	for alias, s := range f.Servers {
		if s.Log != "" {
			s.Log = besides(path, s.Log)
			f.Servers[alias] = s
		}
	}
	return &f, nil
}

func (f *File) check(aliases []string) error {
	if f.CA.Certificate == "" || f.CA.Key == "" {
		return errors.New("ca.certificate and ca.key are needed: the fake servers need certificates that the homeservers trust")
	}
	if f.Peer.Host == "" {
		f.Peer.Host = "localhost"
	}
	if f.Peer.Listen == "" {
		f.Peer.Listen = "0.0.0.0"
		if f.Peer.Host == "localhost" {
			f.Peer.Listen = "127.0.0.1"
		}
	}
	for _, alias := range aliases {
		s, ok := f.Servers[alias]
		if !ok {
			return fmt.Errorf("servers.%s is not described, and the tests need it; described are: %s", alias, strings.Join(f.aliases(), ", "))
		}
		if err := s.check(); err != nil {
			return fmt.Errorf("servers.%s.%w", alias, err)
		}
	}
	return nil
}

func (f *File) aliases() []string {
	var aliases []string
	for alias := range f.Servers {
		aliases = append(aliases, alias)
	}
	slices.Sort(aliases)
	return aliases
}

func (d Description) check() error {
	if d.Name == "" {
		return errors.New("name is missing: the Matrix server name")
	}
	base, err := url.Parse(d.Client)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" || base.RawQuery != "" {
		return fmt.Errorf("client is %q; it must be the base URL of the client-server API, such as http://127.0.0.1:8008", d.Client)
	}
	if d.Federation != "" {
		if _, _, err := net.SplitHostPort(d.Federation); err != nil {
			return fmt.Errorf("federation is %q; it must be host:port, such as 127.0.0.1:8448", d.Federation)
		}
	}
	return nil
}

func besides(file, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// cause cuts the path, which the message names already, out of an error of package os.
func cause(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	return err
}

// Open reads a file and returns its servers with the given aliases, once each of them answers.
func Open(ctx context.Context, config deploy.Config, file string, aliases ...string) (*deploy.Group, error) {
	if len(config.AppServices) > 0 {
		return nil, fmt.Errorf("application services cannot be registered with servers that already run: %w", deploy.ErrUnsupported)
	}
	f, err := Load(file, aliases...)
	if err != nil {
		return nil, err
	}
	ca, err := deploy.LoadCA(f.CA.Certificate, f.CA.Key)
	if err != nil {
		return nil, deploy.Usagef("attach:%s: %w", file, err)
	}
	servers, err := deploy.StartServers(ctx, aliases, func(ctx context.Context, alias string) (deploy.ManagedServer, error) {
		s := &Server{file: file, alias: alias, description: f.Servers[alias]}
		return s, s.waitReady(ctx, &config)
	})
	if err != nil {
		return nil, err
	}
	return deploy.NewGroup(deploy.GroupConfig{
		CA: ca, Servers: servers, PeerHost: f.Peer.Host, PeerListenAddr: f.Peer.Listen,
		ExchangeTimeout: config.Scaled(deploy.DefaultExchangeTimeout),
	}), nil
}
