// Package killing runs the suite against the deliberate defects of the reference homeserver, and finds
// out which test notices which.
//
// The tests are compiled once. An honest run of every test function by itself tells in which tests a
// defect could show at all; a mutant is run against those alone, because nothing else in the suite can
// tell it from the honest server. See Trial.
package killing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// binaries are the compiled tests.
type binaries struct {
	module string
	folder string
	suites []string
	// group starts a command in a process group of its own.
	group func(*exec.Cmd)
	// kill ends what is left of such a group.
	kill func(*exec.Cmd)
	// test2json is the program that turns a test's output into events.
	test2json string
	// identity changes when the tests or the reference homeserver do.
	identity string
}

// compile compiles the tests of some suites into a folder.
func compile(ctx context.Context, module, folder string, suites []string) (*binaries, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	args := []string{"test", "-trimpath", "-c", "-o", folder + string(os.PathSeparator)}
	for _, suite := range suites {
		args = append(args, "./tests/"+suite)
	}
	if _, err := goCommand(ctx, module, args...); err != nil {
		return nil, err
	}
	path, err := goCommand(ctx, module, "tool", "-n", "test2json")
	if err != nil {
		return nil, err
	}
	b := &binaries{module: module, folder: folder, suites: suites}
	// A tool that the go command has to build is kept in the build cache, which may be cleaned.
	b.test2json = filepath.Join(folder, "test2json")
	if err := copyProgram(strings.TrimSpace(path), b.test2json); err != nil {
		return nil, err
	}
	sum := sha256.New()
	for _, suite := range suites {
		if err := hashFile(sum, b.path(suite)); err != nil {
			return nil, err
		}
	}
	b.identity = hex.EncodeToString(sum.Sum(nil)[:12])
	return b, nil
}

// path is the program with the tests of a suite.
func (b *binaries) path(suite string) string {
	return filepath.Join(b.folder, filepath.Base(suite)+".test")
}

func goCommand(ctx context.Context, module string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = module
	var out, complaints bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaints
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("go %s: %w: %s", strings.Join(args[:2], " "), err, strings.TrimSpace(complaints.String()))
	}
	return out.String(), nil
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(to+".part", to)
}

func hashFile(into io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(into, file)
	return err
}
