package report

import (
	"fmt"
	"strings"
)

// item writes a head and a text that is wrapped beside it.
func (p *Printer) item(head, text string) {
	indent := printed(head)
	for i, line := range wrap(text, p.width()-indent) {
		if i > 0 {
			head = strings.Repeat(" ", indent)
		}
		p.line("%s%s", head, line)
	}
}

// SplitReason parts an entry of [Run.Errors] into its sentence and the lines below it.
func SplitReason(reason string) (sentence string, more []string) {
	lines := strings.Split(reason, "\n")
	return lines[0], lines[1:]
}

// field is the head of a line of evidence.
func field(name string) string { return fmt.Sprintf("  %-12s", name) }

// wrap breaks a text into lines of at most width columns, at spaces where there are any.
func wrap(text string, width int) []string {
	width = max(width, 20)
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		for {
			runes := []rune(word)
			room := width - len([]rune(line)) - 1
			if line == "" {
				room = width
			}
			if len(runes) <= room {
				line = strings.TrimPrefix(line+" "+word, " ")
				break
			}
			if line != "" {
				lines, line = append(lines, line), ""
				continue
			}
			lines, word = append(lines, string(runes[:width])), string(runes[width:])
		}
	}
	if line != "" || len(lines) == 0 {
		lines = append(lines, line)
	}
	return lines
}

// cut shortens a line to width columns.
func cut(line string, width int) string {
	line = strings.ReplaceAll(line, "\t", "  ")
	runes := []rune(line)
	if width = max(width, 20); len(runes) <= width {
		return line
	}
	short := string(runes[:width-3])
	if space := strings.LastIndexByte(short, ' '); space > len(short)*3/4 {
		short = short[:space] + " "
	}
	return short + "..."
}
