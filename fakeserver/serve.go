package fakeserver

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"countersign/matrix"
)

// authNotNeeded is Exchange.Auth of requests that need no signature.
const authNotNeeded = "none needed"

// serve answers every inbound request: it records it, checks its signature where one is needed,
// finds the handler, and records the answer.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.answering.enter()
	defer s.answering.leave()
	started := time.Now()
	uri := r.RequestURI
	body, bodyErr := io.ReadAll(io.LimitReader(r.Body, s.config.MaxBody+1))
	if bodyErr == nil && int64(len(body)) > s.config.MaxBody {
		bodyErr = fmt.Errorf("longer than %d bytes", s.config.MaxBody)
	}
	found, vars := s.match(r.Method, r.URL.EscapedPath())

	exchange := Exchange{
		Direction: Inbound, Peer: matrix.ServerName(r.RemoteAddr), Method: r.Method, URI: uri,
		RequestBody: body, Auth: authNotNeeded, Started: started,
	}
	q := &Inquiry{
		Method: r.Method, URI: uri, Query: r.URL.Query(), Header: r.Header, Body: body, Context: r.Context(), vars: vars,
	}
	x, authErr := matrix.RequestAuth(r.Header)
	if authErr == nil {
		exchange.Peer = x.Origin
	}
	if found != nil {
		exchange.Operation, q.Operation, q.Version = found.op, found.op, found.version
	}
	if found == nil || !found.open {
		exchange.Auth = ""
		if authErr == nil {
			authErr = s.checkRequest(r.Context(), x, q)
		}
		if authErr != nil {
			exchange.Auth = authErr.Error()
		}
		q.Origin = exchange.Peer
	}
	number := s.record.begin(exchange)

	var answer Answer
	switch {
	case bodyErr != nil:
		answer = Errorf(http.StatusRequestEntityTooLarge, "M_TOO_LARGE", "reading the body: %v", bodyErr)
	case found == nil:
		answer = Errorf(http.StatusNotFound, "M_UNRECOGNIZED", "%s %s is not something that this server answers", r.Method, uri)
	case exchange.Auth != "" && !found.open:
		answer = Errorf(http.StatusUnauthorized, "M_UNAUTHORIZED", "%s", exchange.Auth)
	default:
		answer = s.handler(found)(q)
	}
	counted := &meter{ResponseWriter: w}
	problem := s.reply(counted, r, answer)
	s.record.end(number, answer.Status, answer.Body, counted.sent, problem)
	if problem != "" {
		panic(http.ErrAbortHandler) // net/http would otherwise end the broken answer properly
	}
}

// checkRequest checks the X-Matrix signature of an inbound request.
func (s *Server) checkRequest(ctx context.Context, x matrix.XMatrix, q *Inquiry) error {
	key, err := s.PeerKey(ctx, x.Origin, x.KeyID)
	if err != nil {
		return err
	}
	request := matrix.FederationRequest{Method: q.Method, URI: q.URI}
	if len(q.Body) > 0 {
		request.Content = q.Body
	}
	return x.Verify(request, s.name, key)
}

// reply sends an answer in its manner and says what went wrong or was done wrong on purpose.
func (s *Server) reply(w http.ResponseWriter, r *http.Request, a Answer) (problem string) {
	if a.Manner == Hang {
		<-r.Context().Done()
		return "left without an answer: " + context.Cause(r.Context()).Error()
	}
	if a.Manner == Reset {
		return hangUp(w, nil)
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	for name, values := range a.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	var err error
	switch a.Manner {
	case Truncate:
		head := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
			a.Status, http.StatusText(a.Status), len(a.Body))
		return hangUp(w, append(head, a.Body[:len(a.Body)/2]...))
	case Endless:
		err = endless(w, r.Context(), a)
	case Trickle:
		header.Set("Content-Length", strconv.Itoa(len(a.Body)))
		err = trickle(w, r.Context(), a)
	case GzipBomb:
		header.Set("Content-Encoding", "gzip")
		err = gzipBomb(w, a)
	default:
		header.Set("Content-Length", strconv.Itoa(len(a.Body)))
		w.WriteHeader(a.Status)
		_, err = w.Write(a.Body)
	}
	if err != nil {
		return "sending the answer: " + err.Error()
	}
	return ""
}

// hangUp writes raw bytes and closes the connection.
func hangUp(w http.ResponseWriter, raw []byte) string {
	conn, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return "taking over the connection: " + err.Error()
	}
	_, err = buffer.Write(raw)
	if err = errors.Join(err, buffer.Flush(), conn.Close()); err != nil {
		return "closing the connection: " + err.Error()
	}
	return "the connection was closed on purpose"
}

// endless sends white space behind the body. Its error is that of the connection, which the other
// server ends.
func endless(w http.ResponseWriter, ctx context.Context, a Answer) error {
	w.WriteHeader(a.Status)
	if _, err := w.Write(a.Body); err != nil {
		return err
	}
	blank := bytes.Repeat([]byte{' '}, 64<<10)
	for ctx.Err() == nil {
		if _, err := w.Write(blank); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

func trickle(w http.ResponseWriter, ctx context.Context, a Answer) error {
	w.WriteHeader(a.Status)
	flush := http.NewResponseController(w)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := range a.Body {
		if _, err := w.Write(a.Body[i : i+1]); err != nil {
			return err
		}
		if err := flush.Flush(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// bombSize is what a gzip bomb inflates to.
const bombSize = 512 << 20

func gzipBomb(w http.ResponseWriter, a Answer) error {
	w.WriteHeader(a.Status)
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	blank := bytes.Repeat([]byte{' '}, 1<<20)
	for range bombSize / len(blank) {
		if _, err := z.Write(blank); err != nil {
			return err
		}
	}
	if _, err := z.Write(a.Body); err != nil {
		return err
	}
	return z.Close()
}
