package conform

import (
	"testing"

	"countersign/deploy"
)

// Flood is how many made-up members a test of floods has join a room: COUNTERSIGN_FLOOD.
func Flood(t testing.TB) int {
	t.Helper()
	config, err := deploy.ConfigFromEnvironment()
	if err != nil {
		HarnessError(t, "%v", err)
	}
	return config.Flood
}
