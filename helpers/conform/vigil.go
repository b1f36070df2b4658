package conform

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"countersign/helpers/csapi"
)

// patience is how many requests in a row the homeservers may leave unanswered before the rest of the
// tests are not begun. Each has cost its whole time limit by then, and no other was answered
// meanwhile, in any test.
const patience = 12

// vigil notices that the homeservers of a package have stopped answering, so that a server that
// hangs costs the time of a few tests and not of all. Clients and servers are watched apart: one of
// the two APIs may hang while the other answers.
type vigil struct{ clients, servers silence }

// silence counts requests without an answer since the last answer.
type silence struct{ requests atomic.Int32 }

func (s *silence) heard(answered, hung bool) {
	switch {
	case answered:
		s.requests.Store(0)
	case hung:
		s.requests.Add(1)
	}
}

// NeedAnswers ends the test as INCONCLUSIVE when the shared homeservers have stopped answering
// altogether, as other tests have found out.
func NeedAnswers(t testing.TB) {
	t.Helper()
	v := &current(t).vigil
	for api, s := range map[string]*silence{"client-server": &v.clients, "server-server": &v.servers} {
		if n := s.requests.Load(); n >= patience {
			Inconclusive(t, "the homeservers have stopped answering: the last %d requests of the %s API, in this and other tests, hung; see the first tests that failed", n, api)
		}
	}
}

// WatchClient has the requests of a client of the shared homeservers tell [NeedAnswers] whether they
// were answered.
func WatchClient(t testing.TB) csapi.Option {
	t.Helper()
	clients := &current(t).vigil.clients
	return csapi.OnResponse(func(r *csapi.Response) { clients.heard(r.Status != 0, errors.Is(r.Err, csapi.ErrHung)) })
}

// WatchTransport is [WatchClient] for what fake servers ask the shared homeservers.
func WatchTransport(t testing.TB, transport http.RoundTripper) http.RoundTripper {
	t.Helper()
	return watched{transport, &current(t).vigil.servers}
}

type watched struct {
	http.RoundTripper
	servers *silence
}

// RoundTrip implements http.RoundTripper.
func (w watched) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := w.RoundTripper.RoundTrip(request)
	var timeout net.Error
	hung := errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
	w.servers.heard(err == nil, hung)
	return response, err
}
