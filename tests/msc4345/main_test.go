// Package msc4345 holds the tests of MSC4345: servers that participate in rooms by key.
package msc4345

import (
	"context"
	"testing"

	"countersign/blueprints"
	"countersign/helpers/conform"
	"countersign/helpers/wait"
	"countersign/helpers/walks"
)

func TestMain(m *testing.M) {
	walks.Shorten(12, 8)
	conform.Main(m, conform.Options{Servers: 2})
}

// visiting is a room that fay made and alice joined, once her homeserver had been accepted.
func visiting(t testing.TB, list ...blueprints.Setting) *blueprints.Room {
	t.Helper()
	return blueprints.AliceJoined(t, conform.ServerKeyVersion(t), list...)
}

// hosting is a room that alice made and fay joined, once her server had been accepted.
func hosting(t testing.TB, list ...blueprints.Setting) *blueprints.Room {
	t.Helper()
	return blueprints.FayJoined(t, conform.ServerKeyVersion(t), list...)
}

// waitFor waits until something holds.
func waitFor(t testing.TB, what string, holds func() bool) {
	t.Helper()
	wait.For(t, what, func(context.Context) (bool, error) { return holds(), nil })
}
