package account

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/matrix"
)

// TestRetriesAreNotPutOff has keys fail without end, none of which may keep another from its retry.
func TestRetriesAreNotPutOff(t *testing.T) {
	f := newFixture(t)
	a := newAccount(t)
	user := a.Key().UserID("there")
	known := false
	f.peers.answer = func(server matrix.ServerName, body []byte) ([]byte, error) {
		entries := map[string]json.RawMessage{}
		for _, key := range gjson.GetBytes(body, "account_keys").Array() {
			entries[key.Str] = json.RawMessage(`{"errcode":"M_UNKNOWN"}`)
			if known && key.Str == a.Key().String() {
				entries[key.Str] = named(t, a, "bob")
			}
		}
		return marshal(map[string]any{"account_keys": entries}), nil
	}
	require.NoError(t, f.Start())
	f.Verify(context.Background(), user)
	f.peers.mutex.Lock()
	known = true
	f.peers.mutex.Unlock()
	f.clock.advance(firstRetry)

	deadline := time.Now().Add(5 * time.Second)
	for i := 0; f.Lookup(user).State != Verified; i++ {
		require.True(t, time.Now().Before(deadline), "the key is asked for again while %d others fail", i)
		f.Verify(context.Background(), newAccount(t).Key().UserID("elsewhere"))
		f.clock.advance(time.Second) // the pause between fruitless questions
	}
}
