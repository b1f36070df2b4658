package fed

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"countersign/matrix"
	"countersign/reference/account"
	"countersign/reference/defect"
	"countersign/reference/peer"
	"countersign/reference/room"
)

// Bounds of inbound requests.
const (
	maxRequestBody = 12 << 20 // 50 events of 64 KiB, 100 EDUs of as much, and what is around them
	requestTimeout = 60 * time.Second
	authTimeout    = 15 * time.Second
	maxInFlight    = 256
)

// ServerOptions are what a Server needs.
type ServerOptions struct {
	ServerName matrix.ServerName
	Key        matrix.Signer
	Keys       *KeyRing
	Client     *Client
	Queue      *Queue
	Engine     *room.Engine
	Directory  *account.Directory
	Local      Local
	Logger     *slog.Logger
	Clock      func() time.Time
	// Defects are what the server does wrong on purpose.
	Defects defect.Set
}

// Server serves the server-server API. It is an http.Handler.
type Server struct {
	ServerOptions
	mux *http.ServeMux
	// slots bounds the requests that are worked on at the same time; more are answered with 429.
	slots chan struct{}
	lanes *lanes
	// guesses limits how many account names a server can try out.
	guesses *guesses
	// asked counts questions about keys, for a mutant that gets tired of them.
	asked atomic.Int64
}

// NewServer makes the handler of the server-server API.
func NewServer(options ServerOptions) *Server {
	s := &Server{ServerOptions: options, mux: http.NewServeMux(), slots: make(chan struct{}, maxInFlight), lanes: newLanes(), guesses: newGuesses(options.Clock)}
	s.routes()
	return s
}

// request is an inbound request whose signature has been checked.
type request struct {
	*http.Request
	origin matrix.ServerName
	body   []byte
}

// decode reads the body into a value.
func (r *request) decode(into any) error {
	if !json.Valid(r.body) {
		return peer.Errorf(http.StatusBadRequest, "M_NOT_JSON", "the body is not JSON")
	}
	if err := json.Unmarshal(r.body, into); err != nil {
		return peer.BadJSON("%v", err)
	}
	return nil
}

// handler answers a signed request with a JSON value.
type handler func(*request) (any, error)

// methods are the handlers of one path.
type methods map[string]handler

// handle registers the handlers of a path. Other methods are answered with 405.
func (s *Server) handle(path string, m methods) {
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		h, ok := m[r.Method]
		if !ok && s.Defects.Has("AnswerOtherMethodsWithNotFound") {
			writeError(w, peer.NotFound("there is nothing here"))
			return
		}
		if !ok {
			writeError(w, unrecognized(http.StatusMethodNotAllowed, r))
			return
		}
		signed, err := s.authenticate(r)
		if err != nil {
			writeError(w, err)
			return
		}
		answer, err := h(signed)
		if err != nil {
			s.answerError(w, signed, err)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

// open registers a handler of GET requests that need no signature.
func (s *Server) open(path string, h func(*http.Request) (any, error)) {
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			writeError(w, unrecognized(http.StatusMethodNotAllowed, r))
			return
		}
		answer, err := h(r)
		if err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		writeError(w, peer.Errorf(http.StatusTooManyRequests, "M_LIMIT_EXCEEDED", "too many requests at once"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	if h, pattern := s.mux.Handler(r); pattern != "" && !isRedirect(h) {
		s.mux.ServeHTTP(w, r)
		return
	}
	writeError(w, unrecognized(http.StatusNotFound, r))
}

// isRedirect reports whether a handler only leads to the path's clean form; a signed request cannot
// follow.
func isRedirect(h http.Handler) bool {
	_, registered := h.(http.HandlerFunc)
	return !registered
}

func unrecognized(status int, r *http.Request) *peer.Error {
	return peer.Errorf(status, "M_UNRECOGNIZED", "this server does not know %s %s", r.Method, r.URL.Path)
}

// authenticate reads the body and checks the request's signature (server-server API, "Request
// Authentication"). Every fault is answered with 401.
func (s *Server) authenticate(r *http.Request) (*request, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxRequestBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return nil, peer.Errorf(http.StatusRequestEntityTooLarge, "M_TOO_LARGE", "the body has more than %d bytes", maxRequestBody)
		}
		return nil, peer.Errorf(http.StatusBadRequest, "M_NOT_JSON", "the body cannot be read: %v", err)
	}
	x, err := matrix.RequestAuth(r.Header)
	if err != nil && (strings.HasPrefix(r.URL.Path, "/_matrix/key/v3/") && s.Defects.Has("TellKeysToTheAnonymous") || s.Defects.Has("AnswerAnonymousRequests")) {
		return &request{Request: r, body: body}, nil
	}
	if err != nil {
		return nil, unauthorized(err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), authTimeout)
	defer cancel()
	if x.Origin == s.ServerName {
		return nil, unauthorized(errors.New("the request claims to come from this server"))
	}
	key, err := s.Keys.RequestKey(ctx, x.Origin, x.KeyID)
	if err != nil {
		return nil, unauthorized(err)
	}
	signed := matrix.FederationRequest{Method: r.Method, URI: r.RequestURI}
	if len(body) > 0 {
		if !json.Valid(body) {
			return nil, peer.Errorf(http.StatusBadRequest, "M_NOT_JSON", "the body is not JSON")
		}
		signed.Content = body
	}
	if err := x.Verify(signed, s.ServerName, key); err != nil && !s.Defects.Has("TrustRequests") {
		return nil, unauthorized(err)
	}
	s.Client.HeardFrom(x.Origin)
	s.Queue.Retry(x.Origin)
	return &request{Request: r, origin: x.Origin, body: body}, nil
}

func unauthorized(err error) *peer.Error {
	return peer.Errorf(http.StatusUnauthorized, "M_UNAUTHORIZED", "%v", err)
}

// answerError answers with a Matrix error. What is not one is a fault of this server's and is logged.
func (s *Server) answerError(w http.ResponseWriter, r *request, err error) {
	e := peer.AsError(err)
	if e.Status >= http.StatusInternalServerError {
		s.Logger.Error("a federation request failed", "method", r.Method, "path", r.URL.Path, "origin", r.origin, "error", err)
	}
	writeError(w, e)
}

func writeError(w http.ResponseWriter, err error) {
	e := peer.AsError(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_, _ = w.Write(e.JSON()) // when the peer is gone nobody is left to be told
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // as above
}

// versionsOf are the room versions that a request names with ver.
func versionsOf(r *request) []string { return r.URL.Query()["ver"] }

// isTrue reads a boolean query parameter.
func isTrue(value string) bool { return strings.EqualFold(value, "true") }
