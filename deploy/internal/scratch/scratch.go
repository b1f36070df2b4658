// Package scratch makes temporary folders that say whose they are, and sweeps those whose owners
// were killed before they could remove them.
package scratch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"countersign/deploy/internal/owner"
)

const (
	prefix     = "countersign-"
	markerName = "owner.json"
	// unmarkedAge is how old a folder without marker must be before it is taken for the debris of
	// a run that was killed between making the folder and marking it.
	unmarkedAge = time.Minute
)

// Make makes a new folder under root (os.TempDir when empty), readable by this user only and
// marked as belonging to this process. The caller removes it with os.RemoveAll.
func Make(root string) (dir string, err error) {
	self, err := owner.Self()
	if err != nil {
		return "", err
	}
	if root == "" {
		root = os.TempDir()
	}
	dir, err = os.MkdirTemp(root, prefix)
	if err != nil {
		return "", fmt.Errorf("making a temporary folder (is TMPDIR writable?): %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, markerName), []byte(self.String()), 0o600); err != nil {
		return "", errors.Join(fmt.Errorf("marking a temporary folder: %w", err), os.RemoveAll(dir))
	}
	return dir, nil
}

// Sweep removes the folders under root (os.TempDir when empty) whose owners are dead. Before a
// folder goes, release is called with it, to end what still uses it. Folders of other users are
// left alone. It goes on after an error and joins what went wrong.
func Sweep(root string, release func(dir string) error) error {
	if root == "" {
		root = os.TempDir()
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return fmt.Errorf("looking for debris of earlier runs: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if !entry.IsDir() || len(entry.Name()) <= len(prefix) || entry.Name()[:len(prefix)] != prefix {
			continue
		}
		dir := filepath.Join(root, entry.Name())
		if !abandoned(dir) {
			continue
		}
		if err := release(dir); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			errs = append(errs, fmt.Errorf("removing debris of an earlier run: %w", err))
		}
	}
	return errors.Join(errs...)
}

// abandoned reports whether a folder's owner is certainly dead. What cannot be read or understood
// is not ours to remove.
func abandoned(dir string) bool {
	marker, err := os.ReadFile(filepath.Join(dir, markerName))
	if errors.Is(err, fs.ErrNotExist) {
		return emptySince(dir, unmarkedAge)
	}
	if err != nil {
		return false
	}
	id, err := owner.Parse(string(marker))
	return err == nil && id.Dead()
}

func emptySince(dir string, age time.Duration) bool {
	info, err := os.Stat(dir)
	if err != nil || time.Since(info.ModTime()) < age {
		return false
	}
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}
