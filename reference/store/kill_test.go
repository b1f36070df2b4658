package store

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// childVariable names the folder of the store that a child process of TestKilledProcessLosesNothing
// writes to.
const childVariable = "COUNTERSIGN_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := writeUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilKilled commits one number after the other, and prints each after its commit.
func writeUntilKilled(dir string) error {
	db, err := Open(dir)
	if err != nil {
		return err
	}
	for {
		var n uint64
		err := db.Update(func(tx *Tx) error {
			var err error
			if n, err = tx.Table("t").Next(); err != nil {
				return err
			}
			return tx.Table("t").Put(AppendInt(nil, int64(n)), make([]byte, 500))
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// TestKilledProcessLosesNothing kills a process in the middle of its writing, some times over, and
// looks for everything that it has reported as written.
func TestKilledProcessLosesNothing(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childVariable+"="+dir)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, child.Start())
		lines, last := bufio.NewScanner(out), 0
		for count := 0; lines.Scan(); count++ {
			last, err = strconv.Atoi(lines.Text())
			require.NoError(t, err)
			if count == 300 {
				require.NoError(t, child.Process.Kill())
			}
		}
		require.Error(t, child.Wait())
		require.NotZero(t, last)

		db := open(t, dir)
		require.NoError(t, db.View(func(tx *Tx) error {
			for n := 1; n <= last; n++ {
				require.Len(t, tx.Table("t").Get(AppendInt(nil, int64(n))), 500, "%d of %d", n, last)
			}
			return nil
		}))
		require.NoError(t, db.Close())
	}
}
