//go:build !unix

package process

import (
	"context"
	"errors"
	"os"
	"syscall"

	"countersign/deploy"
)

func childAttributes() *syscall.SysProcAttr { return nil }

// There are no signals here: the polite way to end a process is the only way.
func terminate(leader *os.Process) error { return kill(leader) }

func kill(leader *os.Process) error {
	if err := leader.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func freeze(context.Context, *os.Process) error { return deploy.ErrUnsupported }
func thaw(*os.Process) error                    { return deploy.ErrUnsupported }
