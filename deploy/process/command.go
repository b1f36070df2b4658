package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"countersign/deploy"
)

// Command is a command that was found: the program's absolute path and its arguments.
type Command struct {
	Path string
	Args []string
	// Line is the command as it was given, for messages.
	Line string
}

// Find splits a command line and looks its program up: a bare name in PATH, a relative path from
// the working directory and then from the folders above it (a Go test runs in the folder of its
// package, while the command was given at the root of the module). It returns a *deploy.Error.
func Find(line string) (Command, error) {
	words, err := SplitWords(line)
	if err != nil {
		return Command{}, deploy.Usagef("exec:%s: %w", line, err)
	}
	if len(words) == 0 {
		return Command{}, deploy.Usagef("the target exec: names no command")
	}
	path, err := lookUp(words[0])
	if err != nil {
		return Command{}, deploy.Startf("exec:%s: the command %s cannot be run: %w; check the path, or build it first", line, words[0], reason(err))
	}
	return Command{Path: path, Args: words[1:], Line: line}, nil
}

func lookUp(name string) (string, error) {
	if !strings.ContainsRune(name, filepath.Separator) {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", err
		}
		return filepath.Abs(path)
	}
	path, err := deploy.FindUp(name)
	if err != nil {
		return "", err
	}
	return exec.LookPath(path)
}

// reason cuts the repetition of the path out of an error of os or os/exec.
func reason(err error) error {
	if e, ok := errors.AsType[*exec.Error](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*os.PathError](err); ok {
		err = e.Err
	}
	return err
}
