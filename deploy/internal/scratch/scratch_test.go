package scratch

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"countersign/deploy/internal/owner"
)

func TestSweepTakesOnlyWhatDeadOwnersLeft(t *testing.T) {
	root := t.TempDir()
	ours, err := Make(root)
	require.NoError(t, err)

	ended := exec.Command("true")
	require.NoError(t, ended.Run())
	self, err := owner.Self()
	require.NoError(t, err)
	self.PID = ended.Process.Pid
	abandoned, err := Make(root)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(abandoned, markerName), []byte(self.String()), 0o600))

	folder := func(name string, age time.Duration) string {
		dir := filepath.Join(root, name)
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chtimes(dir, time.Time{}, time.Now().Add(-age)))
		return dir
	}
	garbled := folder("countersign-garbled", 0)
	require.NoError(t, os.WriteFile(filepath.Join(garbled, markerName), []byte("?"), 0o600))
	kept := []string{ours, garbled, folder("countersign-young", 0), folder("other-program", time.Hour), folder("countersign-", time.Hour)}
	unmarked := folder("countersign-unmarked", time.Hour)

	held := errors.New("still in use")
	require.ErrorIs(t, Sweep(root, func(string) error { return held }), held)
	require.DirExists(t, abandoned, "what cannot be released stays for the next sweep")
	var released []string
	require.NoError(t, Sweep(root, func(dir string) error { released = append(released, dir); return nil }))
	require.ElementsMatch(t, []string{abandoned, unmarked}, released)
	require.NoDirExists(t, abandoned)
	require.NoDirExists(t, unmarked)
	for _, dir := range kept {
		require.DirExists(t, dir)
	}
	require.Error(t, Sweep(filepath.Join(root, "missing"), nil))
}
