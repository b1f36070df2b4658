package deploy

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stubServer counts how often it is closed.
type stubServer struct {
	ManagedServer
	alias  string
	closed int
	err    error
}

func (s *stubServer) Alias() string { return s.alias }

func (s *stubServer) Close(context.Context) error {
	s.closed++
	return s.err
}

func TestStartServersIsAllOrNothing(t *testing.T) {
	up := &stubServer{}
	isUp := make(chan struct{})
	broken := errors.New("hs2 does not come up")
	_, err := StartServers(t.Context(), []string{"hs1", "hs2", "hs3"}, func(ctx context.Context, alias string) (ManagedServer, error) {
		switch alias {
		case "hs1":
			defer close(isUp)
			return up, nil
		case "hs2":
			<-isUp
			return nil, broken
		default:
			<-ctx.Done() // the failure of one ends the others
			return nil, ctx.Err()
		}
	})
	require.ErrorIs(t, err, broken)
	require.Equal(t, broken.Error(), err.Error(), "the cancellation of hs3 is not worth a word")
	require.Equal(t, 1, up.closed)
}

func TestGroupClosesEverythingOnce(t *testing.T) {
	ca, err := NewCA()
	require.NoError(t, err)
	one, two := &stubServer{alias: "hs1", err: errors.New("one")}, &stubServer{alias: "hs2", err: errors.New("two")}
	var order []string
	g := NewGroup(GroupConfig{
		CA: ca, Servers: []ManagedServer{one, two},
		OnTestEnd:   func(_ context.Context, name string, failed bool) error { order = append(order, name); return nil },
		BeforeClose: func(context.Context) error { order = append(order, "before"); return errors.New("before") },
		AfterClose:  func(context.Context) error { order = append(order, "after"); return errors.New("after") },
	})
	require.NoError(t, g.TestEnded(t.Context(), "TestX", false))
	first, second := g.Close(t.Context()), g.Close(t.Context())
	require.Equal(t, "before one two after", strings.ReplaceAll(first.Error(), "\n", " "), "one failure does not hide another")
	require.Equal(t, first, second)
	require.Equal(t, []int{1, 1}, []int{one.closed, two.closed})
	require.Equal(t, []string{"TestX", "before", "after"}, order)
	require.Len(t, g.Servers(), 2)
}

func TestLastLines(t *testing.T) {
	require.Equal(t, "b\nc", LastLines("a\r\nb\r\nc\n\n", 2))
	require.Equal(t, "a", LastLines("a", 5))
	long := LastLines(strings.Repeat("é", 1000), 1)
	require.LessOrEqual(t, len(long), 410)
	require.True(t, strings.HasSuffix(long, "…"))
}
