package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"

	"countersign/deploy"
)

// lab is what the tests share: an engine, and a static binary for images.
type lab struct {
	engine *client.Client
	binary []byte
	err    error
}

// newLab is a value and not package state that tests change: it is computed once.
var newLab = sync.OnceValue(func() (l lab) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if l.engine, l.err = connect(ctx, &deploy.Config{}); l.err != nil {
		return l
	}
	dir, err := os.MkdirTemp("", "fakehomeserver")
	if l.err = err; err != nil {
		return l
	}
	defer os.RemoveAll(dir)
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "hs"), "countersign/deploy/internal/fakehs/fakehomeserver")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if l.err = build.Run(); l.err == nil {
		l.binary, l.err = os.ReadFile(filepath.Join(dir, "hs"))
	}
	return l
})

// engine returns the engine, or skips the test when none answers.
func engine(t *testing.T) *client.Client {
	t.Helper()
	l := newLab()
	if l.engine == nil {
		t.Skip(l.err)
	}
	require.NoError(t, l.err)
	return l.engine
}

// makeImage makes an image of the fake homeserver, without a registry and without a builder, and
// removes it when the test ends.
func makeImage(t *testing.T, behaviour string, changes ...string) string {
	t.Helper()
	e := engine(t)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "hs", Mode: 0o755, Size: int64(len(newLab().binary))}))
	_, err := w.Write(newLab().binary)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	name := "countersign-test-" + behaviour + ":" + runName(t)
	changes = append([]string{`ENTRYPOINT ["/hs","` + behaviour + `"]`, "EXPOSE 8008 8448"}, changes...)
	out, err := e.ImageImport(t.Context(), image.ImportSource{Source: &layer, SourceName: "-"}, name, image.ImportOptions{Changes: changes})
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, out)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	t.Cleanup(func() {
		_, err := e.ImageRemove(context.Background(), name, image.RemoveOptions{Force: true})
		require.NoError(t, err)
	})
	return name
}

// runName makes a tag of a test's name.
func runName(t *testing.T) string {
	name := []byte(t.Name())
	for i, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') {
			name[i] = '-'
		}
	}
	return string(name)
}
