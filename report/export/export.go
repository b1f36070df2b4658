// Package export writes a run in the forms that other tools read: JUnit XML for the test view of a
// CI system, Markdown for a comment or a job summary, and a badge.
package export

import (
	"fmt"
	"strings"

	"countersign/report"
	"countersign/report/verdict"
)

// counts are the verdicts that occur, the strongest first: "3 fail, 1 warn, 127 pass".
func counts(c *report.Counts) string {
	var parts []string
	for _, v := range verdict.All() {
		if n := c.Of(v); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ToLower(string(v))))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// shortened is a text within a limit of bytes.
func shortened(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "..."
}
