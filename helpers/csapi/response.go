package csapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// Response is one exchange with a homeserver: what was asked and what came back. Assertions read
// the body as JSON on the wire and never as the structures of an implementation.
type Response struct {
	// Server is the name of the homeserver that was asked.
	Server string
	// User is the user ID that asked; empty before registration.
	User string
	// Method and Target are the request line: Target is the escaped path with its query.
	Method, Target string
	// RequestBody is the body that was sent; nil when there was none.
	RequestBody []byte
	// Status is the HTTP status, or 0 when no whole response came.
	Status int
	// Header holds the response headers.
	Header http.Header
	// Body is the whole response body.
	Body []byte
	// Err says why no whole response came. It is nil when Status is set.
	Err error
	// Started and Elapsed say when the exchange took place and how long it took.
	Started time.Time
	Elapsed time.Duration
}

// OK reports whether the status is 200 and the body is a JSON value, as every successful answer of
// the client-server API is.
func (r *Response) OK() bool { return r.Status == http.StatusOK && gjson.ValidBytes(r.Body) }

// StatusCode is the HTTP status, or 0 when no whole response came.
func (r *Response) StatusCode() int { return r.Status }

// JSON is the body. It is an absent value when the body is not JSON.
func (r *Response) JSON() gjson.Result {
	if !gjson.ValidBytes(r.Body) {
		return gjson.Result{}
	}
	return gjson.ParseBytes(r.Body)
}

// Get is the value at a gjson path of the body.
func (r *Response) Get(path string) gjson.Result { return r.JSON().Get(path) }

// ErrCode is the "errcode" of a standard error answer; empty when there is none.
func (r *Response) ErrCode() string { return r.Get("errcode").String() }

// MustOK fails the test unless [Response.OK], and returns the body.
func (r *Response) MustOK(t testing.TB) gjson.Result {
	t.Helper()
	if !r.OK() {
		t.Fatalf("expected status 200 and a JSON body, got:\n%s", r)
	}
	return r.JSON()
}

// MustString fails the test unless [Response.OK] and the value at the path is a string that is not
// empty, and returns it.
func (r *Response) MustString(t testing.TB, path string) string {
	t.Helper()
	value := r.MustOK(t).Get(path)
	if value.Type != gjson.String || value.Str == "" {
		t.Fatalf("expected a non-empty string in %q, got:\n%s", path, r)
	}
	return value.Str
}

// shownBody is how much of a body a message quotes. The transcript of a test must stay readable.
const shownBody = 4096

// String shows the exchange for a failure message: request line, request body, status, body. Of a
// server that limits rates it says so first, because then the test is not about what it was about.
func (r *Response) String() string {
	var text strings.Builder
	if r.Status == http.StatusTooManyRequests {
		fmt.Fprintf(&text, "%s limits rates; switch its limits off while it is tested\n", r.Server)
	}
	user := r.User
	if user == "" {
		user = "(nobody)"
	}
	fmt.Fprintf(&text, "%s %s as %s\n", r.Method, r.Target, user)
	if len(r.RequestBody) > 0 {
		fmt.Fprintf(&text, "> %s\n", clip(r.RequestBody))
	}
	switch {
	case r.Err != nil:
		fmt.Fprintf(&text, "< no answer after %v: %v", r.Elapsed.Round(time.Millisecond), r.Err)
	default:
		fmt.Fprintf(&text, "< %d %s (%v)", r.Status, http.StatusText(r.Status), r.Elapsed.Round(time.Millisecond))
		if len(r.Body) > 0 {
			fmt.Fprintf(&text, "\n< %s", clip(r.Body))
		}
	}
	return text.String()
}

func clip(body []byte) string {
	if len(body) <= shownBody {
		return strings.ToValidUTF8(string(body), "\uFFFD")
	}
	return fmt.Sprintf("%s… (%d bytes in all)", strings.ToValidUTF8(string(body[:shownBody]), "\uFFFD"), len(body))
}
