package deploy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// Certificates of one run live as long as the longest run that anybody would wait for; they begin
// in the past so that a container whose clock is a little behind still accepts them.
const (
	certificateLead     = time.Hour
	certificateLifetime = 30 * 24 * time.Hour
)

// CA is the certificate authority of one deployment: every homeserver trusts it, and it signs the
// certificates of the homeservers and of the fake servers. A CA is safe for concurrent use.
type CA struct {
	cert    *x509.Certificate
	signer  crypto.Signer // nil when only the certificate is known
	certPEM []byte
	keyPEM  []byte

	mu     sync.Mutex
	issued map[string]tls.Certificate // by the hosts' names; the fake servers of a run share a host
}

// NewCA makes a certificate authority with a fresh P-256 key, in memory.
func NewCA() (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of the certificate authority: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the key of the certificate authority: %w", err)
	}
	return selfSigned(key, &pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

// NewRSACA makes a certificate authority with a fresh 2048-bit RSA key whose PEM form is PKCS #1.
// Complement's authority has such a key and some images parse no other, so containers are given
// this one. Making it takes tens of milliseconds, and each certificate about one.
func NewRSACA() (*CA, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("making the key of the certificate authority: %w", err)
	}
	return selfSigned(key, &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

func selfSigned(signer crypto.Signer, keyBlock *pem.Block) (*CA, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"Countersign"}, CommonName: "Countersign test authority"},
		NotBefore:             now.Add(-certificateLead),
		NotAfter:              now.Add(certificateLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of the authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading back the certificate of the authority: %w", err)
	}
	return &CA{
		cert:    cert,
		signer:  signer,
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM:  pem.EncodeToMemory(keyBlock),
	}, nil
}

// ParseCA reads a certificate authority from PEM: one certificate, and its private key as PKCS #8,
// PKCS #1 or SEC 1. keyPEM may be empty; the authority then vouches for what others have signed,
// and Issue returns ErrUnsupported.
func ParseCA(certPEM, keyPEM []byte) (*CA, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("the authority's certificate is not PEM with a CERTIFICATE block")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate cannot be parsed: %w", err)
	}
	if !cert.IsCA {
		return nil, errors.New("the certificate is not that of an authority (basic constraint CA is false)")
	}
	ca := &CA{cert: cert, certPEM: pem.EncodeToMemory(block)}
	if len(keyPEM) == 0 {
		return ca, nil
	}
	keyBlock, err := privateKeyBlock(keyPEM)
	if err != nil {
		return nil, err
	}
	if ca.signer, err = parseSigner(keyBlock.Bytes); err != nil {
		return nil, err
	}
	public, ok := ca.signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(cert.PublicKey) {
		return nil, errors.New("the authority's private key does not belong to its certificate")
	}
	ca.keyPEM = pem.EncodeToMemory(keyBlock)
	return ca, nil
}

// LoadCA reads a certificate authority from two PEM files; see ParseCA. keyFile may be empty.
func LoadCA(certFile, keyFile string) (*CA, error) {
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("the authority's certificate cannot be read: %w", err)
	}
	var keyPEM []byte
	if keyFile != "" {
		if keyPEM, err = os.ReadFile(keyFile); err != nil {
			return nil, fmt.Errorf("the authority's private key cannot be read: %w", err)
		}
	}
	return ParseCA(certPEM, keyPEM)
}

// privateKeyBlock finds the private key in PEM that may begin with other blocks, as the key files
// of OpenSSL begin with the curve's parameters.
func privateKeyBlock(keyPEM []byte) (*pem.Block, error) {
	for block, rest := pem.Decode(keyPEM); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY":
			return block, nil
		}
	}
	return nil, errors.New("the authority's private key is not PEM with an unencrypted PRIVATE KEY block")
}

func parseSigner(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("the authority's private key cannot be parsed: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the authority's private key is a %T, which cannot sign", key)
	}
	return signer, nil
}

// Issue signs a server certificate, with a P-256 key of its own, for the given host names and IP
// addresses. A Matrix server name may be given as it is: its port is left out, since certificates
// name hosts. The same hosts are given the same certificate again. It returns ErrUnsupported when the
// authority's private key is not known.
func (ca *CA) Issue(hosts ...string) (tls.Certificate, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	names := make([]string, len(hosts))
	for i, host := range hosts {
		names[i] = hostOf(host)
	}
	key := strings.Join(names, " ")
	if certificate, ok := ca.issued[key]; ok {
		return certificate, nil
	}
	certificate, err := ca.issue(names)
	if err != nil {
		return tls.Certificate{}, err
	}
	if ca.issued == nil {
		ca.issued = map[string]tls.Certificate{}
	}
	ca.issued[key] = certificate
	return certificate, nil
}

func (ca *CA) issue(hosts []string) (tls.Certificate, error) {
	if ca.signer == nil {
		return tls.Certificate{}, fmt.Errorf("issuing a certificate without the authority's private key: %w", ErrUnsupported)
	}
	if len(hosts) == 0 {
		return tls.Certificate{}, errors.New("a certificate needs at least one host name")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate's key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		NotBefore:    now.Add(-certificateLead),
		NotAfter:     earlier(now.Add(certificateLifetime), ca.cert.NotAfter),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		// Homeservers use the same certificate when they ask for a client certificate, if ever.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	template.Subject = pkix.Name{CommonName: hostOf(hosts[0])}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.signer)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("signing a certificate for %v: %w", hosts, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading back a certificate for %v: %w", hosts, err)
	}
	return tls.Certificate{Certificate: [][]byte{der, ca.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// IssuePEM is Issue with the result as PEM: the chain (leaf first) and the private key as PKCS #8.
func (ca *CA) IssuePEM(hosts ...string) (certPEM, keyPEM []byte, err error) {
	cert, err := ca.Issue(hosts...)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding a certificate's key: %w", err)
	}
	for _, link := range cert.Certificate {
		certPEM = append(certPEM, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: link})...)
	}
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Pool returns a new pool that holds this authority's certificate and no other.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// CertPEM is the authority's certificate as one PEM block.
func (ca *CA) CertPEM() []byte { return append([]byte(nil), ca.certPEM...) }

// KeyPEM is the authority's private key as one PEM block, or nil when it is not known.
func (ca *CA) KeyPEM() []byte { return append([]byte(nil), ca.keyPEM...) }

func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making a certificate's serial number: %w", err)
	}
	return serial, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
