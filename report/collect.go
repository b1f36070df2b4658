package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"countersign/report/verdict"
	"countersign/requirements"
)

// Collector reads the output of `go test -json` as it comes and keeps, of each test, only what a
// report shows. It is used by one goroutine.
type Collector struct {
	// OnTest is called when a test of the top level, with all its subtests, has been judged. The
	// slice holds the judged tests in the order in which they began, and may be empty. May be nil.
	OnTest func(suite, name string, judged []Test)
	// OnKept is called when a package's tests have ended and its homeservers stay up. May be nil.
	OnKept func(verdict.Kept)
	// Covered tells which requirements have tests, whether or not the run chooses them. May be nil.
	Covered func(id string) bool

	catalogue *requirements.Catalogue
	packages  map[string]*packageState
	builds    map[string]*tail
	stray     tail
	facts     map[string]verdict.Fact
	errors    []string
	tests     []Test
	// places are the indices of tests by ID, so that a repeated test is kept once.
	places map[string]int
}

// packageState is what is kept of a package while its tests run.
type packageState struct {
	suite  string
	output tail
	// told says that the package printed why its tests cannot run.
	told bool
	// reason is the place among the errors of what the package told, or -1 when another one had told
	// the same before.
	reason int
	// red says that a test of the package failed.
	red bool
	// crash is how the package's process ended, if it did not end by itself.
	crash crash
	// unended counts the tests that had begun and did not end.
	unended int
	// top are the running tests of the top level, and nodes all running tests, by name.
	top   map[string]*node
	nodes map[string]*node
}

// crash is the end of a process by a panic or a fatal error. It concerns all tests of a package: the
// tool files its text under a test that need not be the one at fault, and the others never end.
type crash struct {
	// line is the first line, such as "panic: nil map"; empty when there was no crash.
	line string
	// output is the whole text, bounded.
	output tail
}

// node is what is kept of a test until its top-level test has ended.
type node struct {
	name     string
	children []*node
	// outcome is "pass", "fail", "skip", or "" while the test runs.
	outcome    string
	elapsed    float64
	covers     []string
	findings   []verdict.Finding
	expected   string
	observed   string
	transcript string
	scenario   string
	probes     []verdict.Probe
	output     tail
	// unselected says that the run did not ask for the test.
	unselected bool
	// raced says that the race detector failed the test.
	raced bool
}

// NewCollector returns a collector that judges by this catalogue.
func NewCollector(catalogue *requirements.Catalogue) *Collector {
	return &Collector{
		catalogue: catalogue,
		packages:  map[string]*packageState{},
		builds:    map[string]*tail{},
		facts:     map[string]verdict.Fact{},
		places:    map[string]int{},
	}
}

// Read reads a stream to its end. The error is that of the reader; what was read until then counts.
func (c *Collector) Read(r io.Reader) error { return events(r, c.event) }

// Fail records why tests could not run, such as an interrupted run.
func (c *Collector) Fail(reason string) {
	reason = strings.TrimSpace(reason)
	said := slices.ContainsFunc(c.errors, func(before string) bool {
		sentence, _ := SplitReason(before)
		return sentence == reason
	})
	if reason != "" && !said {
		c.errors = append(c.errors, reason)
	}
}

// Finish judges what is still open and fills a run with servers, errors, tests, requirements and
// the summary. Tests that did not end are ERROR.
func (c *Collector) Finish(run *Run) {
	for _, name := range slices.Sorted(maps.Keys(c.packages)) {
		c.closeTests(c.packages[name])
	}
	slices.SortStableFunc(c.tests, func(a, b Test) int {
		return cmp.Or(cmp.Compare(a.Suite, b.Suite), cmp.Compare(a.Name, b.Name))
	})
	run.SchemaVersion = SchemaVersion
	run.Errors = append([]string{}, c.errors...)
	run.Tests = append([]Test{}, c.tests...)
	run.Servers = []verdict.Fact{}
	for _, alias := range slices.Sorted(maps.Keys(c.facts)) {
		run.Servers = append(run.Servers, c.facts[alias])
	}
	run.Requirements = rollup(c.catalogue, run.Tests)
	run.NotJudged = notJudged(c.catalogue, run.Requirements, c.Covered)
	run.Summary = summarize(run)
}

// Packages is the number of packages that have begun to run.
func (c *Collector) Packages() int { return len(c.packages) }

// Stray is what was printed beside the stream, such as a complaint of the go command.
func (c *Collector) Stray() string { return strings.TrimSpace(c.stray.String()) }

func (c *Collector) event(e *event) {
	switch {
	case e.Action == "build-output":
		if c.builds[e.ImportPath] == nil {
			c.builds[e.ImportPath] = &tail{}
		}
		c.builds[e.ImportPath].add(e.Output)
		return
	case e.Package == "":
		c.stray.add(e.Output)
		return
	}
	p := c.pkg(e.Package)
	if e.Action == "output" {
		c.line(p, e.Output)
		p.crash.print(e.Output)
	}
	if e.Test == "" {
		c.packageEvent(p, e)
		return
	}
	n := p.nodes[e.Test]
	if n == nil && e.Action != "run" {
		// What a test prints after its end belongs to nobody.
		p.output.add(e.Output)
		return
	}
	switch e.Action {
	case "run":
		p.begin(e.Test)
	case "output":
		n.print(e.Output)
	case "attr":
		c.attribute(n, e.Key, e.Value)
	case "pass", "fail", "skip":
		n.outcome, n.elapsed = e.Action, e.Elapsed
		p.red = p.red || e.Action == "fail"
		if p.top[e.Test] == n {
			c.closeTest(p, n)
		}
	}
}

// line looks for the lines that concern a whole package. They are found in any output, because the
// tool files a line under the test that happens to run.
func (c *Collector) line(p *packageState, output string) {
	line := strings.TrimRight(output, "\n")
	if reason, ok := strings.CutPrefix(line, verdict.LineError); ok {
		before := len(c.errors)
		c.Fail(reason)
		p.told, p.reason = true, -1
		if len(c.errors) > before {
			p.reason = before
		}
	}
	if more, ok := strings.CutPrefix(line, verdict.LineMore); ok && p.told && p.reason >= 0 {
		c.errors[p.reason] += "\n" + withoutSecrets(more)
	}
	if text, ok := strings.CutPrefix(line, verdict.LineKept); ok && c.OnKept != nil {
		var kept verdict.Kept
		if err := json.Unmarshal([]byte(text), &kept); err != nil {
			c.Fail(fmt.Sprintf("tests/%s printed a line about kept homeservers that cannot be read: %s", p.suite, text))
			return
		}
		c.OnKept(kept)
	}
	if text, ok := strings.CutPrefix(line, verdict.LineFact); ok {
		var fact verdict.Fact
		if err := json.Unmarshal([]byte(text), &fact); err != nil || fact.Server == "" {
			c.Fail(fmt.Sprintf("tests/%s printed a fact that cannot be read: %s", p.suite, text))
			return
		}
		c.facts[fact.Server] = fact
	}
}

func (c *Collector) packageEvent(p *packageState, e *event) {
	switch e.Action {
	case "output":
		if !isFraming(e.Output) {
			p.output.add(e.Output)
		}
	case "fail":
		c.closeTests(p)
		switch {
		case e.FailedBuild != "":
			c.Fail(fmt.Sprintf("tests/%s does not compile: %s", p.suite, lastWords(c.builds[e.FailedBuild])))
		case p.crash.line != "":
			c.Fail(fmt.Sprintf("tests/%s crashed, and %s did not end: %s", p.suite, plural(p.unended, "test"), p.crash.line))
		case !p.told && p.unended > 0:
			c.Fail(fmt.Sprintf("tests/%s ended early, and %s did not end", p.suite, plural(p.unended, "test")))
		case !p.told && !p.red:
			c.Fail(fmt.Sprintf("tests/%s failed outside of its tests: %s", p.suite, lastWords(&p.output)))
		}
	}
}

func (c *Collector) attribute(n *node, key, value string) {
	switch key {
	case verdict.AttrCovers:
		if !slices.Contains(n.covers, value) {
			n.covers = append(n.covers, value)
		}
	case verdict.AttrExpected:
		n.expected = value
	case verdict.AttrObserved:
		n.observed = value
	case verdict.AttrTranscript:
		n.transcript = value
	case verdict.AttrScenario:
		n.scenario = value
	case verdict.AttrUnselected:
		n.unselected = true
	case verdict.AttrProbe:
		var p verdict.Probe
		if err := json.Unmarshal([]byte(value), &p); err != nil {
			n.findings = append(n.findings, verdict.Finding{Verdict: verdict.Error, Observed: "a probe cannot be read: " + err.Error()})
			return
		}
		n.probes = append(n.probes, p)
	case verdict.AttrFinding:
		var f verdict.Finding
		if err := json.Unmarshal([]byte(value), &f); err != nil {
			f = verdict.Finding{Verdict: verdict.Error, Observed: "a finding cannot be read: " + err.Error()}
		}
		n.findings = append(n.findings, f)
	}
}

func (c *Collector) pkg(name string) *packageState {
	p := c.packages[name]
	if p == nil {
		p = &packageState{suite: suiteOf(name), top: map[string]*node{}, nodes: map[string]*node{}}
		c.packages[name] = p
	}
	return p
}

// suiteOf is the part of a package's path below tests/, or its last element.
func suiteOf(pkg string) string {
	if _, below, ok := strings.Cut(pkg, "/tests/"); ok {
		return below
	}
	return path.Base(pkg)
}

// begin keeps a test that starts to run. A subtest belongs to the running test with the longest
// name that ends at one of its slashes.
func (p *packageState) begin(name string) {
	n := &node{name: name}
	p.nodes[name] = n
	for end := len(name); end > 0; {
		end = strings.LastIndexByte(name[:end], '/')
		if above := p.nodes[name[:max(end, 0)]]; above != nil {
			above.children = append(above.children, n)
			return
		}
	}
	p.top[name] = n
}

func (c *Collector) closeTests(p *packageState) {
	for _, name := range slices.Sorted(maps.Keys(p.top)) {
		c.closeTest(p, p.top[name])
	}
}

// closeTest judges a test of the top level and forgets everything that a report does not show.
func (c *Collector) closeTest(p *packageState, top *node) {
	judged := judge(c.catalogue, p.suite, top, &p.crash)
	for i := range judged {
		judged[i].withoutSecrets()
	}
	c.tests = fold(c.tests, c.places, judged)
	delete(p.top, top.name)
	top.walk(func(n *node) {
		delete(p.nodes, n.name)
		if n.outcome == "" {
			p.unended++
		}
	})
	if c.OnTest != nil {
		c.OnTest(p.suite, top.name, judged)
	}
}

func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, child := range n.children {
		child.walk(visit)
	}
}

// print keeps a line of a test's output.
func (n *node) print(output string) {
	if !isFraming(output) {
		n.raced = n.raced || strings.Contains(output, "race detected during execution of test")
		n.output.add(output)
	}
}

// print notices the beginning of a crash, and keeps what follows.
func (c *crash) print(output string) {
	if c.line == "" && (strings.HasPrefix(output, "panic: ") || strings.HasPrefix(output, "fatal error: ")) {
		c.line = strings.TrimSuffix(strings.TrimSpace(output), " [recovered, repanicked]")
	}
	if c.line != "" && !isFraming(output) {
		c.output.add(output)
	}
}

// isFraming reports whether a line is the testing package's own.
func isFraming(output string) bool {
	line := strings.TrimLeft(output, " ")
	for _, prefix := range [...]string{"=== ", "--- PASS", "--- FAIL", "--- SKIP", "FAIL\t", "ok  \t", "exit status "} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return line == "FAIL\n" || line == "PASS\n"
}

// lastWords is the end of an output on one line.
func lastWords(t *tail) string {
	if t == nil {
		return "it said nothing"
	}
	lines := strings.Split(strings.TrimSpace(t.String()), "\n")
	words := strings.Join(lines[max(0, len(lines)-5):], " | ")
	if strings.TrimSpace(words) == "" {
		return "it said nothing"
	}
	return strings.Join(strings.Fields(words), " ")
}
