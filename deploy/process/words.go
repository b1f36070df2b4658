package process

import (
	"errors"
	"strings"
)

// SplitWords splits a command line into words as a POSIX shell does: at blanks, except inside
// quotes; in single quotes everything stands for itself, in double quotes a backslash escapes
// $, `, ", \ and newline, and outside of quotes it escapes any character. Nothing is expanded and
// nothing is redirected. An error says which quote is open at the end.
func SplitWords(line string) ([]string, error) {
	var (
		words  []string
		word   strings.Builder
		inWord bool
		quote  rune
	)
	runes := []rune(line)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case quote == '\'' && r != '\'', quote == '"' && r != '"' && r != '\\':
			word.WriteRune(r)
		case quote != 0 && r == quote:
			quote = 0
		case r == '\\':
			if i++; i == len(runes) {
				return nil, errors.New("the command ends in a backslash")
			}
			if next := runes[i]; next != '\n' {
				if quote == '"' && !strings.ContainsRune("$`\"\\", next) {
					word.WriteRune('\\')
				}
				word.WriteRune(next)
				inWord = true
			}
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case strings.ContainsRune(" \t\r\n", r):
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("the command ends inside of quotes opened with " + string(quote))
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
