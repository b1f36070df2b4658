package participant

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/defect"
	"countersign/reference/peer"
	"countersign/reference/store"
)

func openKeys(t *testing.T, dir string) (*Keys, func()) {
	t.Helper()
	db, err := store.Open(dir)
	require.NoError(t, err)
	k, err := NewKeys(db, defect.Set{})
	require.NoError(t, err)
	return k, func() { require.NoError(t, db.Close()) }
}

// TestKeysArePerRoomAndDurable mints, retires and replaces keys across restarts.
func TestKeysArePerRoomAndDurable(t *testing.T) {
	dir, v := t.TempDir(), matrix.RoomVersionMSC4345()
	k, stop := openKeys(t, dir)
	var group sync.WaitGroup
	minted := make([]matrix.ServerKey, 8)
	for i := range minted {
		group.Go(func() {
			own, err := k.Mint("!a", v)
			if err == nil {
				minted[i] = own.Key()
			}
		})
	}
	group.Wait()
	for _, key := range minted {
		require.Equal(t, minted[0], key, "concurrent first uses get one key")
	}
	other, err := k.Mint("!b", v)
	require.NoError(t, err)
	require.NotEqual(t, minted[0], other.Key())
	require.NoError(t, k.NoteRequest(minted[0].Name(), "hs2"))
	stop()

	k, stop = openKeys(t, dir)
	own, ok := k.Current("!a")
	require.True(t, ok)
	require.Equal(t, minted[0], own.Key())
	require.Equal(t, matrix.ServerName("hs2"), own.Through)
	require.Equal(t, v.ID, own.Version)
	require.True(t, own.Requested())
	require.NoError(t, k.Retire(own.Key().Name()))
	_, ok = k.Current("!a")
	require.False(t, ok)
	latest, ok := k.Latest("!a")
	require.True(t, ok)
	require.True(t, latest.Retired)
	stop()

	k, stop = openKeys(t, dir)
	defer stop()
	next, err := k.Mint("!a", v)
	require.NoError(t, err)
	require.NotEqual(t, minted[0], next.Key())
	require.False(t, next.Requested())
	old, ok := k.Find(minted[0].Name())
	require.True(t, ok, "a retired key stays known")
	require.True(t, old.Retired)
	require.NoError(t, k.Retire(minted[0].Name()))
	latest, _ = k.Latest("!a")
	require.Equal(t, next.Key(), latest.Key(), "what becomes of an old key does not touch the new one")
}

// mayKnow is a Discloser for some servers.
type mayKnow map[matrix.ServerName]bool

func (m mayKnow) MayKnow(server matrix.ServerName, _ Own) bool { return m[server] }

func TestAnswerListsWhatTheAskerMayKnow(t *testing.T) {
	k, stop := openKeys(t, t.TempDir())
	defer stop()
	a, err := k.Mint("!a", matrix.RoomVersionMSC4345())
	require.NoError(t, err)
	b, err := k.Mint("!b", matrix.RoomVersionMSC4345())
	require.NoError(t, err)
	retired, err := k.Mint("!c", matrix.RoomVersionMSC4345())
	require.NoError(t, err)
	require.NoError(t, k.Retire(retired.Key().Name()))
	query := func(keys ...matrix.ServerKey) []byte {
		named := map[string]any{}
		for _, key := range keys {
			named[key.String()] = struct{}{}
		}
		body, err := json.Marshal(map[string]any{"server_keys": map[string]any{"hs1": named}})
		require.NoError(t, err)
		return body
	}
	answered := func(asker matrix.ServerName, body []byte) map[matrix.ServerName]bool {
		answer, err := k.Answer("hs1", asker, body, mayKnow{"friend": true})
		require.NoError(t, err)
		require.NotContains(t, string(answer), "valid_until_ts")
		return advertised(answer, "hs1")
	}
	require.Equal(t, map[matrix.ServerName]bool{a.Key().Name(): true}, answered("friend", query(a.Key())))
	require.Equal(t, map[matrix.ServerName]bool{a.Key().Name(): true, b.Key().Name(): true}, answered("friend", nil))
	require.Equal(t, map[matrix.ServerName]bool{a.Key().Name(): true, b.Key().Name(): true}, answered("friend", query()))
	require.Empty(t, answered("friend", query(retired.Key())), "a revoked key is nobody's")
	require.Empty(t, answered("stranger", query(a.Key())))
	require.Empty(t, answered("friend", []byte(`{"server_keys":{"hs2":{}}}`)), "this server is no notary")
	for _, body := range []string{`{}`, `[]`, `{"server_keys":[]}`, `nonsense`} {
		_, err := k.Answer("hs1", "friend", []byte(body), mayKnow{})
		require.Equal(t, 400, peer.AsError(err).Status, body)
	}
}

func TestAnswersAreReadInEveryShape(t *testing.T) {
	pair := matrix.ServerKeyPairFromSeed(make([]byte, 32))
	key := pair.Key()
	standard := matrix.EncodeBase64(key[:])
	for body, ok := range map[string]bool{
		`{"server_keys":[{"server_name":"hs","verify_keys":{"ed25519:1":{"key":"` + key.String() + `"}}}]}`:  true,
		`{"server_keys":[{"server_name":"hs","verify_keys":{"ed25519:1":{"key":"` + standard + `"}}}]}`:      true,
		`{"server_keys":[{},{"server_name":"hs","verify_keys":{"ed25519:x":{"key":"` + standard + `="}}}]}`:  true,
		`{"server_name":"hs","verify_keys":{"ed25519:1":{"key":"` + standard + `"}}}`:                        true,
		`{"server_keys":[{"server_name":"other","verify_keys":{"ed25519:1":{"key":"` + standard + `"}}}]}`:   false,
		`{"server_keys":[{"server_name":"hs","old_verify_keys":{"ed25519:1":{"key":"` + standard + `"}}}]}`:  false,
		`{"server_keys":[{"server_name":"hs","verify_keys":{"ed25519:1":{"key":"` + standard[:42] + `"}}}]}`: false,
		`{"server_keys":"` + standard + `"}`: false,
		`[]`:                                 false,
		`{"server_keys":[{"server_name":"hs","verify_keys":[1]}]}`: false,
	} {
		require.Equal(t, ok, advertised([]byte(body), "hs")[key.Name()], body)
	}
}

// TestASilentDomainKeepsOneEventWaiting has many events of servers whose domain does not answer, and others
// besides.
func TestASilentDomainKeepsOneEventWaiting(t *testing.T) {
	k, stop := openKeys(t, t.TempDir())
	defer stop()
	synctest.Test(t, func(t *testing.T) {
		awake := make(chan struct{})
		p := &silentPeer{awake: awake}
		d := NewDomains(DomainsOptions{ServerName: "hs1", Keys: k, Peers: p, Logger: slog.New(slog.DiscardHandler), Clock: time.Now})
		defer d.Close()
		claim := func(i byte, domain matrix.ServerName) Claim {
			seed := make([]byte, 32)
			seed[0] = i
			return Claim{matrix.ServerKeyPairFromSeed(seed).Key().Name(), domain}
		}
		takes := func(claims ...Claim) time.Duration {
			began := time.Now()
			d.Verify(t.Context(), claims...)
			return time.Since(began)
		}
		require.Equal(t, patience, takes(claim(0, "silent")))
		for i := range byte(50) {
			require.Zero(t, takes(claim(0, "silent"), claim(i, "silent")), "no event waits for the domain again")
		}
		require.Equal(t, patience, takes(claim(0, "mute"), claim(0, "dumb"), claim(1, "dumb")), "several are waited for together")
		require.Zero(t, takes(claim(0, "well")), "a domain that answers is waited for, and answers at once")
		require.True(t, d.Verified(claim(0, "well")))

		close(awake)
		time.Sleep(2 * lastRetry)
		require.True(t, d.Verified(claim(49, "silent")), "the questions go on")
		d.Verify(t.Context(), claim(50, "silent"))
		require.True(t, d.Verified(claim(50, "silent")), "and the domain is waited for again")
		require.Equal(t, int64(1), p.most.Load(), "one question at a time is under way")
	})
}

// silentPeer says that any key is its own: as the domain "well" always, and otherwise once it is awake.
type silentPeer struct {
	awake     chan struct{}
	now, most atomic.Int64
}

func (p *silentPeer) Call(ctx context.Context, server matrix.ServerName, call peer.Call) ([]byte, error) {
	if server == "silent" {
		p.most.Store(max(p.most.Load(), p.now.Add(1)))
		defer p.now.Add(-1)
	}
	if server != "well" {
		ctx, cancel := context.WithTimeout(ctx, call.Timeout)
		defer cancel()
		select {
		case <-p.awake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	keys := map[string]any{}
	for key := range gjson.GetBytes(call.Body, "server_keys."+string(server)).Map() {
		keys["ed25519:"+key] = map[string]string{"key": key}
	}
	return json.Marshal(map[string]any{"server_name": server, "verify_keys": keys})
}

// peers answers key queries with a function.
type peers struct {
	mutex  sync.Mutex
	asked  []string
	answer func(matrix.ServerName) ([]byte, error)
}

func (p *peers) Call(_ context.Context, server matrix.ServerName, call peer.Call) ([]byte, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	gjson.GetBytes(call.Body, "server_keys."+string(server)).ForEach(func(key, _ gjson.Result) bool {
		p.asked = append(p.asked, key.Str)
		return true
	})
	return p.answer(server)
}

func TestDomainsAreAskedUntilTheyConfirm(t *testing.T) {
	k, stop := openKeys(t, t.TempDir())
	defer stop()
	key := matrix.ServerKeyPairFromSeed(make([]byte, 32)).Key()
	confirming := false
	p := &peers{}
	p.answer = func(server matrix.ServerName) ([]byte, error) {
		if !confirming {
			return nil, errors.New("not now")
		}
		return json.Marshal(map[string]any{"server_name": server, "verify_keys": map[string]any{"ed25519:1": map[string]string{"key": key.String()}}})
	}
	d := NewDomains(DomainsOptions{ServerName: "hs1", Keys: k, Peers: p, Logger: slog.New(slog.DiscardHandler), Clock: time.Now})
	defer d.Close()
	verified := make(chan Claim, 1)
	d.OnVerified(func(c Claim) { verified <- c })
	claim := Claim{Key: key.Name(), Domain: "hs2"}
	ctx := context.Background()
	d.Verify(ctx, claim)
	require.False(t, d.Verified(claim))
	d.Verify(ctx, claim)
	require.Len(t, p.asked, 1, "it is not asked again at once")
	require.False(t, d.Confirm(ctx, claim))
	require.Len(t, p.asked, 2, "unless it says so itself")
	p.mutex.Lock()
	confirming = true
	p.mutex.Unlock()
	select {
	case c := <-verified:
		require.Equal(t, claim, c)
	case <-time.After(20 * time.Second):
		t.Fatal("the domain is not asked again")
	}
	require.True(t, d.Verified(claim))
	require.False(t, d.Verified(Claim{Key: key.Name(), Domain: "hs3"}), "another domain has not said so")

	own, err := k.Mint("!a", matrix.RoomVersionMSC4345())
	require.NoError(t, err)
	require.True(t, d.Verified(Claim{Key: own.Key().Name(), Domain: "hs1"}))
	require.False(t, d.Verified(Claim{Key: key.Name(), Domain: "hs1"}), "this server asks itself for nothing")
	d.Verify(ctx, Claim{Key: "no key", Domain: "hs2"}, Claim{Key: key.Name(), Domain: "hs1"}, Claim{Key: key.Name()})
	require.Len(t, p.asked, 3)
}
