package fakeserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// Response is another server's answer.
type Response struct {
	// Status is the HTTP status.
	Status int
	// Header are the headers.
	Header http.Header
	// Body is the complete body.
	Body []byte
}

// Get reads a property of a JSON body by its gjson path.
func (r *Response) Get(path string) gjson.Result { return gjson.GetBytes(r.Body, path) }

// ErrCode is the standard error code, empty when there is none.
func (r *Response) ErrCode() string { return r.Get("errcode").String() }

// StatusError is the error of an exchange that needed a 2xx answer to go on.
type StatusError struct {
	// Server is who answered, Request what was asked ("PUT /_matrix/...").
	Server  matrix.ServerName
	Request string
	// Response is the answer.
	Response *Response
}

// Error names the request, the status and what the server said.
func (e *StatusError) Error() string {
	body := e.Response.Body
	if len(body) > 500 {
		body = body[:500]
	}
	return fmt.Sprintf("%s answered %s with %d: %s", e.Server, e.Request, e.Response.Status, printable(body))
}

// ErrBodyTooLarge is the error of an answer that is longer than Config.MaxBody.
var ErrBodyTooLarge = errors.New("the answer is larger than this server accepts")

// Request is an outbound request, for what [Server.Do] does not let a test choose.
type Request struct {
	// Destination is the server to ask; as a server name it is also what the signature covers.
	Destination matrix.ServerName
	// Method and URI are the request line; the URI begins with "/_matrix/" and is already escaped.
	Method, URI string
	// Body is sent as it is; nil for a request without one.
	Body []byte
	// Signer signs the request instead of the server's key.
	Signer *matrix.Signer
	// Unsigned leaves the Authorization header out.
	Unsigned bool
	// Authorization, if not empty, is the Authorization header as it is sent.
	Authorization string
	// SignedFor is a destination that the signature covers instead of Destination.
	SignedFor matrix.ServerName
	// SignedBody is a body that the signature covers instead of Body.
	SignedBody []byte
}

// Do sends a request signed by this server and returns the answer, whatever its status. The path is
// escaped and begins with "/_matrix/"; a body of type []byte or json.RawMessage is sent as it is, any
// other is marshalled, nil means none. The error says why there was no complete answer.
func (s *Server) Do(ctx context.Context, dest matrix.ServerName, method, path string, body any) (*Response, error) {
	content, err := encodeBody(body)
	if err != nil {
		return nil, fmt.Errorf("body of %s %s: %w", method, path, err)
	}
	return s.DoRequest(ctx, Request{Destination: dest, Method: method, URI: path, Body: content})
}

func encodeBody(body any) ([]byte, error) {
	switch b := body.(type) {
	case nil:
		return nil, nil
	case []byte:
		return b, nil
	case json.RawMessage:
		return b, nil
	}
	return json.Marshal(body)
}

// DoRequest is Do with everything in the caller's hands.
func (s *Server) DoRequest(ctx context.Context, r Request) (*Response, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	stop := context.AfterFunc(s.context, cancel)
	defer stop()

	req, err := s.newRequest(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("%s %s for %s: %w", r.Method, r.URI, r.Destination, err)
	}
	number := s.record.begin(Exchange{
		Direction: Outbound, Peer: r.Destination, Method: r.Method, URI: r.URI, RequestBody: r.Body, Started: time.Now(),
	})
	resp, err := s.roundTrip(req)
	if err != nil {
		if cause := context.Cause(s.context); cause != nil {
			err = errors.Join(cause, err)
		}
		s.record.end(number, 0, nil, 0, err.Error())
		return nil, fmt.Errorf("%s %s at %s: %w", r.Method, r.URI, r.Destination, err)
	}
	s.record.end(number, resp.Status, resp.Body, 0, "")
	return resp, nil
}

func (s *Server) newRequest(ctx context.Context, r Request) (*http.Request, error) {
	var reader io.Reader
	if r.Body != nil {
		reader = bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, "https://"+string(r.Destination)+r.URI, reader)
	if err != nil {
		return nil, err
	}
	if got := req.URL.RequestURI(); got != r.URI {
		return nil, fmt.Errorf("the path is not escaped as it would be sent, %s", got)
	}
	if r.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	switch {
	case r.Authorization != "":
		req.Header.Set("Authorization", r.Authorization)
	case !r.Unsigned:
		signer, signed := s.signer, matrix.FederationRequest{
			Method: r.Method, URI: r.URI, Origin: s.name, Destination: r.Destination, Content: r.Body,
		}
		if r.Signer != nil {
			signer = *r.Signer
		}
		if r.SignedFor != "" {
			signed.Destination = r.SignedFor
		}
		if r.SignedBody != nil {
			signed.Content = r.SignedBody
		}
		header, err := signed.Authorization(signer)
		if err != nil {
			return nil, fmt.Errorf("signing: %w", err)
		}
		req.Header.Set("Authorization", header)
	}
	return req, nil
}

func (s *Server) roundTrip(req *http.Request) (*Response, error) {
	resp, err := s.config.Transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, s.config.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer (%d) after %d bytes: %w", resp.StatusCode, len(body), err)
	}
	if int64(len(body)) > s.config.MaxBody {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrBodyTooLarge, s.config.MaxBody)
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// need turns an answer that is not 2xx into a StatusError.
func need(dest matrix.ServerName, method, path string, r *Response, err error) (*Response, error) {
	if err != nil {
		return nil, err
	}
	if r.Status/100 != 2 {
		return r, &StatusError{Server: dest, Request: method + " " + path, Response: r}
	}
	return r, nil
}

// path joins escaped segments behind "/_matrix/federation/".
func path(version string, segments ...string) string {
	var b strings.Builder
	b.WriteString("/_matrix/federation/")
	b.WriteString(version)
	for _, segment := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(segment))
	}
	return b.String()
}
