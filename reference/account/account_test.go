package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
	"countersign/reference/store"
)

// clock is a clock that tests move.
type clock struct {
	mutex sync.Mutex
	now   time.Time
}

func (c *clock) time() time.Time {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.now = c.now.Add(d)
}

// peers answers calls with a function and records their bodies.
type peers struct {
	mutex  sync.Mutex
	answer func(server matrix.ServerName, body []byte) ([]byte, error)
	calls  []gjson.Result
	// paths are the server and the path of each call.
	paths []string
}

func (p *peers) Call(_ context.Context, server matrix.ServerName, call peer.Call) ([]byte, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.calls = append(p.calls, gjson.ParseBytes(call.Body))
	p.paths = append(p.paths, string(server)+" "+call.Path)
	return p.answer(server, call.Body)
}

func (p *peers) count() int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return len(p.calls)
}

func (p *peers) asked() []string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return append([]string(nil), p.paths...)
}

type fixture struct {
	*Directory
	peers *peers
	clock *clock
	dir   string
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{peers: &peers{}, clock: &clock{now: time.Unix(1e9, 0)}, dir: t.TempDir()}
	f.open(t)
	t.Cleanup(func() { f.shut(t) })
	return f
}

func (f *fixture) open(t *testing.T) {
	db, err := store.Open(f.dir)
	require.NoError(t, err)
	f.Directory = New(Options{DB: db, ServerName: "here", Peers: f.peers, Logger: slog.New(slog.DiscardHandler), Clock: f.clock.time})
}

func (f *fixture) shut(t *testing.T) {
	f.Close()
	require.NoError(t, f.DB.Close())
}

func newAccount(t *testing.T) matrix.Account {
	a, err := matrix.NewAccount()
	require.NoError(t, err)
	return a
}

// signed is an object signed by an account key.
func signed(t *testing.T, a matrix.Account, object map[string]any) json.RawMessage {
	b, err := matrix.SignJSON(marshal(object), a.Signer())
	require.NoError(t, err)
	return b
}

func named(t *testing.T, a matrix.Account, name string) json.RawMessage {
	return signed(t, a, map[string]any{"account_name": name, "domain": "there"})
}

func erased(t *testing.T, a matrix.Account) json.RawMessage {
	return signed(t, a, map[string]any{"errcode": "M_ERASED", "domain": "there"})
}

// respond has every call answered with some entries.
func (f *fixture) respond(entries map[string]json.RawMessage, erasure map[string]any) {
	f.peers.answer = func(matrix.ServerName, []byte) ([]byte, error) {
		answer := map[string]any{"account_keys": entries}
		if erasure != nil {
			answer["erasure"] = erasure
		}
		return marshal(answer), nil
	}
}

// TestAnswersChangeStates is matrix M2 of the catalogue: what an answer does to a key in each state.
func TestAnswersChangeStates(t *testing.T) {
	a, other := newAccount(t), newAccount(t)
	key := a.Key().String()
	verified, gone := Entry{Verified, "@bob:there"}, Entry{State: Erased}
	tampered := json.RawMessage(strings.Replace(string(named(t, a, "bob")), "bob", "eve", 1))
	withExtra := json.RawMessage(strings.Replace(string(named(t, a, "bob")), `{`, `{"extra":1,`, 1))
	serverSigned, err := matrix.SignJSON([]byte(`{"account_name":"bob","domain":"there"}`), matrix.Signer{Entity: "there", KeyID: "ed25519:1", Key: matrix.AccountFromSeed(other.Seed()).Signer().Key})
	require.NoError(t, err)
	cases := []struct {
		name  string
		entry json.RawMessage
		// fromUnverified and fromVerified are what the key is afterwards; Erased stays Erased.
		fromUnverified, fromVerified Entry
	}{
		{"S1 valid", named(t, a, "bob"), verified, verified},
		{"S2 another name", named(t, a, "alice"), Entry{Verified, "@alice:there"}, verified},
		{"S3 unsigned", json.RawMessage(`{"account_name":"bob","domain":"there"}`), Entry{}, verified},
		{"S3 empty signatures", json.RawMessage(`{"account_name":"bob","domain":"there","signatures":{}}`), Entry{}, verified},
		{"S4 signed by another key", named(t, other, "bob"), Entry{}, verified},
		{"S4 signed by the server", serverSigned, Entry{}, verified},
		{"S5 name edited", tampered, Entry{}, verified},
		{"S6 another domain", signed(t, a, map[string]any{"account_name": "bob", "domain": "elsewhere"}), Entry{}, verified},
		{"S6 no domain", signed(t, a, map[string]any{"account_name": "bob"}), Entry{}, verified},
		{"S7 empty name", named(t, a, ""), Entry{}, verified},
		{"S7 name with colon", named(t, a, "a:b"), Entry{}, verified},
		{"S7 name with sigil", named(t, a, "@bob"), Entry{}, verified},
		{"S7 name with NUL", named(t, a, "bo\x00b"), Entry{}, verified},
		{"S7 name too long", named(t, a, strings.Repeat("a", 300)), Entry{}, verified},
		{"S7 name not a string", signed(t, a, map[string]any{"account_name": 7, "domain": "there"}), Entry{}, verified},
		{"S8 signed extra", signed(t, a, map[string]any{"account_name": "bob", "domain": "there", "x": 1}), verified, verified},
		{"S9 unsigned extra", withExtra, Entry{}, verified},
		{"S10 unknown", json.RawMessage(`{"errcode":"M_UNKNOWN"}`), Entry{}, verified},
		{"S11 null", json.RawMessage(`null`), Entry{}, verified},
		{"S11 list", json.RawMessage(`[]`), Entry{}, verified},
		{"S11 errcode not a string", signed(t, a, map[string]any{"errcode": 1, "domain": "there"}), Entry{}, verified},
		{"S12 errcode and name", signed(t, a, map[string]any{"errcode": "M_UNKNOWN", "account_name": "bob", "domain": "there"}), Entry{}, verified},
		{"S13 erased", erased(t, a), gone, gone},
		{"SM-11 erased with a name", signed(t, a, map[string]any{"errcode": "M_ERASED", "account_name": "bob", "domain": "there"}), gone, gone},
		{"S14 erased, unsigned", json.RawMessage(`{"errcode":"M_ERASED","domain":"there"}`), Entry{}, verified},
		{"S14 erased, other key", erased(t, other), Entry{}, verified},
		{"S15 erased, no domain", signed(t, a, map[string]any{"errcode": "M_ERASED"}), Entry{}, verified},
		{"S15 erased, other domain", signed(t, a, map[string]any{"errcode": "M_ERASED", "domain": "elsewhere"}), Entry{}, verified},
	}
	user := a.Key().UserID("there")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, err := new(Directory).readAnswer(marshal(map[string]any{"account_keys": map[string]any{key: c.entry}}), "there", []matrix.UserID{user})
			require.NoError(t, err)
			for _, step := range []struct{ old, want Entry }{{Entry{}, c.fromUnverified}, {verified, c.fromVerified}, {gone, gone}} {
				got, _ := new(Directory).transition(step.old, r.said[user])
				require.Equal(t, step.want, got, "from %s", step.old.State)
			}
		})
	}
}

func TestUnsolicitedEntries(t *testing.T) {
	asked, stranger := newAccount(t), newAccount(t)
	user := asked.Key().UserID("there")
	read := func(entries map[string]json.RawMessage) (answerRead, error) {
		return new(Directory).readAnswer(marshal(map[string]any{"account_keys": entries}), "there", []matrix.UserID{user})
	}
	r, err := read(map[string]json.RawMessage{stranger.Key().String(): named(t, stranger, "carol")})
	require.NoError(t, err)
	require.Empty(t, r.said, "names are not adopted unasked")
	r, err = read(map[string]json.RawMessage{stranger.Key().String(): erased(t, stranger)})
	require.NoError(t, err)
	require.Equal(t, Erased, r.said[stranger.Key().UserID("there")].State)
	padded := asked.Key().String() + "="
	r, err = read(map[string]json.RawMessage{padded: named(t, asked, "bob")})
	require.NoError(t, err)
	require.Empty(t, r.said)

	many := map[string]json.RawMessage{asked.Key().String(): named(t, asked, "bob")}
	for range erasureLimit + 1 {
		a := newAccount(t)
		many[a.Key().String()] = erased(t, a)
	}
	r, err = read(many)
	require.Error(t, err)
	require.Len(t, r.said, 1, "more than was asked for is not taken")
}

func TestVerifyAsksEveryDomainOnce(t *testing.T) {
	f := newFixture(t)
	accounts := map[string]matrix.Account{}
	var users []matrix.UserID
	for i := range 30 {
		a := newAccount(t)
		accounts[a.Key().String()] = a
		users = append(users, a.Key().UserID(matrix.ServerName(fmt.Sprint("server", i%3))))
	}
	users = append(users, newAccount(t).Key().UserID("here"), "@name:server0")
	f.peers.answer = func(server matrix.ServerName, body []byte) ([]byte, error) {
		entries := map[string]any{}
		for i, key := range gjson.GetBytes(body, "account_keys").Array() {
			entries[key.Str] = signed(t, accounts[key.Str], map[string]any{"account_name": fmt.Sprint("user", i), "domain": server})
		}
		return marshal(map[string]any{"account_keys": entries, "erasure": map[string]any{"id": 7, "has_more": false}}), nil
	}
	f.Verify(context.Background(), users...)
	require.Len(t, f.peers.calls, 3)
	for _, user := range users[:30] {
		require.Equal(t, Verified, f.Lookup(user).State)
		name, ok := f.ClientUser(matrix.RoomVersionMSC4243(), user)
		require.True(t, ok)
		require.Contains(t, f.KeyUserIDs(name), user)
		back, err := f.RoomUser(matrix.RoomVersionMSC4243(), name)
		require.NoError(t, err)
		require.Equal(t, user.Domain(), back.Domain())
	}
	f.Verify(context.Background(), users...)
	require.Len(t, f.peers.calls, 3, "what is verified is not asked for again")
	another := newAccount(t)
	accounts[another.Key().String()] = another
	f.Verify(context.Background(), another.Key().UserID("server0"))
	require.Equal(t, int64(7), f.peers.calls[3].Get("erasure.id").Int(), "the erasure ID is kept")
}

func TestVerifyAsksInBatches(t *testing.T) {
	f := newFixture(t)
	a := newAccount(t)
	var users []matrix.UserID
	for i := range MaxKeys + 52 {
		seed := a.Seed()
		seed[0], seed[1] = byte(i), byte(i>>8)
		users = append(users, matrix.AccountFromSeed(seed).Key().UserID("there"))
	}
	f.respond(nil, nil)
	f.Verify(context.Background(), users...)
	require.Len(t, f.peers.calls, 2)
	require.Len(t, f.peers.calls[0].Get("account_keys").Array(), MaxKeys)
	require.Len(t, f.peers.calls[1].Get("account_keys").Array(), 52)
}

func TestUnverifiedKeysAreRetriedWithPauses(t *testing.T) {
	f := newFixture(t)
	a := newAccount(t)
	user := a.Key().UserID("there")
	f.respond(map[string]json.RawMessage{a.Key().String(): json.RawMessage(`{"errcode":"M_UNKNOWN"}`)}, nil)
	for range 20 {
		f.Verify(context.Background(), user)
	}
	require.Equal(t, 1, f.peers.count())
	f.clock.advance(2 * time.Second)
	f.respond(map[string]json.RawMessage{a.Key().String(): named(t, a, "bob")}, nil)
	f.Verify(context.Background(), user)
	require.Equal(t, Verified, f.Lookup(user).State)
	require.Equal(t, 2, f.peers.count())
}

func TestStatesSurviveARestart(t *testing.T) {
	f := newFixture(t)
	unverified, verified, gone := newAccount(t), newAccount(t), newAccount(t)
	f.respond(map[string]json.RawMessage{
		verified.Key().String(): named(t, verified, "bob"), gone.Key().String(): erased(t, gone),
	}, nil)
	f.Verify(context.Background(), unverified.Key().UserID("there"), verified.Key().UserID("there"), gone.Key().UserID("there"))
	local, err := f.Account("alice")
	require.NoError(t, err)
	f.shut(t)
	f.respond(map[string]json.RawMessage{unverified.Key().String(): named(t, unverified, "late")}, nil)
	f.open(t)
	require.Equal(t, Entry{Verified, "@bob:there"}, f.Lookup(verified.Key().UserID("there")))
	require.Equal(t, Erased, f.Lookup(gone.Key().UserID("there")).State)
	again, err := f.Account("alice")
	require.NoError(t, err)
	require.Equal(t, local.Key(), again.Key())

	changed := make(chan Entry, 1)
	f.OnChange(func(_ matrix.UserID, e Entry) { changed <- e })
	require.NoError(t, f.Start())
	select {
	case e := <-changed:
		require.Equal(t, matrix.UserID("@late:there"), e.Name, "keys that were unverified are asked for again")
	case <-time.After(10 * time.Second):
		t.Fatal("the unverified key was not asked for again")
	}
}

func TestErasuresAreReadPageByPage(t *testing.T) {
	f := newFixture(t)
	var keys []matrix.Account
	for range 5 {
		keys = append(keys, newAccount(t))
	}
	f.peers.answer = func(_ matrix.ServerName, body []byte) ([]byte, error) {
		id := gjson.GetBytes(body, "erasure.id").Int()
		entries := map[string]json.RawMessage{}
		next := min(id+2, int64(len(keys)))
		for _, a := range keys[id:next] {
			entries[a.Key().String()] = erased(t, a)
		}
		return marshal(map[string]any{"account_keys": entries, "erasure": map[string]any{"id": next, "has_more": next < int64(len(keys))}}), nil
	}
	f.Verify(context.Background(), newAccount(t).Key().UserID("there"))
	require.Equal(t, 3, f.peers.count())
	for _, a := range keys {
		require.Equal(t, Erased, f.Lookup(a.Key().UserID("there")).State)
		require.Equal(t, Unverified, f.Lookup(a.Key().UserID("elsewhere")).State)
	}
	// A list that does not get anywhere is not followed.
	f.respond(nil, map[string]any{"id": 5, "has_more": true})
	f.Verify(context.Background(), newAccount(t).Key().UserID("there"))
	require.Equal(t, 4, f.peers.count())
}

func TestFailuresLeaveKeysUnverified(t *testing.T) {
	for name, answer := range map[string]func() ([]byte, error){
		"refused":        func() ([]byte, error) { return nil, &peer.Error{Status: 404, Code: "M_UNRECOGNIZED"} },
		"unreachable":    func() ([]byte, error) { return nil, errors.New("connection refused") },
		"another shape":  func() ([]byte, error) { return []byte(`[]`), nil },
		"keys as a list": func() ([]byte, error) { return []byte(`{"account_keys":[]}`), nil },
		"nothing":        func() ([]byte, error) { return []byte(`{}`), nil },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.peers.answer = func(matrix.ServerName, []byte) ([]byte, error) { return answer() }
			user := newAccount(t).Key().UserID("there")
			f.Verify(context.Background(), user)
			require.Equal(t, Unverified, f.Lookup(user).State)
			_, ok := f.ClientUser(matrix.RoomVersionMSC4243(), user)
			require.False(t, ok)
		})
	}
}

func TestConcurrentFirstUsesMintOneKey(t *testing.T) {
	f := newFixture(t)
	var group sync.WaitGroup
	keys := make([]matrix.AccountKey, 20)
	for i := range keys {
		group.Go(func() {
			a, err := f.Account("fresh")
			if err == nil {
				keys[i] = a.Key()
			}
		})
	}
	group.Wait()
	for _, k := range keys {
		require.Equal(t, keys[0], k)
	}
	other, err := f.Account("another")
	require.NoError(t, err)
	require.NotEqual(t, keys[0], other.Key())
}

// TestAnswer is matrix M1 of the catalogue: requests and what they are answered with.
func TestAnswer(t *testing.T) {
	f := newFixture(t)
	alice, err := f.Account("alice")
	require.NoError(t, err)
	key := alice.Key().String()
	unknown := newAccount(t).Key().String()
	answer := func(body string) gjson.Result {
		t.Helper()
		b, err := f.Answer([]byte(body))
		require.NoError(t, err, body)
		return gjson.ParseBytes(b)
	}
	r := answer(`{"account_keys":["` + key + `","` + unknown + `","` + key + `"],"foo":1}`)
	require.Len(t, r.Get("account_keys").Map(), 2)
	mine := r.Get("account_keys." + key)
	require.Equal(t, "alice", mine.Get("account_name").Str)
	require.Equal(t, "here", mine.Get("domain").Str)
	require.NoError(t, matrix.VerifyJSON([]byte(mine.Raw), key, matrix.AccountKeyID, alice.Key().PublicKey()))
	require.Equal(t, "M_UNKNOWN", r.Get("account_keys."+unknown+".errcode").Str)
	require.False(t, r.Get("erasure").Exists())
	for _, text := range []string{"alice", "@alice:here", "@" + key + ":here", key + "=", ""} {
		got := answer(string(marshal(map[string]any{"account_keys": []string{text}})))
		require.Equal(t, "M_UNKNOWN", got.Get("account_keys").Map()[text].Get("errcode").Str, text)
	}
	require.Empty(t, answer(`{}`).Get("account_keys").Map())
	require.Empty(t, answer(`{"account_keys":[]}`).Get("account_keys").Map())

	for _, body := range []string{
		``, `x`, `[]`, `null`, `1`, `{"account_keys":"x"}`, `{"account_keys":{}}`, `{"account_keys":null}`, `{"account_keys":[1]}`,
		`{"account_keys":[null]}`, `{"erasure":[]}`, `{"erasure":"x"}`, `{"erasure":{"id":-1}}`, `{"erasure":{"id":"1"}}`,
		`{"erasure":{"limit":1.5}}`, `{"erasure":{"limit":9007199254740993}}`, `{"erasure":{"id":1e3}}`, `{"erasure":null}`,
	} {
		_, err := f.Answer([]byte(body))
		require.Error(t, err, body)
		require.Equal(t, http.StatusBadRequest, peer.AsError(err).Status, body)
	}
	many := make([]string, MaxKeys+1)
	_, err = f.Answer(marshal(map[string]any{"account_keys": many}))
	require.Equal(t, http.StatusRequestEntityTooLarge, peer.AsError(err).Status)
}

func TestAnswerTellsOfErasures(t *testing.T) {
	f := newFixture(t)
	var keys []string
	for i := range 7 {
		name := fmt.Sprint("user", i)
		a, err := f.Account(name)
		require.NoError(t, err)
		keys = append(keys, a.Key().String())
		require.NoError(t, f.Erase(name))
		require.Equal(t, Erased, f.Lookup(a.Key().UserID("here")).State)
		again, err := f.Account(name)
		require.NoError(t, err)
		require.NotEqual(t, a.Key(), again.Key())
	}
	ask := func(body string) gjson.Result {
		b, err := f.Answer([]byte(body))
		require.NoError(t, err)
		return gjson.ParseBytes(b)
	}
	require.False(t, ask(`{"account_keys":[]}`).Get("account_keys").Get(keys[0]).Exists())
	seen := map[string]bool{}
	id, pages := int64(0), 0
	for more := true; more; pages++ {
		r := ask(fmt.Sprintf(`{"erasure":{"id":%d,"limit":3}}`, id))
		require.LessOrEqual(t, len(r.Get("account_keys").Map()), 3)
		r.Get("account_keys").ForEach(func(key, entry gjson.Result) bool {
			seen[key.Str] = true
			k, err := matrix.ParseAccountKey(key.Str)
			require.NoError(t, err)
			require.Equal(t, Entry{State: Erased}, new(Directory).readEntry(key.Str, json.RawMessage(entry.Raw), "here"))
			require.NoError(t, matrix.VerifyJSON([]byte(entry.Raw), key.Str, matrix.AccountKeyID, k.PublicKey()))
			require.False(t, entry.Get("account_name").Exists())
			return true
		})
		id, more = r.Get("erasure.id").Int(), r.Get("erasure.has_more").Bool()
	}
	require.Len(t, seen, 7)
	require.Equal(t, 3, pages)
	require.Empty(t, ask(fmt.Sprintf(`{"erasure":{"id":%d,"limit":3}}`, id)).Get("account_keys").Map())
	require.Equal(t, id, ask(`{"erasure":{"id":1000000000}}`).Get("erasure.id").Int())
	zero := ask(`{"erasure":{"id":0,"limit":0}}`)
	require.True(t, zero.Get("erasure.has_more").Bool())
	require.Empty(t, zero.Get("account_keys").Map())
	require.Equal(t, "M_ERASED", ask(`{"account_keys":["`+keys[3]+`"]}`).Get("account_keys").Get(keys[3]).Get("errcode").Str)
	both := ask(`{"account_keys":["` + keys[0] + `","` + keys[6] + `"],"erasure":{"id":0,"limit":3}}`).Get("account_keys").Map()
	require.LessOrEqual(t, len(both), 5)
	require.Contains(t, both, keys[6])
}
