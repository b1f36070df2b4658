package process

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSplitWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                           nil,
		"  \t\n":                     nil,
		"server":                     {"server"},
		" server  --flag\tvalue\n":   {"server", "--flag", "value"},
		`"a b" 'c d'`:                {"a b", "c d"},
		`a"b c"d'e f'g`:              {"ab cde fg"},
		`'' ""`:                      {"", ""},
		`a\ b \'c\' \\`:              {"a b", "'c'", `\`},
		`'a\b' "a\b" "a\"b" "a\\b"`:  {`a\b`, `a\b`, `a"b`, `a\b`},
		`"it's" 'say "hi"'`:          {"it's", `say "hi"`},
		"a\\\nb":                     {"ab"},
		`$HOME *.go ~ a|b > c #d`:    {"$HOME", "*.go", "~", "a|b", ">", "c", "#d"},
		`"$(no)" '${no}'`:            {"$(no)", "${no}"},
		"sérveur 'été à la plage' ✓": {"sérveur", "été à la plage", "✓"},
	} {
		words, err := SplitWords(line)
		require.NoError(t, err, line)
		require.Equal(t, want, words, line)
	}
	for line, message := range map[string]string{
		`a 'b`: `quotes opened with '`, `a "b'`: `quotes opened with "`, `a \`: "ends in a backslash",
	} {
		_, err := SplitWords(line)
		require.ErrorContains(t, err, message, line)
	}
}
