package clientapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"countersign/reference/clientapi/userdb"
	"countersign/reference/peer"
)

// handler answers a request with a value that is written as JSON, or with an error. A
// json.RawMessage is written as it is.
type handler func(*call) (any, error)

// route is one endpoint.
type route struct {
	method string
	// path is a ServeMux pattern below /_matrix/client, with its version; paths of v3 are served
	// as r0 too.
	path string
	// open endpoints need no access token.
	open bool
	do   handler
}

// open is a route without authentication.
func open(method, path string, do handler) route { return route{method, path, true, do} }

// authed is a route for requests with an access token.
func authed(method, path string, do handler) route { return route{method, path, false, do} }

// Handler serves the client-server API.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	known := map[string]bool{}
	handle := func(path string, r route) {
		mux.Handle(r.method+" "+path, a.endpoint(r))
		if !known[path] {
			known[path] = true
			mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
				writeError(w, unrecognised(http.StatusMethodNotAllowed))
			})
		}
	}
	for _, r := range a.routes() {
		if strings.HasPrefix(r.path, "/_") {
			handle(r.path, r)
			continue
		}
		handle("/_matrix/client"+r.path, r)
		if old, ok := strings.CutPrefix(r.path, "/v3/"); ok {
			handle("/_matrix/client/r0/"+old, r)
		}
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, unrecognised(http.StatusNotFound))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.EscapedPath(), "//") {
			writeError(w, unrecognised(http.StatusNotFound))
			return
		}
		mux.ServeHTTP(w, keepDots(r))
	})
}

// keepDots keeps ServeMux from taking "." and ".." in a path for what they are in a file system: here
// they are state keys and transaction IDs like any other.
func keepDots(r *http.Request) *http.Request {
	segments := strings.Split(r.URL.EscapedPath(), "/")
	changed := false
	for i, segment := range segments {
		if segment == "." || segment == ".." {
			segments[i] = strings.ReplaceAll(segment, ".", "%2E")
			changed = true
		}
	}
	if !changed {
		return r
	}
	kept := r.Clone(r.Context())
	kept.URL.RawPath = strings.Join(segments, "/")
	return kept
}

// endpoint reads the request, authenticates it, and writes the answer.
func (a *API) endpoint(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if a.defects.Has("CloseConnections") {
			w.Header().Set("Connection", "close")
		}
		answer, err := a.answer(w, req, r)
		if err != nil {
			matrixErr := answerOf(err)
			if matrixErr.Status >= http.StatusInternalServerError {
				a.logger.Warn("a client's request failed", "method", req.Method, "path", req.URL.Path, "error", err)
			}
			writeError(w, matrixErr)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

func (a *API) answer(w http.ResponseWriter, req *http.Request, r route) (any, error) {
	body, err := readBody(w, req)
	if err != nil {
		return nil, err
	}
	c := &call{Request: req, body: body}
	if !r.open {
		if c.session, err = a.authenticate(req); err != nil {
			return nil, err
		}
		if err := a.checkGuest(c, r); err != nil {
			return nil, err
		}
	}
	return r.do(c)
}

// authenticate finds the device whose access token a request carries, in the Authorization header or,
// as older clients do, in the query.
func (a *API) authenticate(req *http.Request) (userdb.Session, error) {
	token := req.URL.Query().Get("access_token")
	if header := req.Header.Get("Authorization"); header != "" {
		scheme, value, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return userdb.Session{}, peer.Errorf(http.StatusUnauthorized, "M_MISSING_TOKEN", "the Authorization header is not of the form \"Bearer token\"")
		}
		token = strings.TrimSpace(value)
	}
	if token == "" {
		return userdb.Session{}, peer.Errorf(http.StatusUnauthorized, "M_MISSING_TOKEN", "the request has no access token")
	}
	session, err := a.users.Session(token)
	if errors.Is(err, userdb.ErrNotFound) {
		return session, &peer.Error{
			Status: http.StatusUnauthorized, Code: "M_UNKNOWN_TOKEN", Message: "the access token is not valid, or no longer",
			Extra: map[string]any{"soft_logout": false},
		}
	}
	return session, err
}

func writeError(w http.ResponseWriter, err *peer.Error) {
	writeJSON(w, err.Status, json.RawMessage(err.JSON()))
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	raw, ok := value.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = json.Marshal(value); err != nil {
			status, raw = http.StatusInternalServerError, peer.AsError(err).JSON()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// An answer that cannot be written has no reader; there is nobody left to tell.
	_, _ = w.Write(raw)
}

// empty is the answer that says nothing but yes.
func empty() (any, error) { return struct{}{}, nil }
