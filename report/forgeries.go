package report

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"countersign/report/verdict"
)

// ForgeryTable says, for the forgeries of one suite, what became of each on each path on which it
// was delivered.
type ForgeryTable struct {
	// Suite is the suite whose tests filled the table, such as "msc4243".
	Suite string `json:"suite"`
	// Paths are the columns, such as "send" and "send_join", the ones with the most forgeries first.
	Paths []string `json:"paths"`
	// Rows are the forgeries: what is not as it should be first, then by name.
	Rows []ForgeryRow `json:"rows"`
}

// ForgeryRow is one forgery.
type ForgeryRow struct {
	// Forgery is its name, such as "server-key-only".
	Forgery string `json:"forgery"`
	// Verdict is the roll-up of the cells.
	Verdict verdict.Verdict `json:"verdict"`
	// Cells are as long as the table's Paths. The zero cell is a path on which the forgery was not
	// delivered.
	Cells []ForgeryCell `json:"cells"`
}

// ForgeryCell is one forgery on one path.
type ForgeryCell struct {
	// Verdict is that of the test, or empty.
	Verdict verdict.Verdict `json:"verdict,omitempty"`
	// Test is Test.ID, or empty.
	Test string `json:"test,omitempty"`
}

// Forgeries reads the tables off the names of the tests. TestForge/<forgery>/<path> is one cell.
// TestForge_<Path>/<forgery> is one, too, when <Path> takes any of the forgeries that TestForge
// delivers elsewhere; tests with names of this form that are about something else stay out of the
// table.
func Forgeries(run *Run) []ForgeryTable {
	type place struct{ forgery, path string }
	cells := map[string]map[place]ForgeryCell{}
	crossed := map[string]map[string]bool{}
	put := func(t *Test, forgery, path string) {
		cell := cells[t.Suite][place{forgery, path}]
		if cell.Test == "" || t.Verdict.Worse(cell.Verdict) {
			cells[t.Suite][place{forgery, path}] = ForgeryCell{Verdict: t.Verdict, Test: t.ID()}
		}
	}
	for i := range run.Tests {
		t := &run.Tests[i]
		if parts := strings.Split(t.Name, "/"); len(parts) == 3 && parts[0] == "TestForge" {
			if cells[t.Suite] == nil {
				cells[t.Suite], crossed[t.Suite] = map[place]ForgeryCell{}, map[string]bool{}
			}
			crossed[t.Suite][parts[1]] = true
			put(t, parts[1], parts[2])
		}
	}
	type column struct{ suite, path string }
	byPath := map[column][]*Test{}
	for i := range run.Tests {
		t := &run.Tests[i]
		top, forgery, _ := strings.Cut(t.Name, "/")
		if name, ok := strings.CutPrefix(top, "TestForge_"); ok && forgery != "" && crossed[t.Suite] != nil {
			at := column{t.Suite, snake(name)}
			byPath[at] = append(byPath[at], t)
		}
	}
	for at, tests := range byPath {
		forgery := func(t *Test) string { return t.Name[strings.IndexByte(t.Name, '/')+1:] }
		if slices.ContainsFunc(tests, func(t *Test) bool { return crossed[t.Suite][forgery(t)] }) {
			for _, t := range tests {
				put(t, forgery(t), at.path)
			}
		}
	}
	tables := []ForgeryTable{}
	for suite, filled := range cells {
		delivered, forgeries := map[string]int{}, map[string]bool{}
		for at := range filled {
			delivered[at.path]++
			forgeries[at.forgery] = true
		}
		table := ForgeryTable{Suite: suite}
		for path := range delivered {
			table.Paths = append(table.Paths, path)
		}
		slices.SortFunc(table.Paths, func(a, b string) int {
			return cmp.Or(-cmp.Compare(delivered[a], delivered[b]), cmp.Compare(a, b))
		})
		for forgery := range forgeries {
			row := ForgeryRow{Forgery: forgery, Cells: make([]ForgeryCell, len(table.Paths))}
			var parts []verdict.Verdict
			for i, path := range table.Paths {
				if cell, ok := filled[place{forgery, path}]; ok {
					row.Cells[i] = cell
					parts = append(parts, cell.Verdict)
				}
			}
			row.Verdict = verdict.Rollup(parts...)
			table.Rows = append(table.Rows, row)
		}
		slices.SortFunc(table.Rows, func(a, b ForgeryRow) int {
			switch {
			case notable(a.Verdict) && a.Verdict.Worse(b.Verdict):
				return -1
			case notable(b.Verdict) && b.Verdict.Worse(a.Verdict):
				return 1
			}
			return cmp.Compare(a.Forgery, b.Forgery)
		})
		tables = append(tables, table)
	}
	slices.SortFunc(tables, func(a, b ForgeryTable) int { return cmp.Compare(a.Suite, b.Suite) })
	return tables
}

// notable reports whether a verdict is one that a reader looks for.
func notable(v verdict.Verdict) bool { return v != verdict.Pass && v != verdict.Info }

// snake turns MissingEvents into missing_events, the way in which paths are written.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
