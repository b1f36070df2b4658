package report

import (
	"fmt"
	"io"
	"strings"
)

// Page writes named fields of text, wrapped, for people.
type Page struct {
	// Out is where the text goes. A failure to write is not reported: there is nobody to tell.
	Out io.Writer
	// Width is the width of the text in columns; 0 means 100.
	Width int
}

// fieldWidth is the width of the column with the names of fields.
const fieldWidth = 14

// Line writes a line as it is.
func (p Page) Line(format string, args ...any) { fmt.Fprintf(p.Out, format+"\n", args...) }

// Field writes a name and a text that is wrapped beside it. An empty name continues the field
// above.
func (p Page) Field(name, text string) {
	width := p.Width
	if width == 0 {
		width = 100
	}
	for i, line := range wrap(text, width-fieldWidth) {
		if i > 0 {
			name = ""
		}
		p.Line("%s", strings.TrimRight(fmt.Sprintf("%-*s%s", fieldWidth, name, line), " "))
	}
}
