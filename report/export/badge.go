package export

import (
	"fmt"
	"html"
	"io"
	"unicode/utf8"

	"countersign/report"
	"countersign/report/verdict"
)

// Badge writes an SVG of some words: which texts were judged, and how many requirements pass. The
// colour is that of the headline; the words say the same.
func Badge(w io.Writer, run *report.Run) error {
	v, headline := run.Headline()
	const label = "account keys"
	value := result(run, v)
	// The widths are those of a 11 px sans-serif, with room to spare: a badge cannot measure.
	left, right := width(label), width(value)
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="20" role="img" aria-label="%[5]s: %[6]s">
<title>%[7]s</title>
<rect width="%[1]d" height="20" rx="3" fill="#3c4148"/>
<path d="M%[2]d 0h%[8]dq3 0 3 3v14q0 3-3 3H%[2]dz" fill="%[9]s"/>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="%[3]d" y="14">%[5]s</text>
<text x="%[4]d" y="14">%[6]s</text>
</g>
</svg>
`, left+right, left, left/2, left+right/2, html.EscapeString(label), html.EscapeString(value), html.EscapeString(headline), right-3, fill(v))
	if err != nil {
		return fmt.Errorf("cannot write the badge: %w", err)
	}
	return nil
}

// result is the right half.
func result(run *report.Run, v verdict.Verdict) string {
	s := &run.Summary
	switch v {
	case verdict.Skip:
		return "not judged"
	case verdict.Fail:
		if s.Fail == 0 {
			return "failing"
		}
		return fmt.Sprintf("%d of %d broken", s.Fail, s.Judged())
	case verdict.Error:
		return "harness error"
	case verdict.Inconclusive:
		return "inconclusive"
	case verdict.XPass:
		return "unexpected pass"
	}
	return fmt.Sprintf("%d of %d pass", s.Pass, s.Judged())
}

func width(text string) int { return 7*utf8.RuneCountInString(text) + 12 }

// fill is a colour on which white letters can be read.
func fill(v verdict.Verdict) string {
	switch v {
	case verdict.Pass:
		return "#1d7440"
	case verdict.Fail:
		return "#b8212c"
	case verdict.Warn, verdict.XFail:
		return "#8a5a00"
	case verdict.Inconclusive, verdict.XPass:
		return "#7446b8"
	case verdict.Error:
		return "#a33c07"
	}
	return "#626a73"
}
