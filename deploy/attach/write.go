package attach

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"countersign/deploy"
)

// The names of the files that Write writes.
const (
	FileName        = "attach.yaml"
	CertificateName = "ca.crt"
	keyName         = "ca.key"
)

// Write describes the servers of a deployment in a folder, which is made when it is missing, so that
// others can attach to them while they run. It returns the path of the file; the authority's
// certificate and private key are beside it.
func Write(folder string, deployment deploy.Deployment) (string, error) {
	var f File
	f.CA.Certificate, f.CA.Key = CertificateName, keyName
	f.Peer.Host, f.Peer.Listen = deployment.PeerHost(), deployment.PeerListenAddr()
	f.Servers = map[string]Description{}
	for _, s := range deployment.Servers() {
		f.Servers[s.Alias()] = Description{Name: s.Name(), Client: s.ClientURL(), Federation: s.FederationAddr()}
	}
	text, err := yaml.Marshal(f)
	if err != nil {
		return "", fmt.Errorf("describing the homeservers: %w", err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("making a folder to describe the homeservers in: %w", err)
	}
	for name, content := range map[string][]byte{
		FileName: text, CertificateName: deployment.CA().CertPEM(), keyName: deployment.CA().KeyPEM(),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			return "", fmt.Errorf("describing the homeservers: %w", err)
		}
	}
	return filepath.Join(folder, FileName), nil
}
