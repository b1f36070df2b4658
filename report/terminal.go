package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"countersign/report/verdict"
)

// Printer writes a run as text for people: every requirement with its verdict, what was recorded,
// and last, in full, what is wrong.
type Printer struct {
	// Out is where the text goes. A failure to write is not reported: there is nobody to tell.
	Out io.Writer
	// Color marks verdicts with terminal colours.
	Color bool
	// Width is the width of the text in columns; 0 means 100.
	Width int
	// Titles are the titles of areas, by ID; an area without one is headed by its ID alone.
	Titles map[string]string
	// Folder is the folder that relative paths of transcripts start from.
	Folder string
	// ReadFile reads a transcript; nil means os.ReadFile.
	ReadFile func(path string) ([]byte, error)

	// quoted are the outputs that were shown: a crash is shown once, not with every test that it
	// ended.
	quoted map[string]bool
}

// What is shown of a transcript: the first lines of the last exchanges, and so many lines of the
// very last one. Of a test's output, as many lines are shown.
const (
	exchangesShown = 5
	excerptLimit   = 16
)

// casesShown is how many tests of a broken requirement are shown in full.
const casesShown = 3

// Print writes the whole run. The path of the report, when not empty, is named in the last line.
func (p *Printer) Print(run *Run, path string) {
	p.quoted = map[string]bool{}
	p.servers(run)
	p.requirements(run)
	p.remarks(run, verdict.Info, "Recorded")
	p.remarks(run, verdict.Warn, "Warnings")
	p.problems(run)
	p.notJudged(run)
	p.closing(run, path)
}

func (p *Printer) line(format string, args ...any) { fmt.Fprintf(p.Out, format+"\n", args...) }

func (p *Printer) width() int { return cmp.Or(p.Width, 100) }

// servers says what was tested.
func (p *Printer) servers(run *Run) {
	for _, s := range run.Servers {
		name := strings.TrimSpace(s.Name + " " + s.Version)
		versions := strings.Join(slices.Sorted(maps.Keys(s.RoomVersions)), ", ")
		p.item(fmt.Sprintf("%-5s ", s.Server), fmt.Sprintf("%s; room versions: %s",
			cmp.Or(name, "does not say what it is"), cmp.Or(versions, "none named")))
	}
}

// requirements lists every requirement that was judged, area by area.
func (p *Printer) requirements(run *Run) {
	for rest := run.Requirements; len(rest) > 0; {
		area := rest[0].Area
		n := slices.IndexFunc(rest, func(r Requirement) bool { return r.Area != area })
		if n < 0 {
			n = len(rest)
		}
		p.line("\n%s", p.bold(strings.TrimSpace(area+"  "+p.Titles[area])))
		p.area(rest[:n])
		rest = rest[n:]
	}
}

func (p *Printer) area(all []Requirement) {
	first, last := all[0], all[len(all)-1]
	if len(all) > 1 && !slices.ContainsFunc(all, func(r Requirement) bool {
		return r.Verdict != verdict.Skip || r.Observed != first.Observed
	}) {
		p.row(verdict.Skip, fmt.Sprintf("%s to %s", first.ID, last.ID[strings.LastIndexByte(last.ID, '-')+1:]), first.Observed)
		return
	}
	for _, r := range all {
		text := r.Says
		if r.Verdict == verdict.Skip {
			text = cmp.Or(r.Observed, text)
		}
		p.row(r.Verdict, r.ID, text)
	}
}

func (p *Printer) row(v verdict.Verdict, id, text string) {
	p.line("  %s  %-16s  %s", p.verdict(v), id, cut(text, p.width()-18-max(len(id), 16)))
}

// remarks lists what was seen where nothing is wrong enough to fail.
func (p *Printer) remarks(run *Run, v verdict.Verdict, title string) {
	headed := false
	for i := range run.Requirements {
		r := &run.Requirements[i]
		if r.Verdict != v || r.Observed == "" {
			continue
		}
		if !headed {
			p.line("\n%s", p.bold(title))
			headed = true
		}
		p.item("  "+r.ID+"  ", r.Observed)
		if r.Expected != "" {
			p.item(strings.Repeat(" ", len(r.ID)+4), "expected: "+r.Expected)
		}
	}
}

// problems shows what is wrong, the least certain first and broken requirements last.
func (p *Printer) problems(run *Run) {
	tests := map[string]*Test{}
	for i := range run.Tests {
		tests[run.Tests[i].ID()] = &run.Tests[i]
	}
	for _, v := range [...]verdict.Verdict{verdict.XPass, verdict.Inconclusive, verdict.Error, verdict.Fail} {
		if v == verdict.Error {
			for _, reason := range run.Errors {
				p.line("")
				p.item(p.verdict(verdict.Error)+"  ", reason)
			}
		}
		for i := range run.Tests {
			if t := &run.Tests[i]; t.Verdict == v && len(t.Requirements) == 0 {
				p.line("\n%s  %s", p.verdict(v), p.bold("a test that covers no requirement"))
				p.evidence(t, t.Expected, t.Observed)
				p.transcript(t)
			}
		}
		for i := range run.Requirements {
			if r := &run.Requirements[i]; r.Verdict == v {
				p.problem(r, tests)
			}
		}
	}
}

// problem shows one requirement with what was expected, what was seen, and what was on the wire.
func (p *Printer) problem(r *Requirement, tests map[string]*Test) {
	p.line("\n%s  %s", p.verdict(r.Verdict), p.bold(r.ID))
	p.item("  ", r.Says)
	p.item("  ", fmt.Sprintf("(%s, %s; %s: %s)", r.Level, r.Profile, r.Proposal, r.Where))
	shown := 0
	var more []string
	for _, tv := range r.Tests {
		t := tests[tv.Test]
		if tv.Verdict != r.Verdict || t == nil {
			continue
		}
		if shown == casesShown {
			more = append(more, tv.Test)
			continue
		}
		shown++
		p.line("")
		about := r.about(t)
		p.evidence(t, about.Expected, about.Observed)
		if t.Verdict == r.Verdict {
			p.transcript(t)
		}
	}
	p.line("")
	if len(more) > 0 {
		p.item(field("and"), fmt.Sprintf("%d more with this verdict, such as %s", len(more), more[0]))
	}
	p.item(field("read"), "countersign explain "+r.ID)
	p.item(field("repeat"), "countersign run --requirement "+r.ID)
}

// about is what a test says about the requirement.
func (r *Requirement) about(t *Test) RequirementVerdict {
	for _, about := range t.Requirements {
		if about.ID == r.ID {
			return about
		}
	}
	return RequirementVerdict{}
}

func (p *Printer) evidence(t *Test, expected, observed string) {
	if expected != "" {
		p.item(field("expected"), expected)
	}
	p.item(field("observed"), cmp.Or(observed, "nothing was said"))
	p.item(field("test"), fmt.Sprintf("%s (%.2f s)", t.ID(), t.DurationSeconds))
	if t.Transcript != "" {
		p.item(field("transcript"), p.path(t))
	}
}

// transcript shows the end of what was on the wire, or, when the harness failed, of what the test
// printed.
func (p *Printer) transcript(t *Test) {
	if lines := strings.Split(t.Output, "\n"); t.Verdict == verdict.Error && len(lines) > 1 && !p.quoted[t.Output] {
		p.quoted[t.Output] = true
		p.quote(lines[:min(len(lines), excerptLimit)])
	}
	if t.Transcript == "" {
		return
	}
	read := p.ReadFile
	if read == nil {
		read = os.ReadFile
	}
	text, err := read(p.path(t))
	if err != nil {
		p.line("    | cannot be read: %v", err)
		return
	}
	p.quote(excerpt(string(text)))
}

func (p *Printer) quote(lines []string) {
	for _, line := range lines {
		p.line("%s", strings.TrimRight("    | "+cut(line, p.width()-6), " "))
	}
}

// path is where a test's transcript is.
func (p *Printer) path(t *Test) string {
	if filepath.IsAbs(t.Transcript) {
		return t.Transcript
	}
	return filepath.Join(p.Folder, t.Transcript)
}

// excerpt is the end of a transcript, whose exchanges are separated by empty lines: the first lines
// of some exchanges, and the beginning of the last one.
func excerpt(text string) []string {
	exchanges := strings.Split(strings.TrimSpace(strings.ReplaceAll(text, "\r", "")), "\n\n")
	var lines []string
	last := len(exchanges) - 1
	first := max(0, last-exchangesShown)
	if first > 0 {
		lines = append(lines, fmt.Sprintf("[%s before]", plural(first, "exchange")))
	}
	for _, exchange := range exchanges[first:last] {
		headline, _, _ := strings.Cut(strings.TrimSpace(exchange), "\n")
		lines = append(lines, headline)
	}
	whole := strings.Split(strings.TrimSpace(exchanges[last]), "\n")
	if more := len(whole) - excerptLimit; more > 1 {
		whole = append(whole[:excerptLimit], fmt.Sprintf("[%d more lines]", more))
	}
	return append(lines, whole...)
}

// notJudged says how much of the catalogue the run says nothing about.
func (p *Printer) notJudged(run *Run) {
	if len(run.NotJudged) == 0 {
		return
	}
	var parts []string
	for _, reason := range [...]struct {
		reason Reason
		says   string
	}{
		{Untested, "%d have no test yet"}, {NotRun, "the tests of %d did not run"}, {Untestable, "%d cannot be tested from outside"},
	} {
		count := 0
		for _, n := range run.NotJudged {
			if n.Reason == reason.reason {
				count++
			}
		}
		if count > 0 {
			parts = append(parts, fmt.Sprintf(reason.says, count))
		}
	}
	p.line("")
	p.item("", fmt.Sprintf("Of the catalogue's other %s, %s.", plural(len(run.NotJudged), "requirement"), strings.Join(parts, ", ")))
}

// closing is one line with the counts, and where the whole report is.
func (p *Printer) closing(run *Run, path string) {
	var parts []string
	for _, v := range [...]verdict.Verdict{
		verdict.Pass, verdict.Fail, verdict.Warn, verdict.Skip, verdict.Inconclusive, verdict.Error, verdict.Info,
		verdict.XFail, verdict.XPass,
	} {
		if n := run.Summary.Of(v); n > 0 {
			parts = append(parts, p.paint(v, fmt.Sprintf("%d %s", n, strings.ToLower(string(v)))))
		}
	}
	text := fmt.Sprintf("%s judged", plural(run.Summary.Total(), "requirement"))
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	text += fmt.Sprintf("; %s in %.1f s", plural(run.Summary.Tests.Total(), "test"), run.DurationSeconds)
	if n := len(run.Errors); n > 0 {
		text += "; " + p.paint(verdict.Error, plural(n, "error")+" outside of the tests")
	}
	if path != "" {
		text += "; " + path
	}
	p.line("\n%s", text)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// field is the head of a line of evidence.
func field(name string) string { return fmt.Sprintf("  %-12s", name) }

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
