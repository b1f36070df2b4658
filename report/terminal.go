package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
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
	// Page is the path of the page that shows the same in a browser, to be named in the end; may be
	// empty.
	Page string
	// ReadFile reads a transcript; nil means os.ReadFile.
	ReadFile func(path string) ([]byte, error)

	// quoted are the outputs that were shown: a crash is shown once, not with every test that it
	// ended.
	quoted map[string]bool
}

// remarksShown is how many observations are shown of a requirement that was not broken.
const remarksShown = 12

// Print writes the whole run. The path of the report, when not empty, is named in the last line.
func (p *Printer) Print(run *Run, path string) {
	p.quoted = map[string]bool{}
	p.servers(run)
	p.requirements(run)
	tests := map[string]*Test{}
	for i := range run.Tests {
		tests[run.Tests[i].ID()] = &run.Tests[i]
	}
	p.remarks(run, tests, verdict.Info, "Recorded")
	p.remarks(run, tests, verdict.Warn, "Warnings")
	p.consensus(run)
	p.known(run)
	p.flaky(run)
	p.problems(run, tests)
	p.notJudged(run)
	p.closing(run, path)
}

func (p *Printer) line(format string, args ...any) { fmt.Fprintf(p.Out, format+"\n", args...) }

func (p *Printer) width() int { return cmp.Or(p.Width, 100) }

// servers says what was tested.
func (p *Printer) servers(run *Run) {
	for _, s := range run.Servers {
		name := Implementation(s)
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
		return r.Verdict != verdict.Skip || r.Observed != first.Observed || r.passed() > 0
	}) {
		p.row(verdict.Skip, fmt.Sprintf("%s to %s", first.ID, last.ID[strings.LastIndexByte(last.ID, '-')+1:]), first.Observed)
		return
	}
	for _, r := range all {
		text := r.Says
		if r.Verdict == verdict.Skip {
			text = cmp.Or(r.Observed, text)
			if passed := r.passed(); passed > 0 {
				text = fmt.Sprintf("%d of %s passed; skipped: %s", passed, plural(len(r.Tests), "test"), text)
			}
		}
		p.row(r.Verdict, r.ID, text)
	}
}

// passed is the number of tests that found nothing against the requirement.
func (r *Requirement) passed() int {
	passed := 0
	for _, t := range r.Tests {
		if t.Verdict == verdict.Pass {
			passed++
		}
	}
	return passed
}

func (p *Printer) row(v verdict.Verdict, id, text string) {
	p.line("  %s  %-16s  %s", p.verdict(v), id, cut(text, p.width()-18-max(len(id), 16)))
}

// remarks lists what was seen where nothing is wrong enough to fail: for each requirement, what its
// tests saw.
func (p *Printer) remarks(run *Run, tests map[string]*Test, v verdict.Verdict, title string) {
	headed := false
	for i := range run.Requirements {
		r := &run.Requirements[i]
		seen := r.seen(tests)
		if r.Verdict != v || len(seen) == 0 {
			continue
		}
		if !headed {
			p.line("\n%s", p.bold(title))
			headed = true
		}
		head := "  " + r.ID + "  "
		for n, observed := range seen {
			if n == remarksShown {
				p.item(head, fmt.Sprintf("and %d more, which the report has", len(seen)-n))
				break
			}
			p.item(head, observed)
			head = strings.Repeat(" ", len(head))
		}
		if r.Expected != "" {
			p.item(head, "expected: "+r.Expected)
		}
	}
}

// seen is what the tests that decided the verdict saw, each thing once.
func (r *Requirement) seen(tests map[string]*Test) []string {
	var seen []string
	for _, tv := range r.Tests {
		t := tests[tv.Test]
		if tv.Verdict != r.Verdict || t == nil {
			continue
		}
		if observed := r.About(t).Observed; observed != "" && !slices.Contains(seen, observed) {
			seen = append(seen, observed)
		}
	}
	return seen
}

// known lists the failures that the server's maintainers know of, and what they should look at again.
func (p *Printer) known(run *Run) {
	if run.Expectations == nil {
		return
	}
	headed := false
	said := map[string]bool{}
	for i := range run.Tests {
		for _, about := range run.Tests[i].Requirements {
			if about.Verdict != verdict.XFail || about.Known == nil {
				continue
			}
			text := fmt.Sprintf("%s (%s)", about.Known.Reason, about.Known.Link)
			if said[about.ID+text] {
				continue
			}
			said[about.ID+text] = true
			if !headed {
				p.line("\n%s", p.bold("Known problems"))
				headed = true
			}
			p.item("  "+about.ID+"  ", text)
		}
	}
	if len(run.Expectations.Stale) > 0 {
		p.line("\n%s", p.bold("Expectations that no longer fit, in "+run.Expectations.File))
		for _, stale := range run.Expectations.Stale {
			p.item("  ", stale)
		}
	}
}

// flaky lists the repeated tests that did not always end in the same way.
func (p *Printer) flaky(run *Run) {
	headed := false
	for i := range run.Tests {
		t := &run.Tests[i]
		if !t.Flaky() {
			continue
		}
		if !headed {
			p.line("\n%s", p.bold("Flaky: the same test did not always end in the same way"))
			headed = true
		}
		p.item("  ", fmt.Sprintf("%s: %s of %d runs", t.ID(), t.Repeats.list(), t.Repeats.Total()))
	}
}

// list is the counts of the verdicts that occur, the strongest first.
func (c *Counts) list() string {
	var parts []string
	for _, v := range verdict.All() {
		if n := c.Of(v); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ToLower(string(v))))
		}
	}
	return strings.Join(parts, ", ")
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
		{Untested, "%d without a test yet"}, {NotRun, "%d whose tests did not run"}, {Untestable, "%d that cannot be tested from outside"},
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
	p.item("", fmt.Sprintf("Not judged, of the catalogue's requirements: %s.", strings.Join(parts, ", ")))
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
	if run.Expectations != nil && len(run.Expectations.Stale) > 0 {
		text += "; " + p.paint(verdict.XPass, plural(len(run.Expectations.Stale), "expectation")+" to look at")
	}
	for _, file := range [...]string{path, p.Page} {
		if file != "" {
			text += "; " + file
		}
	}
	p.line("\n%s", text)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
