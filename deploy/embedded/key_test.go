package embedded

import (
	"encoding/json"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// keyIDs is the verification keys of a server key document, in a comparable form.
func keyIDs(t *testing.T, document io.Reader) string {
	t.Helper()
	var keys struct {
		VerifyKeys map[string]struct{ Key string } `json:"verify_keys"`
	}
	require.NoError(t, json.NewDecoder(document).Decode(&keys))
	text, err := json.Marshal(keys.VerifyKeys)
	require.NoError(t, err)
	if len(keys.VerifyKeys) == 0 {
		return ""
	}
	return string(text)
}
