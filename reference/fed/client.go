package fed

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/defect"
	"countersign/reference/peer"
)

// Bounds of outbound connections.
const (
	dialTimeout       = 5 * time.Second
	handshakeTimeout  = 5 * time.Second
	idleTimeout       = 30 * time.Second
	maxPerHost        = 8
	maxResponseHeader = 64 << 10
	defaultPort       = 8448
)

// ClientOptions are what a Client needs.
type ClientOptions struct {
	ServerName matrix.ServerName
	// Key signs requests.
	Key matrix.Signer
	// RootCAs vouch for other servers; nil means the system's.
	RootCAs *x509.CertPool
	Logger  *slog.Logger
	Clock   func() time.Time
	// Defects are what the server does wrong on purpose.
	Defects defect.Set
}

// Client sends signed requests to other servers. It is safe for concurrent use.
type Client struct {
	ClientOptions
	http *http.Client
	// backoff leaves servers alone that have failed, and unsupported what servers do not know.
	backoff     *backoff[matrix.ServerName]
	unsupported *backoff[endpoint]
}

// NewClient makes a client.
func NewClient(options ClientOptions) *Client {
	c := &Client{
		ClientOptions: options, backoff: newBackoff[matrix.ServerName](options.Clock, options.Defects),
		unsupported: newBackoff[endpoint](options.Clock, options.Defects),
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, address)
			},
			TLSClientConfig:        &tls.Config{RootCAs: options.RootCAs, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    handshakeTimeout,
			IdleConnTimeout:        idleTimeout,
			MaxConnsPerHost:        maxPerHost,
			MaxIdleConnsPerHost:    2,
			MaxResponseHeaderBytes: maxResponseHeader,
			ForceAttemptHTTP2:      true,
		},
		// A redirect would take the signed request to a host that the signature does not name.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// Close gives up the connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// HeardFrom notes that a server has sent a request that it has signed.
func (c *Client) HeardFrom(server matrix.ServerName) { c.backoff.heardFrom(server) }

// Forgive forgets the failures of a server.
func (c *Client) Forgive(server matrix.ServerName) { c.backoff.succeeded(server) }

// Call implements peer.Caller.
func (c *Client) Call(ctx context.Context, server matrix.ServerName, call peer.Call) ([]byte, error) {
	if server == c.ServerName {
		return nil, errors.New("a server does not send requests to itself")
	}
	to := endpointOf(server, call)
	if wait := c.wait(to); wait > 0 {
		return nil, fmt.Errorf("%s: %w (%s left)", server, peer.ErrBackingOff, wait.Round(time.Millisecond))
	}
	body, err := c.call(ctx, server, call)
	switch {
	case err == nil:
		c.backoff.succeeded(server)
		c.unsupported.succeeded(to)
	case isUnsupported(err):
		c.backoff.succeeded(server)
		c.unsupported.failed(to)
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled):
		// The caller has lost interest; that says nothing about the server.
	case harmless(err):
		c.backoff.succeeded(server)
	default:
		c.backoff.failed(server)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s to %s: %w", call.Method, call.Path, server, err)
	}
	return body, nil
}

// wait is for how long an endpoint is left alone, itself or with its server.
func (c *Client) wait(to endpoint) time.Duration {
	return max(c.backoff.wait(to.server), c.unsupported.wait(to))
}

// harmless reports whether a failed call shows that the server is up and willing: it has refused, with
// a Matrix error, this request in particular. A server that does not accept our signature or asks for
// patience is left alone for a while.
func harmless(err error) bool {
	refusal, ok := errors.AsType[*peer.Error](err)
	if !ok || refusal.Status >= 500 || refusal.Code == "" {
		return false
	}
	return refusal.Status != http.StatusUnauthorized && refusal.Status != http.StatusTooManyRequests
}

// mistakenClient is what a request is made with: a mutant does not look at the certificates of who answers about
// accounts.
func (c *Client) mistakenClient(call peer.Call) *http.Client {
	if !strings.HasSuffix(call.Path, "/query/accounts") || !c.Defects.Has("TrustAnyCertificateForAccounts") {
		return c.http
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} //nolint:gosec // a mutant
}

func (c *Client) call(ctx context.Context, server matrix.ServerName, call peer.Call) ([]byte, error) {
	timeout := call.Timeout
	if timeout == 0 {
		timeout = peer.DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := c.request(ctx, server, call)
	if err != nil {
		return nil, err
	}
	response, err := c.mistakenClient(call).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	limit := call.MaxAnswer
	if limit == 0 {
		limit = peer.DefaultMaxAnswer
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case int64(len(body)) > limit:
		return nil, fmt.Errorf("the answer has more than %d bytes", limit)
	case response.StatusCode != http.StatusOK && !(strings.HasSuffix(call.Path, "/query/accounts") && c.Defects.Has("ReadAnswersOfAnyStatus")):
		return nil, readError(response.StatusCode, body)
	case !json.Valid(body):
		return nil, errors.New("the answer is not JSON")
	}
	return body, nil
}

func readError(status int, body []byte) *peer.Error {
	e := &peer.Error{Status: status, Extra: map[string]any{}}
	if !gjson.ValidBytes(body) || !gjson.ParseBytes(body).IsObject() {
		e.Message = "an answer that is not a Matrix error"
		return e
	}
	gjson.ParseBytes(body).ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "errcode":
			e.Code = value.String()
		case "error":
			e.Message = value.String()
		case "room_version":
			e.Extra[key.Str] = value.Value()
		}
		return true
	})
	return e
}

// request builds and signs the HTTP request.
func (c *Client) request(ctx context.Context, server matrix.ServerName, call peer.Call) (*http.Request, error) {
	host, address, err := resolve(server)
	if err != nil {
		return nil, err
	}
	uri := call.Path
	if len(call.Query) > 0 {
		uri += "?" + call.Query.Encode()
	}
	var body io.Reader
	if call.Body != nil {
		body = bytes.NewReader(call.Body)
	}
	request, err := http.NewRequestWithContext(ctx, call.Method, "https://"+address+uri, body)
	if err != nil {
		return nil, err
	}
	request.Host = host
	if strings.HasPrefix(call.Path, "/_matrix/key/v2/") {
		return request, nil // keys are public, and no key is known yet
	}
	if call.Body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	signed := matrix.FederationRequest{
		Method: call.Method, URI: request.URL.RequestURI(), Origin: c.ServerName, Destination: server, Content: call.Body,
	}
	authorization, err := signed.Authorization(c.Key)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", authorization)
	return request, nil
}

// resolve finds the address behind a server name, and the Host header (server-server API, "Resolving
// server names"): IP literals and names with a port as they are, other names with the default port.
// The certificate is checked against the name's host. Delegation by .well-known and SRV is not done.
func resolve(server matrix.ServerName) (host, address string, err error) {
	if _, err := matrix.ParseServerName(string(server)); err != nil {
		return "", "", err
	}
	name, port := server.HostPort()
	if port == 0 {
		port = defaultPort
	}
	if port > 65535 {
		return "", "", fmt.Errorf("server name %q: port out of range", server)
	}
	return string(server), net.JoinHostPort(name, strconv.Itoa(port)), nil
}
