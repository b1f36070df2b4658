package verdict

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The whole of the roll-up: every pair, in both orders, decided by a table that is written out.
func TestRollup_EveryPair(t *testing.T) {
	const (
		p, f, w, s, i, e, n = Pass, Fail, Warn, Skip, Inconclusive, Error, Info
		xf, xp              = XFail, XPass
	)
	columns := []Verdict{p, n, s, w, xf, xp, i, e, f}
	table := map[Verdict][]Verdict{
		//    PASS INFO SKIP WARN XFAIL XPASS INCONCL ERROR FAIL
		p:  {p, n, s, w, xf, xp, i, e, f},
		n:  {n, n, s, w, xf, xp, i, e, f},
		s:  {s, s, s, w, xf, xp, i, e, f},
		w:  {w, w, w, w, xf, xp, i, e, f},
		xf: {xf, xf, xf, xf, xf, xp, i, e, f},
		xp: {xp, xp, xp, xp, xp, xp, i, e, f},
		i:  {i, i, i, i, i, i, i, e, f},
		e:  {e, e, e, e, e, e, e, e, f},
		f:  {f, f, f, f, f, f, f, f, f},
	}
	require.Len(t, table, len(All()), "every verdict has a row")
	for a, row := range table {
		for column, want := range row {
			b := columns[column]
			assert.Equal(t, want, Rollup(a, b), "Rollup(%s, %s)", a, b)
			assert.Equal(t, want, Rollup(b, a), "Rollup(%s, %s)", b, a)
		}
	}
}

func TestRollup_EveryTriple(t *testing.T) {
	for _, a := range All() {
		assert.Equal(t, a, Rollup(a), "a single part is the whole")
		for _, b := range All() {
			for _, c := range All() {
				want := Rollup(Rollup(a, b), c)
				assert.Equal(t, want, Rollup(a, b, c), "rolling up in steps changes nothing: %s %s %s", a, b, c)
				assert.Equal(t, want, Rollup(c, b, a), "order changes nothing: %s %s %s", a, b, c)
				if want == Pass {
					assert.Equal(t, []Verdict{Pass, Pass, Pass}, []Verdict{a, b, c}, "only PASS rolls up to PASS")
				}
			}
		}
	}
}

func TestRollup_OfNothingIsNotSuccess(t *testing.T) {
	assert.Equal(t, Inconclusive, Rollup())
	assert.False(t, Rollup().AsExpected())
}

func TestRollup_UnknownValueIsAnError(t *testing.T) {
	assert.Equal(t, Error, Rollup(Pass, Verdict("pass")))
	assert.Equal(t, Error, Rollup(""))
}

func TestVerdict_ClosedSet(t *testing.T) {
	sentences := map[string]bool{}
	for _, v := range All() {
		assert.True(t, v.Valid())
		assert.NotEmpty(t, v.Sentence())
		sentences[v.Sentence()] = true

		text, err := json.Marshal(v)
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("%q", string(v)), string(text))
		var back Verdict
		require.NoError(t, json.Unmarshal(text, &back))
		assert.Equal(t, v, back)
	}
	assert.Len(t, sentences, len(All()), "each verdict has its own sentence")

	for _, bad := range []string{"", "pass", "Pass", "PASSED", " PASS"} {
		assert.False(t, Verdict(bad).Valid(), "%q", bad)
		assert.Empty(t, Verdict(bad).Sentence())
		_, err := Parse(bad)
		assert.Error(t, err, "%q", bad)
		_, err = json.Marshal(Verdict(bad))
		assert.Error(t, err, "a report cannot carry %q", bad)
		var v Verdict
		assert.Error(t, json.Unmarshal(fmt.Appendf(nil, "%q", bad), &v))
	}
}

func TestVerdict_AsExpected(t *testing.T) {
	expected := map[Verdict]bool{
		Pass: true, Warn: true, Skip: true, Info: true, XFail: true,
		Fail: false, Inconclusive: false, Error: false, XPass: false,
	}
	for _, v := range All() {
		assert.Equal(t, expected[v], v.AsExpected(), v)
		assert.Equal(t, v != Skip, v.Judged(), v)
	}
	assert.False(t, Verdict("").Judged())
}
