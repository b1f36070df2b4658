// Package csapi is a client of the client-server API for tests: one method per endpoint, bodies as
// JSON on the wire, every exchange recorded, every answer bounded in size and time.
//
// Methods named after an endpoint return the [Response] whatever its status, for tests that look
// at refusals. Methods that begin with Must fail the test unless the server answered 200, and
// return the part of the answer that the caller wants. Both fail the test when no whole answer
// came.
package csapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"countersign/helpers/wait"
)

// bodyLimit bounds a response body. The largest honest answers of the suite are far below 1 MiB.
const bodyLimit = 16 << 20

// ErrHung is wrapped by the error of a request that the server did not answer in full within the
// request's time limit.
var ErrHung = errors.New("the server hung")

// Server is what a client must know about a homeserver.
type Server interface {
	// Name is the Matrix server name.
	Name() string
	// ClientURL is the base URL of the client-server API, without a trailing slash. It is asked
	// before every request, since a server may move when it is started again.
	ClientURL() string
}

// Client is one device of one user of a homeserver, or nobody before it registers or logs in.
// Its methods may be called by several goroutines once it has registered.
type Client struct {
	// UserID, DeviceID, AccessToken and Password are what registration or login returned.
	UserID, DeviceID, AccessToken, Password string

	server     Server
	agent      string
	http       *http.Client
	transcript *Transcript
	observers  []func(*Response)
	sync       *syncer
}

// Option changes how a client is made.
type Option func(*Client)

// OnResponse has the function called with every exchange, successful or not, before the method
// that made it returns. It may be called by several goroutines at once.
func OnResponse(observe func(*Response)) Option {
	return func(c *Client) { c.observers = append(c.observers, observe) }
}

// RecordIn has the client record its exchanges in a transcript that several clients share.
func RecordIn(transcript *Transcript) Option {
	return func(c *Client) { c.transcript = transcript }
}

// New returns a client that is nobody yet. It names the test in its User-Agent, and its
// connections are closed when the test ends.
func New(t testing.TB, server Server, options ...Option) *Client {
	c := NewNamed(t.Name(), server, options...)
	t.Cleanup(c.Close)
	return c
}

// NewNamed is [New] for work outside a test: the name stands for the test's, and whoever asked for
// the client closes it.
func NewNamed(name string, server Server, options ...Option) *Client {
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: wait.Limit()}).DialContext,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        time.Minute,
	}
	c := &Client{
		server:     server,
		agent:      userAgent(name),
		http:       &http.Client{Transport: transport, CheckRedirect: noRedirects},
		transcript: &Transcript{},
		sync:       &syncer{view: newView()},
	}
	for _, option := range options {
		option(c)
	}
	return c
}

// userAgent lets whoever reads a homeserver's log find the test behind a request.
func userAgent(test string) string {
	return "countersign (" + strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || r == '(' || r == ')' {
			return '_'
		}
		return r
	}, test) + ")"
}

func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close closes the client's idle connections. The client can still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Server is the homeserver that the client speaks to.
func (c *Client) Server() Server { return c.server }

// Transcript is the record of the client's exchanges, and of those of every client it shares with.
func (c *Client) Transcript() *Transcript { return c.transcript }

// Param changes one request.
type Param func(*call)

// call is a request that is being put together.
type call struct {
	query   url.Values
	header  http.Header
	body    []byte
	timeout time.Duration
	err     error
}

// Body sends a JSON body: []byte and json.RawMessage as they are, anything else as encoding/json
// writes it.
func Body(value any) Param {
	return func(q *call) {
		switch value := value.(type) {
		case []byte:
			q.body = value
		case json.RawMessage:
			q.body = value
		default:
			q.body, q.err = json.Marshal(value)
		}
	}
}

// Query adds a parameter to the query string.
func Query(name, value string) Param {
	return func(q *call) { q.query.Add(name, value) }
}

// Header sets a request header.
func Header(name, value string) Param {
	return func(q *call) { q.header.Set(name, value) }
}

// Timeout replaces the time in which the whole answer must have come. It is not scaled.
func Timeout(d time.Duration) Param {
	return func(q *call) { q.timeout = d }
}

// Path joins the segments of a path below /_matrix/client, each escaped on its own, so that room
// IDs and user IDs can be given as they are: Path("v3", "join", roomID).
func Path(segments ...string) string {
	var path strings.Builder
	path.WriteString("/_matrix/client")
	for _, segment := range segments {
		path.WriteString("/" + url.PathEscape(segment))
	}
	return path.String()
}

// Do makes one request. The error, which is also in the response, is not nil when no whole answer
// came within the time and size limits; it says which limit or failure it was.
func (c *Client) Do(ctx context.Context, method, path string, params ...Param) (*Response, error) {
	q := call{query: url.Values{}, header: http.Header{}, timeout: wait.Limit()}
	for _, param := range params {
		param(&q)
	}
	r := &Response{Server: c.server.Name(), User: c.UserID, Method: method, Target: path, RequestBody: q.body, Started: time.Now()}
	if len(q.query) > 0 {
		r.Target += "?" + q.query.Encode()
	}
	if r.Err = q.err; r.Err == nil {
		r.Err = c.exchange(ctx, &q, r)
	}
	if r.Err != nil {
		r.Status = 0
		r.Err = fmt.Errorf("%s %s: %w", method, c.server.Name(), r.Err)
	}
	r.Elapsed = time.Since(r.Started)
	c.transcript.add(r)
	for _, observe := range c.observers {
		observe(r)
	}
	return r, r.Err
}

func (c *Client) exchange(caller context.Context, q *call, r *Response) error {
	ctx, cancel := context.WithTimeout(caller, q.timeout)
	defer cancel()
	var body io.Reader
	if q.body != nil {
		body = bytes.NewReader(q.body)
		q.header.Set("Content-Type", "application/json")
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, c.server.ClientURL()+r.Target, body)
	if err != nil {
		return err
	}
	request.Header = q.header
	request.Header.Set("User-Agent", c.agent)
	if c.AccessToken != "" && request.Header.Get("Authorization") == "" {
		request.Header.Set("Authorization", "Bearer "+c.AccessToken)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return explain(caller, ctx, err, "before the response headers", q.timeout)
	}
	defer answer.Body.Close()
	r.Status, r.Header = answer.StatusCode, answer.Header
	r.Body, err = io.ReadAll(io.LimitReader(answer.Body, bodyLimit+1))
	if err != nil {
		return explain(caller, ctx, err, fmt.Sprintf("within the body, after status %d and %d bytes", answer.StatusCode, len(r.Body)), q.timeout)
	}
	if len(r.Body) > bodyLimit {
		r.Body = r.Body[:bodyLimit]
		return fmt.Errorf("the body of the response does not end: %d bytes were read and more followed", bodyLimit)
	}
	return nil
}

// explain says in one sentence how an exchange broke. That the caller gave up says nothing about
// the server: it may have been holding a long poll.
func explain(caller, ctx context.Context, err error, where string, limit time.Duration) error {
	switch {
	case caller.Err() != nil:
		return fmt.Errorf("the client gave up %s: %w", where, context.Cause(caller))
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w %s: no whole answer within %v", ErrHung, where, limit)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("the server does not listen: %w", err)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the server broke the connection %s: %w", where, err)
	default:
		return fmt.Errorf("%s: %w", where, err)
	}
}

// Request makes one request for a test and fails the test when no whole answer came. The status is
// the caller's to judge.
func (c *Client) Request(t testing.TB, method, path string, params ...Param) *Response {
	t.Helper()
	r, err := c.Do(wait.Context(t), method, path, params...)
	if err != nil {
		t.Fatalf("no answer from %s:\n%s", c.server.Name(), r)
	}
	return r
}

// transactionID returns a transaction ID that no client of this run has used.
func (c *Client) transactionID() string { return rand.Text() }
