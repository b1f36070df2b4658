package store

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func open(t *testing.T, dir string) *DB {
	t.Helper()
	db, err := Open(dir)
	require.NoError(t, err)
	return db
}

func TestDataSurvivesReopening(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	require.NoError(t, db.Update(func(tx *Tx) error {
		n, err := tx.Table("t").Next()
		require.Equal(t, uint64(1), n)
		return errors.Join(err, tx.Table("t").Put(Key("a"), []byte("1")))
	}))
	require.NoError(t, db.Close())
	db = open(t, dir)
	defer db.Close()
	require.NoError(t, db.View(func(tx *Tx) error {
		require.Equal(t, []byte("1"), tx.Table("t").Get(Key("a")))
		require.Equal(t, uint64(1), tx.Table("t").Last())
		require.Nil(t, tx.Table("absent").Get(Key("a")))
		return nil
	}))
}

func TestFailedUpdateLeavesNothing(t *testing.T) {
	db := open(t, t.TempDir())
	defer db.Close()
	failure := errors.New("failure")
	require.ErrorIs(t, db.Update(func(tx *Tx) error {
		require.NoError(t, tx.Table("t").Put(Key("a"), []byte("1")))
		return failure
	}), failure)
	require.NoError(t, db.View(func(tx *Tx) error {
		require.Nil(t, tx.Table("t").Get(Key("a")))
		return nil
	}))
}

func TestScans(t *testing.T) {
	db := open(t, t.TempDir())
	defer db.Close()
	require.NoError(t, db.Update(func(tx *Tx) error {
		for _, room := range []string{"a", "b", "bb"} {
			for _, n := range []int64{-2, -1, 0, 1, 300} {
				require.NoError(t, tx.Table("t").Put(AppendInt(Key(room), n), []byte(room)))
			}
		}
		return nil
	}))
	collect := func(scan func(f func(k, v []byte) bool)) (got []int64) {
		scan(func(k, v []byte) bool {
			parts, rest := SplitKey(k, 1)
			require.Equal(t, []string{string(v)}, parts)
			got = append(got, Int(rest))
			return true
		})
		return got
	}
	require.NoError(t, db.View(func(tx *Tx) error {
		table := tx.Table("t")
		for _, room := range []string{"a", "b", "bb"} {
			require.Equal(t, []int64{-2, -1, 0, 1, 300}, collect(func(f func(k, v []byte) bool) { table.Scan(Key(room), nil, f) }))
			require.Equal(t, []int64{0, 1, 300}, collect(func(f func(k, v []byte) bool) { table.Scan(Key(room), AppendInt(Key(room), 0), f) }))
			require.Equal(t, []int64{300, 1, 0, -1, -2}, collect(func(f func(k, v []byte) bool) { table.ScanBack(Key(room), nil, f) }))
			require.Equal(t, []int64{0, -1, -2}, collect(func(f func(k, v []byte) bool) { table.ScanBack(Key(room), AppendInt(Key(room), 1), f) }))
		}
		return nil
	}))
}
