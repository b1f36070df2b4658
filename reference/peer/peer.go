// Package peer is what the parts of the reference homeserver agree on when they speak to other
// homeservers, or when they answer them or a client with an error.
package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"countersign/matrix"
)

// Call is a federation request to another server, without its signature.
type Call struct {
	// Method is GET, PUT or POST.
	Method string
	// Path is the percent-encoded path from "/_matrix/" on; see Path.
	Path string
	// Query is the query, or nil.
	Query url.Values
	// Body is the JSON body, or nil for a request without one.
	Body []byte
	// Timeout bounds the request, its answer and the lookup of the server; 0 is DefaultTimeout.
	Timeout time.Duration
	// MaxAnswer bounds the answer in bytes; 0 is DefaultMaxAnswer.
	MaxAnswer int64
}

// Bounds of calls that name no others.
const (
	DefaultTimeout   = 10 * time.Second
	DefaultMaxAnswer = 10 << 20
)

// Caller sends signed requests to other servers.
type Caller interface {
	// Call sends a request and returns the body of a 200 answer, which is some JSON. The error is a
	// *Error when the server answered anything else, ErrBackingOff when the server, or this endpoint
	// of it, is left alone for now, and otherwise says what failed on the way.
	Call(ctx context.Context, server matrix.ServerName, call Call) ([]byte, error)
}

// ErrBackingOff is wrapped by the errors of calls that are not made because the server has failed
// lately: one timer per server serves all rooms and all kinds of requests (MSC4243, "Potential Issues").
// Or it has said that it does not know the endpoint, which concerns nothing else.
var ErrBackingOff = errors.New("backing off after failures")

// Path joins segments to a path; each is percent-encoded as a whole.
func Path(segments ...string) string {
	path := ""
	for _, s := range segments {
		path += "/" + url.PathEscape(s)
	}
	return path
}

// Error is an error answer of a Matrix API: one that another server gave, or one to give.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is the errcode, such as "M_FORBIDDEN".
	Code string
	// Message is for humans.
	Message string
	// Extra are further properties of the answer, such as room_version.
	Extra map[string]any
}

// Error is the status, the code and the message in one line.
func (e *Error) Error() string {
	return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message)
}

// JSON is the body of the answer.
func (e *Error) JSON() []byte {
	body := map[string]any{}
	for k, v := range e.Extra {
		body[k] = v
	}
	body["errcode"], body["error"] = e.Code, e.Message
	out, err := json.Marshal(body)
	if err != nil {
		return []byte(`{"errcode":"M_UNKNOWN","error":"the error has no JSON form"}`)
	}
	return out
}

// Errorf makes an error with a formatted message.
func Errorf(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Forbidden is 403 M_FORBIDDEN.
func Forbidden(format string, args ...any) *Error {
	return Errorf(http.StatusForbidden, "M_FORBIDDEN", format, args...)
}

// NotFound is 404 M_NOT_FOUND.
func NotFound(format string, args ...any) *Error {
	return Errorf(http.StatusNotFound, "M_NOT_FOUND", format, args...)
}

// BadJSON is 400 M_BAD_JSON: JSON, but not of the right shape.
func BadJSON(format string, args ...any) *Error {
	return Errorf(http.StatusBadRequest, "M_BAD_JSON", format, args...)
}

// InvalidParam is 400 M_INVALID_PARAM.
func InvalidParam(format string, args ...any) *Error {
	return Errorf(http.StatusBadRequest, "M_INVALID_PARAM", format, args...)
}

// AsError finds the *Error in err. Anything else becomes 500 M_UNKNOWN.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return Errorf(http.StatusInternalServerError, "M_UNKNOWN", "%v", err)
}
