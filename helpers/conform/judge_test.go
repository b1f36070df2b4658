package conform

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report/verdict"
)

func (r *recorder) SkipNow() { r.skipped = true; runtime.Goexit() }
func (r *recorder) FailNow() { r.failed = true; runtime.Goexit() }

func TestJudge_CostsWhatTheProfileSays(t *testing.T) {
	for _, c := range []struct {
		id   string
		want []verdict.Verdict
	}{
		{strictID, []verdict.Verdict{verdict.Fail}},
		{interopID, []verdict.Verdict{verdict.Warn, verdict.Skip}},
		{fingerprintID, []verdict.Verdict{verdict.Info, verdict.Skip}},
	} {
		t.Run(c.id, func(t *testing.T) {
			t.Setenv(StrictVariable, "")
			after := false
			r := play(t, func(tb testing.TB) { Judge(tb, c.id).Fatalf("got %d", 5); after = true })
			var got []verdict.Verdict
			for _, f := range r.findings(t) {
				got = append(got, f.Verdict)
			}
			assert.Equal(t, c.want, got)
			require.NotEmpty(t, r.findings(t))
			assert.Equal(t, "got 5", r.findings(t)[0].Observed)
			assert.Equal(t, c.id, r.findings(t)[0].Requirement)
			assert.False(t, after, "the test goes on")
			assert.Equal(t, c.want[0] == verdict.Fail, r.failed)
			assert.Equal(t, c.want[0] != verdict.Fail, r.skipped)
		})
	}
	for name, step := range map[string]func(testing.TB){
		"a control": func(tb testing.TB) { Inconclusive(Judge(tb, interopID), "no control") },
		"a step":    func(tb testing.TB) { Setup(Judge(tb, interopID)).Fatal("no step") },
	} {
		findings := play(t, step).findings(t)
		require.Len(t, findings, 1, name)
		assert.Equal(t, verdict.Inconclusive, findings[0].Verdict, name)
	}
	twice := play(t, func(tb testing.TB) { Violation(Judge(tb, strictID), strictID, "one", "two") })
	assert.Len(t, twice.findings(t), 1)
	assert.Empty(t, play(t, func(tb testing.TB) { Judge(tb, strictID).Log("fine") }).findings(t))
}
