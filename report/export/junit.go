package export

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode"

	"countersign/report"
	"countersign/report/verdict"
)

// The elements of a JUnit file, as common CI systems read them: a suite per package, a case per
// test, and in it at most one of failure, error and skipped.
type (
	junitSuites struct {
		XMLName xml.Name `xml:"testsuites"`
		junitCounts
		Suites []*junitSuite `xml:"testsuite"`
	}
	junitCounts struct {
		Name     string `xml:"name,attr"`
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Errors   int    `xml:"errors,attr"`
		Skipped  int    `xml:"skipped,attr"`
		Time     string `xml:"time,attr"`
	}
	junitSuite struct {
		junitCounts
		Timestamp  string           `xml:"timestamp,attr"`
		Properties *junitProperties `xml:"properties"`
		Cases      []junitCase      `xml:"testcase"`
	}
	junitCase struct {
		Classname  string           `xml:"classname,attr"`
		Name       string           `xml:"name,attr"`
		Time       string           `xml:"time,attr"`
		Properties *junitProperties `xml:"properties"`
		Failure    *junitProblem    `xml:"failure"`
		Error      *junitProblem    `xml:"error"`
		Skipped    *junitSkipped    `xml:"skipped"`
		Output     *junitOutput     `xml:"system-out"`
	}
	junitProperties struct {
		Properties []junitProperty `xml:"property"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitProblem struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr"`
	}
	junitOutput struct {
		Text string `xml:",chardata"`
	}
)

// JUnit writes the tests of a run as JUnit XML. FAIL, INCONCLUSIVE and XPASS are failures, because
// they are not as they should be; ERROR is an error; SKIP and XFAIL are skipped, with the reason.
// WARN and INFO pass, with what was seen as output. The IDs of the requirements are properties. What
// kept tests from running at all is a case of its own, so that no CI system shows such a run green.
func JUnit(w io.Writer, run *report.Run) error {
	file := junitSuites{}
	file.Name, file.Time = run.Suite.Name, seconds(run.DurationSeconds)
	bySuite := map[string]*junitSuite{}
	suite := func(name string) *junitSuite {
		if bySuite[name] == nil {
			s := &junitSuite{Timestamp: run.Started.UTC().Format("2006-01-02T15:04:05"), Properties: about(run)}
			s.Name = name
			bySuite[name] = s
			file.Suites = append(file.Suites, s)
		}
		return bySuite[name]
	}
	elapsed := map[string]float64{}
	for i := range run.Tests {
		t := &run.Tests[i]
		suite(t.Suite).add(newCase(t))
		elapsed[t.Suite] += t.DurationSeconds
	}
	for i, reason := range run.Errors {
		sentence, more := report.SplitReason(printable(reason))
		suite("harness").add(junitCase{
			Classname: run.Suite.Name + ".harness", Name: fmt.Sprintf("outside of the tests %d", i+1), Time: seconds(0),
			Error: &junitProblem{Message: sentence, Type: string(verdict.Error), Text: strings.Join(more, "\n")},
		})
	}
	for _, s := range file.Suites {
		s.Time = seconds(elapsed[s.Name])
		file.Tests += s.Tests
		file.Failures += s.Failures
		file.Errors += s.Errors
		file.Skipped += s.Skipped
	}
	return encode(w, &file)
}

func (s *junitSuite) add(c junitCase) {
	s.Cases = append(s.Cases, c)
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
}

func newCase(t *report.Test) junitCase {
	c := junitCase{
		Classname:  "countersign." + strings.ReplaceAll(t.Suite, "/", "."),
		Name:       printable(t.Name),
		Time:       seconds(t.DurationSeconds),
		Properties: &junitProperties{[]junitProperty{{"verdict", string(t.Verdict)}}},
	}
	property := func(name, value string) {
		c.Properties.Properties = append(c.Properties.Properties, junitProperty{name, printable(value)})
	}
	for _, r := range t.Requirements {
		property("requirement", r.ID)
	}
	if t.Transcript != "" {
		property("transcript", t.Transcript)
	}
	if t.Flaky() {
		property("flaky", fmt.Sprintf("%d of %d runs", t.Repeats.Of(t.Verdict), t.Repeats.Total()))
	}
	problem := &junitProblem{Type: string(t.Verdict), Message: printable(message(t)), Text: printable(details(t))}
	switch t.Verdict {
	case verdict.Fail, verdict.Inconclusive, verdict.XPass:
		c.Failure = problem
	case verdict.Error:
		c.Error = problem
	case verdict.Skip, verdict.XFail:
		c.Skipped = &junitSkipped{Message: printable(message(t))}
	case verdict.Warn, verdict.Info:
		c.Output = &junitOutput{Text: printable(details(t))}
	}
	return c
}

// message is one line: what was seen, and of which requirement.
func message(t *report.Test) string {
	text := t.Observed
	for _, r := range t.Requirements {
		if r.Verdict == t.Verdict {
			if r.Known != nil {
				text = fmt.Sprintf("%s (known: %s, %s)", text, r.Known.Reason, r.Known.Link)
			}
			return strings.TrimSpace(string(t.Verdict) + " " + r.ID + ": " + text)
		}
	}
	return string(t.Verdict) + ": " + text
}

// details is everything that the test found, line by line.
func details(t *report.Test) string {
	var b strings.Builder
	for _, r := range t.Requirements {
		if r.Verdict == verdict.Pass {
			continue
		}
		fmt.Fprintf(&b, "%s %s\n", r.Verdict, r.ID)
		for _, line := range [][2]string{{"expected", r.Expected}, {"observed", r.Observed}} {
			if line[1] != "" {
				fmt.Fprintf(&b, "  %s: %s\n", line[0], line[1])
			}
		}
	}
	if t.Transcript != "" {
		fmt.Fprintf(&b, "what was on the wire: %s\n", t.Transcript)
	}
	if t.Output != "" {
		fmt.Fprintf(&b, "\n%s\n", t.Output)
	}
	return b.String()
}

func about(run *report.Run) *junitProperties {
	properties := []junitProperty{
		{"suite.version", run.Suite.Version}, {"suite.commit", run.Suite.Commit}, {"target", run.Target},
	}
	for _, fact := range run.Servers {
		properties = append(properties, junitProperty{fact.Server, report.Implementation(fact)})
		if fact.Digest != "" {
			properties = append(properties, junitProperty{fact.Server + ".digest", fact.Digest})
		}
	}
	for i := range properties {
		properties[i].Value = printable(properties[i].Value)
	}
	return &junitProperties{properties}
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }

// printable takes out what XML cannot carry: control characters, of which servers may send some.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || (!unicode.IsControl(r) && r != 0xFFFE && r != 0xFFFF) {
			return r
		}
		return '\uFFFD'
	}, text)
}

func encode(w io.Writer, file *junitSuites) error {
	buffered := bufio.NewWriter(w)
	_, err := buffered.WriteString(xml.Header)
	encoder := xml.NewEncoder(buffered)
	encoder.Indent("", "  ")
	if err == nil {
		err = encoder.Encode(file)
	}
	if err == nil {
		err = buffered.WriteByte('\n')
	}
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		return fmt.Errorf("cannot write the JUnit file: %w", err)
	}
	return nil
}
