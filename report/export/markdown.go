package export

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"strings"

	"countersign/report"
	"countersign/report/verdict"
)

// The bounds of a comment: a code host cuts or refuses what is longer than about 64 KiB.
const (
	problemsListed = 50
	warningsListed = 25
	cellLimit      = 300
)

// Markdown writes a run for a pull-request comment or the summary of a CI job: the headline, the
// counts by proposal, and what is not as it should be. It is GitHub's dialect, with nothing in it
// that other dialects cannot show.
func Markdown(w io.Writer, run *report.Run) error {
	b := &markdown{out: bufio.NewWriter(w)}
	b.run(run)
	if err := b.out.Flush(); err != nil {
		return fmt.Errorf("cannot write the Markdown: %w", err)
	}
	return nil
}

// markdown writes lines; the writer behind it keeps the first error for its Flush.
type markdown struct{ out *bufio.Writer }

func (b *markdown) line(format string, args ...any) { fmt.Fprintf(b.out, format+"\n", args...) }

func (b *markdown) run(run *report.Run) {
	v, headline := run.Headline()
	b.line("## %s %s: %s", symbol(v), cell(run.Title()), headline)
	b.line("")
	b.proposals(run)
	for _, reason := range run.Errors {
		sentence, more := report.SplitReason(reason)
		b.line("- **ERROR** %s", cell(sentence))
		for _, line := range more {
			b.line("  <br><code>%s</code>", cell(line))
		}
	}
	if len(run.Errors) > 0 {
		b.line("")
	}
	b.stray(run)
	b.list(run, "Problems", problemsListed, verdict.Fail, verdict.Error, verdict.Inconclusive, verdict.XPass)
	b.list(run, "Warnings", warningsListed, verdict.Warn)
	b.list(run, "Known problems", warningsListed, verdict.XFail)
	b.stale(run)
	b.forgeries(run)
	commit := run.Suite.Commit
	if commit != "" {
		commit = " (" + commit[:min(12, len(commit))] + ")"
	}
	b.line("<sub>%s %s%s · target %s · %d tests in %.1f s", html.EscapeString(run.Suite.Name), html.EscapeString(run.Suite.Version),
		html.EscapeString(commit), cell(run.Target), run.Summary.Tests.Total(), run.DurationSeconds)
	if n := len(run.NotJudged); n > 0 {
		b.line("· %d requirements of the catalogue are not judged by this run", n)
	}
	b.line("</sub>")
}

// proposals is a table with a row per text.
func (b *markdown) proposals(run *report.Run) {
	var order []string
	totals, notJudged := map[string]*report.Counts{}, map[string]int{}
	for i := range run.Requirements {
		r := &run.Requirements[i]
		if totals[r.Proposal] == nil {
			totals[r.Proposal] = &report.Counts{}
			order = append(order, r.Proposal)
		}
		totals[r.Proposal].Add(r.Verdict)
	}
	for _, n := range run.NotJudged {
		proposal, _, _ := strings.Cut(n.ID, "-")
		notJudged[proposal]++
	}
	if len(order) == 0 {
		return
	}
	b.line("| | verdicts | not judged |")
	b.line("| --- | --- | ---: |")
	for _, proposal := range order {
		b.line("| **%s** | %s | %d |", proposal, counts(totals[proposal]), notJudged[proposal])
	}
	b.line("")
}

// list is a table of the requirements with these verdicts.
func (b *markdown) list(run *report.Run, heading string, limit int, verdicts ...verdict.Verdict) {
	listed := 0
	total := 0
	for _, v := range verdicts {
		for i := range run.Requirements {
			r := &run.Requirements[i]
			if r.Verdict != v {
				continue
			}
			if total++; listed == limit {
				continue
			}
			if listed == 0 {
				b.line("### %s", heading)
				b.line("")
				b.line("| requirement | expected | observed | tests |")
				b.line("| --- | --- | --- | ---: |")
			}
			listed++
			said := 0
			for _, t := range r.Tests {
				if t.Verdict == v {
					said++
				}
			}
			expected := r.Expected
			if expected == "" {
				expected = r.Says
			}
			b.line("| %s **%s** %s, %s | %s | %s | %d of %d |", symbol(v), r.ID, v, r.Level, cell(expected), cell(r.Observed), said, len(r.Tests))
		}
	}
	if listed > 0 {
		b.line("")
	}
	if total > listed {
		b.line("And %d more.", total-listed)
		b.line("")
	}
}

// stray lists the tests that went wrong before they said what they judge.
func (b *markdown) stray(run *report.Run) {
	said := false
	for i := range run.Tests {
		if t := &run.Tests[i]; len(t.Requirements) == 0 && !t.Verdict.AsExpected() {
			b.line("- **%s** `%s`: %s", t.Verdict, t.ID(), cell(t.Observed))
			said = true
		}
	}
	if said {
		b.line("")
	}
}

func (b *markdown) stale(run *report.Run) {
	if run.Expectations == nil || len(run.Expectations.Stale) == 0 {
		return
	}
	b.line("### Expectations that no longer fit")
	b.line("")
	for _, stale := range run.Expectations.Stale {
		b.line("- %s", cell(stale))
	}
	b.line("")
}

// forgeries lists the rows of the tables that are not as they should be.
func (b *markdown) forgeries(run *report.Run) {
	for _, table := range report.Forgeries(run) {
		bad := 0
		for _, row := range table.Rows {
			if !row.Verdict.AsExpected() || row.Verdict == verdict.XFail {
				bad++
			}
		}
		b.line("<details><summary>%d forgeries on %d paths in %s: %d not as they should be</summary>", len(table.Rows), len(table.Paths), table.Suite, bad)
		b.line("")
		if bad > 0 {
			b.line("| forgery | %s |", strings.Join(table.Paths, " | "))
			b.line("| --- |%s", strings.Repeat(" :---: |", len(table.Paths)))
		}
		for _, row := range table.Rows[:min(bad, problemsListed)] {
			cells := make([]string, len(row.Cells))
			for i, c := range row.Cells {
				cells[i] = symbol(c.Verdict)
			}
			b.line("| %s | %s |", cell(row.Forgery), strings.Join(cells, " | "))
		}
		b.line("")
		b.line("</details>")
		b.line("")
	}
}

// symbol is a sign for a verdict that does not depend on colour alone.
func symbol(v verdict.Verdict) string {
	switch v {
	case verdict.Pass:
		return "✅"
	case verdict.Fail:
		return "❌"
	case verdict.Warn:
		return "⚠️"
	case verdict.Skip:
		return "⏭️"
	case verdict.Inconclusive:
		return "❔"
	case verdict.Error:
		return "💥"
	case verdict.Info:
		return "ℹ️"
	case verdict.XFail:
		return "☑️"
	case verdict.XPass:
		return "🔺"
	}
	return ""
}

// cell is a text of a server or a test, on one line and as text: it can neither leave its cell nor
// become a link, a mention or an image.
func cell(text string) string {
	text = shortened(strings.Join(strings.Fields(text), " "), cellLimit)
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '&' || r == '<' || r == '>' || r == '@':
			fmt.Fprintf(&b, "&#%d;", r)
		case strings.ContainsRune("\\`*_{}[]()#!|~", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return strings.ReplaceAll(b.String(), "://", ":\u2060//")
}
