package report

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"countersign/report/verdict"
)

// The escape sequences of a terminal that the printer uses.
const (
	escape = "\x1b["
	reset  = escape + "0m"
	bold   = escape + "1m"
)

// color is the escape sequence in which a verdict is shown.
func color(v verdict.Verdict) string {
	switch v {
	case verdict.Pass:
		return escape + "32m"
	case verdict.Fail, verdict.XPass:
		return escape + "1;31m"
	case verdict.Warn, verdict.Inconclusive:
		return escape + "33m"
	case verdict.Error:
		return escape + "35m"
	default:
		return escape + "36m"
	}
}

// verdict is a verdict in its column.
func (p *Printer) verdict(v verdict.Verdict) string {
	return p.paint(v, fmt.Sprintf("%-12s", v))
}

func (p *Printer) paint(v verdict.Verdict, text string) string {
	if !p.Color {
		return text
	}
	return color(v) + text + reset
}

func (p *Printer) bold(text string) string {
	if !p.Color {
		return text
	}
	return bold + text + reset
}

// printed is the number of columns that a text takes, escape sequences not counted.
func printed(text string) int {
	columns := 0
	for len(text) > 0 {
		if rest, ok := strings.CutPrefix(text, escape); ok {
			_, text, _ = strings.Cut(rest, "m")
			continue
		}
		_, size := utf8.DecodeRuneInString(text)
		columns++
		text = text[size:]
	}
	return columns
}
