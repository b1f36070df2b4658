package main

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"countersign/helpers/conform"
	"countersign/report"
	"countersign/report/coverage"
	"countersign/requirements"
)

// chooseSuites finds the packages that the flags choose.
func (p *plan) chooseSuites(wanted []string) error {
	available, err := p.origin.suites()
	if err != nil {
		return err
	}
	if len(available) == 0 {
		return exitf(report.ExitNothingRan, "%s has no tests below %s/", p.origin.root, coverage.Folder)
	}
	for _, suite := range wanted {
		if !slices.Contains(available, suite) {
			return exitf(report.ExitUsage, "there is no suite %q; there are %s", suite, strings.Join(available, ", "))
		}
	}
	p.suites = available
	if len(wanted) > 0 {
		p.suites = slices.DeleteFunc(available, func(s string) bool { return !slices.Contains(wanted, s) })
	}
	return nil
}

// chooseTests finds the test functions that the flags choose, and leaves out suites without any.
func (p *plan) chooseTests(all *requirements.Catalogue, flags *runFlags) error {
	found, err := p.origin.scan()
	if err != nil {
		return err
	}
	p.all = found
	top, err := topLevel(flags.run)
	if err != nil {
		return exitf(report.ExitUsage, "--run %q is not a regular expression: %v", flags.run, err)
	}
	ids, err := chooseRequirements(all, flags)
	if err != nil {
		return err
	}
	covers := func(t coverage.Test) bool {
		return len(ids) == 0 || slices.ContainsFunc(t.Covers, func(id string) bool { return slices.Contains(ids, id) })
	}
	for _, t := range found.Tests {
		if slices.Contains(p.suites, t.Suite) && top.MatchString(t.Name) && covers(t) {
			p.tests = append(p.tests, t)
		}
	}
	if len(p.tests) == 0 {
		return exitf(report.ExitNothingRan, "no test was chosen; `countersign list` prints which requirements have tests")
	}
	p.selected = len(flags.suites) > 0 || flags.run != "" || len(ids) > 0 || flags.failFast
	p.pattern = flags.run
	if len(ids) > 0 {
		p.set(conform.SelectionVariable, strings.Join(ids, ","))
		if p.pattern == "" {
			p.pattern = p.names()
		}
	}
	if err := p.chooseShard(flags); err != nil {
		return err
	}
	p.suites = slices.DeleteFunc(p.suites, func(suite string) bool {
		return !slices.ContainsFunc(p.tests, func(t coverage.Test) bool { return t.Suite == suite })
	})
	return nil
}

// names is an expression for the test functions that were chosen.
func (p *plan) names() string {
	names := make([]string, len(p.tests))
	for i, t := range p.tests {
		names[i] = regexp.QuoteMeta(t.Name)
	}
	slices.Sort(names)
	return "^(" + strings.Join(slices.Compact(names), "|") + ")$"
}

// chooseRequirements returns the IDs that the flags ask for; none when they ask for no requirement.
func chooseRequirements(all *requirements.Catalogue, flags *runFlags) ([]string, error) {
	if len(flags.requirements)+len(flags.areas)+len(flags.levels)+len(flags.profiles) == 0 {
		return nil, nil
	}
	patterns := slices.Clone(flags.requirements)
	for _, id := range flags.areas {
		id = strings.ToUpper(id)
		if all.Area(id) == nil {
			return nil, exitf(report.ExitUsage, "there is no area %q; `countersign list` prints them all", id)
		}
		patterns = append(patterns, id)
	}
	if len(patterns) == 0 {
		patterns = []string{"*"}
	}
	chosen, err := match(all, patterns)
	if err != nil {
		return nil, err
	}
	levels, err := oneOf("--level", flags.levels, requirements.Levels())
	if err != nil {
		return nil, err
	}
	profiles, err := oneOf("--profile", flags.profiles, requirements.Profiles())
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, r := range chosen {
		if slices.Contains(levels, r.Level) && slices.Contains(profiles, r.Profile) {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		return nil, exitf(report.ExitNothingRan, "no requirement was chosen: none has this level and profile")
	}
	return ids, nil
}

// oneOf turns words of the command line into values of a closed set; without words, it is the whole
// set. "SHOULD-NOT" is SHOULD NOT, which a shell would split.
func oneOf[S ~string](flag string, words []string, set []S) ([]S, error) {
	var chosen []S
	for _, word := range words {
		value := S(strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(word), "-", " ")))
		if !slices.Contains(set, value) {
			names := make([]string, len(set))
			for i, s := range set {
				names[i] = strings.ReplaceAll(string(s), " ", "-")
			}
			return nil, exitf(report.ExitUsage, "%s %q is unknown; there are %s", flag, word, strings.Join(names, ", "))
		}
		chosen = append(chosen, value)
	}
	if len(chosen) == 0 {
		return set, nil
	}
	return chosen, nil
}

// chooseShard leaves the tests of one shard. A function that deals its subtests out is in every
// shard, and leaves out the subtests of the others by itself. The other functions are dealt out as a
// whole, by how many requirements they cover, the largest first, each to the shard that has the
// least; functions of one name, in several suites, stay together, because `go test` chooses by name.
// The same tests are always dealt in the same way.
func (p *plan) chooseShard(flags *runFlags) error {
	p.set(conform.ShardVariable, "")
	if flags.shard == "" {
		return nil
	}
	shard, err := parseShard(flags.shard)
	if err != nil {
		return err
	}
	_, below, deeper := strings.Cut(flags.run, "/")
	if deeper && strings.ContainsAny(flags.run, "|[(") {
		return exitf(report.ExitUsage, "--shard cannot be used with --run %q; choose subtests without |, [ or (", flags.run)
	}
	of := dealOut(p.tests, shard.Count)
	p.shard = shard
	p.set(conform.ShardVariable, fmt.Sprintf("%d/%d", shard.Index, shard.Count))
	names := len(of)
	p.tests = slices.DeleteFunc(p.tests, func(t coverage.Test) bool { return of[t.Name] != everyShard && of[t.Name] != shard.Index })
	if len(p.tests) == 0 {
		return exitf(report.ExitNothingRan, "shard %d of %d has no tests: there are only %d test functions", shard.Index, shard.Count, names)
	}
	p.pattern = p.names()
	if deeper {
		p.pattern += "/" + below
	}
	return nil
}

// everyShard stands for all shards where the number of one is meant.
const everyShard = 0

// dealOut says for each name of a test function which shard, counted from 1, it belongs to.
func dealOut(tests []coverage.Test, count int) map[string]int {
	weights, of := map[string]int{}, map[string]int{}
	for _, t := range tests {
		weights[t.Name] += max(len(t.Covers), 1)
		if t.Deals {
			of[t.Name] = everyShard
		}
	}
	names := slices.SortedFunc(maps.Keys(weights), func(a, b string) int {
		return cmp.Or(weights[b]-weights[a], strings.Compare(a, b))
	})
	loads := make([]int, count)
	for _, name := range names {
		if _, dealt := of[name]; dealt {
			continue
		}
		lightest := slices.Index(loads, slices.Min(loads))
		loads[lightest] += weights[name]
		of[name] = lightest + 1
	}
	return of
}

// parseShard reads "2/3". For engines that count from zero, "1+1/3" is the same.
func parseShard(text string) (*report.Shard, error) {
	before, after, ok := strings.Cut(text, "/")
	before, fromZero := strings.CutSuffix(before, "+1")
	index, err := strconv.Atoi(before)
	count, countErr := strconv.Atoi(after)
	if fromZero {
		index++
	}
	if !ok || err != nil || countErr != nil || index < 1 || index > count {
		return nil, exitf(report.ExitUsage, "--shard %q is not of the form 2/3: the second of three (or 1+1/3, counted from zero)", text)
	}
	return &report.Shard{Index: index, Count: count}, nil
}

// topLevel is the part of a -run expression that test functions are matched with. Where the
// expression is too clever to be split, all functions may match.
func topLevel(pattern string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, err
	}
	first, _, deeper := strings.Cut(pattern, "/")
	if deeper && strings.ContainsAny(pattern, "|[(") {
		first = ""
	}
	return regexp.Compile(first)
}

// commandLine writes the flags that matter for the result down again.
func (f *runFlags) commandLine() []string {
	line := []string{"run"}
	add := func(name, value string) {
		if value != "" {
			line = append(line, "--"+name, value)
		}
	}
	add("target", f.target)
	add("suite", strings.Join(f.suites, ","))
	add("requirement", strings.Join(f.requirements, ","))
	add("area", strings.Join(f.areas, ","))
	add("level", strings.Join(f.levels, ","))
	add("profile", strings.Join(f.profiles, ","))
	add("run", f.run)
	add("shard", f.shard)
	add("expectations", f.expectations.file)
	if f.repeat > 1 {
		add("repeat", fmt.Sprint(f.repeat))
	}
	if f.timeoutScale > 0 {
		add("timeout-scale", strconv.FormatFloat(f.timeoutScale, 'g', -1, 64))
	}
	if f.strict {
		line = append(line, "--strict")
	}
	if f.failFast {
		line = append(line, "--fail-fast")
	}
	return line
}
