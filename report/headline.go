package report

import (
	"fmt"

	"countersign/report/verdict"
)

// Judged is the number of requirements about which the run says anything: all but the skipped ones.
func (s *Summary) Judged() int { return s.Total() - s.Skip }

// Headline is the run in one sentence, with the verdict in whose colour it is to be shown. It agrees
// with ExitCode: what is said to be wrong is what the exit code is for.
func (r *Run) Headline() (verdict.Verdict, string) {
	s := &r.Summary
	judged := fmt.Sprintf("%d judged requirements", s.Judged())
	switch code := r.ExitCode(); {
	case code == ExitNothingRan:
		return verdict.Skip, "Nothing was judged."
	case s.Fail > 0:
		return verdict.Fail, fmt.Sprintf("%d of %s %s broken.", s.Fail, judged, are(s.Fail))
	case code == ExitNonConformance && s.Tests.Fail > 0:
		return verdict.Fail, fmt.Sprintf("%s failed.", plural(s.Tests.Fail, "test"))
	case code == ExitHarness:
		return verdict.Error, "The harness failed, so the verdict on the server is not complete."
	case code == ExitNonConformance:
		return verdict.Inconclusive, fmt.Sprintf("No requirement is known to be broken, but %d of %s lack evidence.", s.Inconclusive, judged)
	case s.XPass > 0:
		return verdict.XPass, fmt.Sprintf("%s passed that the server was expected to break.", plural(s.XPass, "requirement"))
	case code == ExitUnexpectedPass:
		return verdict.XPass, "Expectations no longer fit the server."
	case s.XFail > 0:
		return verdict.XFail, fmt.Sprintf("As expected: %d of %s pass, and %d %s known to be broken.", s.Pass, judged, s.XFail, are(s.XFail))
	case s.Warn > 0:
		return verdict.Warn, fmt.Sprintf("Nothing is broken: %d of %s pass, %d with a warning.", s.Pass, judged, s.Warn)
	}
	return verdict.Pass, fmt.Sprintf("Nothing is broken: %d of %s pass.", s.Pass, judged)
}

func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
