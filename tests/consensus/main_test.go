// Package consensus probes a homeserver with events on which the implementations of Ed25519, base64 and
// JSON disagree that homeservers are built on. MSC4243 lets anybody choose an account key, and says that
// servers must agree on which signatures are valid: two servers that come to different outcomes here can be
// made to disagree about a room.
package consensus

import (
	"testing"

	"countersign/helpers/conform"
)

func TestMain(m *testing.M) { conform.Main(m, conform.Options{Servers: 1}) }
