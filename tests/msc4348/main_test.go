// Package msc4348 holds the tests of MSC4348: accounts that are nothing but a key, whose events a server
// co-signs, and which move from one server to another.
package msc4348

import (
	"testing"

	"countersign/helpers/conform"
)

func TestMain(m *testing.M) {
	conform.Main(m, conform.Options{Servers: 2})
}
