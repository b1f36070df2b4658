package boundedlog

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLogKeepsTheNewestPart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := Open(path, 1000)
	require.NoError(t, err)
	var all strings.Builder
	for i := range 30 {
		fmt.Fprintf(&all, "line %d\n", i)
		fmt.Fprintf(l, "line %d\n", i)
	}
	text, err := l.Read()
	require.NoError(t, err)
	require.Equal(t, all.String(), text, "all of it fits")

	for i := range 1000 {
		fmt.Fprintf(l, "more %d\n", i)
	}
	text, err = l.Read()
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(text, "[older output was dropped]\n"))
	require.True(t, strings.HasSuffix(text, "more 998\nmore 999\n"))
	require.Less(t, len(text), 1100)
	require.NoError(t, l.Close())

	again, err := Open(path, 1000)
	require.NoError(t, err)
	n, err := again.Write(make([]byte, 5000))
	require.NoError(t, err)
	require.Equal(t, 5000, n, "a writer is never told that its output was too much")
	text, err = again.Read()
	require.NoError(t, err)
	require.Less(t, len(text), 1100)
	require.NoError(t, again.Close())
	_, err = again.Write([]byte("late"))
	require.NoError(t, err)
}
