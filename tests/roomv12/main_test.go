// Package roomv12 holds the controls: what any homeserver that offers room version 12 does today.
// The tests of the proposals stand on this ground.
package roomv12

import (
	"testing"

	"countersign/helpers/conform"
	"countersign/matrix"
)

func TestMain(m *testing.M) { conform.Main(m, conform.Options{Servers: 2}) }

// v12 is the room version that every test of the package is about.
var v12 = matrix.RoomVersion12()
