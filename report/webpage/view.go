package webpage

import (
	"cmp"
	"html/template"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"countersign/report"
	"countersign/report/verdict"
	"countersign/requirements"
)

// The bounds of what is quoted on the page: of one transcript, and of all of them together, so that
// a server that breaks everything still makes a page that a browser can show.
const (
	transcriptLimit  = 24 << 10
	transcriptsLimit = 4 << 20
)

// view is what the template shows.
type view struct {
	Style  template.CSS
	Script template.JS
	Policy string

	Run      *report.Run
	Title    string
	Verdict  verdict.Verdict
	Headline string
	Command  string
	Servers  []server
	Parts    []part
	Totals   []proposalTotal
	Problems []problem
	// Stray are tests that went wrong without saying which requirement they are about.
	Stray     []evidence
	Remarks   []remark
	Tables    []forgeryTable
	Consensus *report.Consensus
	Probes    []verdict.Probe
	Scenarios []scenario
	Proposals []proposal
	// Levels, Verdicts and Areas are the choices of the filters.
	Levels, Verdicts []string
	Areas            []areaChoice
	NotJudged        []notJudged
	Legend           []legend
}

type server struct {
	verdict.Fact
	// Name and Versions are the fact's, to be read.
	Name, Versions string
}

// part is one verdict's share of the requirements that the run looked at, in thousandths.
type part struct {
	Verdict      verdict.Verdict
	Count        int
	Start, Width float64
}

type proposalTotal struct {
	ID, Title string
	Judged    int
	Counts    []part
	NotJudged int
}

// problem is a requirement that is not as it should be, with the tests that say so.
type problem struct {
	*report.Requirement
	Cases []evidence
	More  int
}

// evidence is what one test saw.
type evidence struct {
	Verdict            verdict.Verdict
	Test               *report.Test
	Expected, Observed string
	Known              *report.Known
	Transcript         string
	// Diagram is the transcript as a picture, or nil.
	Diagram *diagram
	// Unread says why there is no transcript, or is empty.
	Unread string
	// Link is the transcript's path as seen from the page, or empty.
	Link string
}

// scenario is a test whose wire is worth looking at whatever came of it.
type scenario struct {
	Test    *report.Test
	Diagram *diagram
	// Link is the transcript's path as seen from the page, or empty.
	Link string
}

// remark is something that was seen where nothing is broken.
type remark struct {
	*report.Requirement
	Seen []string
}

type forgeryTable struct {
	report.ForgeryTable
	// Blocks are the rows in pieces that stand side by side.
	Blocks []block
	Cells  int
	Bad    int
}

// block is a piece of a table that can stand alone.
type block struct {
	Paths []string
	Rows  []forgeryRow
}

type forgeryRow struct {
	Forgery string
	Verdict verdict.Verdict
	Cells   []forgeryCell
}

type forgeryCell struct {
	Verdict verdict.Verdict
	Path    string
	// Problem is the ID of the requirement under which the page shows what went wrong, or empty.
	Problem string
}

type proposal struct {
	ID, Title, URL, Revision string
	Areas                    []area
}

type area struct {
	ID, Title    string
	Requirements []requirement
}

type requirement struct {
	*report.Requirement
	// Search is what the text filter looks through, in lower case.
	Search string
}

type areaChoice struct{ ID, Title string }

type notJudged struct {
	Reason, Meaning string
	Areas           []unjudgedArea
	Count           int
}

type unjudgedArea struct {
	ID, Title string
	IDs       []unjudged
}

type unjudged struct{ ID, Says string }

type legend struct {
	Verdict  verdict.Verdict
	Sentence string
}

func newView(run *report.Run, options Options) *view {
	v := &view{Run: run}
	v.Verdict, v.Headline = run.Headline()
	v.servers(run)
	v.Parts = parts(&run.Summary.Counts)
	e := &reader{source: options.Evidence, left: transcriptsLimit}
	v.problems(run, e)
	v.scenarios(run, e)
	v.remarks(run)
	problem := map[string]string{}
	for _, p := range v.Problems {
		for _, said := range p.Tests {
			if said.Verdict == p.Verdict && problem[said.Test] == "" {
				problem[said.Test] = p.ID
			}
		}
	}
	for _, table := range report.Forgeries(run) {
		v.Tables = append(v.Tables, newForgeryTable(table, problem))
	}
	v.Probes = report.Probes(run)
	v.proposals(run, options.Catalogue)
	v.notJudged(run, options.Catalogue)
	for _, each := range verdict.All() {
		v.Legend = append(v.Legend, legend{each, each.Sentence()})
	}
	slices.Reverse(v.Legend)
	return v
}

func (v *view) servers(run *report.Run) {
	v.Title = run.Title()
	for _, fact := range run.Servers {
		v.Servers = append(v.Servers, server{
			Fact: fact, Name: cmp.Or(report.Implementation(fact), "does not say what it is"),
			Versions: strings.Join(slices.Sorted(maps.Keys(fact.RoomVersions)), ", "),
		})
	}
}

// parts are the verdicts that occur, what is best first, as pieces of a bar of 1000 units.
func parts(counts *report.Counts) []part {
	total := counts.Total()
	var all []part
	start := 0.0
	for _, each := range slices.Backward(verdict.All()) {
		if n := counts.Of(each); n > 0 {
			width := 1000 * float64(n) / float64(total)
			all = append(all, part{each, n, start, width})
			start += width
		}
	}
	return all
}

func (v *view) proposals(run *report.Run, catalogue *requirements.Catalogue) {
	seen := map[string]bool{}
	notJudged := map[string]int{}
	for _, n := range run.NotJudged {
		notJudged[proposalOf(n.ID)]++
	}
	for i := range run.Requirements {
		r := &run.Requirements[i]
		if n := len(v.Proposals); n == 0 || v.Proposals[n-1].ID != r.Proposal {
			p := proposal{ID: r.Proposal}
			if text := proposalText(catalogue, r.Proposal); text != nil {
				p.Title, p.URL, p.Revision = text.Title, text.Text.URL, text.Text.Revision
			}
			v.Proposals = append(v.Proposals, p)
		}
		p := &v.Proposals[len(v.Proposals)-1]
		if n := len(p.Areas); n == 0 || p.Areas[n-1].ID != r.Area {
			p.Areas = append(p.Areas, area{ID: r.Area, Title: areaTitle(catalogue, r.Area)})
			v.Areas = append(v.Areas, areaChoice{r.Area, areaTitle(catalogue, r.Area)})
		}
		a := &p.Areas[len(p.Areas)-1]
		a.Requirements = append(a.Requirements, requirement{r, strings.ToLower(strings.Join([]string{r.ID, r.Where, r.Says, r.Observed}, " "))})
		for _, word := range []string{string(r.Level), "v " + string(r.Verdict)} {
			seen[word] = true
		}
	}
	for _, level := range requirements.Levels() {
		if seen[string(level)] {
			v.Levels = append(v.Levels, string(level))
		}
	}
	for _, each := range verdict.All() {
		if seen["v "+string(each)] {
			v.Verdicts = append(v.Verdicts, string(each))
		}
	}
	for _, p := range v.Proposals {
		var counts report.Counts
		for _, a := range p.Areas {
			for _, r := range a.Requirements {
				counts.Add(r.Verdict)
			}
		}
		v.Totals = append(v.Totals, proposalTotal{p.ID, p.Title, counts.Total(), parts(&counts), notJudged[p.ID]})
		delete(notJudged, p.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(notJudged)) {
		total := proposalTotal{ID: id, NotJudged: notJudged[id]}
		if text := proposalText(catalogue, id); text != nil {
			total.Title = text.Title
		}
		v.Totals = append(v.Totals, total)
	}
}

func (v *view) notJudged(run *report.Run, catalogue *requirements.Catalogue) {
	for _, reason := range []struct {
		reason  report.Reason
		meaning string
	}{
		{report.NotRun, "There are tests, which this run did not choose or did not get to."},
		{report.Untested, "There is no test yet."},
		{report.Untestable, "There is nothing to observe from outside."},
	} {
		group := notJudged{Reason: string(reason.reason), Meaning: reason.meaning}
		for _, n := range run.NotJudged {
			if n.Reason != reason.reason {
				continue
			}
			group.Count++
			id := areaOf(n.ID)
			if last := len(group.Areas); last == 0 || group.Areas[last-1].ID != id {
				group.Areas = append(group.Areas, unjudgedArea{ID: id, Title: areaTitle(catalogue, id)})
			}
			says := ""
			if catalogue != nil && catalogue.Requirement(n.ID) != nil {
				says = catalogue.Requirement(n.ID).Says
			}
			a := &group.Areas[len(group.Areas)-1]
			a.IDs = append(a.IDs, unjudged{n.ID, says})
		}
		if group.Count > 0 {
			v.NotJudged = append(v.NotJudged, group)
		}
	}
}

// newForgeryTable cuts a table into blocks of about equal height. Problem gives the requirement
// that a test is shown under.
func newForgeryTable(table report.ForgeryTable, problem map[string]string) forgeryTable {
	const tallest = 24
	t := forgeryTable{ForgeryTable: table}
	for rows := range slices.Chunk(table.Rows, tallest) {
		b := block{Paths: table.Paths}
		for _, row := range rows {
			shown := forgeryRow{Forgery: row.Forgery, Verdict: row.Verdict}
			for i, cell := range row.Cells {
				shown.Cells = append(shown.Cells, forgeryCell{cell.Verdict, table.Paths[i], problem[cell.Test]})
				if cell.Test != "" {
					t.Cells++
				}
				if cell.Test != "" && !cell.Verdict.AsExpected() {
					t.Bad++
				}
			}
			b.Rows = append(b.Rows, shown)
		}
		t.Blocks = append(t.Blocks, b)
	}
	return t
}

func proposalText(catalogue *requirements.Catalogue, id string) *requirements.Proposal {
	if catalogue == nil {
		return nil
	}
	for _, p := range catalogue.Proposals {
		if p.ID == id {
			return p
		}
	}
	return nil
}

func areaTitle(catalogue *requirements.Catalogue, id string) string {
	if catalogue == nil || catalogue.Area(id) == nil {
		return ""
	}
	return catalogue.Area(id).Title
}

// areaOf is the part of a requirement's ID that its area shares.
func areaOf(id string) string { return id[:max(strings.LastIndexByte(id, '-'), 0)] }

func proposalOf(id string) string {
	before, _, _ := strings.Cut(id, "-")
	return before
}

// quoted puts the words of a command line into quotes where a shell needs them.
// link is a file's path as seen from a page in the report's folder, or "" for one that is elsewhere.
func link(path string) string {
	if path == "" || filepath.IsAbs(path) || !filepath.IsLocal(path) {
		return ""
	}
	return "./" + filepath.ToSlash(path)
}
