package fakeserver

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"countersign/matrix"
)

// Defaults of [Config].
const (
	DefaultTimeout       = 30 * time.Second
	DefaultMaxBody int64 = 16 << 20
)

// drainTime is how long Close waits for requests that are being answered.
const drainTime = 2 * time.Second

// Config is what a fake server needs from its surroundings.
type Config struct {
	// Host is the host name or IP address under which other servers reach this process, such as
	// "localhost" or "host.docker.internal". With the port that the system assigns it is the name
	// of the server.
	Host string
	// ListenAddr is the IP address to listen on: "127.0.0.1" (also when empty), or "0.0.0.0" when
	// the other servers run in containers.
	ListenAddr string
	// Issue makes a certificate for a host that the other servers trust.
	Issue func(hosts ...string) (tls.Certificate, error)
	// Transport reaches other servers: the host of a request's URL is a Matrix server name.
	Transport http.RoundTripper
	// Ports makes the names of servers that use the same Ports differ, even when one is closed
	// before the next is started. Nil leaves the choice to the system, which may repeat itself.
	Ports *Ports
	// RoomVersions are the room versions that the server knows; nil means matrix.RoomVersions() and
	// matrix.ParticipationRoomVersions().
	RoomVersions []matrix.RoomVersion
	// Timeout bounds one outbound request, body included; zero means DefaultTimeout.
	Timeout time.Duration
	// MaxBody bounds a body in either direction, in bytes; zero means DefaultMaxBody.
	MaxBody int64
}

// Server is a fake homeserver. It is safe for concurrent use.
type Server struct {
	config    Config
	name      matrix.ServerName
	signer    matrix.Signer
	http      *http.Server
	serving   chan struct{} // closed when the listener's loop has ended
	routes    []route
	record    *Transcript
	keys      keyRing
	chain     keychain
	context   context.Context // ends when the server closes
	cancel    context.CancelCauseFunc
	workers   sync.WaitGroup
	txnCount  counter
	answering busy
	inbox     inbox
	identity  atomic.Pointer[tls.Certificate]

	mu            sync.Mutex
	users         map[string]*User // by account name
	byKey         map[matrix.AccountKey]*User
	rooms         map[string]*Room
	aliases       map[string]string
	overrides     map[Operation]Override
	answer        AccountAnswer
	erasures      []*User
	keyDoc        func(matrix.ServerKeys) matrix.ServerKeys
	invites       []Invite
	inviteForgery Forgery
	inviteCast    Cast
}

// ErrClosed is the cause of everything that ends because the server was closed.
var ErrClosed = errors.New("the fake server was closed")

// Start listens and returns a server that answers. The error says which part of the configuration is
// missing or why the system would not let it listen.
func Start(c Config) (*Server, error) {
	switch {
	case c.Host == "":
		return nil, errors.New("fake server: Config.Host is empty; it is the name under which other servers reach this process")
	case c.Issue == nil:
		return nil, errors.New("fake server: Config.Issue is nil; it makes the TLS certificate")
	case c.Transport == nil:
		return nil, errors.New("fake server: Config.Transport is nil; it reaches other servers")
	}
	if c.ListenAddr == "" {
		c.ListenAddr = "127.0.0.1"
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.RoomVersions == nil {
		c.RoomVersions = slices.Concat(matrix.RoomVersions(), matrix.ParticipationRoomVersions())
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("fake server: making the signing key: %w", err)
	}
	certificate, err := c.Issue(c.Host)
	if err != nil {
		return nil, fmt.Errorf("fake server: certificate for %q: %w", c.Host, err)
	}
	listener, err := listen(c)
	if err != nil {
		return nil, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	name := matrix.ServerName(net.JoinHostPort(c.Host, strconv.Itoa(port)))
	// A key ID that no other server shares keeps a homeserver from mistaking our key for a cached one.
	tag := make([]byte, 5)
	rand.Read(tag) // never fails

	ctx, cancel := context.WithCancelCause(context.Background())
	s := &Server{
		config:    c,
		name:      name,
		signer:    matrix.Signer{Entity: string(name), KeyID: matrix.KeyID("ed25519:fake_" + hex.EncodeToString(tag)), Key: key},
		serving:   make(chan struct{}),
		record:    newTranscript(name),
		context:   ctx,
		cancel:    cancel,
		users:     map[string]*User{},
		byKey:     map[matrix.AccountKey]*User{},
		rooms:     map[string]*Room{},
		aliases:   map[string]string{},
		overrides: map[Operation]Override{},
	}
	s.identity.Store(&certificate)
	s.inbox.init()
	s.chain.init()
	s.routes = s.table()
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: c.Timeout,
		IdleTimeout:       time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          log.New(noteWriter{s.record}, "", 0),
	}
	// HTTP/1.1 only: an answer that breaks off in the middle needs the connection itself.
	secure := tls.NewListener(listener, &tls.Config{
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.identity.Load(), nil },
		NextProtos:     []string{"http/1.1"},
		MinVersion:     tls.VersionTLS12,
		// Every test has servers of its own, nothing they say is secret, and the post-quantum exchange is a
		// third of a handshake.
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256},
	})
	go func() {
		defer close(s.serving)
		if err := s.http.Serve(secure); !errors.Is(err, http.ErrServerClosed) {
			s.record.note("the listener ended: %v", err)
		}
	}()
	return s, nil
}

// Close stops listening, ends everything that waits or hangs, lets requests that are being answered
// finish for a short while, and returns when nothing of the server runs any more. The error says what
// had to be cut off. Closing twice is harmless.
func (s *Server) Close() error {
	// Handlers that hang on purpose, our own requests and all waiters end with the context.
	s.cancel(ErrClosed)
	s.record.wake()
	s.inbox.wake()
	// Shutdown would wait for connections on which nobody has asked anything yet, such as those that
	// clients keep in reserve. With a context that has ended it closes the listener and idle
	// connections only, and what counts is waited for here.
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.http.Shutdown(over); err != nil && !errors.Is(err, context.Canceled) {
		s.record.note("closing the listener: %v", err)
	}
	err := s.answering.drained(drainTime)
	if err != nil {
		err = fmt.Errorf("closing fake server %s: %w", s.name, err)
	}
	err = errors.Join(err, s.http.Close())
	<-s.serving
	s.workers.Wait()
	return err
}

// Name is the server name, host and port.
func (s *Server) Name() matrix.ServerName { return s.name }

// Signer is the server's signing key: it signs requests, and in rooms of version 12 events.
func (s *Server) Signer() matrix.Signer { return s.signer }

// UseCertificate presents another certificate on new connections: one for another name, or of an
// authority that nobody trusts.
func (s *Server) UseCertificate(c tls.Certificate) { s.identity.Store(&c) }

// Transcript is the record of everything that the server was asked and asked for.
func (s *Server) Transcript() *Transcript { return s.record }

// RoomVersion finds a room version that the server knows.
func (s *Server) RoomVersion(id string) (matrix.RoomVersion, bool) {
	for _, v := range s.config.RoomVersions {
		if v.ID == id {
			return v, true
		}
	}
	return matrix.RoomVersion{}, false
}

// Room is the server's copy of a room, or nil when it is in no such room.
func (s *Server) Room(id string) *Room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[id]
}

func (s *Server) addRoom(r *Room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rooms[r.id] = r
}

// SetAlias makes query/directory resolve an alias to a room.
func (s *Server) SetAlias(alias, roomID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aliases[alias] = roomID
}

// background runs work that Close waits for. The context ends when the server closes.
func (s *Server) background(work func(ctx context.Context)) {
	s.workers.Go(func() { work(s.context) })
}

// counter numbers transactions.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}

// noteWriter files what net/http has to say about connections in the transcript.
type noteWriter struct{ record *Transcript }

func (w noteWriter) Write(text []byte) (int, error) {
	w.record.note("%s", strings.TrimSpace(string(text)))
	return len(text), nil
}

// sortedKeys is the keys of a set in order.
func sortedKeys[K ~string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
