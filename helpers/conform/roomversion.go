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
	return matrix.RoomVersion{ID: configuration(t).RoomVersion4243, Identity: matrix.AccountKeyIdentity}
}

// ServerKeyVersion is the room version of MSC4345, by the identifier that the configuration gives it.
// D-30: the proposal assigns none, so that it is a placeholder unless COUNTERSIGN_ROOM_VERSION_4345 says
// otherwise.
func ServerKeyVersion(t testing.TB) matrix.RoomVersion {
	t.Helper()
	return matrix.RoomVersion{ID: configuration(t).RoomVersion4345, Identity: matrix.ServerKeyIdentity}
}

// PortableVersion is the room version of MSC4348, by the identifier that the configuration gives it.
// D-30: the proposal assigns none, so that it is a placeholder unless COUNTERSIGN_ROOM_VERSION_4348 says
// otherwise.
func PortableVersion(t testing.TB) matrix.RoomVersion {
	t.Helper()
	return matrix.RoomVersion{ID: configuration(t).RoomVersion4348, Identity: matrix.PortableIdentity}
}

// RoomVersions are the room versions that the suite can speak, which is what its fake servers
// support.
func RoomVersions(t testing.TB) []matrix.RoomVersion {
	t.Helper()
	return []matrix.RoomVersion{matrix.RoomVersion12(), AccountKeyVersion(t), ServerKeyVersion(t), PortableVersion(t)}
}

func configuration(t testing.TB) deploy.Config {
	t.Helper()
	config, err := deploy.ConfigFromEnvironment()
	if err != nil {
		HarnessError(t, "%v", err)
	}
	return config
}
