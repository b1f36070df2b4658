package verify

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/vectors"
)

// inProcess asks Go's own libraries.
func inProcess(t *testing.T) []measured {
	t.Helper()
	accepted := func(name string, accepts func(input map[string]string) bool) map[string][]string {
		f, err := vectors.Load(name)
		require.NoError(t, err)
		var ids []string
		for _, v := range f.Vectors {
			if accepts(v.Input) {
				ids = append(ids, v.ID)
			}
		}
		return map[string][]string{name: ids}
	}
	version := "Go " + strings.TrimPrefix(runtime.Version(), "go")
	decodes := func(encoding *base64.Encoding) map[string][]string {
		return accepted("account-keys", func(input map[string]string) bool {
			key, err := encoding.DecodeString(input["text"])
			return err == nil && len(key) == ed25519.PublicKeySize
		})
	}
	return []measured{
		{ID: "go", Version: version, Accepts: accepted("ed25519", func(input map[string]string) bool {
			key, keyErr := hex.DecodeString(input["public_key"])
			signature, signatureErr := hex.DecodeString(input["signature"])
			return keyErr == nil && signatureErr == nil && ed25519.Verify(key, []byte(input["message"]), signature)
		})},
		{ID: "go-base64", Version: version, Accepts: decodes(base64.RawURLEncoding)},
		{ID: "go-base64-strict", Version: version, Accepts: decodes(base64.RawURLEncoding.Strict())},
	}
}
