package conform

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"countersign/deploy"
	"countersign/deploy/attach"
	"countersign/report/verdict"
)

// KeepVariable is the environment variable that leaves the homeservers up after the tests.
const KeepVariable = "COUNTERSIGN_KEEP"

// keep writes down how the homeservers of a deployment are reached, into a folder in the artifacts or,
// without artifacts, a temporary one, and prints it for the report.
func keep(deployment deploy.Deployment, artifacts string, out io.Writer) error {
	folder := filepath.Join(artifacts, "kept")
	if artifacts == "" {
		temporary, err := os.MkdirTemp("", "countersign-kept-")
		if err != nil {
			return fmt.Errorf("making a folder to describe the homeservers in: %w", err)
		}
		folder = temporary
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return fmt.Errorf("making a folder to describe the homeservers in: %w", err)
	}
	file, err := attach.Write(folder, deployment)
	if err != nil {
		return err
	}
	kept := verdict.Kept{Attach: file, CA: attach.CertificateName}
	for _, server := range deployment.Servers() {
		kept.Servers = append(kept.Servers, verdict.KeptServer{
			Server: server.Alias(), Name: server.Name(), Client: server.ClientURL(), Federation: server.FederationAddr(),
		})
	}
	line, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("describing the homeservers: %w", err)
	}
	fmt.Fprintf(out, "\n%s%s\n", verdict.LineKept, line)
	return nil
}
