package deploy_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/deploy"
)

func TestWriteAppServices(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "appservices")
	config := deploy.Config{AppServices: []deploy.AppService{{ID: "bridge", Registration: []byte("id: bridge")}}}
	require.NoError(t, config.WriteAppServices(dir))
	written, err := os.ReadFile(filepath.Join(dir, "bridge.yaml"))
	require.NoError(t, err)
	require.Equal(t, "id: bridge", string(written))

	config.AppServices[0].ID = "../bridge"
	require.Error(t, config.WriteAppServices(filepath.Join(t.TempDir(), "appservices")))
}
