package fakeserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"countersign/matrix"
)

// Inquiry is an inbound request that matched an operation.
type Inquiry struct {
	// Operation is what is asked for.
	Operation Operation
	// Version is the part of the path that versions the operation: "v1", "v2", or what follows
	// "unstable/".
	Version string
	// Method, URI, Query and Header are the request's.
	Method, URI string
	Query       url.Values
	Header      http.Header
	// Body is the complete body.
	Body []byte
	// Origin is the server that signed the request; empty for operations that need no signature.
	Origin matrix.ServerName
	// Context ends when the other server hangs up or this one closes.
	Context context.Context

	vars map[string]string
}

// Var is the unescaped part of the path that the route calls by name, such as "roomID".
func (q *Inquiry) Var(name string) string { return q.vars[name] }

// Answer is what an inquiry is answered with. The zero value of everything but Status is an ordinary
// answer.
type Answer struct {
	// Status is the HTTP status.
	Status int
	// Body is sent as it is.
	Body []byte
	// Header is added to the answer; Content-Type is application/json unless it says otherwise.
	Header http.Header
	// Manner is how the answer is sent.
	Manner Manner
}

// Manner is a way of sending an answer.
type Manner int

// The manners of an [Answer]. All but Plain are faults of a server or of the network in between.
const (
	// Plain sends the answer.
	Plain Manner = iota
	// Hang sends nothing, not even a status, until the other server gives up or this one closes.
	Hang
	// Reset closes the connection without a single byte.
	Reset
	// Truncate announces the whole body, sends half of it and closes the connection.
	Truncate
	// Endless sends the body and then white space, until the other server gives up or this one
	// closes.
	Endless
	// Trickle sends one byte of the body per second, so that no single read times out.
	Trickle
	// GzipBomb sends some hundred kilobytes of gzip that inflate to hundreds of megabytes of white
	// space in front of the body, whatever encodings were asked for.
	GzipBomb
)

// JSON is an answer with a marshalled body; []byte and json.RawMessage are sent as they are.
func JSON(status int, body any) Answer {
	content, err := encodeBody(body)
	if err != nil {
		return Errorf(http.StatusInternalServerError, "M_UNKNOWN", "the fake server cannot marshal its answer: %v", err)
	}
	return Answer{Status: status, Body: content}
}

// Errorf is a standard error answer.
func Errorf(status int, code, format string, args ...any) Answer {
	body, _ := json.Marshal(map[string]string{"errcode": code, "error": fmt.Sprintf(format, args...)}) // strings always marshal
	return Answer{Status: status, Body: body}
}

// Handler answers an inquiry.
type Handler func(q *Inquiry) Answer

// Override answers an inquiry in place of the honest handler, which it may call or not.
type Override func(q *Inquiry, honest Handler) Answer

// Override replaces the answer of an operation until the function that it returns is called, which
// puts back what was there before. Recording and, where it is needed, the check of the request's
// signature happen in any case.
func (s *Server) Override(op Operation, o Override) (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.overrides[op]
	s.overrides[op] = o
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.overrides[op] = before
	}
}

// With is an override that gives the same answer to every inquiry.
func With(a Answer) Override {
	return func(*Inquiry, Handler) Answer { return a }
}

// EditJSON is an override that gives the honest answer, with edits to its body; see [Edit]. An edit
// that cannot be made is answered with 500 and the reason.
func EditJSON(edits ...Edit) Override {
	return func(q *Inquiry, honest Handler) Answer {
		a := honest(q)
		body, err := applyEdits(a.Body, edits, nil)
		if err != nil {
			return Errorf(http.StatusInternalServerError, "M_UNKNOWN", "the fake server cannot edit its answer: %v", err)
		}
		a.Body = body
		return a
	}
}

func (s *Server) handler(r *route) Handler {
	s.mu.Lock()
	o := s.overrides[r.op]
	s.mu.Unlock()
	if o == nil {
		return r.serve
	}
	return func(q *Inquiry) Answer { return o(q, r.serve) }
}

// badJSON is the answer to a body that is not what the operation takes.
func badJSON(format string, args ...any) Answer {
	return Errorf(http.StatusBadRequest, "M_BAD_JSON", format, args...)
}

func notFound(format string, args ...any) Answer {
	return Errorf(http.StatusNotFound, "M_NOT_FOUND", format, args...)
}
