package killing

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"countersign/reference"
	"countersign/report/killtable"
)

// The committed kill table proves what the documents say of it, is of mutants that still are what they were, as far
// as they are there, and says the same in both of its forms. Mutants that came later are in the next one, and variants that it shows to be
// failed have been taken back since.
func TestCommittedTable(t *testing.T) {
	docs := filepath.Join("..", "..", "..", "..", "docs")
	text, err := os.ReadFile(filepath.Join(docs, killtable.FileName))
	require.NoError(t, err)
	var table killtable.Table
	require.NoError(t, json.Unmarshal(text, &table))

	s := table.Summary
	assert.True(t, table.Whole && table.Shard == nil, "made by countersign kill --all")
	assert.NotEmpty(t, table.Suite.Commit)
	assert.GreaterOrEqual(t, s.Mutants, 200)
	assert.Equal(t, s.Mutants, s.Killed)
	assert.Equal(t, s.Mutants, s.KilledByOwnRequirement)
	assert.GreaterOrEqual(t, s.Variants, 25)
	for _, v := range table.Variants {
		permitted := slices.ContainsFunc(reference.Variants(), func(now reference.Variant) bool { return now.Name == v.Name })
		assert.False(t, permitted && len(v.Failed) > 0, "the variant %s is failed; mend the tests, or take it back", v.Name)
	}
	assert.Zero(t, s.DeadServersWronglyJudged)
	assert.Zero(t, s.IdleTests)
	proof := table
	proof.Summary.VariantsFailed = 0 // of those that there are
	assert.True(t, proof.Proves())

	requirement := map[string]string{}
	for _, m := range reference.Mutants() {
		requirement[m.Name] = m.Requirement
	}
	for _, m := range table.Mutants {
		now, there := requirement[m.Name]
		assert.True(t, !there || now == m.Requirement, "the mutant %s has changed; make the table again with countersign kill --all", m.Name)
	}

	var markdown bytes.Buffer
	require.NoError(t, killtable.Markdown(&markdown, &table))
	committed, err := os.ReadFile(filepath.Join(docs, "KILL-TABLE.md"))
	require.NoError(t, err)
	assert.Equal(t, string(committed), markdown.String())
}
