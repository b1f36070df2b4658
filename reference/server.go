package reference

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"countersign/matrix"
	"countersign/reference/account"
	"countersign/reference/clientapi"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/defect"
	"countersign/reference/fed"
	"countersign/reference/participant"
	"countersign/reference/room"
	"countersign/reference/store"
)

// Bounds of inbound connections, and of closing.
const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	// closeTimeout is how long requests that are under way may take to end.
	closeTimeout = time.Second
)

// Server is a homeserver.
type Server struct {
	config             Config
	db                 *store.DB
	client             *fed.Client
	queue              *fed.Queue
	keys               *fed.KeyRing
	domains            *participant.Domains
	directory          *account.Directory
	engine             *room.Engine
	clients, federated *http.Server
	// outside reaches application services and push gateways, which telling tells of events.
	outside *http.Client
	telling sync.WaitGroup
	// stopping ends the requests that wait for something.
	stopping context.Context
	stop     context.CancelFunc
	closing  sync.Once
	closed   error
}

// Open opens a homeserver on its data, which it makes when there are none. Serve serves it. Open fails
// when the configuration is incomplete, when another process has the data open, or when they are
// damaged; the listeners are then left open.
func Open(config Config) (*Server, error) {
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("the reference homeserver: %w", err)
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	db, err := store.Open(config.DataDir)
	if err != nil {
		return nil, fmt.Errorf("the reference homeserver: %w", err)
	}
	s := &Server{config: config, db: db}
	if err := s.assemble(); err != nil {
		if s.directory != nil {
			s.directory.Close()
		}
		return nil, errors.Join(fmt.Errorf("the reference homeserver: %w", err), db.Close())
	}
	return s, nil
}

// assemble makes the parts of the server and connects them.
func (s *Server) assemble() error {
	name, logger := matrix.ServerName(s.config.ServerName), s.config.Logger
	defects := defect.Only(s.config.Defect, s.config.Reached)
	key, err := signingKey(s.db, name)
	if err != nil {
		return err
	}
	s.client = fed.NewClient(fed.ClientOptions{
		ServerName: name, Key: key, RootCAs: s.config.RootCAs, Logger: logger, Clock: time.Now,
		Defects: defects,
	})
	s.queue = fed.NewQueue(s.db, s.client, logger)
	s.keys = fed.NewKeyRing(s.db, s.client, time.Now)
	serverKeys, err := participant.NewKeys(s.db, defects)
	if err != nil {
		return err
	}
	s.domains = participant.NewDomains(participant.DomainsOptions{
		ServerName: name, Keys: serverKeys, Peers: s.client, Logger: logger, Clock: time.Now, Defects: defects,
	})
	users := userdb.New(s.db, name)
	s.directory = account.New(account.Options{
		DB: s.db, ServerName: name, Peers: s.client, Logger: logger, Clock: time.Now, Defects: defects,
	})
	s.engine, err = room.New(room.Options{
		DB: s.db, ServerName: name, ServerKey: key, Directory: s.directory, Peers: s.client, Keys: s.keys,
		ServerKeys: serverKeys, Domains: s.domains, RoomVersions: s.config.roomVersions(), Outbox: s.queue, Users: users, Logger: logger,
		Clock: time.Now, Defects: defects, Crash: func() { go s.Close() }, //nolint:errcheck // whoever waits for the end is told
	})
	if err != nil {
		return err
	}
	services, err := clientapi.LoadAppServices(s.config.AppServiceDir)
	if err != nil {
		return err
	}
	s.outside = outsideClient(s.config.RootCAs)
	api := clientapi.New(clientapi.Options{
		ServerName: name, Users: users, Engine: s.engine, Directory: s.directory, Peers: s.client, Outbox: s.queue,
		RegistrationSharedSecret: s.config.RegistrationSharedSecret, AppServices: services, Outside: s.outside,
		Logger: logger, Clock: time.Now, Defects: defects,
	})
	federation := fed.NewServer(fed.ServerOptions{
		ServerName: name, Key: key, Keys: s.keys, Client: s.client, Queue: s.queue, Engine: s.engine,
		Directory: s.directory, Local: api, Logger: logger, Clock: time.Now, Defects: defects,
	})
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.clients = s.httpServer(deadened(api.Handler(), defects))
	s.federated = s.httpServer(deadened(federation, defects))
	s.federated.TLSConfig = &tls.Config{Certificates: []tls.Certificate{s.config.Certificate}, MinVersion: tls.VersionTLS12}
	if err := s.directory.Start(); err != nil {
		return err
	}
	if err := s.queue.Start(s.engine); err != nil {
		return err
	}
	s.telling.Go(func() { api.Run(s.stopping) })
	return nil
}

// outsideClient reaches application services and push gateways.
func outsideClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, IdleConnTimeout: idleTimeout,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: boundBodies(h), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ErrorLog:    slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelInfo),
		BaseContext: func(net.Listener) context.Context { return s.stopping },
	}
}

// Serve answers clients and servers until ctx ends or Close is called, and closes the server. It
// returns nil then, and otherwise why a listener has failed.
func (s *Server) Serve(ctx context.Context) error {
	failed := make(chan error, 2)
	go func() { failed <- s.clients.Serve(s.config.ClientListener) }()
	go func() { failed <- s.federated.ServeTLS(s.config.FederationListener, "", "") }()
	running := 2
	var first error
	select {
	case <-ctx.Done():
	case <-s.stopping.Done():
	case first = <-failed:
		running--
	}
	closed := s.Close()
	for range running {
		if err := <-failed; first == nil || errors.Is(first, http.ErrServerClosed) {
			first = err
		}
	}
	if errors.Is(first, http.ErrServerClosed) {
		first = nil
	}
	return errors.Join(first, closed)
}

// Close ends the requests that are under way, stops the server and closes its listeners and its data.
// Everything that has been answered is kept. It may be called more than once.
func (s *Server) Close() error {
	s.closing.Do(func() { s.closed = s.shutDown() })
	return s.closed
}

func (s *Server) shutDown() error {
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var group sync.WaitGroup
	for _, server := range [...]*http.Server{s.clients, s.federated} {
		group.Go(func() {
			if server.Shutdown(ctx) != nil {
				_ = server.Close() // its requests have had their time
			}
		})
	}
	group.Wait()
	// Listeners that were never served are not closed by their server.
	_ = s.config.ClientListener.Close()
	_ = s.config.FederationListener.Close()
	s.telling.Wait()
	s.outside.CloseIdleConnections()
	s.queue.Close()
	s.keys.Close()
	s.domains.Close()
	s.directory.Close()
	s.client.Close()
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("closing the reference homeserver's data: %w", err)
	}
	return nil
}

// tableServer holds the seed of the server's signing key.
const tableServer = "server"

// signingKey is the server's signing key: the one it has, or a new one.
func signingKey(db *store.DB, name matrix.ServerName) (matrix.Signer, error) {
	row := store.Key("signing_key")
	_, fresh, err := ed25519.GenerateKey(nil)
	if err != nil {
		return matrix.Signer{}, fmt.Errorf("making a signing key: %w", err)
	}
	var seed []byte
	err = db.Update(func(tx *store.Tx) error {
		table := tx.Table(tableServer)
		if seed = append(seed[:0], table.Get(row)...); len(seed) > 0 {
			return nil
		}
		seed = fresh.Seed()
		return table.Put(row, seed)
	})
	if err != nil {
		return matrix.Signer{}, err
	}
	if len(seed) != ed25519.SeedSize {
		return matrix.Signer{}, fmt.Errorf("the stored signing key is damaged: %d bytes, not %d", len(seed), ed25519.SeedSize)
	}
	key := ed25519.NewKeyFromSeed(seed)
	// The name of the key follows from the key, so that a server that has lost its data and made
	// another key does not use the old one's name for it.
	id := fmt.Sprintf("ed25519:%x", key.Public().(ed25519.PublicKey)[:4])
	return matrix.Signer{Entity: string(name), KeyID: matrix.KeyID(id), Key: key}, nil
}
