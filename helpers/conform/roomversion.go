package conform

import (
	"testing"

	"countersign/deploy"
	"countersign/matrix"
)

// AccountKeyVersion is the room version of MSC4243, by the identifier that the configuration gives
// it: the proposal's own unless COUNTERSIGN_ROOM_VERSION_4243 says otherwise.
func AccountKeyVersion(t testing.TB) matrix.RoomVersion {
	t.Helper()
	config, err := deploy.ConfigFromEnvironment()
	if err != nil {
		HarnessError(t, "%v", err)
	}
	return matrix.RoomVersion{ID: config.RoomVersion4243, Identity: matrix.AccountKeyIdentity}
}

// RoomVersions are the room versions that the suite can speak, which is what its fake servers
// support.
func RoomVersions(t testing.TB) []matrix.RoomVersion {
	t.Helper()
	return []matrix.RoomVersion{matrix.RoomVersion12(), AccountKeyVersion(t)}
}
