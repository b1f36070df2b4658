package main

import (
	"io"
	"os"
	"slices"

	"golang.org/x/term"
)

// terminal returns the terminal behind a writer, if it is one.
func terminal(w io.Writer) (fd int, ok bool) {
	file, isFile := w.(*os.File)
	if !isFile {
		return 0, false
	}
	fd = int(file.Fd())
	return fd, term.IsTerminal(fd)
}

// width is the number of columns to write in: the terminal's, within what can be read well, or 0
// for the default.
func (a *app) width() int {
	fd, ok := terminal(a.out)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(fd)
	if err != nil || columns == 0 {
		return 0
	}
	return min(max(columns, 60), 140)
}

// colorful reports whether output may be coloured: it goes to a terminal that can, and nobody has
// asked for plain text (https://no-color.org).
func (a *app) colorful() bool {
	_, ok := terminal(a.out)
	return ok && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
}

// getenv is the value of a variable in the program's environment; of several, the last.
func (a *app) getenv(name string) string {
	for _, entry := range slices.Backward(a.environ) {
		if len(entry) > len(name) && entry[len(name)] == '=' && entry[:len(name)] == name {
			return entry[len(name)+1:]
		}
	}
	return ""
}
