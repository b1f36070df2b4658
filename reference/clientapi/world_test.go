package clientapi

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/account"
	"countersign/reference/clientapi/userdb"
	"countersign/reference/defect"
	"countersign/reference/fed"
	"countersign/reference/participant"
	"countersign/reference/peer"
	"countersign/reference/room"
	"countersign/reference/store"
)

const (
	testServer   matrix.ServerName = "hs1.test"
	remoteServer matrix.ServerName = "fs.test"
	testSecret                     = "open sesame"
)

var _ fed.Local = (*API)(nil)

// world is a server with a real engine and a network that the test speaks for.
type world struct {
	t         testing.TB
	api       *API
	engine    *room.Engine
	directory *account.Directory
	handler   http.Handler
	net       *network
}

// network answers the server's calls to other servers, and keeps the EDUs that it sends.
type network struct {
	mu      sync.Mutex
	answers map[string]func(peer.Call) ([]byte, error)
	calls   []peer.Call
	edus    []sentEDU
}

type sentEDU struct {
	servers []matrix.ServerName
	eduType string
	content gjson.Result
}

func (n *network) answer(path string, answer func(peer.Call) ([]byte, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers[path] = answer
}

func (n *network) Call(_ context.Context, _ matrix.ServerName, call peer.Call) ([]byte, error) {
	n.mu.Lock()
	answer := n.answers[call.Path]
	n.calls = append(n.calls, call)
	n.mu.Unlock()
	if answer == nil {
		return nil, peer.Errorf(http.StatusNotFound, "M_UNRECOGNIZED", "the test has no answer to %s %s", call.Method, call.Path)
	}
	return answer(call)
}

func (n *network) QueuePDU(*store.Tx, []matrix.ServerName, string) error { return nil }
func (n *network) Flush([]matrix.ServerName)                             {}

func (n *network) SendEDU(servers []matrix.ServerName, eduType string, content []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.edus = append(n.edus, sentEDU{servers, eduType, gjson.ParseBytes(content)})
}

func (n *network) sent(eduType string) (edus []sentEDU) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, edu := range n.edus {
		if edu.eduType == eduType {
			edus = append(edus, edu)
		}
	}
	return edus
}

func (n *network) VerifyKey(context.Context, matrix.ServerName, matrix.KeyID, int64) ([]byte, error) {
	return nil, fmt.Errorf("no keys in this test")
}

func (n *network) KnownKeys(matrix.ServerName) map[matrix.KeyID]ed25519.PublicKey { return nil }

func (n *network) KnownKey(matrix.ServerName, matrix.KeyID, int64) ([]byte, bool) { return nil, false }

func newWorld(t testing.TB) *world {
	t.Helper()
	w, stop := openWorld(t, t.TempDir())
	t.Cleanup(stop)
	return w
}

// openWorld is newWorld on the data in a folder. The caller stops it.
func openWorld(t testing.TB, dir string) (w *world, stop func()) {
	t.Helper()
	db, err := store.Open(dir)
	require.NoError(t, err)
	n := &network{answers: map[string]func(peer.Call) ([]byte, error){}}
	logger := slog.New(slog.DiscardHandler)
	users := userdb.New(db, testServer)
	directory := account.New(account.Options{DB: db, ServerName: testServer, Peers: n, Logger: logger, Clock: time.Now})
	key, err := matrix.NewAccount()
	require.NoError(t, err)
	signer := key.Signer()
	signer.Entity, signer.KeyID = string(testServer), "ed25519:a"
	serverKeys, err := participant.NewKeys(db, defect.Set{})
	require.NoError(t, err)
	domains := participant.NewDomains(participant.DomainsOptions{
		ServerName: testServer, Keys: serverKeys, Peers: n, Logger: logger, Clock: time.Now,
	})
	engine, err := room.New(room.Options{
		DB: db, ServerName: testServer, ServerKey: signer, Directory: directory, Peers: n, Keys: n, Outbox: n,
		ServerKeys: serverKeys, Domains: domains, RoomVersions: append(matrix.RoomVersions(), matrix.ParticipationRoomVersions()...),
		Users: users, Logger: logger, Clock: time.Now,
	})
	require.NoError(t, err)
	api := New(Options{
		ServerName: testServer, Users: users, Engine: engine, Directory: directory, Peers: n, Outbox: n,
		RegistrationSharedSecret: testSecret, Logger: logger, Clock: time.Now,
	})
	return &world{t: t, api: api, engine: engine, directory: directory, handler: api.Handler(), net: n}, func() {
		domains.Close()
		directory.Close()
		require.NoError(t, db.Close())
	}
}

// client is a user of the server.
type client struct {
	w     *world
	id    string
	token string
}

func (w *world) register(name string) *client {
	w.t.Helper()
	r := w.anonymous().do(http.MethodPost, "/_matrix/client/v3/register", map[string]any{
		"username": name, "password": "pw " + name, "auth": map[string]any{"type": "m.login.dummy"},
	})
	require.Equal(w.t, http.StatusOK, r.status, r.body.Raw)
	return &client{w, r.body.Get("user_id").Str, r.body.Get("access_token").Str}
}

func (w *world) anonymous() *client { return &client{w: w} }

type answer struct {
	status int
	body   gjson.Result
}

func (c *client) do(method, path string, body any) answer {
	c.w.t.Helper()
	var raw []byte
	if body != nil {
		var err error
		raw, err = json.Marshal(body)
		require.NoError(c.w.t, err)
	}
	req := httptest.NewRequest(method, path, bytes.NewReader(raw))
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	w := httptest.NewRecorder()
	c.w.handler.ServeHTTP(w, req)
	require.Equal(c.w.t, "application/json", w.Header().Get("Content-Type"), "%s %s: %s", method, path, w.Body)
	return answer{w.Code, gjson.ParseBytes(w.Body.Bytes())}
}

// path joins segments below /_matrix/client/v3.
func path(segments ...string) string { return "/_matrix/client/v3" + peer.Path(segments...) }

// ok is do for a request that must succeed.
func (c *client) ok(method, path string, body any) gjson.Result {
	c.w.t.Helper()
	r := c.do(method, path, body)
	require.Equal(c.w.t, http.StatusOK, r.status, "%s %s: %s", method, path, r.body.Raw)
	return r.body
}

// refused is do for a request that must fail, with an errcode.
func (c *client) refused(status int, errcode, method, path string, body any) {
	c.w.t.Helper()
	r := c.do(method, path, body)
	require.Equal(c.w.t, status, r.status, "%s %s: %s", method, path, r.body.Raw)
	require.Equal(c.w.t, errcode, r.body.Get("errcode").Str, r.body.Raw)
}

func (c *client) createRoom(body map[string]any) string {
	c.w.t.Helper()
	return c.ok(http.MethodPost, path("createRoom"), body).Get("room_id").Str
}

func (c *client) say(roomID, text string) string {
	c.w.t.Helper()
	return c.ok(http.MethodPut, path("rooms", roomID, "send", "m.room.message", rand.Text()), map[string]any{"msgtype": "m.text", "body": text}).Get("event_id").Str
}

func (c *client) sync(params ...string) gjson.Result {
	c.w.t.Helper()
	query := url.Values{}
	for i := 0; i < len(params); i += 2 {
		query.Set(params[i], params[i+1])
	}
	return c.ok(http.MethodGet, path("sync")+"?"+query.Encode(), nil)
}

// ids are the event IDs of a list of events.
func ids(events gjson.Result) (ids []string) {
	for _, e := range events.Array() {
		ids = append(ids, e.Get("event_id").Str)
	}
	return ids
}

// find is the event of a type in a list of events.
func find(events gjson.Result, eventType, stateKey string) gjson.Result {
	for _, e := range slices.Backward(events.Array()) {
		if e.Get("type").Str == eventType && e.Get("state_key").Str == stateKey {
			return e
		}
	}
	return gjson.Result{}
}
