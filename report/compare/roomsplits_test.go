package compare

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report"
	"countersign/report/verdict"
)

// probedRun is a run with the outcomes of probes: "ED01 accept reject" is a probe, its outcome, and the
// expected one.
func probedRun(outcomes ...string) *report.Run {
	run := &report.Run{}
	for _, line := range outcomes {
		field := strings.Fields(line)
		id, outcome, expected := field[0], verdict.Outcome(field[1]), verdict.Outcome(field[2])
		run.Tests = append(run.Tests, report.Test{Suite: "consensus", Name: "TestProbes/" + id, Probes: []verdict.Probe{{
			Probe: id, Requirement: "CONSENSUS-" + id[:2] + "-" + id[2:4], Outcome: outcome, Expected: expected,
			EventID: "$" + id, EventSHA256: strings.Repeat("ab", 32),
		}}})
	}
	return run
}

func TestMatrix_RoomSplits(t *testing.T) {
	m, err := SideBySide([]*report.Run{
		probedRun("ED01 reject reject", "ED12 accept reject", "ED19 reject reject", "SG02 accept accept", "LP10 reject reject"),
		probedRun("ED01 reject reject", "ED12 reject reject", "ED19 accept reject", "SG02 inconclusive accept", "LP10 crash reject"),
		probedRun("ED01 reject reject", "ED12 accept reject", "ED19 reject reject", "CJ01 accept accept"),
	})
	require.NoError(t, err)
	type event struct{ probe, sentence string }
	found := map[string][]event{}
	for _, s := range m.RoomSplits {
		pair := m.Columns[s.A].Letter + m.Columns[s.B].Letter
		for _, e := range s.Events {
			found[pair] = append(found[pair], event{e.Probe, e.sentence(m.Columns[s.A].Letter, m.Columns[s.B].Letter)})
		}
	}
	assert.Equal(t, map[string][]event{
		"AB": {
			{"ED12", "A: accept, B: reject; the proposal is silent, the recommended rule says reject"},
			{"ED19", "A: reject, B: accept; B deviates"},
			{"LP10", "A: reject, B: crash; a server must survive every event"},
		},
		"BC": {
			{"ED12", "B: reject, C: accept; the proposal is silent, the recommended rule says reject"},
			{"ED19", "B: accept, C: reject; B deviates"},
		},
	}, found, "what is undecided, or was not probed, splits nobody")

	var out bytes.Buffer
	m.Print(&out, 0)
	assert.Contains(t, out.String(), "SPLIT A and B: 3 events that an attacker can split a room with")
	assert.Contains(t, out.String(), "ED12  R has a part of order 8; the key is ordinary")
	assert.Contains(t, out.String(), "2 pairs of the 3 servers that were probed can be made to disagree about a room")
}
