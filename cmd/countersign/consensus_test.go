package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/deploy"
	"countersign/report"
	"countersign/report/compare"
	"countersign/report/verdict"
	"countersign/requirements"
	"countersign/vectors"
)

// verifiers are the reference homeserver with each rule of verification, by the name of the variant; the
// honest one is the first.
var verifiers = []struct{ variant, rule string }{
	{"", "strict"}, {"VerifyAsGo", "go"}, {"VerifyWithCanonicalKeys", "canonical-key"}, {"VerifyWithAnyS", "unbounded-s"},
	{"VerifyUpToOrderFour", "cofactor-4"}, {"VerifyWithCofactor", "cofactored"}, {"VerifyAsZIP215", "zip215"}, {"", "strict"},
}

// prober runs the probes against the reference homeserver with a defect.
type prober func(t *testing.T, defect string, environ ...string) *report.Run

func TestConsensus(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the probes many times")
	}
	probes := buildProbes(t)
	for name, test := range map[string]func(*testing.T, prober){
		"rules": probesTellRulesApart, "readings": probesTellReadingsApart, "no key": probesFindWhatIsNoKey, "hang": probesGoOnAfterAHang,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, probes)
		})
	}
}

// Every rule is recognised by the probes, every pair of different rules is split by exactly those probes
// that the vectors predict, and two servers with the same rule are not.
func probesTellRulesApart(t *testing.T, probes prober) {
	runs := make([]*report.Run, len(verifiers))
	for i, v := range verifiers {
		runs[i] = probes(t, v.variant)
		c, err := report.ConsensusOf(runs[i])
		require.NoError(t, err)
		require.NotNil(t, c, "%s was not probed: %v", v.rule, runs[i].Errors)
		assert.Equal(t, []string{v.rule}, c.Rules, v.variant)
		assert.Empty(t, c.Undecided, v.variant)
		for _, p := range report.Probes(runs[i]) {
			vector, err := vectors.Probe(p.Probe)
			require.NoError(t, err)
			assert.NotNil(t, vector, "no vector is of the kind of %s", p.Probe)
			assert.Equal(t, []verdict.Outcome{verdict.Accepted, verdict.Rejected}, []verdict.Outcome{p.ControlBefore, p.ControlAfter}, "%s: %s", v.variant, p.Probe)
		}
	}
	m, err := compare.SideBySide(runs)
	require.NoError(t, err)
	for a := range verifiers {
		for b := a + 1; b < len(verifiers); b++ {
			var got []string
			for _, s := range m.RoomSplits {
				if s.A == a && s.B == b {
					for _, e := range s.Events {
						got = append(got, e.Probe)
					}
				}
			}
			assert.Equal(t, predicted(t, verifiers[a].rule, verifiers[b].rule), got, "%s and %s", verifiers[a].rule, verifiers[b].rule)
		}
	}
}

// predicted are the probes on which two rules differ, by the vectors.
func predicted(t *testing.T, a, b string) (probes []string) {
	file, err := vectors.Load("ed25519")
	require.NoError(t, err)
	for _, v := range file.Vectors {
		if v.Probe != "" && v.Rules[a] != v.Rules[b] {
			probes = append(probes, v.Probe)
		}
	}
	slices.Sort(probes)
	return probes
}

// Every other discriminator fires, and alone.
func probesTellReadingsApart(t *testing.T, probes prober) {
	for mutant, want := range map[string][]string{
		"TakeURLSafeSignatures": {"SG01"}, "RefusePaddedSignatures": {"SG02"}, "IgnoreUnusedBitsOfSignatures": {"SG03"},
		"SkipJunkInSignatures": {"SG04", "SG05"}, "IgnoreSignatureLength": {"SG06a", "SG06b"},
		"AcceptFullUserIDEntity": {"SE01"}, "AcceptStandardBase64Entity": {"SE02"}, "AcceptDomainEntity": {"SE03"}, "AcceptAnyKeyID": {"SE04"},
		"RefuseWhatOthersSigned": {"SE05", "SE06", "SE07"},
		"SkipJunkInLocalparts":   {"LP07", "LP08"}, "AcceptPaddedLocalpart": {"LP06"}, "AcceptStandardBase64Localpart": {"LP04", "LP05"},
		"AcceptUnusedBitsInLocalpart": {"LP01", "LP02", "LP03", "LP08"}, "TruncateLongLocalparts": {"LP10"}, "PanicAtOddKeys": {"LP09", "LP10", "LP11"},
		"RequireKeysOfPrimeOrder": {"ED15", "ED16", "ED17"}, "ClampLargeNumbers": {"CJ07"},
		"WriteKeysUnescaped": {"CJ01", "CJ02", "CJ03"}, "ReadNumbersLeniently": {"CJ04", "CJ05", "CJ06"}, "RepairText": {"CJ08", "CJ09"},
		"SortKeysByUTF16": {"CJ10"}, "FoldPropertyNames": {"CJ11"}, "RefuseDeepEvents": {"CJ12b"}, "TakeTheLastOfDuplicateKeys": {"CJ13"},
	} {
		run := probes(t, mutant)
		all := report.Probes(run)
		require.Greater(t, len(all), 60, "%s: %v", mutant, run.Errors)
		var got []string
		for _, p := range all {
			require.True(t, p.Outcome.Conclusive(), "%s: %s: %s", mutant, p.Probe, p.Note)
			assert.Equal(t, mutant == "PanicAtOddKeys" && slices.Contains(want, p.Probe), p.Outcome == verdict.Crashed, "%s: %s: %s", mutant, p.Probe, p.Note)
			if p.Outcome != p.Expected {
				got = append(got, p.Probe)
			}
		}
		slices.Sort(got)
		assert.Equal(t, want, got, mutant)
	}
}

// A server that checks nothing of senders who have no key fails every probe that is about them.
func probesFindWhatIsNoKey(t *testing.T, probes prober) {
	accepted := map[string]bool{}
	for _, p := range report.Probes(probes(t, "AcceptWhatIsNoKey")) {
		accepted[p.Probe] = p.Outcome == verdict.Accepted
	}
	for _, probe := range []string{"ED01", "ED06", "ED09", "ED20", "ED21", "LP01", "LP06", "LP09", "LP10", "LP11"} {
		assert.True(t, accepted[probe], probe)
	}
	assert.False(t, accepted["ED12"], "the key is ordinary")
}

// A server that hangs is reported as such, and started again; the other probes are made all the same.
func probesGoOnAfterAHang(t *testing.T, probes prober) {
	all := report.Probes(probes(t, "HangAtLongKeys", "COUNTERSIGN_TIMEOUT_SCALE=0.5"))
	outcomes := map[verdict.Outcome]int{}
	for _, p := range all {
		outcomes[p.Outcome]++
		if p.Probe == "LP10" {
			assert.Equal(t, verdict.Crashed, p.Outcome, p.Note)
		}
	}
	assert.Len(t, all, 64)
	assert.Equal(t, 1, outcomes[verdict.Crashed])
	assert.Zero(t, outcomes[verdict.Undecided])
}

// buildProbes builds the probes' test binary.
func buildProbes(t *testing.T) prober {
	t.Helper()
	root, err := deploy.FindUp("go.mod")
	require.NoError(t, err)
	root = filepath.Dir(root)
	binary := filepath.Join(t.TempDir(), "consensus.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, "./tests/consensus")
	build.Dir = root
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	catalogue, err := requirements.Default()
	require.NoError(t, err)
	return func(t *testing.T, defect string, environ ...string) *report.Run {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		test := exec.CommandContext(ctx, "go", "tool", "test2json", "-p", "countersign/tests/consensus", binary, "-test.v=test2json")
		test.Dir = filepath.Join(root, "tests", "consensus")
		test.Env = append(os.Environ(), append(environ, "COUNTERSIGN_MUTANT="+defect, "COUNTERSIGN_TARGET=embedded")...)
		output, _ := test.Output() // it fails when a probe does; the report says why
		collector := report.NewCollector(catalogue)
		require.NoError(t, collector.Read(bytes.NewReader(output)))
		run := &report.Run{}
		collector.Finish(run)
		return run
	}
}
