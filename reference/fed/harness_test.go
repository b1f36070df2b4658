package fed_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/reference/account"
	"countersign/reference/defect"
	"countersign/reference/fed"
	"countersign/reference/participant"
	"countersign/reference/peer"
	"countersign/reference/room"
	"countersign/reference/store"
)

// deadline bounds every wait of these tests.
const deadline = 20 * time.Second

// network is a certificate authority that all servers of a test trust.
type network struct {
	pool        *x509.CertPool
	certificate tls.Certificate
}

func newNetwork(t testing.TB) *network {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &network{pool: pool, certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
}

// homeserver is everything but the client API.
type homeserver struct {
	t         testing.TB
	network   *network
	name      matrix.ServerName
	dir       string
	key       matrix.Signer
	db        *store.DB
	client    *fed.Client
	queue     *fed.Queue
	keys      *fed.KeyRing
	directory *account.Directory
	// serverKeys and domains are for rooms with participation.
	serverKeys *participant.Keys
	domains    *participant.Domains
	engine     *room.Engine
	http       *http.Server
	served     chan struct{}
	// intercept answers requests in the place of the server when it returns true.
	intercept atomic.Pointer[interceptor]
	requests  requestLog
}

// interceptor answers a request, or returns false.
type interceptor func(http.ResponseWriter, *http.Request) bool

type requestLog struct {
	mutex sync.Mutex
	paths []string
}

func (l *requestLog) add(path string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.paths = append(l.paths, path)
}

func (l *requestLog) count(substring string) (n int) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, p := range l.paths {
		if strings.Contains(p, substring) {
			n++
		}
	}
	return n
}

func (n *network) start(t testing.TB) *homeserver {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	h := &homeserver{t: t, network: n, dir: t.TempDir()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h.name = matrix.ServerName(fmt.Sprintf("localhost:%d", listener.Addr().(*net.TCPAddr).Port))
	h.key = matrix.Signer{Entity: string(h.name), KeyID: "ed25519:a", Key: key}
	h.serve(listener)
	t.Cleanup(func() {
		if h.http != nil {
			h.stop()
		}
	})
	return h
}

func (h *homeserver) serve(listener net.Listener) {
	t := h.t
	var err error
	h.db, err = store.Open(h.dir)
	require.NoError(t, err)
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	if os.Getenv("REFERENCE_TEST_LOG") != "" {
		logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("hs", h.name)
	}
	h.client = fed.NewClient(fed.ClientOptions{ServerName: h.name, Key: h.key, RootCAs: h.network.pool, Logger: logger, Clock: time.Now})
	h.queue = fed.NewQueue(h.db, h.client, logger)
	h.keys = fed.NewKeyRing(h.db, h.client, time.Now)
	h.directory = account.New(account.Options{DB: h.db, ServerName: h.name, Peers: h.client, Logger: logger, Clock: time.Now})
	h.serverKeys, err = participant.NewKeys(h.db, defect.Set{})
	require.NoError(t, err)
	h.domains = participant.NewDomains(participant.DomainsOptions{
		ServerName: h.name, Keys: h.serverKeys, Peers: h.client, Logger: logger, Clock: time.Now,
	})
	h.engine, err = room.New(room.Options{
		DB: h.db, ServerName: h.name, ServerKey: h.key, Directory: h.directory, Peers: h.client, Keys: h.keys,
		ServerKeys: h.serverKeys, Domains: h.domains, RoomVersions: append(matrix.RoomVersions(), matrix.ParticipationRoomVersions()...),
		Outbox: h.queue, Users: everybody{}, Logger: logger, Clock: time.Now,
	})
	require.NoError(t, err)
	handler := fed.NewServer(fed.ServerOptions{
		ServerName: h.name, Key: h.key, Keys: h.keys, Client: h.client, Queue: h.queue, Engine: h.engine,
		Directory: h.directory, Local: nobody{}, Logger: logger, Clock: time.Now,
	})
	require.NoError(t, h.directory.Start())
	require.NoError(t, h.queue.Start(h.engine))
	h.http = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.requests.add(r.URL.Path)
		if f := h.intercept.Load(); f == nil || !(*f)(w, r) {
			handler.ServeHTTP(w, r)
		}
	}), ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelInfo)}
	h.served = make(chan struct{})
	server, served := h.http, h.served
	go func() {
		defer close(served)
		_ = server.Serve(tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{h.network.certificate}}))
	}()
}

// stop ends the server as a shutdown does; its data stay.
func (h *homeserver) stop() {
	require.NoError(h.t, h.http.Close())
	<-h.served
	h.queue.Close()
	h.keys.Close()
	h.domains.Close()
	h.directory.Close()
	h.client.Close()
	require.NoError(h.t, h.db.Close())
	h.http = nil
}

func (h *homeserver) restart() {
	_, port := h.name.HostPort()
	h.stop()
	h.listen(port)
}

func (h *homeserver) listen(port int) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	require.NoError(h.t, err)
	h.serve(listener)
}

// answerWith has requests answered by f.
func (h *homeserver) answerWith(f interceptor) { h.intercept.Store(&f) }

func (h *homeserver) user(name string) matrix.UserID {
	return matrix.UserID("@" + name + ":" + string(h.name))
}

// inRoom is a local user as rooms of a version know the user.
func (h *homeserver) inRoom(v matrix.RoomVersion, name string) matrix.UserID {
	user, err := h.directory.RoomUser(v, h.user(name))
	require.NoError(h.t, err)
	return user
}

func (h *homeserver) create(v matrix.RoomVersion, creator string, initial ...room.Draft) string {
	id, err := h.engine.Create(context.Background(), room.Creation{Creator: h.user(creator), Version: v, Initial: initial})
	require.NoError(h.t, err)
	return id
}

func (h *homeserver) say(roomID, user, body string) *matrix.Event {
	h.t.Helper()
	e, err := h.engine.Send(context.Background(), roomID, h.user(user), room.Draft{Type: "m.room.message", Content: object("msgtype", "m.text", "body", body)})
	require.NoError(h.t, err)
	return e
}

func (h *homeserver) join(roomID, user string, via ...*homeserver) {
	h.t.Helper()
	require.NoError(h.t, h.engine.Join(context.Background(), roomID, h.user(user), nil, names(via)))
}

func names(servers []*homeserver) (out []matrix.ServerName) {
	for _, s := range servers {
		out = append(out, s.name)
	}
	return out
}

// waitFor waits until a condition holds, looking again whenever something happens on the server.
func (h *homeserver) waitFor(what string, condition func() bool) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	for {
		now := h.engine.Now()
		if condition() {
			return
		}
		require.NoError(h.t, h.engine.Wait(ctx, now), "waiting for %s on %s", what, h.name)
	}
}

func (h *homeserver) waitForEvent(roomID, eventID string) room.Stored {
	h.t.Helper()
	var found room.Stored
	h.waitFor("the event "+eventID, func() (ok bool) {
		found, ok = h.engine.Event(roomID, eventID)
		return ok && found.Place != room.Place{}
	})
	return found
}

func (h *homeserver) membership(roomID string, user matrix.UserID) string {
	m, _ := h.engine.Membership(roomID, user)
	return m.Membership
}

// timeline are the types and bodies of the whole timeline, oldest first.
func (h *homeserver) timeline(roomID string) (lines []string) {
	events, _, err := h.engine.Timeline(roomID, room.Place{}, false, 10_000)
	require.NoError(h.t, err)
	for _, e := range events {
		line := e.Type()
		if body := e.Get("body"); body.Exists() {
			line = body.String()
		}
		lines = append(lines, line)
	}
	return lines
}

// history reads up to limit events backwards, and has holes filled on the way.
func (h *homeserver) history(roomID string, from room.Place, limit int) (events []room.Stored, next room.Place) {
	next = from
	for len(events) < limit {
		_, err := h.engine.Backfill(background, roomID, next, limit)
		require.NoError(h.t, err)
		page, end, err := h.engine.Timeline(roomID, next, true, limit-len(events))
		require.NoError(h.t, err)
		if len(page) == 0 {
			break
		}
		events, next = append(events, page...), end
	}
	return events, next
}

func (h *homeserver) state(roomID string) map[matrix.StateTuple]string {
	s, err := h.engine.CurrentState(roomID)
	require.NoError(h.t, err)
	m := map[matrix.StateTuple]string{}
	for place, id := range s.All() {
		m[place] = id
	}
	return m
}

func object(pairs ...any) []byte {
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func stateDraft(eventType, stateKey string, pairs ...any) room.Draft {
	return room.Draft{Type: eventType, StateKey: &stateKey, Content: object(pairs...)}
}

func joinRules(rule string) room.Draft { return stateDraft("m.room.join_rules", "", "join_rule", rule) }

// everybody is a room.Users who has every account.
type everybody struct{}

func (everybody) Exists(name string) bool { return name != "ghost" }

// nobody is a fed.Local that knows nothing.
type nobody struct{}

func (nobody) Profile(context.Context, matrix.UserID, string) ([]byte, error) {
	return nil, peer.NotFound("no profile")
}
func (nobody) RoomAlias(context.Context, string) ([]byte, error) {
	return nil, peer.NotFound("no alias")
}
func (nobody) Devices(context.Context, matrix.UserID) ([]byte, error) {
	return nil, peer.NotFound("no devices")
}
func (nobody) QueryKeys(context.Context, []byte) ([]byte, error) { return []byte("{}"), nil }
func (nobody) ClaimKeys(context.Context, []byte) ([]byte, error) { return []byte("{}"), nil }
func (nobody) PublicRooms(context.Context, url.Values, []byte) ([]byte, error) {
	return []byte("{}"), nil
}
func (nobody) Hierarchy(context.Context, matrix.ServerName, string, bool) ([]byte, error) {
	return []byte("{}"), nil
}
func (nobody) EDU(context.Context, matrix.ServerName, string, []byte) error { return nil }
