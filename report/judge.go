package report

import (
	"cmp"
	"slices"
	"strings"

	"countersign/report/verdict"
	"countersign/requirements"
)

// judge turns a finished test of the top level into the verdicts of the tests in it that count:
// those that cover requirements, and those that failed without covering any. Of the latter, those
// that a crash ended are left out: the crash is told once, for the whole package.
func judge(catalogue *requirements.Catalogue, suite string, top *node, crashed *crash) []Test {
	var judged []Test
	var visit func(n *node, covered bool)
	visit = func(n *node, covered bool) {
		if n.leftOut() {
			return
		}
		covers := len(n.covers) > 0
		switch {
		case covers:
			judged = append(judged, judgeTest(catalogue, suite, n, crashed))
		case covered:
			// Its covering ancestor speaks for it.
		case n.outcome == "" || crashed.ended(n):
		case failedByItself(n) || len(ownFindings(n)) > 0:
			judged = append(judged, uncovered(suite, n))
		}
		for _, child := range n.children {
			visit(child, covered || covers)
		}
	}
	visit(top, false)
	return judged
}

// judgeTest gives the verdict of a test that covers requirements. What its subtests say that cover
// nothing themselves counts as said by the test.
func judgeTest(catalogue *requirements.Catalogue, suite string, n *node, crashed *crash) Test {
	t := newTest(suite, n)
	var evidence evidence
	evidence.add(n, crashed)
	if evidence.ended != "" && t.Output == "" {
		t.Output = tidy(crashed.output.String())
	}
	t.Transcript = evidence.transcript
	for _, id := range n.covers {
		t.Requirements = append(t.Requirements, evidence.about(catalogue, n, id))
	}
	for _, f := range evidence.findings {
		// A sweeper may find that a requirement is broken which the test does not cover.
		named := f.Requirement != "" && !slices.Contains(n.covers, f.Requirement)
		if named && f.Verdict != verdict.Info && catalogue.Requirement(f.Requirement) != nil {
			t.Requirements = append(t.Requirements, RequirementVerdict{
				ID: f.Requirement, Verdict: f.Verdict, Expected: f.Expected, Observed: f.Observed,
			})
		}
	}
	parts := make([]verdict.Verdict, len(t.Requirements))
	for i, r := range t.Requirements {
		parts[i] = r.Verdict
	}
	t.Verdict = verdict.Rollup(parts...)
	for _, r := range t.Requirements {
		if r.Verdict == t.Verdict {
			t.Expected, t.Observed = r.Expected, r.Observed
			break
		}
	}
	if t.Verdict == verdict.Pass {
		t.Output = ""
	}
	return t
}

// uncovered is the verdict of a test that failed, or found something, without saying what it
// covers: it says nothing about the server.
func uncovered(suite string, n *node) Test {
	t := newTest(suite, n)
	t.Verdict = verdict.Error
	if n.outcome == "skip" {
		t.Verdict = verdict.Skip
	}
	t.Expected = "the test says what it covers before anything else"
	t.Observed = failure(n)
	for _, f := range ownFindings(n) {
		if f.Verdict == verdict.Inconclusive || f.Verdict == verdict.Skip || f.Verdict == verdict.Error {
			t.Verdict, t.Expected, t.Observed = f.Verdict, "", f.Observed
		}
	}
	return t
}

func newTest(suite string, n *node) Test {
	return Test{
		Suite:           suite,
		Name:            n.name,
		Requirements:    []RequirementVerdict{},
		DurationSeconds: n.elapsed,
		Transcript:      n.transcript,
		Scenario:        n.scenario,
		Probes:          n.probes,
		Output:          tidy(n.output.String()),
	}
}

// evidence is what a covering test and its subtests that cover nothing have said.
type evidence struct {
	findings []verdict.Finding
	// ended is why the harness, not the server, is to blame for how the test ended, or empty.
	ended string
	// plain says that the test failed in a way that no finding explains.
	plain bool
	// below says that the test failed, and that a subtest which covers requirements itself failed
	// too: whether the test also failed by itself cannot be known.
	below bool
	// skipped is the reason of a plain skip, or empty.
	skipped string
	// failure is what the plain failure printed.
	failure string
	// transcript is the first that the test or one of those subtests handed over.
	transcript string
}

func (e *evidence) add(n *node, crashed *crash) {
	e.findings = append(e.findings, n.findings...)
	e.transcript = cmp.Or(e.transcript, n.transcript)
	switch {
	case crashed.ended(n):
		e.ended = cmp.Or(e.ended, crashed.line)
	case n.outcome == "":
		e.ended = cmp.Or(e.ended, "the test did not end: its process ended first")
	case n.raced:
		e.ended = cmp.Or(e.ended, "the race detector found a data race in the suite")
	}
	childFailed := false
	for _, child := range n.children {
		if child.leftOut() {
			continue
		}
		if len(child.covers) == 0 {
			e.add(child, crashed)
		} else if child.outcome == "fail" && n.outcome == "fail" {
			e.below = e.below || n.output.String() != ""
		}
		childFailed = childFailed || child.outcome == "fail"
	}
	if n.outcome == "fail" && !childFailed && unexplained(n.findings) {
		e.plain = true
		e.failure = cmp.Or(e.failure, failure(n))
	}
	if n.outcome == "skip" && len(n.findings) == 0 {
		e.skipped = cmp.Or(e.skipped, failure(n))
	}
}

// leftOut reports whether the run did not ask for the test, or for any of its subtests, so that it says
// nothing. What has gone wrong is told whether or not it was asked for.
func (n *node) leftOut() bool {
	if n.unselected {
		return true
	}
	asked := slices.ContainsFunc(n.children, func(child *node) bool { return !child.leftOut() })
	return len(n.children) > 0 && !asked && n.outcome == "pass" && len(n.findings) == 0
}

// unexplained reports whether a failed test failed in another way than by its findings: it has
// none that fails a test, or had failed before the first of them.
func unexplained(findings []verdict.Finding) bool {
	for _, f := range findings {
		switch f.Verdict {
		case verdict.Fail, verdict.Inconclusive, verdict.Error:
			return f.TestHadFailed
		}
	}
	return true
}

// about is what the evidence says about one requirement that the test covers.
func (e *evidence) about(catalogue *requirements.Catalogue, n *node, id string) RequirementVerdict {
	says := RequirementVerdict{ID: id, Verdict: verdict.Pass}
	note := func(v verdict.Verdict, expected, observed string) {
		if v.Worse(says.Verdict) {
			says.Verdict, says.Expected, says.Observed = v, expected, observed
		}
	}
	requirement := catalogue.Requirement(id)
	if requirement == nil {
		note(verdict.Error, "", "the test covers "+id+", which is not in the catalogue")
		return says
	}
	fingerprint := requirement.Profile == requirements.Fingerprint
	for _, f := range e.findings {
		about := f.Requirement == id
		switch {
		case f.Verdict == verdict.Info && !(about && fingerprint):
			// A remark beside the verdict.
		case about, f.Requirement == "":
			note(f.Verdict, cmp.Or(f.Expected, n.expected), f.Observed)
		case f.Verdict == verdict.Fail && slices.Contains(n.covers, f.Requirement):
			note(verdict.Inconclusive, "", "the test failed for "+f.Requirement)
		}
	}
	switch {
	case e.ended != "":
		note(verdict.Error, n.expected, e.ended)
	case e.plain && requirement.Profile == requirements.Strict:
		note(verdict.Fail, cmp.Or(n.expected, requirement.Says), cmp.Or(n.observed, e.failure))
	case e.plain:
		// A plain failure does not say whether it is the departure that this profile forgives.
		note(verdict.Inconclusive, cmp.Or(n.expected, requirement.Says), cmp.Or(n.observed, e.failure))
	case e.below:
		note(verdict.Inconclusive, n.expected, "the test failed together with a subtest")
	case e.skipped != "":
		note(verdict.Skip, "", e.skipped)
	}
	if fingerprint && says.Verdict == verdict.Pass {
		says.Verdict, says.Observed = verdict.Info, n.observed
	}
	return says
}

// ended reports whether the crash ended the test: it never ended, or it failed without a word. (The
// testing package reports a test that panics as failed, before the panic is printed.)
func (c *crash) ended(n *node) bool {
	if c.line == "" || n.outcome == "pass" || n.outcome == "skip" {
		return false
	}
	if n.outcome == "" {
		return true
	}
	words := n.output.String()
	return len(ownFindings(n)) == 0 && (words == "" || strings.Contains(words, c.line))
}

// failedByItself reports whether a test failed and none of its subtests did.
func failedByItself(n *node) bool {
	if n.outcome == "pass" || n.outcome == "skip" {
		return false
	}
	for _, child := range n.children {
		if child.outcome == "fail" || child.outcome == "" {
			return false
		}
	}
	return true
}

// ownFindings are a test's findings that end it.
func ownFindings(n *node) []verdict.Finding {
	return slices.DeleteFunc(slices.Clone(n.findings), func(f verdict.Finding) bool {
		return f.Verdict == verdict.Info || f.Verdict == verdict.Warn
	})
}

// failure is what a failed or skipped test printed, on one line, without the wire.
func failure(n *node) string {
	const limit = 600
	said, _, _ := strings.Cut(tidy(n.output.String()), verdict.LineWire)
	line := strings.Join(strings.Fields(said), " ")
	if len(line) > limit {
		line = strings.ToValidUTF8(line[:limit], "") + "..."
	}
	return cmp.Or(line, "the test failed and said nothing")
}

// tidy takes the indentation and the source positions off a test's output.
func tidy(output string) string {
	lines := strings.Split(strings.Trim(output, "\n"), "\n")
	for i, line := range lines {
		line = strings.TrimPrefix(line, "    ")
		if file, rest, ok := strings.Cut(line, ": "); ok && isPosition(file) {
			line = rest
		}
		lines[i] = strings.TrimRight(line, " \t\r")
	}
	return strings.Join(lines, "\n")
}

// isPosition reports whether s is of the form "name.go:12".
func isPosition(s string) bool {
	name, line, ok := strings.Cut(s, ".go:")
	return ok && name != "" && !strings.ContainsAny(name, " \t") && strings.Trim(line, "0123456789") == ""
}

// rollup gives the verdicts on requirements, in the catalogue's order.
func rollup(catalogue *requirements.Catalogue, tests []Test) []Requirement {
	type said struct {
		test string
		RequirementVerdict
	}
	byID := map[string][]said{}
	for i := range tests {
		for _, r := range tests[i].Requirements {
			byID[r.ID] = append(byID[r.ID], said{tests[i].ID(), r})
		}
	}
	judged := []Requirement{}
	for _, r := range catalogue.Requirements() {
		all := byID[r.ID]
		if len(all) == 0 {
			continue
		}
		result := Requirement{
			ID: r.ID, Proposal: r.Area.Proposal.ID, Area: r.Area.ID,
			Level: r.Level, Profile: r.Profile, Where: r.Where, Says: r.Says,
		}
		parts := make([]verdict.Verdict, len(all))
		for i, s := range all {
			parts[i] = s.Verdict
			result.Tests = append(result.Tests, TestVerdict{Test: s.test, Verdict: s.Verdict})
		}
		result.Verdict = verdict.Rollup(parts...)
		if i := slices.Index(parts, result.Verdict); i >= 0 {
			result.Expected, result.Observed = all[i].Expected, all[i].Observed
		}
		judged = append(judged, result)
	}
	return judged
}

// notJudged lists the requirements without a verdict, in the catalogue's order. Covered tells which
// requirements have tests; nil means that none is known to have any.
func notJudged(catalogue *requirements.Catalogue, judged []Requirement, covered func(id string) bool) []NotJudged {
	has := map[string]bool{}
	for i := range judged {
		has[judged[i].ID] = true
	}
	rest := []NotJudged{}
	for _, r := range catalogue.Requirements() {
		switch {
		case has[r.ID]:
		case covered != nil && covered(r.ID):
			rest = append(rest, NotJudged{ID: r.ID, Reason: NotRun})
		case r.Testable == requirements.No:
			rest = append(rest, NotJudged{ID: r.ID, Reason: Untestable})
		default:
			rest = append(rest, NotJudged{ID: r.ID, Reason: Untested})
		}
	}
	return rest
}

func summarize(run *Run) Summary {
	var s Summary
	for i := range run.Requirements {
		s.Add(run.Requirements[i].Verdict)
	}
	for i := range run.Tests {
		s.Tests.Add(run.Tests[i].Verdict)
	}
	return s
}
