package compare

import (
	"fmt"
	"io"
	"strings"

	"countersign/report"
	"countersign/report/verdict"
)

// listed is how many changes of one kind are listed where a line is enough for each.
const listed = 40

// headings are the titles of the kinds of change.
var headings = map[Kind]string{
	Regression: "Regressions", Fix: "Fixes", Changed: "Changed otherwise", New: "New", Vanished: "Vanished",
}

// Print writes a difference for people. A width of 0 means 100 columns.
func (d *Difference) Print(w io.Writer, width int) {
	page := report.Page{Out: w, Width: width}
	for _, side := range []struct {
		name string
		run  *report.Run
	}{{"old", d.Old}, {"new", d.New}} {
		page.Field(side.name, fmt.Sprintf("%s, %s: %s", side.run.Title(), side.run.Started.UTC().Format("2006-01-02 15:04 UTC"), headline(side.run)))
	}
	for _, caution := range d.Cautions {
		page.Field("caution", caution)
	}
	for _, reason := range d.New.Errors {
		page.Field("error", reason)
	}
	for _, kind := range Kinds() {
		requirements, tests := Of(d.Requirements, kind), Of(d.Tests, kind)
		if len(requirements)+len(tests) == 0 {
			continue
		}
		page.Line("\n%s: %s, %s", headings[kind], plural(len(requirements), "requirement"), plural(len(tests), "test"))
		if kind == New || kind == Vanished {
			list(page, requirements)
			list(page, tests)
			continue
		}
		for _, c := range requirements {
			page.Line("\n  %s  %s", c.ID, arrow(c))
			evidence(page, c, kind != Fix)
		}
		list(page, tests)
	}
	counts := make([]string, 0, len(Kinds()))
	for _, kind := range Kinds() {
		counts = append(counts, fmt.Sprintf("%d %s", len(Of(d.Requirements, kind)), kind))
	}
	page.Line("\n%s in both: %s", plural(d.Compared.Requirements, "requirement"), strings.Join(counts, ", "))
}

// list is a line per change, for what needs no more.
func list(page report.Page, changes []Change) {
	for i, c := range changes {
		switch i {
		case 0:
			page.Line("")
		case listed:
			page.Line("  and %d more", len(changes)-i)
			return
		}
		page.Line("  %s  %s", c.ID, arrow(c))
	}
}

// evidence is what one must know of a change beside its verdicts.
func evidence(page report.Page, c Change, whole bool) {
	page.Field("", c.Says)
	if whole && c.Expected != "" {
		page.Field("    expected", c.Expected)
	}
	if whole && c.Observed != "" {
		page.Field("    observed", c.Observed)
	}
}

func arrow(c Change) string {
	switch {
	case c.Old == "":
		return string(c.New)
	case c.New == "":
		return "was " + string(c.Old)
	}
	return fmt.Sprintf("%s -> %s", c.Old, c.New)
}

func headline(run *report.Run) string {
	_, text := run.Headline()
	return text
}

// shown are the verdicts that the table of areas counts, and how.
var shown = [...]struct {
	verdict verdict.Verdict
	sign    string
}{
	{verdict.Fail, "fail"}, {verdict.Error, "error"}, {verdict.Inconclusive, "inc"}, {verdict.XPass, "xpass"}, {verdict.XFail, "xfail"},
	{verdict.Warn, "warn"}, {verdict.Skip, "skip"},
}

// Print writes a matrix for people. A width of 0 means 100 columns.
func (m *Matrix) Print(w io.Writer, width int) {
	page := report.Page{Out: w, Width: width}
	for _, c := range m.Columns {
		page.Field(c.Letter, fmt.Sprintf("%s (%s, %s): %s", c.Name, c.Run.Target, c.Run.Started.UTC().Format("2006-01-02"), headline(c.Run)))
	}
	m.areas(page)
	if len(m.Disagreements) > 0 {
		page.Line("\nDisagreements: %s", plural(len(m.Disagreements), "requirement"))
		for _, row := range m.Disagreements {
			page.Line("")
			page.Line("  %s", row.ID)
			page.Field("", row.Says)
			for i, c := range m.Columns {
				if row.Verdicts[i] != "" {
					page.Field("    "+c.Letter, strings.TrimSpace(fmt.Sprintf("%-12s  %s", row.Verdicts[i], row.Observed[i])))
				}
			}
		}
	}
	if len(m.Splits) > 0 {
		page.Line("\nSplits: %s that no requirement judges and that differ", plural(len(m.Splits), "behaviour"))
		for _, s := range m.Splits {
			page.Line("")
			page.Line("  %s  %s", s.Requirement, s.Test)
			for i, c := range m.Columns {
				if s.Observed[i] != "" {
					page.Field("    "+c.Letter, s.Observed[i])
				}
			}
		}
	}
	for _, s := range m.RoomSplits {
		a, b := m.Columns[s.A].Letter, m.Columns[s.B].Letter
		page.Line("\nSPLIT %s and %s: %s that an attacker can split a room with; report.json has each as it was sent", a, b, plural(len(s.Events), "event"))
		for _, e := range s.Events {
			page.Line("")
			page.Line("  %s  %s", e.Probe, e.Title)
			page.Field("", e.sentence(a, b))
			page.Field("    "+a, fmt.Sprintf("%s, sha256 %s", e.A.EventID, e.A.EventSHA256))
			page.Field("    "+b, fmt.Sprintf("%s, sha256 %s", e.B.EventID, e.B.EventSHA256))
		}
	}
	page.Line("\n%s that several judged: %s, %s",
		plural(m.Compared, "requirement"), plural(len(m.Disagreements), "disagreement"), plural(len(m.Splits), "split"))
	if m.probed > 1 {
		page.Line("%s of the %d servers that were probed can be made to disagree about a room", plural(len(m.RoomSplits), "pair"), m.probed)
	}
}

// areas is a table: per area and run, how many pass of how many, and what else there is.
func (m *Matrix) areas(page report.Page) {
	cells := make([][]string, len(m.Areas))
	widths := make([]int, len(m.Columns))
	name := len("area")
	for a, area := range m.Areas {
		name = max(name, len(area.Area))
		for i := range m.Columns {
			cell := summary(&area.Counts[i])
			cells[a] = append(cells[a], cell)
			widths[i] = max(widths[i], len(cell), len(m.Columns[i].Letter))
		}
	}
	line := func(first string, rest func(i int) string) {
		text := fmt.Sprintf("  %-*s", name, first)
		for i := range m.Columns {
			text += fmt.Sprintf("  %-*s", widths[i], rest(i))
		}
		page.Line("%s", strings.TrimRight(text, " "))
	}
	page.Line("")
	line("area", func(i int) string { return m.Columns[i].Letter })
	for a, area := range m.Areas {
		line(area.Area, func(i int) string { return cells[a][i] })
	}
}

// summary is "59/60 1 fail"; a dash when nothing was judged.
func summary(c *report.Counts) string {
	total := c.Total()
	if total == 0 {
		return "-"
	}
	text := fmt.Sprintf("%d/%d", c.Pass+c.Info, total)
	for _, each := range shown {
		if n := c.Of(each.verdict); n > 0 {
			text += fmt.Sprintf(" %d %s", n, each.sign)
		}
	}
	return text
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
