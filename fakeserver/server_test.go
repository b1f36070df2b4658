package fakeserver_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/fakeserver"
	"countersign/matrix"
)

func TestStartNeedsItsConfiguration(t *testing.T) {
	t.Parallel()
	whole := newWorld(t).config()
	for part, c := range map[string]fakeserver.Config{
		"Host":      {Issue: whole.Issue, Transport: whole.Transport},
		"Issue":     {Host: whole.Host, Transport: whole.Transport},
		"Transport": {Host: whole.Host, Issue: whole.Issue},
	} {
		_, err := fakeserver.Start(c)
		require.ErrorContains(t, err, part)
	}
	whole.ListenAddr = "192.0.2.1"
	_, err := fakeserver.Start(whole)
	require.ErrorContains(t, err, "192.0.2.1")
}

func TestNamesAndKeysAreUnique(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	names, keys := map[matrix.ServerName]bool{}, map[matrix.KeyID]bool{}
	for range 20 {
		s, err := fakeserver.Start(w.config())
		require.NoError(t, err)
		require.False(t, names[s.Name()] || keys[s.Signer().KeyID])
		names[s.Name()], keys[s.Signer().KeyID] = true, true
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
	}
}

func TestRequestsAreCheckedAndRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hs, fs := w.server(t), w.server(t)
	bob := user(t, fs, "bob")
	account := bob.Account().Signer()
	ask := func(r fakeserver.Request) *fakeserver.Response {
		r.Destination, r.Method, r.URI = fs.Name(), http.MethodGet, "/_matrix/federation/v1/query/profile?user_id=x"
		answer, err := hs.DoRequest(ctx(t), r)
		require.NoError(t, err)
		return answer
	}
	for name, r := range map[string]fakeserver.Request{
		"unsigned":             {Unsigned: true},
		"another scheme":       {Authorization: "Bearer x"},
		"an account key":       {Signer: &account},
		"another destination":  {SignedFor: "elsewhere.invalid"},
		"an unknown server":    {Authorization: `X-Matrix origin="nowhere.invalid",destination="` + string(fs.Name()) + `",key="ed25519:1",sig="AA"`},
		"a signature too many": {Authorization: "X-Matrix x"},
	} {
		answer := ask(r)
		require.Equal(t, http.StatusUnauthorized, answer.Status, name)
		require.Equal(t, "M_UNAUTHORIZED", answer.ErrCode(), name)
	}
	require.Equal(t, http.StatusNotFound, ask(fakeserver.Request{}).Status) // there is no user x
	profiles := fs.Transcript().Exchanges(fakeserver.Is(fakeserver.OpProfile))
	require.Len(t, profiles, 7)
	for _, e := range profiles[:6] {
		require.NotEmpty(t, e.Auth)
	}
	require.Empty(t, profiles[6].Auth)
	require.Equal(t, hs.Name(), profiles[6].Peer)

	for _, path := range []string{"/_matrix/federation/v1/nothing", "/_matrix/federation/v1//send", "/", "/_matrix/federation/v1/send/1"} {
		r, err := hs.Do(ctx(t), fs.Name(), http.MethodGet, path, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, r.Status, path)
		require.Equal(t, "M_UNRECOGNIZED", r.ErrCode(), path)
		_, err = fs.WaitRequest(ctx(t), func(e fakeserver.Exchange) bool { return e.URI == path && e.Answered() })
		require.NoError(t, err)
	}
}

func TestServerKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hs, fs := w.server(t), w.server(t)
	for _, path := range []string{"/_matrix/key/v2/server", "/_matrix/key/v2/server/ed25519:x", "/_matrix/key/v2/query/" + string(fs.Name())} {
		r, err := hs.DoRequest(ctx(t), fakeserver.Request{Destination: fs.Name(), Method: http.MethodGet, URI: path, Unsigned: true})
		require.NoError(t, err)
		body := r.Body
		if docs := r.Get("server_keys"); docs.Exists() {
			body = []byte(docs.Get("0").Raw)
		}
		keys, err := matrix.ParseServerKeys(body)
		require.NoError(t, err)
		require.Equal(t, fs.Name(), keys.ServerName)
		require.Contains(t, keys.VerifyKeys, fs.Signer().KeyID)
	}
	r, err := hs.Do(ctx(t), fs.Name(), http.MethodPost, "/_matrix/key/v2/query", map[string]any{"server_keys": map[string]any{"other.invalid": map[string]any{}}})
	require.NoError(t, err)
	require.Empty(t, r.Get("server_keys").Array())

	long := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	fs.EditKeyDocument(func(k matrix.ServerKeys) matrix.ServerKeys {
		k.ValidUntil = long
		return k
	})
	r, err = hs.Do(ctx(t), fs.Name(), http.MethodGet, "/_matrix/key/v2/server", nil)
	require.NoError(t, err)
	keys, err := matrix.ParseServerKeys(r.Body)
	require.NoError(t, err)
	require.True(t, keys.ValidUntil.Equal(long))
}

func TestOverride(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hs, fs := w.server(t), w.server(t)
	version := func() *fakeserver.Response {
		r, err := hs.Do(ctx(t), fs.Name(), http.MethodGet, "/_matrix/federation/v1/version", nil)
		require.NoError(t, err)
		return r
	}
	first := fs.Override(fakeserver.OpVersion, fakeserver.EditJSON(fakeserver.Edit{Path: "server.version", JSON: `"2"`}))
	require.Equal(t, "2", version().Get("server.version").String())
	second := fs.Override(fakeserver.OpVersion, fakeserver.With(fakeserver.Errorf(http.StatusTeapot, "M_TEA", "no")))
	require.Equal(t, http.StatusTeapot, version().Status)
	second()
	require.Equal(t, "2", version().Get("server.version").String())
	first()
	require.Equal(t, "1", version().Get("server.version").String())
	require.Len(t, fs.Transcript().Exchanges(fakeserver.Is(fakeserver.OpVersion)), 4)
}

// Close ends what hangs, and who waits.
func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hs := w.server(t)
	fs, err := fakeserver.Start(w.config())
	require.NoError(t, err)
	fs.Override(fakeserver.OpVersion, fakeserver.With(fakeserver.Answer{Manner: fakeserver.Hang}))
	var group sync.WaitGroup
	group.Go(func() {
		_, err := hs.Do(ctx(t), fs.Name(), http.MethodGet, "/_matrix/federation/v1/version", nil)
		require.Error(t, err)
	})
	group.Go(func() {
		_, err := fs.WaitPDU(ctx(t), func(fakeserver.PDU) bool { return false })
		require.ErrorIs(t, err, fakeserver.ErrClosed)
	})
	group.Go(func() {
		_, err := fs.WaitRequest(ctx(t), func(fakeserver.Exchange) bool { return false })
		require.ErrorIs(t, err, fakeserver.ErrClosed)
	})
	_, err = fs.WaitRequest(ctx(t), fakeserver.Is(fakeserver.OpVersion))
	require.NoError(t, err)
	started := time.Now()
	require.NoError(t, fs.Close())
	require.Less(t, time.Since(started), time.Second)
	group.Wait()

	soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = hs.WaitEDU(soon, func(fakeserver.EDU) bool { return false })
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = hs.WaitInvite(soon, func(fakeserver.Invite) bool { return false })
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// Clients keep connections in reserve on which they have asked nothing yet.
func TestCloseDoesNotWaitForUnusedConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fs, err := fakeserver.Start(w.config())
	require.NoError(t, err)
	conn, err := tls.Dial("tcp", string(fs.Name()), w.transport.TLSClientConfig)
	require.NoError(t, err)
	defer conn.Close()
	started := time.Now()
	require.NoError(t, fs.Close())
	require.Less(t, time.Since(started), time.Second)
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	v := matrix.RoomVersionMSC4243()
	p := newPair(t, v, fakeserver.RoomOptions{})
	var mu sync.Mutex
	var swept []string
	p.hs.OnPDU(func(pdu fakeserver.PDU) {
		mu.Lock()
		defer mu.Unlock()
		swept = append(swept, string(pdu.Via)+" "+pdu.Type())
	})
	require.NoError(t, p.of.SendEDU(ctx(t), "m.typing", map[string]any{"typing": true}))
	edu, err := p.hs.WaitEDU(ctx(t), func(e fakeserver.EDU) bool { return e.Type == "m.typing" })
	require.NoError(t, err)
	require.JSONEq(t, `{"typing":true}`, string(edu.Content))
	require.Equal(t, p.fs.Name(), edu.From)

	e, err := p.of.NewEvent(p.bob, fakeserver.Message("hello"))
	require.NoError(t, err)
	odd, err := p.of.Forge(p.bob, fakeserver.Message("odd"), fakeserver.Forgery{Edits: []fakeserver.Edit{{Path: "content.n", JSON: "1E3"}}})
	require.NoError(t, err)
	result, err := p.fs.SendTransaction(ctx(t), p.hs.Name(), []json.RawMessage{e.JSON(), odd.PDU, []byte(`{"type":"x","room_id":"!nowhere"}`)}, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, result.Response.Status)
	require.Empty(t, result.Errors[e.ID()])
	require.Contains(t, result.Errors, e.ID())
	require.NotContains(t, result.Errors, odd.EventID) // it has no ID that a receiver could compute

	pdu, err := p.hs.WaitPDU(ctx(t), func(pdu fakeserver.PDU) bool { return pdu.Get("content.body").String() == "odd" })
	require.NoError(t, err)
	require.ErrorIs(t, pdu.Err, matrix.ErrNotCanonical)
	require.Equal(t, string(odd.PDU), string(pdu.Raw), "the bytes must arrive as they were sent")
	mu.Lock()
	defer mu.Unlock()
	require.Contains(t, swept, "send m.room.message")
}

func TestTranscript(t *testing.T) {
	t.Parallel()
	p := newPair(t, matrix.RoomVersion12(), fakeserver.RoomOptions{})
	_, err := p.of.Send(ctx(t), p.bob, fakeserver.Message("a body that is easy to find"))
	require.NoError(t, err)
	text := p.hs.Transcript().String()
	for _, part := range []string{
		"transcript of " + string(p.hs.Name()),
		"<- " + string(p.fs.Name()) + " PUT /_matrix/federation/v1/send/",
		`"body": "a body that is easy to find"`,
		"-> " + string(p.fs.Name()) + " GET /_matrix/key/v2/server",
		"    200 after ",
	} {
		require.Contains(t, text, part)
	}
	require.Contains(t, p.fs.Transcript().String(), "GET /_matrix/key/v2/server [auth: none needed]")
	some := p.hs.Transcript().Print(fakeserver.Is(fakeserver.OpSend))
	require.Equal(t, 1, strings.Count(some, "PUT"))
}

func TestUseCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hs, fs := w.server(t), w.server(t)
	other, err := w.issue("elsewhere.invalid")
	require.NoError(t, err)
	fs.UseCertificate(other)
	_, err = hs.Do(ctx(t), fs.Name(), http.MethodGet, "/_matrix/federation/v1/version", nil)
	require.ErrorContains(t, err, "certificate")
}

// A fake server must be listening within 5 ms.
func BenchmarkStart(b *testing.B) {
	w := newWorld(b)
	c := w.config()
	c.Ports = nil
	for b.Loop() {
		s, err := fakeserver.Start(c)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "ms/start")
}

// An honest event goes through the same builder as forged ones.
func BenchmarkNewEvent(b *testing.B) {
	p := newPair(b, matrix.RoomVersionMSC4243(), fakeserver.RoomOptions{})
	for b.Loop() {
		if _, err := p.of.NewEvent(p.bob, fakeserver.Message("hello")); err != nil {
			b.Fatal(err)
		}
	}
}
