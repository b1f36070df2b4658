package account

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
)

func TestFruitlessQuestionsAreGathered(t *testing.T) {
	f := newFixture(t)
	f.respond(nil, nil)
	for range freeQuestions + 1 {
		f.Verify(context.Background(), newAccount(t).Key().UserID("there"))
	}
	require.Equal(t, freeQuestions+1, f.peers.count())

	var late []matrix.UserID
	for range 20 {
		user := newAccount(t).Key().UserID("there")
		f.Verify(context.Background(), user)
		late = append(late, user)
	}
	require.Equal(t, freeQuestions+1, f.peers.count(), "no more for now")
	f.Verify(context.Background(), newAccount(t).Key().UserID("elsewhere"))
	require.Equal(t, freeQuestions+2, f.peers.count(), "another domain is another matter")

	f.clock.advance(pause)
	a := newAccount(t)
	f.respond(map[string]json.RawMessage{a.Key().String(): named(t, a, "bob")}, nil)
	f.Verify(context.Background(), append(late, a.Key().UserID("there"))...)
	require.Equal(t, freeQuestions+3, f.peers.count(), "one request for all that have gathered")
	require.Equal(t, Verified, f.Lookup(a.Key().UserID("there")).State)

	f.Verify(context.Background(), newAccount(t).Key().UserID("there"))
	require.Equal(t, freeQuestions+4, f.peers.count(), "a domain that confirms keys is asked at once")
}

func TestEventsWaitBrieflyForADomainThatFailed(t *testing.T) {
	f := newFixture(t)
	require.Equal(t, patience, f.patience(source{domain: "there"}))
	f.peers.answer = func(matrix.ServerName, []byte) ([]byte, error) { return nil, errors.New("connection refused") }
	f.Verify(context.Background(), newAccount(t).Key().UserID("there"))
	require.Equal(t, shortPatience, f.patience(source{domain: "there"}))

	silent := make(chan struct{})
	f.peers.answer = func(matrix.ServerName, []byte) ([]byte, error) { <-silent; return []byte(`{}`), nil }
	started := time.Now()
	f.VerifyBriefly(context.Background(), newAccount(t).Key().UserID("there"))
	require.Less(t, time.Since(started), patience)
	f.clock.advance(time.Second)
	require.Zero(t, f.patience(source{domain: "there"}), "the question has been under way for longer")
	close(silent)
}
