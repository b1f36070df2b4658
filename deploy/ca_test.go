package deploy

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCAIssuesCertificatesThatItsPoolVerifies(t *testing.T) {
	for name, make := range map[string]func() (*CA, error){"P-256": NewCA, "RSA": NewRSACA} {
		t.Run(name, func(t *testing.T) {
			ca, err := make()
			require.NoError(t, err)
			cert, err := ca.Issue("localhost:8448", "127.0.0.1", "[::1]:8448", "hs1")
			require.NoError(t, err)
			for _, host := range []string{"localhost", "127.0.0.1", "::1", "hs1"} {
				_, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: host})
				require.NoError(t, err, host)
			}
			_, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: "hs2"})
			require.Error(t, err)

			other, err := make()
			require.NoError(t, err)
			_, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: other.Pool(), DNSName: "hs1"})
			require.Error(t, err, "another authority must not vouch for it")
		})
	}
}

func TestCASurvivesPEM(t *testing.T) {
	for name, make := range map[string]func() (*CA, error){"P-256": NewCA, "RSA": NewRSACA} {
		t.Run(name, func(t *testing.T) {
			ca, err := make()
			require.NoError(t, err)
			again, err := ParseCA(ca.CertPEM(), ca.KeyPEM())
			require.NoError(t, err)
			certPEM, keyPEM, err := again.IssuePEM("hs1")
			require.NoError(t, err)
			pair, err := tls.X509KeyPair(certPEM, keyPEM)
			require.NoError(t, err)
			_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: "hs1"})
			require.NoError(t, err)
		})
	}
}

func TestParseCARefusesWhatIsNoAuthority(t *testing.T) {
	ca, err := NewCA()
	require.NoError(t, err)
	other, err := NewCA()
	require.NoError(t, err)
	leafCert, leafKey, err := ca.IssuePEM("hs1")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		cert, key []byte
		message   string
	}{
		"not PEM":              {[]byte("hello"), nil, "not PEM"},
		"a leaf":               {leafCert, leafKey, "not that of an authority"},
		"somebody else's key":  {ca.CertPEM(), other.KeyPEM(), "does not belong"},
		"no private key block": {ca.CertPEM(), ca.CertPEM(), "private key is not PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseCA(c.cert, c.key)
			require.ErrorContains(t, err, c.message)
		})
	}
	trustOnly, err := ParseCA(ca.CertPEM(), nil)
	require.NoError(t, err)
	_, err = trustOnly.Issue("hs1")
	require.ErrorIs(t, err, ErrUnsupported)
}

// BenchmarkIssue is part of what a fake server costs: all of it must fit into 5 ms.
func BenchmarkIssue(b *testing.B) {
	for name, make := range map[string]func() (*CA, error){"P-256": NewCA, "RSA": NewRSACA} {
		b.Run(name, func(b *testing.B) {
			ca, err := make()
			require.NoError(b, err)
			start := time.Now()
			for b.Loop() {
				_, err := ca.Issue("localhost", "127.0.0.1")
				require.NoError(b, err)
			}
			b.ReportMetric(float64(time.Since(start))/float64(b.N)/float64(5*time.Millisecond), "of-5ms")
		})
	}
}
