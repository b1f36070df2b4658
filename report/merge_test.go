package report

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/report/verdict"
	"countersign/requirements"
)

func smallCatalogue(t *testing.T) *requirements.Catalogue {
	t.Helper()
	all, err := requirements.Load(os.DirFS("testdata/catalogue"))
	require.NoError(t, err)
	return all
}

// Parts of a run, merged in any order, are the run.
func TestMerge_OfSuitesIsTheWhole(t *testing.T) {
	whole := collect(t, mixedRun)
	at := strings.Index(mixedRun, "suite msc4243")
	parts := []*Run{collect(t, mixedRun[:at]), collect(t, mixedRun[at:])}
	for i, part := range parts {
		part.Shard = &Shard{Index: i + 1, Count: 2}
	}
	parts[1].Servers = nil
	before, err := Marshal(parts[1])
	require.NoError(t, err)
	for _, order := range [][]*Run{{parts[0], parts[1]}, {parts[1], parts[0]}} {
		merged, err := Merge(smallCatalogue(t), order...)
		require.NoError(t, err)
		merged.Errors = whole.Errors // they name their shard
		assert.Equal(t, whole, merged)
	}
	after, err := Marshal(parts[1])
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after), "merging changes nothing")
}

// Machines that each build the image get images of different digests, and may be configured differently.
func TestMerge_KeepsWhatIsTrueOfAll(t *testing.T) {
	var runs []*Run
	for i, digest := range []string{"sha256:a", "sha256:b", "sha256:a"} {
		run := collect(t, allPass)
		run.Servers[0].Digest = digest
		run.Configuration = map[string]string{"COUNTERSIGN_FLOOD": "10", "COMPLEMENT_DEBUG": strconv.Itoa(i)}
		runs = append(runs, run)
	}
	merged, err := Merge(smallCatalogue(t), runs...)
	require.NoError(t, err)
	assert.Empty(t, merged.Servers[0].Digest)
	assert.Equal(t, map[string]string{"COUNTERSIGN_FLOOD": "10"}, merged.Configuration)
	assert.Len(t, runs[0].Configuration, 2, "merging changes nothing")
}

func TestMerge_Refuses(t *testing.T) {
	catalogue := smallCatalogue(t)
	for name, c := range map[string]struct {
		change func(*Run)
		want   string
	}{
		"another commit": {func(r *Run) { r.Suite.Commit = "ff" }, "different suites"},
		"another target": {func(r *Run) { r.Target = "docker:x" }, "different targets"},
		"another mode":   {func(r *Run) { r.Strict = true }, "different strictness"},
		"another server": {func(r *Run) { r.Servers = []verdict.Fact{{Server: "hs1", Name: "countersign", Version: "v9"}} }, "different servers: hs1 is countersign v1.2.3 and countersign v9"},
		"another image": {func(r *Run) {
			r.Servers = []verdict.Fact{{Server: "hs1", Target: "docker:a", Name: "countersign", Version: "v1.2.3", RoomVersions: r.Servers[0].RoomVersions}}
		}, "different servers: hs1 is embedded and docker:a"},
		"no shard at all": {func(r *Run) { r.Shard = &Shard{1, 2} }, "not all of 2 shards"},
		"an unknown requirement": {func(r *Run) {
			r.Tests = append(r.Tests, Test{Suite: "a", Name: "b", Requirements: []RequirementVerdict{{ID: "MSC1-A-01"}}})
		}, "a/b judges MSC1-A-01, which is not in the catalogue"},
	} {
		t.Run(name, func(t *testing.T) {
			other := collect(t, allPass)
			c.change(other)
			_, err := Merge(catalogue, collect(t, allPass), other)
			assert.ErrorContains(t, err, c.want)
		})
	}
	_, err := Merge(catalogue)
	assert.ErrorContains(t, err, "nothing to merge")
}

// Of a repeated test, nothing bad is forgotten.
func TestRepeat(t *testing.T) {
	test := func(id string, v verdict.Verdict, more ...RequirementVerdict) Test {
		all := append([]RequirementVerdict{{ID: id, Verdict: v, Observed: string(v)}}, more...)
		parts := []verdict.Verdict{}
		for _, r := range all {
			parts = append(parts, r.Verdict)
		}
		return Test{Suite: "a", Name: "T", Verdict: verdict.Rollup(parts...), Requirements: all, DurationSeconds: float64(len(v))}
	}
	kept := fold(nil, map[string]int{}, nil)
	places := map[string]int{}
	for _, again := range []Test{
		test("A-B-01", "PASS", RequirementVerdict{ID: "A-B-02", Verdict: "FAIL"}),
		test("A-B-01", "FAIL"),
		test("A-B-01", "INCONCLUSIVE", RequirementVerdict{ID: "A-B-03", Verdict: "WARN"}),
	} {
		kept = fold(kept, places, []Test{again})
	}
	require.Len(t, kept, 1)
	assert.Equal(t, verdict.Fail, kept[0].Verdict)
	assert.Equal(t, &Counts{Fail: 2, Inconclusive: 1}, kept[0].Repeats)
	assert.True(t, kept[0].Flaky())
	assert.Equal(t, 12.0, kept[0].DurationSeconds)
	got := map[string]verdict.Verdict{}
	for _, r := range kept[0].Requirements {
		got[r.ID] = r.Verdict
	}
	assert.Equal(t, map[string]verdict.Verdict{"A-B-01": "FAIL", "A-B-02": "FAIL", "A-B-03": "WARN"}, got)
}

func TestRollUp_ChangesNothingByItself(t *testing.T) {
	run := collect(t, mixedRun)
	run.RollUp()
	assert.Equal(t, collect(t, mixedRun), run)
}
