package room

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
)

func TestACL(t *testing.T) {
	for _, c := range []struct {
		content string
		server  matrix.ServerName
		allowed bool
	}{
		{`{}`, "a", false},
		{`{"allow":["*"]}`, "a", true},
		{`{"allow":["*"],"deny":["a"]}`, "a", false},
		{`{"allow":["*"],"deny":["a"]}`, "a:8448", false},
		{`{"allow":["*"],"deny":["A"]}`, "a", false},
		{`{"allow":["*"],"deny":["*.evil.org"]}`, "x.evil.org", false},
		{`{"allow":["*"],"deny":["*.evil.org"]}`, "evil.org", true},
		{`{"allow":["h?1"]}`, "hs1", true},
		{`{"allow":["h?1"]}`, "hs11", false},
		{`{"allow":["*"],"deny":[1,null,"b"]}`, "a", true},
		{`{"allow":"*"}`, "a", false},
		{`{"allow":["*"],"allow_ip_literals":false}`, "127.0.0.1:1", false},
		{`{"allow":["*"],"allow_ip_literals":false}`, "[::1]:1", false},
		{`{"allow":["*"],"allow_ip_literals":true}`, "127.0.0.1", true},
		{`{"allow":["*"],"allow_ip_literals":"no"}`, "127.0.0.1", true},
	} {
		require.Equal(t, c.allowed, aclAllows([]byte(c.content), c.server), "%s %s", c.content, c.server)
	}
}

func TestGlobsCannotBeMadeSlow(t *testing.T) {
	began := time.Now()
	require.False(t, matchGlob(strings.Repeat("*a", 200), strings.Repeat("a", 199)+"b"))
	require.Less(t, time.Since(began), time.Second)
}
