package conform

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/report/verdict"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNeedAnswers(t *testing.T) {
	shared.Store(&stage{})
	t.Cleanup(func() { shared.Store(nil) })
	ask := func(times int, err error) {
		transport := WatchTransport(t, roundTrip(func(*http.Request) (*http.Response, error) { return nil, err }))
		for range times {
			_, _ = transport.RoundTrip(nil)
		}
	}
	needed := func() *recorder { return play(t, func(tb testing.TB) { NeedAnswers(tb) }) }

	ask(patience-1, context.DeadlineExceeded)
	require.False(t, needed().failed, "the last straw is missing")
	ask(1, nil)
	ask(patience-1, context.DeadlineExceeded)
	require.False(t, needed().failed, "an answer starts the count anew")
	ask(patience, errors.New("connection refused"))
	require.False(t, needed().failed, "a refusal costs no time and is no silence")

	ask(1, context.DeadlineExceeded)
	r := needed()
	require.True(t, r.failed)
	require.Equal(t, verdict.Inconclusive, r.findings(t)[0].Verdict)
	require.Contains(t, r.output[0], "stopped answering")
	require.Contains(t, r.output[0], "server-server")
}
