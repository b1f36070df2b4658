package deploy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// defaultFederationPort is where a server whose name has no port is reached when nothing else is
// known (server-server API, "Server discovery").
const defaultFederationPort = "8448"

// Bounds of one exchange with a server under test, before the timeout scale: a server that hangs or
// that never stops talking costs this much and no more.
const (
	DefaultExchangeTimeout       = 60 * time.Second
	DefaultMaxBody         int64 = 64 << 20
)

// ErrBodyTooLarge is returned by reads of a response body that exceeds the limit of its transport.
var ErrBodyTooLarge = errors.New("the response body is larger than any that the suite accepts")

// TransportConfig says how a Transport finds and believes servers.
type TransportConfig struct {
	// CA is the authority that the servers' certificates are checked against.
	CA *CA
	// Resolve gives the host:port behind a server name, as seen from this process, or "" when the
	// name speaks for itself. It is asked on every new connection, so that an address may change
	// when a server is started again. Nil resolves nothing.
	Resolve func(serverName string) string
	// LocalHosts are host names that mean this machine: "localhost" always does, and the host
	// name under which containers reach listeners in this process should. They are dialled at
	// 127.0.0.1.
	LocalHosts []string
	// Timeout bounds one exchange, up to the end of the response body. Zero means
	// DefaultExchangeTimeout.
	Timeout time.Duration
	// MaxBody bounds a response body in bytes. Zero means DefaultMaxBody.
	MaxBody int64
}

// NewTransport returns a round tripper that speaks federation: the host of a request's URL is a
// Matrix server name. It dials the address behind the name (see TransportConfig.Resolve; a name
// without port means port 8448), sends the host as SNI, checks the certificate against the CA and
// against the host, and sends the server name unchanged as Host header. Only https URLs are
// accepted. Every exchange is bounded in time and size.
func NewTransport(c TransportConfig) http.RoundTripper {
	t := &federationTransport{resolve: c.Resolve, local: map[string]bool{"localhost": true}}
	for _, host := range c.LocalHosts {
		t.local[strings.ToLower(host)] = true
	}
	t.tls = &tls.Config{
		RootCAs: c.CA.Pool(), MinVersion: tls.VersionTLS12,
		// Nothing here is secret, and the post-quantum exchange is a third of a handshake.
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256},
	}
	t.inner = &http.Transport{
		DialTLSContext:      t.dial,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true,
	}
	return Limit(t, c.Timeout, c.MaxBody)
}

type federationTransport struct {
	resolve func(string) string
	local   map[string]bool
	tls     *tls.Config
	inner   *http.Transport
}

func (t *federationTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" {
		closeBody(req)
		return nil, fmt.Errorf("federation requests are https, not %q", req.URL)
	}
	out := req.Clone(req.Context())
	if out.Host == "" {
		out.Host = req.URL.Host
	}
	// net/http would add port 443 to a name without port; the connection pool is keyed on this.
	out.URL.Host = withPort(req.URL.Host)
	return t.inner.RoundTrip(out)
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the pool.
func (t *federationTransport) CloseIdleConnections() { t.inner.CloseIdleConnections() }

func (t *federationTransport) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%q is not a server name: %w", address, err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, t.target(host, port))
	if err != nil {
		return nil, err
	}
	config := t.tls.Clone()
	config.ServerName = host
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("TLS handshake with %s: %w", address, err), conn.Close())
	}
	return secure, nil
}

// target is the address to dial for a server name whose port has been filled in.
func (t *federationTransport) target(host, port string) string {
	if t.resolve != nil {
		if addr := t.resolve(net.JoinHostPort(host, port)); addr != "" {
			return addr
		}
		if port == defaultFederationPort {
			if addr := t.resolve(host); addr != "" {
				return addr
			}
		}
	}
	if t.local[strings.ToLower(host)] {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// Limit wraps a round tripper so that every exchange ends: after timeout (zero means
// DefaultExchangeTimeout) counted up to the end of the response body, and after maxBody bytes of
// body (zero means DefaultMaxBody), where reads return ErrBodyTooLarge.
func Limit(rt http.RoundTripper, timeout time.Duration, maxBody int64) http.RoundTripper {
	if timeout == 0 {
		timeout = DefaultExchangeTimeout
	}
	if maxBody == 0 {
		maxBody = DefaultMaxBody
	}
	return &limited{rt: rt, timeout: timeout, maxBody: maxBody}
}

type limited struct {
	rt      http.RoundTripper
	timeout time.Duration
	maxBody int64
}

func (l *limited) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeoutCause(req.Context(), l.timeout,
		fmt.Errorf("%s %s://%s%s took longer than %v: %w", req.Method, req.URL.Scheme, req.URL.Host, req.URL.Path, l.timeout, context.DeadlineExceeded))
	resp, err := l.rt.RoundTrip(req.WithContext(ctx))
	if err != nil {
		err = withCause(ctx, err)
		cancel()
		return nil, err
	}
	resp.Body = &limitedBody{body: resp.Body, left: l.maxBody, ctx: ctx, cancel: cancel}
	return resp, nil
}

// CloseIdleConnections passes on http.Client.CloseIdleConnections.
func (l *limited) CloseIdleConnections() {
	if c, ok := l.rt.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

type limitedBody struct {
	body   io.ReadCloser
	left   int64
	ctx    context.Context
	cancel context.CancelFunc
	ended  atomic.Bool
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrBodyTooLarge
	}
	// One byte more than is left tells a body that ends at the limit from one that goes on.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.body.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, ErrBodyTooLarge
	}
	if err == nil {
		return n, nil
	}
	b.ended.Store(true)
	if err == io.EOF && b.ctx.Err() != nil {
		// The server ended the body because we had hung up: that is not how it should have ended.
		return n, context.Cause(b.ctx)
	}
	return n, withCause(b.ctx, err)
}

func (b *limitedBody) Close() error {
	if !b.ended.Load() {
		// An unread rest must not be drained: it may never end.
		b.cancel()
	}
	err := b.body.Close()
	b.cancel()
	return err
}

// withCause replaces the bare "context deadline exceeded" by the sentence that says which exchange
// ran out of which time.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.DeadlineExceeded) {
		return cause
	}
	return err
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // the request is refused; nothing depends on how its body ends
	}
}

// withPort adds the default federation port to a server name that has none.
func withPort(serverName string) string {
	if _, _, err := net.SplitHostPort(serverName); err == nil {
		return serverName
	}
	return net.JoinHostPort(strings.Trim(serverName, "[]"), defaultFederationPort)
}

// hostOf is a server name without its port and without the brackets of an IPv6 literal.
func hostOf(serverName string) string {
	if host, _, err := net.SplitHostPort(serverName); err == nil {
		return host
	}
	return strings.Trim(serverName, "[]")
}
