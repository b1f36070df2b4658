package fakeserver

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
)

// appServicePath is where an application service is told of events (application service API).
const appServicePath = "/_matrix/app/v1/transactions/"

// maxTransaction bounds the body of a transaction.
const maxTransaction = 8 << 20

// AppService is an application service: a homeserver with which it is registered tells it of events,
// over plain HTTP. It accepts everything and is safe for concurrent use.
type AppService struct {
	id, url, homeserverToken, ownToken string
	http                               *http.Server

	mu      sync.Mutex
	seen    map[string]bool // transaction IDs
	events  []gjson.Result
	changed chan struct{}
}

// StartAppService starts an application service that homeservers reach under the host name, and that
// listens at the address (without a port).
func StartAppService(host, listenAddr string) (*AppService, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(listenAddr, "0"))
	if err != nil {
		return nil, fmt.Errorf("application service: %w", err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	a := &AppService{
		id: strings.ToLower(rand.Text()), url: "http://" + net.JoinHostPort(host, port), homeserverToken: rand.Text(), ownToken: rand.Text(),
		seen: map[string]bool{}, changed: make(chan struct{}),
	}
	a.http = &http.Server{Handler: http.HandlerFunc(a.serve), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = a.http.Serve(listener) }() // it returns when the service is closed
	return a, nil
}

// Close stops the application service.
func (a *AppService) Close() error { return a.http.Close() }

// ID names the application service.
func (a *AppService) ID() string { return a.id }

// Registration is the registration file, as JSON, of an application service that is interested in users
// whose user IDs a regular expression matches, without having them for itself.
func (a *AppService) Registration(users string) ([]byte, error) {
	none := []any{}
	return json.Marshal(map[string]any{
		"id": a.id, "url": a.url, "as_token": a.ownToken, "hs_token": a.homeserverToken,
		"sender_localpart": "service-" + a.id, "rate_limited": false,
		"namespaces": map[string]any{
			"users": []any{map[string]any{"exclusive": false, "regex": users}}, "rooms": none, "aliases": none,
		},
	})
}

func (a *AppService) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token != a.homeserverToken && r.URL.Query().Get("access_token") != a.homeserverToken {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	id, ok := strings.CutPrefix(r.URL.Path, appServicePath)
	if !ok || r.Method != http.MethodPut {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxTransaction))
	if err != nil || !gjson.ValidBytes(body) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	a.take(id, gjson.GetBytes(body, "events").Array())
	_, _ = io.WriteString(w, "{}") // a homeserver that has hung up sends it again
}

func (a *AppService) take(transaction string, events []gjson.Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen[transaction] {
		return
	}
	a.seen[transaction] = true
	a.events = append(a.events, events...)
	close(a.changed)
	a.changed = make(chan struct{})
}

// Events are the events that the application service was told of, in the order in which they came.
func (a *AppService) Events() []gjson.Result {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.events)
}

// Wait waits until the application service has been told of an event. The error is ctx's.
func (a *AppService) Wait(ctx context.Context, eventID string) error {
	for {
		a.mu.Lock()
		changed := a.changed
		found := slices.ContainsFunc(a.events, func(e gjson.Result) bool { return e.Get("event_id").Str == eventID })
		a.mu.Unlock()
		if found {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("the application service was not told of %s: %w", eventID, context.Cause(ctx))
		}
	}
}
