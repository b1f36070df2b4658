package compare

import (
	"slices"
	"strings"

	"countersign/report"
	"countersign/report/verdict"
)

// Matrix is several runs side by side.
type Matrix struct {
	// Columns are the runs, in the order in which they were given.
	Columns []Column
	// Areas are the counts per area, in the order of the runs' requirements.
	Areas []AreaRow
	// Disagreements are the requirements on which not all runs that judged them agree.
	Disagreements []Row
	// Splits are behaviours that no requirement judges and that differ: servers that treat one event
	// differently stop agreeing on the state of a room.
	Splits []Split
	// RoomSplits are the pairs of servers that an attacker can make disagree about a room.
	RoomSplits []RoomSplit
	// probed is how many of the runs have probes.
	probed int
	// Compared is how many requirements at least two of the runs judged.
	Compared int
}

// Column is one run.
type Column struct {
	// Letter is a short name: A, B, ...
	Letter string
	// Name is what the servers call themselves, or the target.
	Name string
	Run  *report.Run
}

// AreaRow counts, per run, the verdicts in one area.
type AreaRow struct {
	Area string
	// Counts are as long as the matrix's Columns.
	Counts []report.Counts
}

// Row is one requirement. Its slices are as long as the matrix's Columns.
type Row struct {
	ID, Says string
	// Verdicts are empty where a run did not judge the requirement.
	Verdicts []verdict.Verdict
	// Observed are what the runs saw; empty for a PASS.
	Observed []string
}

// Split is a test that recorded different behaviours.
type Split struct {
	// Requirement and Test say which question was asked.
	Requirement, Test string
	// Observed are as long as the matrix's Columns; empty where the test did not run.
	Observed []string
}

// SideBySide compares runs of at least two servers, or of two versions of one. The error is about the
// catalogue or the vectors that the program was built with.
func SideBySide(runs []*report.Run) (*Matrix, error) {
	m := &Matrix{}
	for i, run := range runs {
		m.Columns = append(m.Columns, Column{letters(i), run.Title(), run})
	}
	rows := m.rows()
	for _, row := range rows {
		m.count(row)
		if row.judged() > 1 {
			m.Compared++
		}
		if row.disagrees() {
			m.Disagreements = append(m.Disagreements, row.Row)
		}
	}
	m.splits()
	return m, m.roomSplits()
}

// matrixRow is a row with what is needed to sort it in.
type matrixRow struct {
	Row
	area string
}

// rows merges the runs' requirements. Each run has them in the catalogue's order; one that only some
// runs have goes behind the one that it follows there.
func (m *Matrix) rows() []*matrixRow {
	var rows []*matrixRow
	byID := map[string]*matrixRow{}
	for column := range m.Columns {
		last := -1
		for i := range m.Columns[column].Run.Requirements {
			r := &m.Columns[column].Run.Requirements[i]
			row := byID[r.ID]
			if row == nil {
				row = &matrixRow{area: r.Area, Row: Row{
					ID: r.ID, Says: r.Says,
					Verdicts: make([]verdict.Verdict, len(m.Columns)), Observed: make([]string, len(m.Columns)),
				}}
				byID[r.ID] = row
				rows = slices.Insert(rows, last+1, row)
			}
			last = slices.Index(rows, row)
			row.Verdicts[column], row.Observed[column] = r.Verdict, r.Observed
		}
	}
	return rows
}

func (m *Matrix) count(row *matrixRow) {
	if n := len(m.Areas); n == 0 || m.Areas[n-1].Area != row.area {
		m.Areas = append(m.Areas, AreaRow{Area: row.area, Counts: make([]report.Counts, len(m.Columns))})
	}
	for i, v := range row.Verdicts {
		if v != "" {
			m.Areas[len(m.Areas)-1].Counts[i].Add(v)
		}
	}
}

func (r *Row) judged() int {
	judged := 0
	for _, v := range r.Verdicts {
		if v != "" && v.Judged() {
			judged++
		}
	}
	return judged
}

// disagrees reports whether two runs judged the requirement differently. That one of them could not
// ask is no disagreement.
func (r *Row) disagrees() bool {
	first := verdict.Verdict("")
	for _, v := range r.Verdicts {
		switch {
		case v == "" || !v.Judged():
		case first == "":
			first = v
		case first != v:
			return true
		}
	}
	return false
}

// probed is the beginning of the IDs of requirements that probes are about.
const probed = "CONSENSUS-"

// splits compares what tests recorded about requirements that judge nothing.
func (m *Matrix) splits() {
	type question struct{ requirement, test string }
	seen := map[question][]string{}
	var order []question
	for column := range m.Columns {
		for _, seenBy := range report.Fingerprints(m.Columns[column].Run) {
			if strings.HasPrefix(seenBy.Requirement, probed) {
				continue // roomSplits compares them
			}
			q := question{seenBy.Requirement, seenBy.Test}
			if seen[q] == nil {
				seen[q] = make([]string, len(m.Columns))
				order = append(order, q)
			}
			seen[q][column] = seenBy.Observed
		}
	}
	for _, q := range order {
		different := slices.DeleteFunc(slices.Clone(seen[q]), func(s string) bool { return s == "" })
		slices.Sort(different)
		if len(slices.Compact(different)) > 1 {
			m.Splits = append(m.Splits, Split{q.requirement, q.test, seen[q]})
		}
	}
	slices.SortStableFunc(m.Splits, func(a, b Split) int { return strings.Compare(a.Requirement, b.Requirement) })
}

// letters are A to Z, then AA, AB, ...
func letters(i int) string {
	if i >= 26 {
		return letters(i/26-1) + letters(i%26)
	}
	return string(rune('A' + i))
}
