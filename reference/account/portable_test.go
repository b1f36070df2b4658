package account

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/matrix"
	"countersign/reference/peer"
)

func portable(a matrix.Account) matrix.UserID { return a.Key().PortableUserID() }

func TestPortableAccountsAreAskedForAtTheirCosigner(t *testing.T) {
	f := newFixture(t)
	a := newAccount(t)
	f.respond(map[string]json.RawMessage{a.Key().String(): named(t, a, "bob")}, nil)
	_, ok := f.AccountName(portable(a), "there")
	require.False(t, ok)
	f.VerifyPortable(context.Background(), At(portable(a), "there"))
	name, ok := f.AccountName(portable(a), "there")
	require.True(t, ok)
	require.Equal(t, "bob", name)
	require.Equal(t, []string{"there " + portableAccountsPath}, f.peers.asked())
	_, ok = f.AccountName(portable(a), "elsewhere")
	require.False(t, ok, "a name holds at the domain that has confirmed it")

	f.respond(map[string]json.RawMessage{a.Key().String(): signed(t, a, map[string]any{"account_name": "robert", "domain": "elsewhere"})}, nil)
	f.VerifyPortable(context.Background(), At(portable(a), "elsewhere"))
	name, _ = f.AccountName(portable(a), "elsewhere")
	require.Equal(t, "robert", name, "an account that has moved")
	name, _ = f.AccountName(portable(a), "there")
	require.Equal(t, "bob", name, "what it was called before")
}

func TestUnprovedPortableAccountsHaveNoName(t *testing.T) {
	other := newAccount(t)
	a := newAccount(t)
	for what, entry := range map[string]json.RawMessage{
		"unknown":               json.RawMessage(`{"errcode":"M_UNKNOWN"}`),
		"unsigned":              json.RawMessage(`{"account_name":"bob","domain":"there"}`),
		"signed by another key": named(t, other, "bob"),
		"of another domain":     signed(t, a, map[string]any{"account_name": "bob", "domain": "elsewhere"}),
		"erased":                erased(t, a),
	} {
		t.Run(what, func(t *testing.T) {
			f := newFixture(t)
			f.respond(map[string]json.RawMessage{a.Key().String(): entry}, nil)
			f.VerifyPortable(context.Background(), At(portable(a), "there"))
			_, ok := f.AccountName(portable(a), "there")
			require.False(t, ok)
		})
	}
}

func TestPortableAccountsAreForgottenWhenErased(t *testing.T) {
	f := newFixture(t)
	a := newAccount(t)
	f.respond(map[string]json.RawMessage{a.Key().String(): named(t, a, "bob")}, nil)
	f.VerifyPortable(context.Background(), At(portable(a), "there"))
	require.NoError(t, f.learn(map[matrix.UserID]Entry{At(portable(a), "there"): {State: Erased}}))
	_, ok := f.AccountName(portable(a), "there")
	require.False(t, ok)
}

// The endpoint of MSC4348 says nothing about MSC4243's: both are asked, each for its own.
func TestPortableAccountsAreRetriedByTheirEndpoint(t *testing.T) {
	f := newFixture(t)
	a := newAccount(t)
	f.respond(map[string]json.RawMessage{}, nil)
	f.VerifyPortable(context.Background(), At(portable(a), "there"))
	f.shut(t)
	f.open(t)
	f.respond(map[string]json.RawMessage{a.Key().String(): named(t, a, "bob")}, nil)
	require.NoError(t, f.Start())
	require.Eventually(t, func() bool { _, ok := f.AccountName(portable(a), "there"); return ok }, 5*time.Second, 5*time.Millisecond)
	require.Equal(t, []string{"there " + portableAccountsPath, "there " + portableAccountsPath}, f.peers.asked())
}

func TestLocalPortableAccounts(t *testing.T) {
	f := newFixture(t)
	a, err := f.Account("alice")
	require.NoError(t, err)
	user, err := f.RoomUser(matrix.RoomVersionMSC4348(), "@alice:here")
	require.NoError(t, err)
	require.Equal(t, portable(a), user)
	_, name, ok := f.LocalAccount(user)
	require.True(t, ok)
	require.Equal(t, "alice", name)
	name, ok = f.AccountName(user, "here")
	require.True(t, ok)
	require.Equal(t, "alice", name)
	_, ok = f.AccountName(portable(newAccount(t)), "here")
	require.False(t, ok)
	f.VerifyPortable(context.Background(), At(portable(newAccount(t)), "here"))
	require.Zero(t, f.peers.count(), "this server is not asked for its own keys")
}

func TestPortableAnswersAreForAcquaintances(t *testing.T) {
	f := newFixture(t)
	known, err := f.Account("alice")
	require.NoError(t, err)
	stranger, err := f.Account("bob")
	require.NoError(t, err)
	gone, err := f.Account("carol")
	require.NoError(t, err)
	secret, err := f.Account("dave")
	require.NoError(t, err)
	require.NoError(t, f.Erase("carol"))
	require.NoError(t, f.Erase("dave"))
	missing := newAccount(t)
	request := marshal(map[string]any{
		"account_keys": []string{known.Key().String(), stranger.Key().String(), missing.Key().String()},
		"erasure":      map[string]any{"id": 0},
	})
	raw, err := f.AnswerTo(request, func(user matrix.UserID, erased bool) (bool, error) {
		return user == portable(known) && !erased || user == portable(gone) && erased, nil
	})
	require.NoError(t, err)
	answer := gjson.ParseBytes(raw)
	require.Equal(t, "alice", answer.Get("account_keys."+known.Key().String()+".account_name").Str)
	require.Equal(t, "M_ERASED", answer.Get("account_keys."+gone.Key().String()+".errcode").Str)
	require.False(t, answer.Get("account_keys."+secret.Key().String()).Exists())
	require.Equal(t, answer.Get("account_keys."+missing.Key().String()).Raw, answer.Get("account_keys."+stranger.Key().String()).Raw,
		"a key that may not be known looks like one that does not exist")
	require.Equal(t, "M_UNKNOWN", answer.Get("account_keys."+stranger.Key().String()+".errcode").Str)

	_, err = f.AnswerTo([]byte(`{"account_keys":7}`), nil)
	require.ErrorAs(t, err, new(*peer.Error))
}
