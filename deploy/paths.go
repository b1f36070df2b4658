package deploy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// FindUp returns the absolute form of a path that exists. A relative path is looked for in the
// working directory and then in each folder above it up to the root of the Go module: a Go test
// runs in the folder of its package, while the paths in its configuration were written by somebody
// who stood at the root. Its error is that of the working directory.
func FindUp(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	_, err = os.Stat(abs)
	if err == nil {
		return abs, nil
	}
	if filepath.IsAbs(path) || !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	dir, wdErr := os.Getwd()
	if wdErr != nil {
		return "", wdErr
	}
	for {
		if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", err
		}
		dir = parent
		if candidate := filepath.Join(dir, path); exists(candidate) {
			return candidate, nil
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
