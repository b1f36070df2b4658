package report

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEvidence_Transcript(t *testing.T) {
	read := ""
	text := `> {"auth":{},"password": "a\"b","username":"alice"}` + "\n" + `< {"access_token":"syt_1","user_id":"@alice:hs1"}` + "\n"
	e := Evidence{Folder: "folder", ReadFile: func(path string) ([]byte, error) { read = path; return []byte(text), nil }}
	got, _, err := e.Transcript(&Test{Transcript: "artifacts/a.txt"}, 1000)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join("folder", "artifacts", "a.txt"), read)
	assert.Equal(t, `> {"auth":{},"password": "(removed)","username":"alice"}`+"\n"+`< {"access_token":"(removed)","user_id":"@alice:hs1"}`, got)

	text = "first line\n" + strings.Repeat("a line of the middle\n", 100) + "the last line"
	got, _, err = e.Transcript(&Test{Transcript: "/a.txt"}, 200)
	require.NoError(t, err)
	assert.Equal(t, "/a.txt", read)
	assert.LessOrEqual(t, len(got), 260)
	assert.True(t, strings.HasPrefix(got, "first line\na line of the middle\n"), got)
	assert.True(t, strings.HasSuffix(got, "\na line of the middle\nthe last line"), got)
	assert.Regexp(t, `\n\n\[\.\.\. 19\d\d bytes left out \.\.\.\]\n\na line`, got)

	got, _, err = e.Transcript(&Test{}, 200)
	require.NoError(t, err)
	assert.Empty(t, got)
	e.ReadFile = func(string) ([]byte, error) { return nil, errors.New("gone") }
	_, _, err = e.Transcript(&Test{Transcript: "a"}, 200)
	assert.EqualError(t, err, "the transcript cannot be read: gone")
}
