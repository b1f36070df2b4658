package vectors

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The probes tell every rule from every other, and a library's verdicts lead to the rule that is recorded
// of it.
func TestFollowed(t *testing.T) {
	t.Parallel()
	f, err := Load("ed25519")
	require.NoError(t, err)
	rules, err := Rules()
	require.NoError(t, err)
	require.NotEmpty(t, rules)
	verdicts := func(of func(Vector) Verdict) map[string]Verdict {
		found := map[string]Verdict{}
		for _, v := range f.Vectors {
			if v.Probe != "" {
				found[v.Probe] = of(v)
			}
		}
		return found
	}
	for _, rule := range rules {
		followed, err := Followed(verdicts(func(v Vector) Verdict { return v.Rules[rule.ID] }))
		require.NoError(t, err)
		require.Equal(t, []string{rule.ID}, followed)
	}
	implementations, err := Implementations()
	require.NoError(t, err)
	for _, i := range implementations {
		if i.Rule == "" {
			continue
		}
		followed, err := Followed(verdicts(func(v Vector) Verdict { return v.Recorded[i.ID] }))
		require.NoError(t, err)
		require.Equal(t, []string{i.Rule}, followed, i.ID)
	}

	followed, err := Followed(map[string]Verdict{"ED12": Accept})
	require.NoError(t, err)
	require.Equal(t, []string{"cofactored", "zip215"}, followed, "one probe leaves several rules")
	followed, err = Followed(map[string]Verdict{"ED15": Reject})
	require.NoError(t, err)
	require.NotNil(t, followed)
	require.Empty(t, followed, "no known rule refuses it")
	followed, err = Followed(map[string]Verdict{"LP01": Accept})
	require.NoError(t, err)
	require.Nil(t, followed)
}

func TestProbe(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ed25519", "account-keys", "signatures", "canonical-json"} {
		f, err := Load(name)
		require.NoError(t, err)
		require.True(t, slices.ContainsFunc(f.Vectors, func(v Vector) bool { return v.Probe != "" }), name)
	}
	v, err := Probe("SG06b")
	require.NoError(t, err)
	require.Equal(t, "65-bytes", v.ID)
	v, err = Probe("ED99")
	require.NoError(t, err)
	require.Nil(t, v)
	_, err = Load("no-such-file")
	require.ErrorContains(t, err, "ed25519")
}
