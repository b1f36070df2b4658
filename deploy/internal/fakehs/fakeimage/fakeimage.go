// Package fakeimage makes images of the fake homeserver, for tests, without a registry and without
// a builder.
package fakeimage

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"
)

// Engine returns a client of the engine, or skips the test when none answers.
func Engine(t testing.TB) *client.Client {
	t.Helper()
	engine, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Close()) })
	// Not the test's context: clean-ups need the engine too.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := engine.Ping(ctx); err != nil {
		t.Skipf("no Docker engine answers: %v", err)
	}
	return engine
}

// binary is the fake homeserver, compiled once for all tests of a package.
var binary = sync.OnceValues(func() (content []byte, err error) {
	dir, err := os.MkdirTemp("", "fakehomeserver")
	if err != nil {
		return nil, err
	}
	defer func() { err = join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "hs")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "countersign/deploy/internal/fakehs/fakehomeserver")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

func join(err, later error) error {
	if err != nil {
		return err
	}
	return later
}

// Make makes an image whose homeserver behaves in the given way (see package fakehs), with changes
// to its configuration in the syntax of a Dockerfile. It is removed when the test ends.
func Make(t testing.TB, behaviour string, changes ...string) (name string) {
	t.Helper()
	engine := Engine(t)
	content, err := binary()
	require.NoError(t, err)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "hs", Mode: 0o755, Size: int64(len(content))}))
	_, err = w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())

	name = "countersign-test-" + behaviour + ":" + tag(t.Name())
	changes = append([]string{`ENTRYPOINT ["/hs","` + behaviour + `"]`, "EXPOSE 8008 8448"}, changes...)
	out, err := engine.ImageImport(t.Context(), image.ImportSource{Source: &layer, SourceName: "-"}, name, image.ImportOptions{Changes: changes})
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, out)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	t.Cleanup(func() {
		_, err := engine.ImageRemove(context.Background(), name, image.RemoveOptions{Force: true})
		require.NoError(t, err)
	})
	return name
}

// tag makes an image's tag of a test's name.
func tag(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
}
