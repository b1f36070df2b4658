package reference

import (
	"io"
	"net/http"
	"time"
)

// boundBodies has the body of every request arrive within bodyTimeout. The server's own ReadTimeout is
// no use for that: it also ends requests that have been read and wait for something to happen.
func boundBodies(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			c := http.NewResponseController(w)
			if c.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil {
				r.Body = &timedBody{ReadCloser: r.Body, controller: c}
			}
		}
		h.ServeHTTP(w, r)
	})
}

// timedBody is a body that lifts the deadline once it has been read.
type timedBody struct {
	io.ReadCloser
	controller *http.ResponseController
}

// Read implements io.Reader.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		// The connection stays usable whether or not this succeeds; the next request sets its own.
		_ = b.controller.SetReadDeadline(time.Time{})
	}
	return n, err
}
