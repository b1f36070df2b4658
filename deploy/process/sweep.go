package process

import (
	"path/filepath"

	"countersign/deploy"
	"countersign/deploy/internal/scratch"
)

// Sweep removes what earlier runs of this user left under tempDir (os.TempDir when empty) because
// they were killed: their folders, and the processes that were started with such a folder as data
// directory. Nothing else is touched: a folder counts only with the marker of a dead owner, a
// process only when its own environment names such a folder.
func Sweep(tempDir string) error {
	return scratch.Sweep(tempDir, func(dir string) error {
		env := deploy.ServerEnv{DataDir: filepath.Join(dir, "data")}
		return killProcessesWith(env.Environ()[0])
	})
}
