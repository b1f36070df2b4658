package csapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/helpers/csapi"
	"countersign/helpers/must"
)

// must's words judge csapi's responses.
var _ must.Answer = (*csapi.Response)(nil)

type fixedServer string

func (s fixedServer) Name() string      { return "hs1" }
func (s fixedServer) ClientURL() string { return string(s) }

func serve(t *testing.T, handle http.HandlerFunc) fixedServer {
	server := httptest.NewServer(handle)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return fixedServer(server.URL)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// A server may do anything to a client: it must cost bounded time and end in a clear sentence.
func TestDoSurvivesBadServers(t *testing.T) {
	const limit = 200 * time.Millisecond
	for _, c := range []struct {
		name, says string
		handle     http.HandlerFunc
	}{
		{"hangs before the headers", "hung before the response headers", func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		}},
		{"hangs in the body", "hung within the body, after status 200 and 5 bytes", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"a":`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}},
		{"trickles without end", "hung within the body", func(w http.ResponseWriter, r *http.Request) {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					fmt.Fprint(w, " ")
					_ = http.NewResponseController(w).Flush()
				case <-r.Context().Done():
					return
				}
			}
		}},
		{"breaks the connection", "broke the connection", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				conn.Close()
			}
		}},
		{"breaks off in the body", "broke the connection within the body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "{")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client := csapi.New(t, serve(t, c.handle))
			started := time.Now()
			r, err := client.Do(t.Context(), http.MethodGet, csapi.Path("versions"), csapi.Timeout(limit))
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "GET hs1: ")
			require.Zero(t, r.Status)
			require.Less(t, time.Since(started), limit+5*time.Second)
			require.Contains(t, client.Transcript().String(), c.says)
		})
	}
}

// A caller that gives up has not seen the server fail.
func TestDoTellsACallerThatGaveUpFromAHangingServer(t *testing.T) {
	client := csapi.New(t, serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := client.Do(ctx, http.MethodGet, csapi.Path("v3", "sync"))
	require.ErrorContains(t, err, "the client gave up")
	require.NotErrorIs(t, err, csapi.ErrHung)
}

func TestSyncUntilSaysThatNothingCame(t *testing.T) {
	client := csapi.New(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if since := r.URL.Query().Get("since"); since != "" {
			<-r.Context().Done()
			return
		}
		fmt.Fprint(w, `{"next_batch":"1"}`)
	}))
	client.UserID = "@u:hs1"
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := client.SyncUntil(ctx, "event $x", func(*csapi.View) bool { return false })
	require.ErrorContains(t, err, "event $x in the /sync of @u:hs1")
	require.ErrorContains(t, err, "answers did not bring it")
}

func TestDoBoundsTheBody(t *testing.T) {
	client := csapi.New(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		chunk := strings.Repeat(" ", 1<<20)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	}))
	_, err := client.Do(t.Context(), http.MethodGet, csapi.Path("versions"))
	require.ErrorContains(t, err, "does not end")
}

func TestDoNamesAServerThatDoesNotListen(t *testing.T) {
	client := csapi.New(t, fixedServer("http://127.0.0.1:1"))
	_, err := client.Do(t.Context(), http.MethodGet, csapi.Path("versions"))
	require.ErrorContains(t, err, "does not listen")
}

func TestDoSendsWhatItIsTold(t *testing.T) {
	var observed []*csapi.Response
	transcript := &csapi.Transcript{}
	client := csapi.New(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer(w, 200, map[string]any{
			"method": r.Method, "path": r.URL.EscapedPath(), "via": r.URL.Query()["via"],
			"agent": r.UserAgent(), "authorised": r.Header.Get("Authorization") == "Bearer secret", "body": string(body),
		})
	}), csapi.RecordIn(transcript), csapi.OnResponse(func(r *csapi.Response) { observed = append(observed, r) }))
	client.AccessToken = "secret"

	r := client.Join(t, "!room/ä:x", "hs2", "hs3")
	must.Succeed(t, r)
	must.Field(t, r.JSON(), "method", "POST")
	must.Field(t, r.JSON(), "path", "/_matrix/client/v3/join/%21room%2F%C3%A4:x")
	must.Field(t, r.JSON(), "via.1", "hs3")
	must.Field(t, r.JSON(), "agent", "countersign (TestDoSendsWhatItIsTold)")
	must.Field(t, r.JSON(), "authorised", true)
	must.Field(t, r.JSON(), "body", "{}")
	require.Equal(t, []*csapi.Response{r}, observed)
	require.Equal(t, []*csapi.Response{r}, transcript.Exchanges())
	require.NotContains(t, transcript.String(), "Bearer")
}

func TestRegisterFollowsTheFlow(t *testing.T) {
	var calls atomic.Int32
	client := csapi.New(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Auth struct{ Type, Session string }
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		flows := []any{
			map[string]any{"stages": []string{"m.login.recaptcha", "m.login.dummy"}},
			map[string]any{"stages": []string{"m.login.terms", "m.login.dummy"}},
		}
		switch step := calls.Add(1); {
		case step == 1:
			answer(w, 401, map[string]any{"session": "s", "flows": flows})
		case step == 2 && body.Auth.Type == "m.login.terms" && body.Auth.Session == "s":
			answer(w, 401, map[string]any{"session": "s", "flows": flows, "completed": []string{"m.login.terms"}})
		case step == 3 && body.Auth.Type == "m.login.dummy" && body.Auth.Session == "s":
			answer(w, 200, map[string]any{"user_id": "@u:hs1", "access_token": "token", "device_id": "D"})
		default:
			answer(w, 400, map[string]any{"errcode": "M_UNKNOWN", "error": fmt.Sprint(step, body)})
		}
	}))
	client.MustRegister(t, "u", "password")
	require.Equal(t, "@u:hs1", client.UserID)
	require.Equal(t, "token", client.AccessToken)
	require.Equal(t, "D", client.DeviceID)
}

// A server need not take a stage before it has opened a session.
func TestRegisterOpensASession(t *testing.T) {
	var bodies []string
	client := csapi.New(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		body := gjson.ParseBytes(text)
		bodies = append(bodies, body.Get("auth").Raw)
		switch {
		case !body.Get("auth").Exists():
			answer(w, 401, map[string]any{"session": "s", "flows": []any{map[string]any{"stages": []string{"m.login.dummy"}}}})
		case body.Get("auth.session").Str == "s":
			answer(w, 200, map[string]any{"user_id": "@u:hs1", "access_token": "token", "device_id": "D"})
		default:
			answer(w, 400, map[string]any{"errcode": "M_MISSING_PARAM", "error": "no session"})
		}
	}))
	client.MustRegister(t, "u", "password")
	require.Equal(t, "@u:hs1", client.UserID)
	require.Len(t, bodies, 3)
}

func TestSyncAccumulates(t *testing.T) {
	answers := []string{
		`{"next_batch":"1","rooms":{"invite":{"!r":{"invite_state":{"events":[
			{"type":"m.room.member","state_key":"@u:hs1","content":{"membership":"invite"}}]}}}}}`,
		`{"next_batch":"2","rooms":{"join":{"!r":{
			"state":{"events":[{"type":"m.room.topic","state_key":"","event_id":"$t1","content":{"topic":"old"}}]},
			"timeline":{"limited":false,"events":[
				{"type":"m.room.message","event_id":"$m1","content":{}},
				{"type":"m.room.topic","state_key":"","event_id":"$t2","content":{"topic":"new"}}]}}}}}`,
		`{"next_batch":"3","rooms":{"join":{"!r":{
			"state_after":{"events":[{"type":"m.room.topic","state_key":"","event_id":"$t1","content":{"topic":"old"}}]},
			"timeline":{"events":[
				{"type":"m.room.message","event_id":"$m1","content":{}},
				{"type":"m.room.message","event_id":"$m2","content":{}}]}}}}}`,
	}
	client := csapi.New(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		index := map[string]int{"": 0, "1": 1, "2": 2}[r.URL.Query().Get("since")]
		fmt.Fprint(w, answers[index])
	}))
	client.UserID = "@u:hs1"

	client.MustSeeInvite(t, "!r")
	client.MustSee(t, "!r", "$m1")
	room := client.View().Room("!r")
	require.Equal(t, "join", room.Section)
	require.Equal(t, "new", room.State("m.room.topic", "").Get("content.topic").Str)

	client.MustSee(t, "!r", "$m2")
	require.Len(t, room.Timeline, 3, "an event that is sent twice is seen once")
	require.Equal(t, "old", room.State("m.room.topic", "").Get("content.topic").Str)
	require.False(t, room.Has("$other"))
}

func TestResponse_TellsOfLimitedRates(t *testing.T) {
	limited := &csapi.Response{Server: "hs1", Method: "POST", Target: "/register", Status: 429, Body: []byte(`{"errcode":"M_LIMIT_EXCEEDED"}`)}
	require.True(t, strings.HasPrefix(limited.String(), "hs1 limits rates; switch its limits off while it is tested\nPOST /register"), limited)
	limited.Status = 403
	require.NotContains(t, limited.String(), "limits rates")
}
