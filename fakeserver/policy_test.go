package fakeserver_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/gjson"

	"countersign/fakeserver"
	"countersign/matrix"
)

func TestPolicyServer(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(t *testing.T, v matrix.RoomVersion) {
		p := newPair(t, v, fakeserver.RoomOptions{})
		e, err := p.of.NewEvent(p.bob, fakeserver.Message("please"))
		require.NoError(t, err)
		answer, err := p.fs.Do(ctx(t), p.hs.Name(), http.MethodPost, "/_matrix/policy/v1/sign", e)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Status, "%s", answer.Body)

		signer := p.hs.PolicySigner()
		signed, err := matrix.PutSignature(e.JSON(), signer.Entity, signer.KeyID,
			answer.Get(gjson.Escape(signer.Entity)+"."+gjson.Escape(string(signer.KeyID))).String())
		require.NoError(t, err)
		both, err := matrix.ParseEvent(v, signed)
		require.NoError(t, err)
		key, err := matrix.DecodeBase64(p.hs.PolicyContent()["public_keys"].(map[string]any)["ed25519"].(string))
		require.NoError(t, err)
		require.NoError(t, both.VerifySignature(signer.Entity, signer.KeyID, key))
		require.Equal(t, e.ID(), both.ID())
	})
}
