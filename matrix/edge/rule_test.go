package edge_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"countersign/matrix"
	"countersign/matrix/edge"
)

func testKey() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("an ordinary key"))
	return ed25519.NewKeyFromSeed(seed[:])
}

// signature signs the first message of a series that allows the case.
func signature(t *testing.T, c edge.Case) (key, message, signature []byte) {
	t.Helper()
	public, err := c.Key(testKey())
	require.NoError(t, err)
	for i := range 2000 {
		message := fmt.Appendf(nil, "message %d", i)
		signature, err := c.Sign(testKey(), message)
		if errors.Is(err, edge.ErrUnfit) {
			continue
		}
		require.NoError(t, err)
		return public[:], message, signature
	}
	t.Fatal("no message allows the case")
	return nil, nil, nil
}

// The verdicts of the rules on the probes. A row is a probe, a column a rule, in the order of Rules.
func TestRules(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		//         strict go canonical-key unbounded-s cofactor-4 cofactored zip215
		"honest": "AAAAAAA",
		"ED01":   ".AAA..A", "ED02": ".AAA..A", "ED03": ".AAA..A", "ED04": ".AAA..A", "ED05": ".AAA..A", "ED06": "......A",
		"ED07": ".A.A..A", "ED08": ".A.A..A", "ED09": ".A.A..A",
		"ED10": ".AAA.AA", "ED11": ".....AA", "ED12": ".....AA", "ED13": "......A", "ED14": ".....AA",
		"ED15": "AAAAAAA", "ED16": "AAAAAAA", "ED17": "AAAAAAA", "ED18": ".....AA",
		"ED19": "...A...", "ED20": "...A...", "ED21": ".......",
		"ED22": "....AAA", "ED23": "....AAA",
	}
	probes := append(edge.Probes(), edge.Probe{ID: "honest"})
	require.Len(t, want, len(probes))
	columns := map[string]string{}
	for _, p := range probes {
		key, message, signature := signature(t, p.Case)
		row := ""
		for _, r := range edge.Rules() {
			verdict := "."
			if r.Verify(key, message, signature) {
				verdict = "A"
			}
			row += verdict
			columns[r.ID] += verdict
		}
		require.Equal(t, want[p.ID], row, p.ID)
		require.Equal(t, row[0] == 'A', matrix.VerifyStrict(key, message, signature) == nil, p.ID)
		require.Equal(t, row[1] == 'A', ed25519.Verify(key, message, signature), p.ID)
	}
	for _, a := range edge.Rules() {
		for _, b := range edge.Rules() {
			require.Equal(t, a.ID == b.ID, columns[a.ID] == columns[b.ID], "the probes tell %s from %s", a.ID, b.ID)
		}
	}
}

func TestRules_RefuseOtherMessagesAndLengths(t *testing.T) {
	t.Parallel()
	key, message, signature := signature(t, edge.Case{})
	for _, r := range edge.Rules() {
		require.True(t, r.Verify(key, message, signature), r.ID)
		require.False(t, r.Verify(key, append(bytes.Clone(message), '.'), signature), r.ID)
		require.False(t, r.Verify(key[:31], message, signature), r.ID)
		require.False(t, r.Verify(key, message, signature[:63]), r.ID)
		require.NotEmpty(t, r.Sentence)
		found, ok := edge.RuleByID(r.ID)
		require.True(t, ok)
		require.Equal(t, r, found)
	}
	_, ok := edge.RuleByID("none")
	require.False(t, ok)
}

func TestHasTorsion(t *testing.T) {
	t.Parallel()
	for _, p := range edge.Probes() {
		key, err := p.Case.Key(testKey())
		require.NoError(t, err)
		want := p.Case.KeyTorsion != 0 || p.Case.KeyBytes != "" && p.ID != "ED01" && p.ID != "ED07" && p.ID != "ED08" && p.ID != "ED21"
		require.Equal(t, want, edge.HasTorsion(key[:]), p.ID)
	}
}

// A case has one signature for a message, and no two cases share a nonce.
func TestSign_IsReproducible(t *testing.T) {
	t.Parallel()
	seen, keys := map[string]string{}, map[string]string{}
	for _, p := range edge.Probes() {
		_, message, first := signature(t, p.Case)
		again, err := p.Case.Sign(testKey(), message)
		require.NoError(t, err)
		require.Equal(t, first, again, p.ID)
		if !p.Case.RZero {
			require.Empty(t, seen[string(first[:32])], p.ID)
			seen[string(first[:32])] = p.ID
		}
		require.NotEmpty(t, p.Case.Flags(), p.ID)
		if p.Case.KeyBytes != "" {
			require.Empty(t, keys[p.Case.KeyBytes], p.ID)
			keys[p.Case.KeyBytes] = p.ID
		}
	}
}
