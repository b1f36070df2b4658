package fed_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

// plain sends a request without what Client adds to it.
func plain(t *testing.T, n *network, to *homeserver, method, path, authorization string, body []byte) (int, gjson.Result) {
	client := &http.Client{
		Timeout: deadline, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.pool}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r, err := http.NewRequest(method, "https://"+string(to.name)+path, bytes.NewReader(body))
	require.NoError(t, err)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	response, err := client.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, gjson.ParseBytes(answer)
}

func TestRequestsMustBeSigned(t *testing.T) {
	n := newNetwork(t)
	hs1, hs2 := n.start(t), n.start(t)
	const path = "/_matrix/federation/unstable/org.matrix.msc4243/query/accounts"
	body := []byte(`{}`)
	sign := func(r matrix.FederationRequest, s matrix.Signer) string {
		authorization, err := r.Authorization(s)
		require.NoError(t, err)
		return authorization
	}
	good := matrix.FederationRequest{Method: http.MethodPost, URI: path, Origin: hs2.name, Destination: hs1.name, Content: body}
	status, _ := plain(t, n, hs1, http.MethodPost, path, sign(good, hs2.key), body)
	require.Equal(t, http.StatusOK, status)

	elsewhere, foreign, other := good, good, good
	elsewhere.Destination = "elsewhere"
	foreign.Origin = hs1.name
	other.Content = []byte(`{"account_keys":[]}`)
	account, err := matrix.NewAccount()
	require.NoError(t, err)
	wrongID := hs2.key
	wrongID.KeyID = "ed25519:other"
	wrongKey := hs2.key
	wrongKey.Key = account.Signer().Key
	for name, authorization := range map[string]string{
		"no signature":           "",
		"another scheme":         "Bearer x",
		"garbage":                "X-Matrix origin=,",
		"another destination":    sign(elsewhere, hs2.key),
		"this server as origin":  sign(foreign, hs2.key),
		"another body":           sign(other, hs2.key),
		"an unknown key":         sign(good, wrongID),
		"another private key":    sign(good, wrongKey),
		"an account key":         sign(good, account.Signer()),
		"a server without a key": strings.Replace(sign(good, hs2.key), string(hs2.name), "localhost:1", 1),
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := plain(t, n, hs1, http.MethodPost, path, authorization, body)
			require.Equal(t, http.StatusUnauthorized, status)
			require.NotEmpty(t, answer.Get("errcode").Str)
		})
	}
	status, answer := plain(t, n, hs1, http.MethodGet, path, sign(good, hs2.key), nil)
	require.Equal(t, http.StatusMethodNotAllowed, status)
	require.Equal(t, "M_UNRECOGNIZED", answer.Get("errcode").Str)
	for _, path := range []string{"/", "/_matrix/federation/v1/unknown", "/_matrix/federation//v1/version", "/x/../y"} {
		status, answer = plain(t, n, hs1, http.MethodGet, path, "", nil)
		require.Equal(t, http.StatusNotFound, status, path)
		require.Equal(t, "M_UNRECOGNIZED", answer.Get("errcode").Str)
	}
}

func TestTransactionLimits(t *testing.T) {
	n := newNetwork(t)
	hs1, hs2 := n.start(t), n.start(t)
	send := func(body []byte) error {
		_, err := hs2.client.Call(background, hs1.name, peer.Call{
			Method: http.MethodPut, Path: "/_matrix/federation/v1" + peer.Path("send", fmt.Sprint(transactions.Add(1))), Body: body,
		})
		return err
	}
	list := func(n int, element string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
	}
	require.NoError(t, send([]byte(`{}`)))
	require.NoError(t, send([]byte(`{"pdus":`+list(50, `{}`)+`,"edus":`+list(100, `{"edu_type":"x","content":{}}`)+`}`)))
	requireRefused(t, send([]byte(`{"pdus":`+list(51, `{}`)+`}`)), http.StatusBadRequest)
	requireRefused(t, send([]byte(`{"edus":`+list(101, `{}`)+`}`)), http.StatusBadRequest)
	requireRefused(t, send([]byte(`{"pdus":{}}`)), http.StatusBadRequest)
	requireRefused(t, send([]byte(`[]`)), http.StatusBadRequest)
	huge := []byte(`{"x":"` + strings.Repeat("x", 13<<20) + `"}`)
	requireRefused(t, send(huge), http.StatusRequestEntityTooLarge)
}

// TestHostilePeersCostBoundedTime has the other server hang, stream, and answer with anything.
func TestHostilePeersCostBoundedTime(t *testing.T) {
	n := newNetwork(t)
	hs1, hs2 := n.start(t), n.start(t)
	release := make(chan struct{})
	defer close(release)
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"hang": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-release:
			}
		},
		"endless body": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
					return
				}
			}
		},
		"not JSON": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"empty":    func(http.ResponseWriter, *http.Request) {},
		"204":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere/", http.StatusFound)
		},
		"500 with HTML": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); fmt.Fprint(w, "<html>") },
		"null":          func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "null") },
		"reset": func(w http.ResponseWriter, _ *http.Request) {
			if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = c.Close()
			} else {
				panic(http.ErrAbortHandler)
			}
		},
	} {
		hs2.answerWith(func(w http.ResponseWriter, r *http.Request) bool { answer(w, r); return true })
		began := time.Now()
		_, err := hs1.client.Call(background, hs2.name, peer.Call{
			Method: http.MethodGet, Path: "/_matrix/federation/v1/version", Timeout: 300 * time.Millisecond, MaxAnswer: 1 << 20,
		})
		if name != "null" {
			require.Error(t, err, name)
		}
		require.Less(t, time.Since(began), 5*time.Second, name)
		hs1.client.Forgive(hs2.name)
	}
}

// TestBackoffIsSharedByAllKindsOfRequests is DOS-01 and DOS-02 of the catalogue: a domain that fails is
// left alone, however many users of it join however many rooms.
func TestBackoffIsSharedByAllKindsOfRequests(t *testing.T) {
	v := matrix.RoomVersionMSC4243()
	n := newNetwork(t)
	hs1, hs2, victim := n.start(t), n.start(t), n.start(t)
	victim.answerWith(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	began := time.Now()
	for range 3 {
		id := hs1.create(v, "alice", joinRules("public"))
		hs2.join(id, "bob", hs1)
		m, _ := hs2.engine.Membership(id, hs2.inRoom(v, "bob"))
		stored, _ := hs2.engine.Event(id, m.EventID)
		tip := stored.Event
		for range 20 {
			fake, err := matrix.NewAccount()
			require.NoError(t, err)
			user := fake.Key().UserID(victim.name)
			state := hs2.current(id)
			join := []byte(`{"membership":"join"}`)
			p := matrix.ProtoEvent{
				Type: "m.room.member", StateKey: matrix.StateKey(string(user)), Sender: user, RoomID: id, Content: join,
				PrevEvents: []string{tip.ID()}, Depth: tip.Depth() + 1, OriginServerTS: time.Now().UnixMilli(),
			}
			for _, place := range matrix.AuthEventTuples(p.Type, p.StateKey, user, join) {
				if at := state.Get(place); at != "" {
					p.AuthEvents = append(p.AuthEvents, at)
				}
			}
			e, err := p.Build(v, fake.Signer())
			require.NoError(t, err)
			hs2.deliver(hs1, e)
			require.Equal(t, "join", hs1.membership(id, user))
			require.NotEqual(t, hs1.user("x"), user)
			tip = e
		}
		for i := range 40 {
			hs1.say(id, "alice", fmt.Sprint(i))
		}
	}
	victim.requests.mutex.Lock()
	defer victim.requests.mutex.Unlock()
	// Two kinds of requests may be under way when a pause begins, and the pauses double.
	pauses := 1
	for total := 500 * time.Millisecond; total < time.Since(began); total *= 2 {
		pauses++
	}
	require.LessOrEqual(t, len(victim.requests.paths), 4+2*pauses, "%v", victim.requests.paths)
}

// TestKeyDocument checks what other servers are given.
func TestKeyDocument(t *testing.T) {
	n := newNetwork(t)
	hs := n.start(t)
	status, doc := plain(t, n, hs, http.MethodGet, "/_matrix/key/v2/server", "", nil)
	require.Equal(t, http.StatusOK, status)
	keys, err := matrix.ParseServerKeys([]byte(doc.Raw))
	require.NoError(t, err)
	require.Equal(t, hs.name, keys.ServerName)
	require.Contains(t, keys.VerifyKeys, hs.key.KeyID)
	require.Greater(t, time.Until(keys.ValidUntil), time.Hour)
	require.True(t, json.Valid([]byte(doc.Raw)))
}
