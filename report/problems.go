package report

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"countersign/report/verdict"
)

// casesShown is how many tests of a broken requirement are shown in full.
const casesShown = 3

// What is shown of a transcript: the first lines of the last exchanges, and so many lines of the
// very last one. Of a test's output, as many lines are shown.
const (
	exchangesShown = 5
	excerptLimit   = 16
)

// problems shows what is wrong, the least certain first and broken requirements last.
func (p *Printer) problems(run *Run, tests map[string]*Test) {
	for _, v := range [...]verdict.Verdict{verdict.XPass, verdict.Inconclusive, verdict.Error, verdict.Fail} {
		if v == verdict.Error {
			for _, reason := range run.Errors {
				sentence, more := SplitReason(reason)
				p.line("")
				p.item(p.verdict(verdict.Error)+"  ", sentence)
				p.quote(more)
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
				p.problem(run, r, tests)
			}
		}
	}
}

// problem shows one requirement with what was expected, what was seen, and what was on the wire.
func (p *Printer) problem(run *Run, r *Requirement, tests map[string]*Test) {
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
		about := r.About(t)
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
	p.line("%s%s", field("repeat"), run.Repeat(r.ID)) // in one piece, to be copied
}

// About is what a test says about the requirement; zero when it says nothing.
func (r *Requirement) About(t *Test) RequirementVerdict {
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
	p.line("%s%s (%.2f s)", field("test"), t.ID(), t.DurationSeconds)
	if t.Transcript != "" {
		p.line("%s%s", field("transcript"), p.path(t)) // in one piece, to be copied
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
	p.quote(excerpt(withoutSecrets(string(text))))
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
	text = strings.ReplaceAll(text, "\r", "")
	if overview, exchanges, ok := strings.Cut(text, "\n\n"); ok && strings.HasPrefix(overview, overviewTitle) {
		text = exchanges
	}
	exchanges := strings.Split(strings.TrimSpace(text), "\n\n")
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
