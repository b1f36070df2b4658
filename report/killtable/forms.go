package killtable

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

// FileName is the name of the table's JSON form.
const FileName = "kill-table.json"

// Form is one way to write a table down.
type Form struct {
	// File is the name of the file.
	File  string
	Write func(io.Writer, *Table) error
}

// Forms are all of them.
func Forms() []Form {
	return []Form{{FileName, writeJSON}, {"KILL-TABLE.md", Markdown}, {"kill-table.html", page}}
}

func writeJSON(w io.Writer, t *Table) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(t)
}

// Conclusions are what a table amounts to, one line each: the counts, and then what is not as it
// should be.
func (t *Table) Conclusions() []string {
	s := t.Summary
	lines := []string{
		fmt.Sprintf("mutants %d, killed %s, killed by a test of their own requirement %s", s.Mutants,
			percent(s.Killed, s.Mutants), percent(s.KilledByOwnRequirement, s.Mutants)),
		fmt.Sprintf("variants %d, wrongly failed %d", s.Variants, s.VariantsFailed),
		fmt.Sprintf("dead servers %d, wrongly judged %d", s.DeadServers, s.DeadServersWronglyJudged),
	}
	if t.Whole {
		lines = append(lines, fmt.Sprintf("tests %d, killed nothing %d, exempt %d", s.Tests, s.IdleTests, s.ExemptTests))
	}
	lines = append(lines, fmt.Sprintf("%.0f s", t.DurationSeconds))
	for i := range t.Mutants {
		m := &t.Mutants[i]
		switch {
		case !m.Killed():
			lines = append(lines, fmt.Sprintf("SURVIVED  %s (%s): %s (%d tests run)", m.Name, m.Requirement, m.Wrong, m.Ran))
			for _, u := range m.Undecided {
				lines = append(lines, fmt.Sprintf("          %s: %s", u.Test, u.Observed))
			}
		case !m.KilledByOwn():
			lines = append(lines, fmt.Sprintf("BY OTHERS %s (%s): killed by %s only, for %s", m.Name, m.Requirement,
				m.Killers[0].Test, strings.Join(m.Killers[0].Requirements, " ")))
		}
	}
	for _, v := range t.Variants {
		for _, k := range v.Failed {
			lines = append(lines, fmt.Sprintf("UNFAIR    %s (%s): %s: %s", v.Name, v.Permitted, k.Test, k.Observed))
		}
	}
	for _, d := range t.Dead {
		for _, w := range d.Wrong {
			lines = append(lines, fmt.Sprintf("DEAD      %s: %s", d.Name, w))
		}
	}
	if t.Whole && t.Shard == nil {
		for i := range t.Tests {
			if one := &t.Tests[i]; one.Idle() {
				lines = append(lines, fmt.Sprintf("IDLE      %s (%s): run against %d of %d mutants that could show in it", one.ID,
					strings.Join(one.Covers, " "), one.Tried, one.Reaches))
			}
		}
	}
	for _, p := range t.Problems {
		lines = append(lines, "PROBLEM   "+p)
	}
	return lines
}

func percent(part, whole int) string {
	if whole == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%.4g %%)", part, float64(part)*100/float64(whole))
}

// Markdown writes the table for people who read the repository.
func Markdown(w io.Writer, t *Table) error {
	b := bufio.NewWriter(w)
	line := func(format string, args ...any) { fmt.Fprintf(b, format+"\n", args...) }
	line("# The kill table\n")
	line("Made by `countersign kill%s` at commit `%s`, in %.0f s on %d cores.\n", whole(t), t.Suite.Commit, t.DurationSeconds, t.Machine.CPUs)
	for _, c := range t.Conclusions() {
		line("- %s", cell(c))
	}
	line("\n## Mutants\n")
	line("Each is the reference homeserver with one deliberate defect. *Killed by* lists the tests that failed it; those of")
	line("the requirement that it breaks are bold.\n")
	line("| mutant | requirement | what it does wrong | killed by |\n| --- | --- | --- | --- |")
	for i := range t.Mutants {
		m := &t.Mutants[i]
		line("| `%s` | %s | %s | %s |", m.Name, m.Requirement, cell(m.Wrong), killers(m))
	}
	line("\n## Variants\n\nPermitted alternatives, which no test may fail.\n")
	line("| variant | permitted by | what it does differently | tests run | failed |\n| --- | --- | --- | --- | --- |")
	for _, v := range t.Variants {
		line("| `%s` | %s | %s | %d | %d |", v.Name, cell(v.Permitted), cell(v.Differs), v.Ran, len(v.Failed))
	}
	line("\n## Dead servers\n\nServers that are wrong as a whole, which no test may take for conforming ones.\n")
	line("| server | what it does | pass | fail | inconclusive | error | wrongly judged |\n| --- | --- | --- | --- | --- | --- | --- |")
	for _, d := range t.Dead {
		line("| `%s` | %s | %d | %d | %d | %d | %d |", d.Name, cell(d.Does), d.Verdicts.Pass, d.Verdicts.Fail,
			d.Verdicts.Inconclusive, d.Verdicts.Error, len(d.Wrong))
	}
	line("\n## Tests\n\nWhat each test has killed.\n\n| test | kills |\n| --- | --- |")
	for i := range t.Tests {
		one := &t.Tests[i]
		kills := codes(one.Kills)
		if one.Exempt != "" {
			kills = "exempt: " + cell(one.Exempt)
		}
		line("| %s | %s |", one.ID, kills)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("cannot write the kill table: %w", err)
	}
	return nil
}

func whole(t *Table) string {
	if t.Whole {
		return " --all"
	}
	return ""
}

// killersListed is how many killers of a mutant are listed; of some, almost every test is one.
const killersListed = 6

func killers(m *Mutant) string {
	var list []string
	for i, k := range m.Killers {
		if i == killersListed {
			list = append(list, fmt.Sprintf("and %d more", len(m.Killers)-i))
			break
		}
		name := k.Test
		if k.Own {
			name = "**" + name + "**"
		}
		list = append(list, name)
	}
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

func codes(names []string) string {
	quoted := slices.Clone(names)
	for i, n := range quoted {
		quoted[i] = "`" + n + "`"
	}
	if len(quoted) == 0 {
		return "nothing"
	}
	return strings.Join(quoted, ", ")
}

// cell is a text that does not break a table.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;", ">", "&gt;").Replace(text)
}

//go:embed page.html.tmpl
var pageText string

// page writes the table as one page without anything to load: mutants by tests, and the lists.
func page(w io.Writer, t *Table) error {
	parsed, err := template.New("page").Funcs(template.FuncMap{"conclusions": t.Conclusions}).Parse(pageText)
	if err == nil {
		err = parsed.Execute(w, t)
	}
	if err != nil {
		return fmt.Errorf("cannot write the kill table: %w", err)
	}
	return nil
}
