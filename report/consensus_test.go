package report

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report/verdict"
	"countersign/vectors"
)

// verifying is a run in which a server follows a rule on every probe of the vectors.
func verifying(t *testing.T, rule string) *Run {
	t.Helper()
	file, err := vectors.Load("ed25519")
	require.NoError(t, err)
	run := &Run{}
	for _, v := range file.Vectors {
		if v.Probe != "" {
			run.Tests = append(run.Tests, Test{Probes: []verdict.Probe{{Probe: v.Probe, Outcome: verdict.Outcome(v.Rules[rule])}}})
		}
	}
	return run
}

func TestConsensus(t *testing.T) {
	c, err := ConsensusOf(&Run{})
	require.NoError(t, err)
	require.Nil(t, c, "nothing was probed")

	run := verifying(t, "go")
	c, err = ConsensusOf(run)
	require.NoError(t, err)
	assert.Equal(t, []string{"go"}, c.Rules)
	assert.Contains(t, c.Libraries, "Go, crypto/ed25519 Verify")
	assert.Contains(t, c.String(), "by the rule go, as Go, crypto/ed25519 Verify")
	for _, s := range c.Splits {
		assert.NotEqual(t, "go", s.Rule, s.Library)
		assert.NotEmpty(t, s.Probes, s.Library)
		if s.Rule == "canonical-key" {
			assert.Equal(t, []string{"ED07", "ED08", "ED09"}, s.Probes)
		}
	}
	assert.Less(t, len(c.SplitsByRule()), len(c.Splits))

	var out bytes.Buffer
	(&Printer{Out: &out}).Print(run, "")
	assert.Contains(t, out.String(), "SPLIT   ED07, ED08, ED09: with JDK, Signature of Ed25519; Bouncy Castle 1.72")
}

// What is not known fits every rule, and a crash is not an acceptance.
func TestConsensus_OfWhatIsNotKnown(t *testing.T) {
	run := &Run{Tests: []Test{{Probes: []verdict.Probe{
		{Probe: "ED01", Outcome: verdict.Undecided}, {Probe: "ED12", Outcome: verdict.Accepted}, {Probe: "ED06", Outcome: verdict.Crashed},
	}}}}
	c, err := ConsensusOf(run)
	require.NoError(t, err)
	assert.Equal(t, []string{"cofactored"}, c.Rules)
	assert.Equal(t, []string{"ED01"}, c.Undecided)

	run.Tests[0].Probes[2] = verdict.Probe{Probe: "ED15", Outcome: verdict.Rejected}
	c, err = ConsensusOf(run)
	require.NoError(t, err)
	assert.Empty(t, c.Rules)
	assert.Equal(t, "The probes fit no rule that is known, or decide too little", c.String())
}

func TestCollect_Probes(t *testing.T) {
	probe, err := json.Marshal(verdict.Probe{Probe: "ED12", Outcome: verdict.Rejected, Oracles: []verdict.Oracle{{Name: "state", Says: verdict.Rejected}}})
	require.NoError(t, err)
	run := collect(t, `
		run TestA
		covers TestA MSC4243-SIG-01
		probe TestA `+string(probe)+`
		pass TestA 0.1
		run TestB
		covers TestB MSC4243-SIG-01
		probe TestB {
		pass TestB 0.1
		ok`)
	require.Len(t, Probes(run), 1)
	assert.Equal(t, "ED12", Probes(run)[0].Probe)
	assert.Equal(t, verdict.Error, run.Tests[1].Verdict, "a probe that cannot be read is the harness's fault")
	text, err := Marshal(run)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"consensus": {`)
}
